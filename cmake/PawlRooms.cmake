# SPDX-License-Identifier: Apache-2.0
# The words in which a room's CMakeLists.txt is written.
#
#   pawl_room(<room> SOURCES ... [DEPS <room>...] [LIBS <library>...])
#   pawl_program(<name> SOURCES ... [DEPS <room>...] [LIBS ...])
#   pawl_test(<name> SOURCES ... [DEPS <room>...] [LIBS ...] [LABELS unit] [TIMEOUT 60])
#   pawl_script_test(<name> COMMAND ... [LABELS system] [TIMEOUT 300])    none under tsan if label system
#   pawl_fuzz(<name> SOURCES ... [DEPS <room>...] [LIBS ...])
#   pawl_protobuf(<outvar> <file.proto>)

function(pawl_layer_split entry out_room out_level)
    string(REPLACE ":" ";" parts "${entry}")
    list(GET parts 0 room)
    list(GET parts 1 level)
    set(${out_room} "${room}" PARENT_SCOPE)
    set(${out_level} "${level}" PARENT_SCOPE)
endfunction()

# Level of a room; an unknown room stops the configuration.
function(pawl_layer_level room out)
    foreach(entry IN LISTS PAWL_LAYERS)
        pawl_layer_split("${entry}" name level)
        if(name STREQUAL room)
            set(${out} "${level}" PARENT_SCOPE)
            return()
        endif()
    endforeach()
    message(FATAL_ERROR "layers: '${room}' is not a room of cmake/layers.cmake")
endfunction()

function(pawl_room_target room out)
    string(REPLACE "/" "_" name "pawl_${room}")
    set(${out} "${name}" PARENT_SCOPE)
endfunction()

# The room that the current folder lies in; empty outside of the rooms (tests).
function(pawl_current_room out)
    set(${out} "" PARENT_SCOPE)
    cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR BASE_DIRECTORY "${CMAKE_SOURCE_DIR}"
        OUTPUT_VARIABLE folder)
    foreach(entry IN LISTS PAWL_LAYERS)
        pawl_layer_split("${entry}" room level)
        if(folder STREQUAL room)
            set(${out} "${room}" PARENT_SCOPE)
        endif()
    endforeach()
endfunction()

# Links a target to rooms; refuses an arrow that doesn't point down.
function(pawl_link_rooms target room)
    foreach(dep IN LISTS ARGN)
        pawl_layer_level("${dep}" dep_level)
        if(NOT room STREQUAL "" AND NOT room STREQUAL dep)
            pawl_layer_level("${room}" level)
            if(NOT dep_level LESS level)
                message(FATAL_ERROR
                    "layers: ${target}: room '${room}' (level ${level}) must not depend on "
                    "'${dep}' (level ${dep_level}); only lower levels are allowed, see cmake/layers.cmake")
            endif()
        endif()
        pawl_room_target("${dep}" dep_target)
        target_link_libraries(${target} PUBLIC ${dep_target})
    endforeach()
endfunction()

# Settings that all targets of the project share.
function(pawl_target_settings target)
    target_include_directories(${target} PUBLIC "${CMAKE_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}/include")
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:C>:${PAWL_WARNINGS}>")
endfunction()

