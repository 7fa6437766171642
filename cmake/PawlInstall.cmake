# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where: programs, libpawl with headers and pawl.pc, manual, completions.
include(GNUInstallDirs)

# pawl-perf starts pawl-roofline-node, which it looks for beside itself.
foreach(program pawl pawl-master pawl-chunkd pawl-perf pawl-roofline-node)
    if(TARGET ${program})
        install(TARGETS ${program} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT programs)
    endif()
endforeach()

# ---- library -----------------------------------------------------------------------------------
install(TARGETS libpawl_shared LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT library)
if(TARGET libpawl_static)
    install(TARGETS libpawl_static ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT library)
endif()
install(DIRECTORY "${CMAKE_SOURCE_DIR}/include/pawl" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    COMPONENT library FILES_MATCHING PATTERN "*.h")

# Paths in pawl.pc are relative to itself, so an installed tree may be moved.
set(pawl_pc_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig")
cmake_path(RELATIVE_PATH pawl_pc_prefix BASE_DIRECTORY "/" OUTPUT_VARIABLE pawl_pc_depth)
string(REGEX REPLACE "[^/]+" ".." pawl_pc_up "${pawl_pc_depth}")
configure_file("${CMAKE_SOURCE_DIR}/cmake/pawl.pc.in" "${CMAKE_BINARY_DIR}/pawl.pc" @ONLY)
install(FILES "${CMAKE_BINARY_DIR}/pawl.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
    COMPONENT library)

# ---- manual ------------------------------------------------------------------------------------
# docs/man/NAME.SECTION.scd becomes man/NAME.SECTION; each further name that a page of section 3 lists in
# its first line gets a page that refers to it, so that `man pawl_close` finds pawl_connect(3).
function(pawl_manual_page source)
    cmake_path(GET source STEM LAST_ONLY page)
    string(REGEX REPLACE ".*\\." "" section "${page}")
    set(out "${CMAKE_BINARY_DIR}/man/${page}")
    add_custom_command(OUTPUT "${out}"
        COMMAND sh -c "\"$1\" <\"$2\" >\"$3\"" sh "${PAWL_SCDOC}" "${source}" "${out}"
        DEPENDS "${source}" COMMENT "Manual page ${page}" VERBATIM)
    set_property(GLOBAL APPEND PROPERTY PAWL_MANUAL "${out}")
    install(FILES "${out}" DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}" COMPONENT manual)
    if(NOT section EQUAL 3)
        return()
    endif()
    file(STRINGS "${source}" line REGEX "^pawl[a-z_., ]+ - " LIMIT_COUNT 1)
    string(REGEX REPLACE " - .*" "" line "${line}")
    string(REPLACE ", " ";" names "${line}")
    foreach(name IN LISTS names)
        if(NOT "${name}.${section}" STREQUAL page)
            file(WRITE "${CMAKE_BINARY_DIR}/man/${name}.${section}" ".so man${section}/${page}\n")
            install(FILES "${CMAKE_BINARY_DIR}/man/${name}.${section}"
                DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}" COMPONENT manual)
        endif()
    endforeach()
endfunction()

find_program(PAWL_SCDOC scdoc)
mark_as_advanced(PAWL_SCDOC)
if(PAWL_SCDOC)
    file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/man")
    file(GLOB pawl_man_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/docs/man/*.scd")
    foreach(source IN LISTS pawl_man_sources)
        pawl_manual_page("${source}")
    endforeach()
    get_property(pawl_man_pages GLOBAL PROPERTY PAWL_MANUAL)
    add_custom_target(manual ALL DEPENDS ${pawl_man_pages})
else()
    message(STATUS "scdoc is not installed: no manual pages")
endif()

# ---- completions, papers -------------------------------------------------------------------------
foreach(program pawl pawl-perf)
    install(FILES "${CMAKE_SOURCE_DIR}/scripts/completions/${program}.bash" RENAME ${program}
        DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" COMPONENT programs)
endforeach()
install(FILES "${CMAKE_SOURCE_DIR}/scripts/completions/_pawl" "${CMAKE_SOURCE_DIR}/scripts/completions/_pawl-perf"
    DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions" COMPONENT programs)
install(FILES "${CMAKE_SOURCE_DIR}/README.md" "${CMAKE_SOURCE_DIR}/CHANGELOG.md"
    "${CMAKE_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT programs)
install(FILES "${CMAKE_SOURCE_DIR}/docs/examples/append.c"
    DESTINATION "${CMAKE_INSTALL_DOCDIR}/examples" COMPONENT library)
