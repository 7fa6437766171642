// SPDX-License-Identifier: Apache-2.0
// Reads a scenario: what is common, then its cases, each with rules, expectations and a trace.
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"

struct parser {
    const char *path;
    uint32_t line;
    bool failed;
    struct golden_scenario *scenario;
    struct golden_case common; // rules and settings before the first case
    struct golden_case *at;
    bool in_trace;
    bool cased;
    uint32_t sentences;
};

void golden_text_add(struct golden_text *text, const char *format, ...)
{
    char line[2 * GOLDEN_TEXT];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    size_t bytes = PAWL_MIN((size_t)n, sizeof(line) - 1);
    if (text->bytes + bytes + 2 > text->capacity) {
        text->capacity = 2 * text->capacity + bytes + 4096;
        text->data = realloc(text->data, text->capacity);
        pawl_assert(text->data != NULL);
    }
    memcpy(text->data + text->bytes, line, bytes);
    text->bytes += bytes;
    text->data[text->bytes++] = '\n';
    text->data[text->bytes] = 0;
}

static void wrong(struct parser *p, const char *what, const char *word)
{
    fprintf(stderr, "%s:%u: %s: %s\n", p->path, p->line, what, word != NULL ? word : "(nothing)");
    p->failed = true;
}

bool golden_time(const char *word, uint64_t *ret_ns)
{
    char *end = NULL;
    double value = word != NULL && isdigit((unsigned char)word[0]) ? strtod(word, &end) : -1;
    double unit = end == NULL               ? 0
                  : strcmp(end, "s") == 0   ? 1e9
                  : strcmp(end, "ms") == 0  ? 1e6
                  : strcmp(end, "us") == 0  ? 1e3
                  : *end == 0 && value == 0 ? 1
                                            : 0;
    *ret_ns = (uint64_t)(value * unit + 0.5);
    return unit != 0;
}

static char *next_word(char **save)
{
    return strtok_r(NULL, " ", save);
}

static uint64_t take_time(struct parser *p, const char *word)
{
    uint64_t ns = 0;
    if (!golden_time(word, &ns)) {
        wrong(p, "a time is 0 or a number with s, ms or us", word);
    }
    return ns;
}

static uint64_t take_number(struct parser *p, const char *word)
{
    char *end = NULL;
    uint64_t value = word != NULL ? strtoull(word, &end, 10) : 0;
    if (word == NULL || end == word || *end != 0) {
        wrong(p, "a number is wanted", word);
    }
    return value;
}

static void take_name(struct parser *p, const char *word, char name[8])
{
    if (word == NULL || strlen(word) >= 8) {
        wrong(p, "a name is wanted", word);
        return;
    }
    strcpy(name, word);
}

static void take_between(struct parser *p, const char *wanted, char **save)
{
    const char *word = next_word(save);
    if (word == NULL || strcmp(word, wanted) != 0) {
        wrong(p, wanted, word);
    }
}

// "A - B" or "A > B"
static void take_pair(struct parser *p, struct golden_action *action, char **save)
{
    take_name(p, next_word(save), action->node);
    const char *arrow = next_word(save);
    if (arrow == NULL || (strcmp(arrow, "-") != 0 && strcmp(arrow, ">") != 0)) {
        wrong(p, "'-' or '>' is wanted", arrow);
        return;
    }
    action->one_way = arrow[0] == '>';
    take_name(p, next_word(save), action->other);
}

// Of writes at an offset. False: it is another action.
static bool take_write_action(struct parser *p, struct golden_action *action, const char *verb,
                              char **save)
{
    const struct {
        const char *word;
        enum golden_verb verb;
    } verbs[] = {{"opens", GOLDEN_OPENS},
                 {"write", GOLDEN_WRITE},
                 {"read", GOLDEN_READ},
                 {"seal", GOLDEN_SEAL},
                 {"extend", GOLDEN_EXTEND}};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(verbs); i++) {
        action->verb = strcmp(verb, verbs[i].word) == 0 ? verbs[i].verb : action->verb;
    }
    switch (action->verb) {
    case GOLDEN_WRITE:
        action->bytes = (uint32_t)take_number(p, next_word(save));
        take_between(p, "at", save);
        action->number = take_number(p, next_word(save));
        if (action->bytes < 8 || action->bytes > WIRE_INLINE_MAX) {
            wrong(p, "a write has 8 to 8192 bytes", NULL);
        }
        return true;
    case GOLDEN_READ:
        take_name(p, next_word(save), action->chunk);
        take_between(p, "from", save);
        take_name(p, next_word(save), action->other);
        return true;
    case GOLDEN_EXTEND:
        take_between(p, "to", save);
        action->number = take_number(p, next_word(save));
        return true;
    case GOLDEN_OPENS:
    case GOLDEN_SEAL:
        take_name(p, next_word(save), action->chunk);
        return true;
    default:
        return false;
    }
}

