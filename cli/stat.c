// SPDX-License-Identifier: Apache-2.0
// Verbs that look: stat (a file's chunks, replicas, versions, leases) and servers.
#include <getopt.h>
#include <jansson.h>
#include <string.h>

#include "base/addresses.h"
#include "cli/cli.h"

static const char *name_of(const struct pawl_chunk_info *chunk, uint64_t server_id)
{
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        if (chunk->replicas[i].server_id == server_id) {
            return chunk->replicas[i].name;
        }
    }
    return "";
}

static json_t *id_json(uint64_t id)
{
    char text[20];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)id);
    return json_string(text);
}

// A list of addresses as an array.
static json_t *addresses_json(const char *list)
{
    json_t *array = json_array();
    struct pawl_address address;
    while (pawl_addresses_next(&list, &address)) {
        json_array_append_new(array, json_stringn(address.text, address.bytes));
    }
    return array;
}

static int chunk_json(void *user, const struct pawl_chunk_info *chunk)
{
    json_t *replicas = json_array();
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        const struct pawl_replica_info *replica = &chunk->replicas[i];
        json_array_append_new(replicas,
                              json_pack("{s:o,s:s,s:o,s:s,s:b}", "server_id",
                                        id_json(replica->server_id), "name", replica->name,
                                        "addresses", addresses_json(replica->address), "state",
                                        replica->state, "damaged", replica->damaged));
    }
    json_t *item = json_pack(
        "{s:I,s:i,s:I,s:I,s:I,s:s,s:I,s:s,s:I,s:b,s:i,s:I,s:b,s:o}", "handle",
        (json_int_t)chunk->handle, "index", (int)chunk->index, "base_offset",
        (json_int_t)chunk->base_offset, "length", (json_int_t)chunk->bytes, "version",
        (json_int_t)chunk->version, "state", chunk->state, "records",
        (json_int_t)chunk->records_count, "primary", name_of(chunk, chunk->primary_id), "lease_ms",
        (json_int_t)chunk->lease_ms, "under_replicated", chunk->under_replicated, "log_chunks",
        (int)chunk->log_chunks_count, "log_bytes", (json_int_t)chunk->log_bytes,
        "log_under_replicated", chunk->log_under_replicated, "replicas", replicas);
    return json_array_append_new(user, item);
}

static int chunk_print(void *user, const struct pawl_chunk_info *chunk)
{
    (void)user;
    printf("  %4u  handle %-6llu version %-4llu %-10s base %-12llu", chunk->index,
           (unsigned long long)chunk->handle, (unsigned long long)chunk->version, chunk->state,
           (unsigned long long)chunk->base_offset);
    if (strcmp(chunk->state, "sealed") == 0) {
        printf(" bytes %llu", (unsigned long long)chunk->bytes);
    }
    if (chunk->primary_id != 0) {
        printf(" primary %s (lease %llu ms)", name_of(chunk, chunk->primary_id),
               (unsigned long long)chunk->lease_ms);
    }
    printf("\n        on");
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        const struct pawl_replica_info *replica = &chunk->replicas[i];
        printf(" %s%s%s", replica->name, strcmp(replica->state, "live") == 0 ? "" : "(down)",
               replica->damaged ? "(damaged)" : "");
    }
    printf("%s\n", chunk->under_replicated ? "  UNDER-REPLICATED" : "");
    if (chunk->log_chunks_count != 0) {
        printf("        written to: a log of %u chunks, %llu bytes in sealed ones%s\n",
               chunk->log_chunks_count, (unsigned long long)chunk->log_bytes,
               chunk->log_under_replicated ? "  UNDER-REPLICATED" : "");
    }
    return 0;
}

