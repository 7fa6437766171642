// SPDX-License-Identifier: Apache-2.0
// Error codes of Pawl: every function returns 0 or one of these, or a negative errno.
//
// Each code carries its text and its reaction class: what a client that meets it does next.
#ifndef PAWL_ERROR_H
#define PAWL_ERROR_H

#include <pawl/api.h>

#ifdef __cplusplus
extern "C" {
#endif

// What the holder of an operation does when it meets an error.
enum pawl_reaction {
    PAWL_REACTION_RETRY = 1,      // the same request to the same server, after a pause
    PAWL_REACTION_REFRESH = 2,    // ask the master for the chunk's place again, then retry
    PAWL_REACTION_NEXT_CHUNK = 3, // the file has, or is about to get, a newer tail
    PAWL_REACTION_FAILOVER = 4,   // another replica; tell the master what was seen
    PAWL_REACTION_GIVE_UP = 5,    // final: report it to the caller
};

// X(NAME, number, text, reaction)
#define PAWL_ERRORS(X)                                                                             \
    X(PAWL_ESTALE, -10001, "version is not current", REFRESH)                                      \
    X(PAWL_ENOTPRIMARY, -10002, "server holds no lease for this chunk", REFRESH)                   \
    X(PAWL_ECHUNKFULL, -10003, "chunk is full", NEXT_CHUNK)                                        \
    X(PAWL_EEXPECT, -10004, "an earlier sequence of this producer is missing", RETRY)              \
    X(PAWL_EIDREUSED, -10005, "record id was used before with another payload", GIVE_UP)           \
    X(PAWL_EFENCED, -10006, "a newer instance of this producer has taken over", GIVE_UP)           \
    X(PAWL_EEARLIER, -10007, "record lies in an earlier chunk", NEXT_CHUNK)                        \
    X(PAWL_EBUSY, -10008, "server is busy or the chunk is being recovered", RETRY)                 \
    X(PAWL_ECORRUPT, -10009, "stored bytes do not match their checksum", FAILOVER)                 \
    X(PAWL_EBADPAYLOAD, -10010, "received bytes do not match their checksum", RETRY)               \
    X(PAWL_EDISCONNECTED, -10011, "connection was lost", FAILOVER)                                 \
    X(PAWL_EDEADLINE, -10012, "deadline has passed", GIVE_UP)                                      \
    X(PAWL_EUNKNOWN, -10013, "outcome is unknown: resolve the record by its id", GIVE_UP)          \
    X(PAWL_ENOSPACE, -10014, "no chunk server has enough free space", RETRY)                       \
    X(PAWL_ENOSERVERS, -10015, "fewer live chunk servers than the file's minimum", RETRY)          \
    X(PAWL_ENOTFOUND, -10016, "no such file or directory", GIVE_UP)                                \
    X(PAWL_EEXISTS, -10017, "file or directory exists", GIVE_UP)                                   \
    X(PAWL_ENOTEMPTY, -10018, "directory is not empty", GIVE_UP)                                   \
    X(PAWL_EISDIR, -10019, "is a directory", GIVE_UP)                                              \
    X(PAWL_ENOTDIR, -10020, "is not a directory", GIVE_UP)                                         \
    X(PAWL_EDELETED, -10021, "file was deleted", GIVE_UP)                                          \
    X(PAWL_EINVALID, -10022, "invalid argument", GIVE_UP)                                          \
    X(PAWL_ETOOLARGE, -10023, "record is larger than the file allows", GIVE_UP)                    \
    X(PAWL_EPROTOCOL, -10024, "peer broke the protocol or speaks another version", GIVE_UP)        \
    X(PAWL_ELIMIT, -10025, "a limit is reached", GIVE_UP)                                          \
    X(PAWL_EDAMAGED, -10026, "data is damaged on every reachable replica", GIVE_UP)                \
    X(PAWL_ENOCHUNK, -10027, "server has no such chunk", REFRESH)                                  \
    X(PAWL_ECHANGED, -10028, "source changed since the transfer began", GIVE_UP)                   \
    X(PAWL_ECLUSTER, -10029, "peer belongs to another cluster", GIVE_UP)                           \
    X(PAWL_EABSENT, -10030, "record is not in the file", GIVE_UP)                                  \
    X(PAWL_EINTERNAL, -10031, "internal error", GIVE_UP)                                           \
    X(PAWL_ESHUTDOWN, -10032, "peer is shutting down", FAILOVER)                                   \
    X(PAWL_EFORMAT, -10033, "unknown or damaged on-disk format", GIVE_UP)                          \
    X(PAWL_EPASTEND, -10034, "range lies past the end of the file: extend it first", GIVE_UP)      \
    X(PAWL_ESESSION, -10040, "client's session has ended: open appends are unknown", GIVE_UP)      \
    X(PAWL_EHISTORY, -10045, "the master's log lacks what its cluster has seen", GIVE_UP)          \
    X(PAWL_EPROVIDER, -10050, "server has no address of a provider that is spoken here", GIVE_UP)  \
    X(PAWL_ELOST, -10055, "records that were acknowledged in memory only are lost", GIVE_UP)

#define PAWL_ERROR_ENUM(name, number, text, reaction) name = (number),
enum pawl_error { PAWL_ERRORS(PAWL_ERROR_ENUM) };
#undef PAWL_ERROR_ENUM

// Text of an error code of Pawl or of a negative errno. Static storage; never NULL. Any thread.
PAWL_API const char *pawl_strerror(int code);

// Reaction class of a code; GIVE_UP for 0 and for codes nobody knows. Any thread.
PAWL_API enum pawl_reaction pawl_error_reaction(int code);

#ifdef __cplusplus
}
#endif
#endif