static void take_client_action(struct parser *p, struct golden_action *action, const char *word,
                               char **save)
{
    const char *verb = next_word(save);
    take_name(p, word, action->node);
    action->number = 1;
    if (verb != NULL && strcmp(verb, "append") == 0) {
        action->verb = GOLDEN_APPEND;
        action->bytes = (uint32_t)take_number(p, next_word(save));
        char *times = next_word(save);
        if (times != NULL && strcmp(times, "times") == 0) {
            action->number = take_number(p, next_word(save));
        } else if (times != NULL) {
            wrong(p, "'times' is wanted", times);
        }
        if (action->bytes < 8 || action->bytes > WIRE_INLINE_MAX) {
            wrong(p, "a record has 8 to 8192 bytes", NULL);
        }
    } else if (verb != NULL && (strcmp(verb, "repeat") == 0 || strcmp(verb, "forge") == 0)) {
        action->verb = verb[0] == 'r' ? GOLDEN_REPEAT : GOLDEN_FORGE;
        action->number = take_number(p, next_word(save));
    } else if (verb == NULL || !take_write_action(p, action, verb, save)) {
        wrong(p, "unknown action", verb != NULL ? verb : word);
    }
}

static void parse_action(struct parser *p, struct golden_action *action, char *text)
{
    char *save = NULL;
    char *word = strtok_r(text, " ", &save);
    if (word != NULL && strcmp(word, "after") == 0) {
        action->after_ns = take_time(p, next_word(&save));
        word = next_word(&save);
    }
    if (word == NULL) {
        wrong(p, "an action is wanted", NULL);
    } else if (strcmp(word, "crash") == 0) {
        action->verb = GOLDEN_CRASH;
        take_name(p, next_word(&save), action->node);
        const char *keep = next_word(&save);
        action->number = keep != NULL ? take_number(p, next_word(&save)) : 0;
    } else if (strcmp(word, "start") == 0) {
        action->verb = GOLDEN_START;
        take_name(p, next_word(&save), action->node);
    } else if (strcmp(word, "freeze") == 0) {
        action->verb = GOLDEN_FREEZE;
        take_name(p, next_word(&save), action->node);
        action->time_ns = take_time(p, next_word(&save));
    } else if (strcmp(word, "cut") == 0) {
        action->verb = GOLDEN_CUT;
        take_pair(p, action, &save);
        action->time_ns = take_time(p, next_word(&save));
    } else if (strcmp(word, "reset") == 0) {
        action->verb = GOLDEN_RESET;
        take_pair(p, action, &save);
    } else if (strcmp(word, "lose") == 0) {
        action->verb = GOLDEN_LOSE;
    } else if (strcmp(word, "hold") == 0) {
        action->verb = GOLDEN_HOLD;
        action->time_ns = take_time(p, next_word(&save));
    } else if (strcmp(word, "twice") == 0) {
        action->verb = GOLDEN_TWICE;
        char *time = next_word(&save);
        action->time_ns = time != NULL ? take_time(p, time) : 0;
    } else {
        take_client_action(p, action, word, &save);
    }
    const char *rest = next_word(&save);
    if (rest != NULL && !p->failed) {
        wrong(p, "this is too much", rest);
    }
}

// Actions between ';'.
static void parse_actions(struct parser *p, struct golden_rule *rule, char *text)
{
    while (text != NULL && !p->failed) {
        char *next = strstr(text, " ; ");
        if (next != NULL) {
            *next = 0;
            next += 3;
        }
        if (rule->actions_count == GOLDEN_ACTIONS_MAX) {
            wrong(p, "too many actions", text);
            return;
        }
        parse_action(p, &rule->actions[rule->actions_count++], text);
        text = next;
    }
}

