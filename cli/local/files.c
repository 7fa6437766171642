// SPDX-License-Identifier: Apache-2.0
// Files of the local cluster: cluster.yaml and the daemons' configurations.
#include <arpa/inet.h>
#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pawl/error.h>

#include "cli/local/local.h"

struct cluster_yaml {
    char *master;
    char *provider;
    uint32_t servers;
};

static const cyaml_schema_field_t cluster_fields[] = {
    CYAML_FIELD_STRING_PTR("master", CYAML_FLAG_POINTER, struct cluster_yaml, master, 3, 255),
    CYAML_FIELD_STRING_PTR("provider", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                           struct cluster_yaml, provider, 1, 31),
    CYAML_FIELD_UINT("servers", CYAML_FLAG_OPTIONAL, struct cluster_yaml, servers),
    CYAML_FIELD_END};

static const cyaml_schema_value_t cluster_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct cluster_yaml, cluster_fields)};

int local_load_file(const char *path, struct local_cluster *ret,
                    struct pawl_config_error *ret_error)
{
    struct cluster_yaml *yaml = NULL;
    int code = pawl_config_load(path, &cluster_schema, (void **)&yaml, ret_error);
    if (code != 0) {
        return code;
    }
    if (yaml->servers > LOCAL_SERVERS_MAX) {
        code = pawl_config_refuse(ret_error, path, "servers: %u, at most %u are right",
                                  yaml->servers, LOCAL_SERVERS_MAX);
    }
    snprintf(ret->master, sizeof ret->master, "%s", yaml->master);
    snprintf(ret->provider, sizeof ret->provider, "%s",
             yaml->provider != NULL ? yaml->provider : "tcp");
    ret->servers_count = yaml->servers;
    pawl_config_free(&cluster_schema, yaml);
    return code;
}

int local_load(const char *dir, struct local_cluster *ret, struct pawl_config_error *ret_error)
{
    char path[PATH_MAX];
    *ret = (struct local_cluster){0};
    snprintf(ret->dir, sizeof ret->dir, "%s", dir);
    if (snprintf(path, sizeof path, "%s/cluster.yaml", dir) >= (int)sizeof path) {
        (void)pawl_config_refuse(ret_error, dir, "is too long a name");
        return -ENAMETOOLONG;
    }
    if (access(path, F_OK) != 0) {
        (void)pawl_config_refuse(ret_error, path, "is not there");
        return PAWL_ENOTFOUND;
    }
    return local_load_file(path, ret, ret_error);
}

// A free port now. It is kept in the configuration, so that servers find the master again.
int local_free_port(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int code = bind(fd, (struct sockaddr *)&address, bytes) != 0 ||
                       getsockname(fd, (struct sockaddr *)&address, &bytes) != 0
                   ? -errno
                   : 0;
    close(fd);
    *ret_port = ntohs(address.sin_port);
    return code;
}

static int make_dir(const char *path)
{
    return mkdir(path, 0777) == 0 || errno == EEXIST ? 0 : -errno;
}

static int make_parents(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int code = make_dir(copy);
        if (code != 0) {
            return code;
        }
        *slash = '/';
    }
    return make_dir(copy);
}

static int write_config(const struct local_cluster *cluster, uint32_t i)
{
    char id[LOCAL_ID_MAX];
    char dir[PATH_MAX];
    char path[PATH_MAX + 16];
    local_id(i, id);
    if (snprintf(dir, sizeof dir, "%s/%s", cluster->dir, id) >= (int)sizeof dir) {
        return -ENAMETOOLONG;
    }
    int code = make_dir(dir);
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    if (code != 0 || access(path, F_OK) == 0) {
        return code; // somebody may have edited it
    }
    FILE *file = fopen(path, "we");
    if (file == NULL) {
        return -errno;
    }
    if (i == 0) {
        fprintf(file, "listen: %s\ndir: %s/data\n", cluster->master, dir);
    } else {
        fprintf(file,
                "master: %s\nname: %s\ndir: %s/data\nfabric:\n  provider: %s\n"
                "  host: 127.0.0.1\n",
                cluster->master, id, dir, cluster->provider);
        if (cluster->route[0] != '\0') {
            fprintf(file, "push:\n  route: %s\n", cluster->route);
        }
    }
    return fclose(file) == 0 ? 0 : -errno;
}

int local_create(const struct local_cluster *cluster)
{
    char path[PATH_MAX];
    char temporary[PATH_MAX];
    int code = make_parents(cluster->dir);
    for (uint32_t i = 0; code == 0 && i <= cluster->servers_count; i++) {
        code = write_config(cluster, i);
    }
    if (code != 0) {
        return code;
    }
    if (snprintf(path, sizeof path, "%s/cluster.yaml", cluster->dir) >= (int)sizeof path ||
        snprintf(temporary, sizeof temporary, "%s/cluster.yaml.new", cluster->dir) >=
            (int)sizeof temporary) {
        return -ENAMETOOLONG;
    }
    FILE *file = fopen(temporary, "we");
    if (file == NULL) {
        return -errno;
    }
    fprintf(file, "master: %s\nprovider: %s\nservers: %u\n", cluster->master, cluster->provider,
            cluster->servers_count);
    if (fclose(file) != 0 || rename(temporary, path) != 0) {
        return -errno;
    }
    return 0;
}
