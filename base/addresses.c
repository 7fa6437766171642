// SPDX-License-Identifier: Apache-2.0
// Lists of addresses: walking, finding, adding, their providers for people; ranges of ports.
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

// ---- ranges of ports ----------------------------------------------------------------------------

// The number in [text, end), which must be digits, without one in front that says nothing.
static bool port_parse(const char *text, const char *end, uint32_t *ret)
{
    uint32_t number = 0;
    if (text == end || end - text > 9 || (*text == '0' && end - text > 1)) {
        return false;
    }
    for (; text < end; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        number = number * 10 + (uint32_t)(*text - '0');
    }
    *ret = number;
    return true;
}

struct range {
    size_t head_bytes; // of what stands before the port
    uint32_t first;
    uint32_t last;
};

// "provider://host:first-last", or "provider://host:first". A host's name may have digits and hyphens: the port
// is what follows the last colon, or the "//" of providers that have numbers only.
static bool range_parse(const char *address, struct range *ret)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL) {
        return false;
    }
    const char *port = strncmp(colon, "://", 3) == 0 ? colon + 3 : colon + 1;
    const char *end = port + strlen(port);
    const char *hyphen = strchr(port, '-');
    ret->head_bytes = (size_t)(port - address);
    if (hyphen == NULL) {
        bool is_number = port_parse(port, end, &ret->first);
        ret->last = ret->first;
        return is_number;
    }
    return port_parse(port, hyphen, &ret->first) && port_parse(hyphen + 1, end, &ret->last) &&
           ret->last > ret->first && ret->last - ret->first < PAWL_ADDRESS_REACTORS_MAX;
}

uint32_t pawl_address_reactors(const char *address)
{
    struct range range = {0};
    return range_parse(address, &range) ? range.last - range.first + 1 : 1;
}

static int text_fits(int bytes)
{
    return bytes < 0 || (size_t)bytes >= PAWL_ADDRESS_BYTES_MAX ? PAWL_EINVALID : 0;
}

int pawl_address_of_reactor(const char *address, uint32_t reactor, char ret[PAWL_ADDRESS_BYTES_MAX])
{
    struct range range = {0};
    if (!range_parse(address, &range) || range.first == range.last) {
        return reactor != 0 ? PAWL_EINVALID
                            : text_fits(snprintf(ret, PAWL_ADDRESS_BYTES_MAX, "%s", address));
    }
    if (reactor > range.last - range.first) {
        return PAWL_EINVALID;
    }
    return text_fits(snprintf(ret, PAWL_ADDRESS_BYTES_MAX, "%.*s%u", (int)range.head_bytes, address,
                              range.first + reactor));
}

int pawl_address_range(const char *first, uint32_t count, char ret[PAWL_ADDRESS_BYTES_MAX])
{
    struct range range = {0};
    if (count == 1) {
        return text_fits(snprintf(ret, PAWL_ADDRESS_BYTES_MAX, "%s", first));
    }
    if (count == 0 || count > PAWL_ADDRESS_REACTORS_MAX || !range_parse(first, &range) ||
        range.first != range.last) {
        return PAWL_EINVALID;
    }
    return text_fits(
        snprintf(ret, PAWL_ADDRESS_BYTES_MAX, "%s-%u", first, range.first + count - 1));
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