static void parse_rule(struct parser *p, char *text, bool timed)
{
    if (p->at->rules_count == GOLDEN_RULES_MAX) {
        wrong(p, "too many rules", text);
        return;
    }
    struct golden_rule *rule = &p->at->rules[p->at->rules_count++];
    *rule = (struct golden_rule){.timed = timed, .nth = 1, .line = p->line};
    char *actions = strstr(text, timed ? " " : " : ");
    if (actions == NULL) {
        wrong(p, "an action is wanted", text);
        return;
    }
    *actions = 0;
    actions += timed ? 1 : 3;
    if (timed) {
        rule->at_ns = take_time(p, text);
    } else {
        char *end = NULL;
        unsigned long nth = strtoul(text, &end, 10);
        if (end != text && *end == ' ') {
            rule->nth = (uint32_t)nth;
            text = end + 1;
        }
        snprintf(rule->pattern, sizeof(rule->pattern), "%s", text);
    }
    parse_actions(p, rule, actions);
}

static void parse_cluster(struct parser *p, char *text)
{
    struct sim_params *params = &p->at->params;
    const struct {
        const char *name;
        uint32_t *value;
    } settings[] = {
        {"servers", &params->servers_count}, {"clients", &params->clients_count},
        {"replicas", &params->replicas},     {"min", &params->min_replicas},
        {"chunk", &params->chunk_bytes},     {"lease", &params->lease_ms},
        {"suspect", &params->suspect_ms},    {"dead", &params->dead_ms},
        {"command", &params->command_ms},    {"attempt", &params->attempt_ms},
        {"deadline", &params->deadline_ms},  {"depth", &params->depth_max},
        {"writers", &params->writers_count},
    };
    char *save = NULL;
    for (char *word = strtok_r(text, " ", &save); word != NULL; word = next_word(&save)) {
        uint32_t *value = NULL;
        for (size_t i = 0; i < PAWL_ARRAY_COUNT(settings); i++) {
            value = strcmp(word, settings[i].name) == 0 ? settings[i].value : value;
        }
        if (value != NULL) {
            *value = (uint32_t)take_number(p, next_word(&save));
        } else if (strcmp(word, "named") == 0) {
            params->named = true;
        } else if (strcmp(word, "shared") == 0) {
            params->named = params->shared_name = true;
        } else {
            wrong(p, "unknown setting", word);
        }
    }
    if (params->servers_count > SIM_SERVERS_MAX || params->clients_count > SIM_CLIENTS_MAX) {
        wrong(p, "too many servers or clients", NULL);
    }
    if (params->writers_count >= params->clients_count) {
        wrong(p, "the first client appends", NULL);
    }
}

static void parse_draws(struct parser *p, char *text)
{
    char *save = NULL;
    p->at->draws_count = 0;
    for (char *word = strtok_r(text, " ", &save); word != NULL; word = next_word(&save)) {
        if (p->at->draws_count < GOLDEN_DRAWS_MAX) {
            take_name(p, word, p->at->draws[p->at->draws_count++]);
        }
    }
}

static void parse_expect(struct parser *p, const char *text)
{
    if (p->at->expects_count == GOLDEN_EXPECTS_MAX) {
        wrong(p, "too many expectations", text);
        return;
    }
    struct golden_expect *expect = &p->at->expects[p->at->expects_count++];
    snprintf(expect->text, sizeof(expect->text), "%s", text);
    expect->line = p->line;
}

static void case_begin(struct parser *p, const char *name)
{
    struct golden_scenario *scenario = p->scenario;
    if (scenario->cases_count == GOLDEN_CASES_MAX) {
        wrong(p, "too many cases", name);
        return;
    }
    bool first = scenario->cases_count == 0;
    struct golden_case *test = &scenario->cases[scenario->cases_count++];
    struct golden_text before = first ? p->common.before : (struct golden_text){0};
    *test = p->common;
    test->before = before;
    test->trace = (struct golden_text){0};
    snprintf(test->name, sizeof(test->name), "%s", name);
    p->at = test;
    p->in_trace = false;
}

static void parse_later(struct parser *p, const char *text)
{
    bool server = strncmp(text, "cs", 2) == 0;
    uint32_t number = (uint32_t)take_number(p, text[0] == 'c' ? text + 1 + server : NULL);
    if (number == 0 || number > (server ? SIM_SERVERS_MAX : SIM_CLIENTS_MAX)) {
        wrong(p, "the name of a client or a chunk server is wanted", text);
    } else if (server) {
        p->at->later_servers[number - 1] = true;
    } else {
        p->at->later[number - 1] = true;
    }
}