# The build step that refuses an include that points to the same level or up.
function(pawl_check_includes target room)
    file(GLOB files CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${room}/*.[ch]")
    set(stamp "${CMAKE_CURRENT_BINARY_DIR}/${target}.layers")
    set(script "${CMAKE_SOURCE_DIR}/scripts/check_layers.py")
    add_custom_command(OUTPUT "${stamp}"
        COMMAND "${Python3_EXECUTABLE}" "${script}" --root "${CMAKE_SOURCE_DIR}" --room "${room}"
        COMMAND "${CMAKE_COMMAND}" -E touch "${stamp}"
        DEPENDS ${files} "${script}" "${CMAKE_SOURCE_DIR}/cmake/layers.cmake"
        COMMENT "Checking the includes of ${room}" VERBATIM)
    add_custom_target(${target}_layers DEPENDS "${stamp}")
    add_dependencies(${target} ${target}_layers)
endfunction()

function(pawl_room room)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS;LIBS")
    pawl_layer_level("${room}" level)
    pawl_room_target("${room}" target)
    if(NOT arg_SOURCES)
        file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/${target}_empty.c" "extern int ${target}_empty;\n")
        set(arg_SOURCES "${CMAKE_CURRENT_BINARY_DIR}/${target}_empty.c")
    endif()
    add_library(${target} STATIC ${arg_SOURCES})
    pawl_target_settings(${target})
    pawl_link_rooms(${target} "${room}" ${arg_DEPS})
    target_link_libraries(${target} PUBLIC ${arg_LIBS})
    pawl_check_includes(${target} "${room}")
endfunction()

function(pawl_program name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS;LIBS")
    pawl_current_room(room)
    add_executable(${name} ${arg_SOURCES})
    pawl_target_settings(${name})
    pawl_link_rooms(${name} "${room}" ${arg_DEPS})
    target_link_libraries(${name} PUBLIC ${arg_LIBS} Threads::Threads)
endfunction()

# Name of a test as ctest sees it: the presets of sanitizers put their name in front, so that one
# run can hold the tests of several presets.
function(pawl_test_name name out)
    if(PAWL_SUITE)
        set(name "${PAWL_SUITE}.${name}")
    endif()
    set(${out} "${name}" PARENT_SCOPE)
endfunction()

# Labels, time limit and what the sanitizers are told; a suppression names one function and its
# reason. A system test starts processes and uses the disk, so it runs alone.
function(pawl_test_properties name labels timeout)
    set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT ${timeout})
    if("system" IN_LIST labels)
        set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
    endif()
    set(folder "${CMAKE_SOURCE_DIR}/tests/sanitizers")
    set(asan "ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:strict_string_checks=1")
    set(lsan "LSAN_OPTIONS=print_suppressions=0")
    set(tsan "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")
    if(EXISTS "${folder}/lsan.supp")
        string(APPEND lsan ":suppressions=${folder}/lsan.supp")
    endif()
    if(EXISTS "${folder}/tsan.supp")
        string(APPEND tsan ":suppressions=${folder}/tsan.supp")
    endif()
    set_property(TEST ${name} PROPERTY ENVIRONMENT
        "${asan}" "${lsan}" "${tsan}" "UBSAN_OPTIONS=print_stacktrace=1"
        "PAWL_SOURCE_DIR=${CMAKE_SOURCE_DIR}" "PAWL_BIN_DIR=${CMAKE_BINARY_DIR}/bin"
        "PAWL_SANITIZE=${PAWL_SANITIZE}")
endfunction()

function(pawl_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "SOURCES;DEPS;LIBS;LABELS")
    if(NOT arg_LABELS)
        set(arg_LABELS unit)
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 60)
    endif()
    if(PAWL_SANITIZE) # slower by up to twenty times, on a machine that may be busy
        math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 5")
    endif()
    add_executable(${name} ${arg_SOURCES})
    set_target_properties(${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
    pawl_target_settings(${name})
    target_include_directories(${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
    pawl_link_rooms(${name} "" ${arg_DEPS})
    target_link_libraries(${name} PRIVATE ${arg_LIBS} PkgConfig::CMOCKA Threads::Threads)
    pawl_test_name(${name} test)
    add_test(NAME ${test} COMMAND ${name} WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
    pawl_test_properties(${test} "${arg_LABELS}" ${arg_TIMEOUT})
endfunction()

function(pawl_script_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "COMMAND;LABELS")
    if(NOT arg_LABELS)
        set(arg_LABELS system)
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 300)
    endif()
    # The daemons under ThreadSanitizer are too slow for trials with real time limits.
    if(PAWL_SANITIZE MATCHES thread AND "system" IN_LIST arg_LABELS AND NOT PAWL_TSAN_SYSTEM)
        return()
    endif()
    pawl_test_name(${name} test)
    add_test(NAME ${test} COMMAND ${arg_COMMAND} WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
    pawl_test_properties(${test} "${arg_LABELS}" ${arg_TIMEOUT})
endfunction()

# A fuzz harness defines LLVMFuzzerTestOneInput. With PAWL_FUZZ it is a libFuzzer program in
# bin/fuzz; everywhere else the same harness replays its corpus and some seeded noise as a test.
function(pawl_fuzz name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS;LIBS")
    set(corpus "${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name}")
    add_executable(${name} ${arg_SOURCES})
    pawl_target_settings(${name})
    target_compile_options(${name} PRIVATE -Wno-missing-prototypes)
    pawl_link_rooms(${name} "" ${arg_DEPS})
    target_link_libraries(${name} PRIVATE ${arg_LIBS} Threads::Threads)
    if(PAWL_FUZZ)
        set_target_properties(${name} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin/fuzz")
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
        return()
    endif()
    target_sources(${name} PRIVATE "${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c")
    target_link_libraries(${name} PRIVATE pawl_base)
    set_target_properties(${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
    pawl_test_name(${name} test)
    add_test(NAME ${test} COMMAND ${name} "${corpus}" WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
    pawl_test_properties(${test} unit 60)
endfunction()

# Generates <name>.pb-c.{c,h} below <build>/generated/<folder>; puts the C file in outvar.
# Generated code is compiled without our warnings.
function(pawl_protobuf outvar file)
    cmake_path(GET file STEM stem)
    set(out "${CMAKE_BINARY_DIR}/generated/proto")
    file(MAKE_DIRECTORY "${out}")
    add_custom_command(OUTPUT "${out}/${stem}.pb-c.c" "${out}/${stem}.pb-c.h"
        COMMAND "${PAWL_PROTOC_C}" "--proto_path=${CMAKE_CURRENT_SOURCE_DIR}" "--c_out=${out}"
            "${CMAKE_CURRENT_SOURCE_DIR}/${file}"
        DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${file}" VERBATIM
        COMMENT "Generating ${stem}.pb-c.c")
    set_source_files_properties("${out}/${stem}.pb-c.c" PROPERTIES COMPILE_OPTIONS "-w")
    set(${outvar} "${out}/${stem}.pb-c.c" PARENT_SCOPE)
endfunction()
