// SPDX-License-Identifier: Apache-2.0
// Addresses as text: "host:port", "[v6 address]:port".
#include <inttypes.h>
#include <pawl/error.h>
#include <stdio.h>
#include <string.h>

#include "controlplane/rpc/rpc_private.h"

void rpc_address_format(const struct sockaddr *address, char *ret_text, size_t bytes)
{
    char name[INET6_ADDRSTRLEN] = "?";
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        (void)uv_ip6_name(in6, name, sizeof(name));
        snprintf(ret_text, bytes, "[%s]:%u", name, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        (void)uv_ip4_name(in, name, sizeof(name));
        snprintf(ret_text, bytes, "%s:%u", name, ntohs(in->sin_port));
    }
}

static int port_parse(const char *text, uint16_t *ret_port)
{
    uint32_t port = 0;
    if (*text == '\0') {
        return PAWL_EINVALID;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return PAWL_EINVALID;
        }
        port = port * 10 + (uint32_t)(*text - '0');
        if (port > UINT16_MAX) {
            return PAWL_EINVALID;
        }
    }
    *ret_port = (uint16_t)port;
    return 0;
}

int rpc_address_parse(const char *text, char *ret_host, size_t host_bytes, uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL) {
        return PAWL_EINVALID;
    }
    const char *host = text;
    size_t length = (size_t)(colon - text);
    if (*text == '[') {
        if (length < 2 || text[length - 1] != ']') {
            return PAWL_EINVALID;
        }
        host++;
        length -= 2;
    } else if (memchr(text, ':', length) != NULL) {
        return PAWL_EINVALID; // a v6 address needs its brackets
    }
    if (length == 0 || length >= host_bytes) {
        return PAWL_EINVALID;
    }
    int rc = port_parse(colon + 1, ret_port);
    if (rc != 0) {
        return rc;
    }
    memcpy(ret_host, host, length);
    ret_host[length] = '\0';
    return 0;
}
