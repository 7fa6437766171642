// SPDX-License-Identifier: Apache-2.0
// Lists of addresses: walking, finding, adding, and their providers for people.
#include "base/addresses.h"

#include <stdio.h>
#include <string.h>

#include <pawl/error.h>

bool pawl_addresses_next(const char **cursor, struct pawl_address *ret)
{
    const char *text = *cursor + strspn(*cursor, ",");
    if (*text == '\0') {
        return false;
    }
    ret->text = text;
    ret->bytes = strcspn(text, ",");
    ret->provider_bytes = 0;
    for (size_t i = 0; i + 3 <= ret->bytes; i++) {
        if (memcmp(text + i, "://", 3) == 0) {
            ret->provider_bytes = i;
            break;
        }
    }
    *cursor = text + ret->bytes;
    return true;
}

int pawl_addresses_find(const char *list, const char *provider, char ret[PAWL_ADDRESS_BYTES_MAX])
{
    size_t bytes = strlen(provider);
    struct pawl_address address;
    while (pawl_addresses_next(&list, &address)) {
        if (address.provider_bytes == bytes && memcmp(address.text, provider, bytes) == 0 &&
            address.bytes < PAWL_ADDRESS_BYTES_MAX) {
            memcpy(ret, address.text, address.bytes);
            ret[address.bytes] = '\0';
            return 0;
        }
    }
    return PAWL_EPROVIDER;
}

int pawl_addresses_add(char list[PAWL_ADDRESSES_BYTES_MAX], const char *address)
{
    size_t had = strlen(list);
    size_t bytes = strlen(address);
    size_t comma = had > 0 ? 1 : 0;
    if (bytes == 0 || bytes >= PAWL_ADDRESS_BYTES_MAX || strchr(address, ',') != NULL ||
        had + comma + bytes >= PAWL_ADDRESSES_BYTES_MAX) {
        return PAWL_EINVALID;
    }
    if (comma != 0) {
        list[had] = ',';
    }
    memcpy(list + had + comma, address, bytes + 1);
    return 0;
}

const char *pawl_addresses_providers(const char *list, char ret[PAWL_ADDRESSES_BYTES_MAX])
{
    size_t used = 0;
    struct pawl_address address;
    ret[0] = '\0';
    while (pawl_addresses_next(&list, &address)) {
        const char *between = used == 0 ? "" : *list == '\0' ? " and " : ", ";
        int bytes = snprintf(ret + used, PAWL_ADDRESSES_BYTES_MAX - used, "%s%.*s", between,
                             (int)PAWL_MIN(address.provider_bytes, (size_t)31), address.text);
        if (bytes < 0 || used + (size_t)bytes >= PAWL_ADDRESSES_BYTES_MAX) {
            break;
        }
        used += (size_t)bytes;
    }
    return used > 0 ? ret : "nothing";
}