static int stat_json(struct pawl *pawl, const char *path, const struct pawl_stat *stat)
{
    json_t *chunks = json_array();
    int code = stat->directory ? 0 : pawl_chunks(pawl, path, chunk_json, chunks);
    json_t *root = json_pack(
        "{s:o,s:I,s:s,s:I,s:b,s:I,s:i,s:i,s:I,s:I,s:o}", "path", cli_json_text(path), "file_id",
        (json_int_t)stat->file_id, "type", stat->directory ? "directory" : "file", "bytes",
        (json_int_t)stat->bytes, "bytes_are_lower_bound", stat->tail_unknown, "chunk_bytes",
        (json_int_t)stat->chunk_bytes, "replicas", (int)stat->replicas, "min_replicas",
        (int)stat->min_replicas, "created_ms", (json_int_t)stat->created_ms, "modified_ms",
        (json_int_t)stat->modified_ms, "chunks", chunks);
    if (code == 0) {
        json_dumpf(root, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(root);
    return code;
}

static int stat_print(struct pawl *pawl, const char *path, const struct pawl_stat *stat)
{
    if (stat->directory) {
        printf("%s: directory, id %llu\n", path, (unsigned long long)stat->file_id);
        return 0;
    }
    printf("%s: %s%llu bytes in %u chunks of up to %llu bytes, replicas %u (at least %u)\n", path,
           stat->tail_unknown ? "at least " : "", (unsigned long long)stat->bytes,
           stat->chunks_count, (unsigned long long)stat->chunk_bytes, stat->replicas,
           stat->min_replicas);
    return pawl_chunks(pawl, path, chunk_print, NULL);
}

int cli_stat(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"quick", no_argument, NULL, 'q'}, {NULL, 0, NULL, 0}};
    bool quick = false;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option != 'q') {
            return cli_usage("stat", "unknown option");
        }
        quick = true;
    }
    if (argc - optind != 1) {
        return cli_usage("stat", "needs one PATH");
    }
    const char *path = argv[optind];
    struct pawl *pawl;
    int code = cli_connect(cli, &pawl);
    if (code != 0) {
        return code;
    }
    struct pawl_stat stat;
    code = quick ? pawl_stat_sealed(pawl, path, &stat) : pawl_stat(pawl, path, &stat);
    if (code == 0) {
        code = cli->json ? stat_json(pawl, path, &stat) : stat_print(pawl, path, &stat);
    }
    pawl_close(pawl);
    return code == 0 ? CLI_OK : cli_fail(path, code);
}

// ---- servers ------------------------------------------------------------------------------------

static int server_json(void *user, const struct pawl_server_info *server)
{
    json_t *item = json_pack(
        "{s:o,s:s,s:s,s:o,s:s,s:s,s:I,s:I,s:I,s:i,s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}",
        "server_id", id_json(server->server_id), "name", server->name, "address", server->address,
        "addresses", addresses_json(server->address), "location", server->location, "state",
        server->state, "space_bytes", (json_int_t)server->space_bytes, "used_bytes",
        (json_int_t)server->used_bytes, "heard_ms", (json_int_t)server->heard_ms, "chunks",
        (int)server->chunks_count, "primaries", (int)server->primaries_count, "appends",
        (json_int_t)server->appends_count, "duplicates_refused",
        (json_int_t)server->duplicates_count, "mismatches", (json_int_t)server->mismatches_count,
        "stored_bytes", (json_int_t)server->stored_bytes, "copied_bytes",
        (json_int_t)server->copied_bytes, "written_back_bytes",
        (json_int_t)server->written_back_bytes, "read_bytes", (json_int_t)server->read_bytes,
        "read_copied_bytes", (json_int_t)server->read_copied_bytes, "relayed",
        (json_int_t)server->relayed_count, "relays_failed", (json_int_t)server->relays_failed_count,
        "recycled_files", (json_int_t)server->recycled_files_count);
    return json_array_append_new(user, item);
}

static int server_print(void *user, const struct pawl_server_info *server)
{
    char used[32];
    char space[32];
    (void)user;
    printf("%-8s %-8s %-28s %10s of %-10s %6u chunks %4u leases  heard %llu ms ago%s\n",
           server->name, server->state, server->address,
           cli_bytes_text(server->used_bytes, used, sizeof used),
           cli_bytes_text(server->space_bytes, space, sizeof space), server->chunks_count,
           server->primaries_count, (unsigned long long)server->heard_ms,
           server->mismatches_count != 0 ? "  CHECKSUM MISMATCHES" : "");
    return 0;
}

static int servers_json(struct pawl *pawl)
{
    struct pawl_cluster_info info;
    json_t *array = json_array();
    int code = pawl_servers(pawl, &info, server_json, array);
    if (code != 0) {
        json_decref(array);
        return code;
    }
    json_t *root =
        json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:o}", "cluster_id", id_json(info.cluster_id), "term",
                  (json_int_t)info.term, "recoveries", (json_int_t)info.recoveries_count, "seals",
                  (json_int_t)info.seals_count, "chunks", (json_int_t)info.chunks_count,
                  "under_replicated", (json_int_t)info.under_replicated_count, "servers", array);
    json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
    return 0;
}

int cli_servers(struct cli *cli, int argc, char **argv)
{
    if (argc != 1) {
        return cli_usage("servers", "takes no argument: %s", argv[1]);
    }
    struct pawl *pawl;
    int code = cli_connect(cli, &pawl);
    if (code != 0) {
        return code;
    }
    struct pawl_cluster_info info;
    if (cli->json) {
        code = servers_json(pawl);
    } else {
        code = pawl_servers(pawl, &info, server_print, NULL);
        if (code == 0) {
            printf("%llu chunks, %llu under-replicated, %llu recoveries, %llu seals, term %llu\n",
                   (unsigned long long)info.chunks_count,
                   (unsigned long long)info.under_replicated_count,
                   (unsigned long long)info.recoveries_count, (unsigned long long)info.seals_count,
                   (unsigned long long)info.term);
        }
    }
    pawl_close(pawl);
    return code == 0 ? CLI_OK : cli_fail("servers", code);
}
