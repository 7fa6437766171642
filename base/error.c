// SPDX-License-Identifier: Apache-2.0
// Texts and reactions of the error codes, from the one list in <pawl/error.h>.
#include <pawl/error.h>

#include <string.h>

#define ERROR_TEXT(name, number, text, reaction)                                                   \
    case name:                                                                                     \
        return #name ": " text;

const char *pawl_strerror(int code)
{
    switch (code) {
    case 0:
        return "success";
        PAWL_ERRORS(ERROR_TEXT)
    default:
        break;
    }
    // Unlike strerror this is static, untranslated and safe in every thread.
    const char *text = code < 0 && code > -4096 ? strerrordesc_np(-code) : NULL;
    return text ? text : "unknown error code";
}

#define ERROR_REACTION(name, number, text, reaction)                                               \
    case name:                                                                                     \
        return PAWL_REACTION_##reaction;

enum pawl_reaction pawl_error_reaction(int code)
{
    switch (code) {
        PAWL_ERRORS(ERROR_REACTION)
    default:
        return PAWL_REACTION_GIVE_UP;
    }
}
