# SPDX-License-Identifier: Apache-2.0
# Compiler settings of the whole tree: language, warnings, sanitizers, where outputs go.
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "build type" FORCE)
endif()

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_C_FLAGS_DEBUG "-Og -g3")
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")

find_program(PAWL_CCACHE ccache)
mark_as_advanced(PAWL_CCACHE)
if(PAWL_CCACHE)
    set(CMAKE_C_COMPILER_LAUNCHER "${PAWL_CCACHE}")
endif()

# Written without a value, as sources write it: `#define _GNU_SOURCE` is then no redefinition.
add_compile_definitions("$<$<COMPILE_LANGUAGE:C>:_GNU_SOURCE=>")
# Messages and debug information name files from the project's root, on every machine alike.
add_compile_options("-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=" -fno-common -fno-strict-aliasing)

set(PAWL_WARNINGS
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wvla
    -Wundef -Wpointer-arith -Wwrite-strings -Wformat=2 -Wimplicit-fallthrough -Wredundant-decls)
if(PAWL_WERROR)
    list(APPEND PAWL_WARNINGS -Werror)
endif()

if(PAWL_SANITIZE)
    add_compile_options(-fsanitize=${PAWL_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${PAWL_SANITIZE})
else()
    add_compile_options("$<$<CONFIG:RelWithDebInfo,Release>:-fstack-protector-strong>")
    add_compile_definitions("$<$<CONFIG:RelWithDebInfo,Release>:_FORTIFY_SOURCE=2>")
endif()
if(PAWL_COVERAGE)
    add_compile_options(--coverage)
    add_link_options(--coverage)
endif()
if(PAWL_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
        message(FATAL_ERROR "PAWL_FUZZ needs clang: use the preset fuzz")
    endif()
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(PAWL_LTO)
    set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
endif()
