// SPDX-License-Identifier: Apache-2.0
// The addresses of one chunk server, as text: "verbs://10.0.0.1:7500,tcp://10.0.0.1:7501".
//
// One for each fabric that the server offers, in its own order of preference; what stands before "://" names the
// provider. A list of one is a plain address. Who passes a list on takes it for bounded text; who connects finds
// the address of a provider that it has. Lists come from peers: nothing here trusts their form.
//
// A server of several reactors listens on as many ports in a row: "tcp://10.0.0.1:7500-7503" has four, and reactor 2
// is at "tcp://10.0.0.1:7502". An address that is no range is one of one reactor.
// Pure functions. Any thread.
#ifndef PAWL_BASE_ADDRESSES_H
#define PAWL_BASE_ADDRESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define PAWL_ADDRESSES_MAX 4u         // in a list
#define PAWL_ADDRESSES_BYTES_MAX 192u // of the text, with its terminator
#define PAWL_ADDRESS_BYTES_MAX 96u    // of one address, with its terminator
#define PAWL_ADDRESS_REACTORS_MAX 64u // ports of a range

// One address of a list: a piece of its text, BORROWED.
struct pawl_address {
    const char *text; // not terminated
    size_t bytes;
    size_t provider_bytes; // at its beginning; 0: it names none
};

// Walks a list: *cursor begins as the list. False at its end.
bool pawl_addresses_next(const char **cursor, struct pawl_address *ret);

// The address of this provider. 0, or PAWL_EPROVIDER: there is none, or one that is too long to be one.
int pawl_addresses_find(const char *list, const char *provider,
                        char ret[PAWL_ADDRESS_BYTES_MAX]) PAWL_MUST_CHECK;

// Adds one behind the others. PAWL_EINVALID: it doesn't fit, or is no single address.
int pawl_addresses_add(char list[PAWL_ADDRESSES_BYTES_MAX], const char *address) PAWL_MUST_CHECK;

// Reactors behind one address: the ports of its range; 1 when it is none, or one that makes no sense.
uint32_t pawl_address_reactors(const char *address);

// The address of one of them. 0; PAWL_EINVALID: there is no such reactor.
int pawl_address_of_reactor(const char *address, uint32_t reactor,
                            char ret[PAWL_ADDRESS_BYTES_MAX]) PAWL_MUST_CHECK;

// The range of `count` reactors, from the address of the first one: itself when it is the only one.
// PAWL_EINVALID: the address ends in no port, the ports run out, or the text is too long.
int pawl_address_range(const char *first, uint32_t count,
                       char ret[PAWL_ADDRESS_BYTES_MAX]) PAWL_MUST_CHECK;

// "verbs and tcp": the providers of a list, for people. Returns ret.
const char *pawl_addresses_providers(const char *list, char ret[PAWL_ADDRESSES_BYTES_MAX]);

#endif
