// SPDX-License-Identifier: Apache-2.0
// Paths and names as they come from clients: everything is checked here, once.
#include "controlplane/core/master_core_private.h"

// Bytes of the UTF-8 sequence at `text`; 0 when it is none (overlong, surrogate, beyond U+10FFFF).
// Never reads behind the terminating zero.
static size_t utf8_bytes(const unsigned char *text)
{
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t bytes = text[0] < 0x80             ? 1
                   : (text[0] & 0xe0) == 0xc0 ? 2
                   : (text[0] & 0xf0) == 0xe0 ? 3
                   : (text[0] & 0xf8) == 0xf0 ? 4
                                              : 0;
    if (bytes < 2) {
        return bytes;
    }
    uint32_t value = text[0] & (0xffu >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (text[i] & 0x3fu);
    }
    bool surrogate = value >= 0xd800 && value <= 0xdfff;
    return value < lowest[bytes] || surrogate || value > 0x10ffff ? 0 : bytes;
}

// Bytes of the next character; 0 when no path or name may hold it.
static size_t clean_bytes(const char *text)
{
    unsigned char c = (unsigned char)text[0];
    return c < 0x20 || c == 0x7f ? 0 : utf8_bytes((const unsigned char *)text);
}

bool master_text_is_clean(const char *text, size_t max_bytes)
{
    size_t at = 0;
    while (text[at]) {
        size_t bytes = clean_bytes(text + at);
        at += bytes;
        if (bytes == 0 || at > max_bytes) {
            return false;
        }
    }
    return at > 0;
}

// Length of the component at `path`, up to the next slash. 0, PAWL_EINVALID or PAWL_ELIMIT.
static int component_measure(const char *path, size_t *ret_bytes)
{
    size_t at = 0;
    while (path[at] && path[at] != '/') {
        size_t bytes = clean_bytes(path + at);
        if (bytes == 0) {
            return PAWL_EINVALID;
        }
        at += bytes;
        if (at > MASTER_NAME_MAX) {
            return PAWL_ELIMIT;
        }
    }
    *ret_bytes = at;
    return 0;
}

int master_path_normalise(const char *path, char *out)
{
    if (!path || path[0] != '/') {
        return PAWL_EINVALID;
    }
    size_t used = 0;
    while (*path) {
        while (*path == '/') {
            path++;
        }
        size_t bytes = 0;
        int rc = component_measure(path, &bytes);
        if (rc) {
            return rc;
        }
        if (bytes == 2 && path[0] == '.' && path[1] == '.') {
            return PAWL_EINVALID; // who means the parent says its name
        }
        if (bytes > 0 && !(bytes == 1 && path[0] == '.')) {
            if (used + 1 + bytes > MASTER_PATH_MAX) {
                return PAWL_ELIMIT;
            }
            out[used++] = '/';
            memcpy(out + used, path, bytes);
            used += bytes;
        }
        path += bytes;
    }
    if (used == 0) {
        out[used++] = '/';
    }
    out[used] = '\0';
    return 0;
}
