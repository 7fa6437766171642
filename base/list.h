// SPDX-License-Identifier: Apache-2.0
// Intrusive doubly linked list. The list owns nothing; a node is a member of its struct and is in
// at most one list. Owner's thread only.
#ifndef PAWL_BASE_LIST_H
#define PAWL_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

// Head of a list, or node in one. A node outside of any list points to itself.
struct pawl_list {
    struct pawl_list *next;
    struct pawl_list *prev;
};

static inline void pawl_list_init(struct pawl_list *list)
{
    list->next = list;
    list->prev = list;
}

// For a head: no nodes. For a node: in no list.
static inline bool pawl_list_is_empty(const struct pawl_list *list)
{
    return list->next == list;
}

static inline void pawl_list_insert_before(struct pawl_list *place, struct pawl_list *node)
{
    node->prev = place->prev;
    node->next = place;
    place->prev->next = node;
    place->prev = node;
}

static inline void pawl_list_push_back(struct pawl_list *list, struct pawl_list *node)
{
    pawl_list_insert_before(list, node);
}

static inline void pawl_list_push_front(struct pawl_list *list, struct pawl_list *node)
{
    pawl_list_insert_before(list->next, node);
}

// Does nothing for a node that is in no list.
static inline void pawl_list_remove(struct pawl_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    pawl_list_init(node);
}

static inline struct pawl_list *pawl_list_first(const struct pawl_list *list)
{
    return pawl_list_is_empty(list) ? NULL : list->next;
}

static inline struct pawl_list *pawl_list_last(const struct pawl_list *list)
{
    return pawl_list_is_empty(list) ? NULL : list->prev;
}

// Takes the first node out; NULL when there is none.
static inline struct pawl_list *pawl_list_pop_front(struct pawl_list *list)
{
    struct pawl_list *node = pawl_list_first(list);
    if (node) {
        pawl_list_remove(node);
    }
    return node;
}

// Moves all nodes of `from` to the end of `list`.
static inline void pawl_list_append_all(struct pawl_list *list, struct pawl_list *from)
{
    if (pawl_list_is_empty(from)) {
        return;
    }
    from->next->prev = list->prev;
    list->prev->next = from->next;
    from->prev->next = list;
    list->prev = from->prev;
    pawl_list_init(from);
}

// Walks the nodes; the body must not remove the current one.
#define pawl_list_for_each(node, list)                                                             \
    for (struct pawl_list *node = (list)->next; node != (list); node = node->next)

// Walks the nodes; the body may remove the current one.
#define pawl_list_for_each_safe(node, list)                                                        \
    for (struct pawl_list *node = (list)->next, *node##_next_ = node->next; node != (list);        \
         node = node##_next_, node##_next_ = node->next)

#endif