static void parse_line(struct parser *p, char *line)
{
    char *rest = strchr(line, ' ');
    size_t bytes = rest != NULL ? (size_t)(rest - line) : strlen(line);
    const struct {
        const char *word;
        int what;
    } words[] = {{"cluster", 1}, {"at", 2},    {"when", 3},  {"expect", 4}, {"draws", 5},
                 {"later", 6},   {"until", 7}, {"trace", 8}, {"cold", 9}};
    int what = 0;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(words); i++) {
        what = strlen(words[i].word) == bytes && memcmp(line, words[i].word, bytes) == 0
                   ? words[i].what
                   : what;
    }
    if (what == 0 || ((rest == NULL) != (what >= 8))) {
        wrong(p, "what is this", line);
        return;
    }
    rest = rest != NULL ? rest + strspn(rest, " ") : line;
    switch (what) {
    case 1:
        parse_cluster(p, rest);
        break;
    case 2:
    case 3:
        parse_rule(p, rest, what == 2);
        break;
    case 4:
        parse_expect(p, rest);
        break;
    case 5:
        parse_draws(p, rest);
        break;
    case 6:
        parse_later(p, rest);
        break;
    case 7:
        p->at->until_ns = take_time(p, rest);
        break;
    case 8:
        p->in_trace = true;
        break;
    default:
        p->at->cold = true;
        break;
    }
}

static void count_sentences(struct parser *p, const char *line)
{
    for (const char *c = line; *c != 0; c++) {
        bool ends = *c == '.' || *c == '?' || *c == '!';
        p->sentences += ends && (c[1] == ' ' || c[1] == 0) ? 1 : 0;
    }
}

static void parse_any(struct parser *p, char *line)
{
    bool blank = line[0] == 0;
    if (p->in_trace && (blank || line[0] == ' ')) {
        if (!blank) {
            golden_text_add(&p->at->trace, "%s", line);
        }
        return;
    }
    if (strncmp(line, "case ", 5) == 0) {
        case_begin(p, line + 5);
    } else if (p->in_trace) {
        wrong(p, "after a trace there is only another case", line);
    } else if (p->scenario->cases_count == 0 && strcmp(line, "trace") == 0) {
        case_begin(p, "");
    }
    if (p->failed) {
        return;
    }
    golden_text_add(&p->at->before, "%s", line);
    if (line[0] == '#') {
        count_sentences(p, line);
    } else if (!blank && strncmp(line, "case ", 5) != 0) {
        parse_line(p, line);
    }
}

static void defaults(struct golden_case *test)
{
    test->params = (struct sim_params){.servers_count = 3,
                                       .clients_count = 1,
                                       .files_count = 1,
                                       .replicas = 3,
                                       .min_replicas = 2,
                                       .chunk_bytes = 65536,
                                       .depth_max = 32,
                                       .deadline_ms = 30000,
                                       .attempt_ms = 600,
                                       .lease_ms = 2000,
                                       .suspect_ms = 1000,
                                       .dead_ms = 3000,
                                       .command_ms = 1000};
    strcpy(test->draws[0], "cs1");
    test->draws_count = 1;
    test->until_ns = 1000 * SIM_MS;
}

bool golden_read(const char *path, struct golden_scenario *ret)
{
    char line[2 * GOLDEN_TEXT];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        return false;
    }
    *ret = (struct golden_scenario){.path = path};
    ret->cases = sim_alloc(GOLDEN_CASES_MAX * sizeof(ret->cases[0]));
    struct parser *p = sim_alloc(sizeof(*p));
    p->path = path;
    p->scenario = ret;
    p->at = &p->common;
    defaults(&p->common);
    while (!p->failed && fgets(line, sizeof(line), file) != NULL) {
        p->line++;
        size_t bytes = strcspn(line, "\n");
        while (bytes > 0 && line[bytes - 1] == ' ') {
            bytes--;
        }
        line[bytes] = 0;
        parse_any(p, line);
    }
    fclose(file);
    if (!p->failed && (ret->cases_count == 0 || !p->in_trace)) {
        wrong(p, "a scenario ends with its trace", NULL);
    }
    if (!p->failed && (p->sentences < 2 || p->sentences > 6 + 2 * ret->cases_count)) {
        wrong(p, "a scenario begins with two to six sentences that explain it", NULL);
    }
    bool right = !p->failed;
    if (ret->cases_count == 0) {
        free(p->common.before.data);
    }
    free(p);
    return right;
}

void golden_scenario_free(struct golden_scenario *scenario)
{
    for (uint32_t i = 0; i < scenario->cases_count; i++) {
        free(scenario->cases[i].before.data);
        free(scenario->cases[i].trace.data);
    }
    free(scenario->cases);
}
