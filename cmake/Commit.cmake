# SPDX-License-Identifier: Apache-2.0
# Writes the commit that is built into the header OUT, if it is another one than stands there.
execute_process(COMMAND git -C "${SOURCE}" describe --always --dirty
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
    set(commit unknown)
endif()
file(CONFIGURE OUTPUT "${OUT}" CONTENT "#define PAWL_SIM_COMMIT \"${commit}\"\n" @ONLY)
