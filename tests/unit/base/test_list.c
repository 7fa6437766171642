// SPDX-License-Identifier: Apache-2.0
// Tests of base/list.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int number;
    struct pawl_list link;
};

static int list_digits(struct pawl_list *list)
{
    int digits = 0;
    pawl_list_for_each (node, list) {
        digits = digits * 10 + pawl_container_of(node, struct item, link)->number;
    }
    return digits;
}

static void fill(struct pawl_list *list, struct item *items, int count)
{
    pawl_list_init(list);
    for (int i = 0; i < count; i++) {
        items[i].number = i + 1;
        pawl_list_push_back(list, &items[i].link);
    }
}

static void test_list_when_pushed_then_in_order(void **state)
{
    (void)state;
    struct pawl_list list;
    struct item items[4];
    fill(&list, items, 3);
    items[3].number = 9;
    pawl_list_push_front(&list, &items[3].link);
    assert_int_equal(list_digits(&list), 9123);
    assert_ptr_equal(pawl_list_first(&list), &items[3].link);
    assert_ptr_equal(pawl_list_last(&list), &items[2].link);
}

static void test_list_when_removed_while_walking_then_others_stay(void **state)
{
    (void)state;
    struct pawl_list list;
    struct item items[5];
    fill(&list, items, 5);
    pawl_list_for_each_safe (node, &list) {
        if (pawl_container_of(node, struct item, link)->number % 2) {
            pawl_list_remove(node);
            assert_true(pawl_list_is_empty(node));
        }
    }
    assert_int_equal(list_digits(&list), 24);
    pawl_list_remove(&items[0].link); // in no list: nothing happens
    assert_int_equal(list_digits(&list), 24);
}

static void test_list_when_popped_until_empty_then_null(void **state)
{
    (void)state;
    struct pawl_list list;
    struct item items[2];
    fill(&list, items, 2);
    assert_ptr_equal(pawl_list_pop_front(&list), &items[0].link);
    assert_ptr_equal(pawl_list_pop_front(&list), &items[1].link);
    assert_null(pawl_list_pop_front(&list));
    assert_null(pawl_list_first(&list));
    assert_null(pawl_list_last(&list));
}

static void test_list_when_all_appended_then_source_is_empty(void **state)
{
    (void)state;
    struct pawl_list list;
    struct pawl_list more;
    struct item items[2];
    struct item others[3];
    fill(&list, items, 2);
    fill(&more, others, 3);
    pawl_list_append_all(&list, &more);
    assert_int_equal(list_digits(&list), 12123);
    assert_true(pawl_list_is_empty(&more));
    pawl_list_append_all(&list, &more);
    assert_int_equal(list_digits(&list), 12123);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_when_pushed_then_in_order),
        cmocka_unit_test(test_list_when_removed_while_walking_then_others_stay),
        cmocka_unit_test(test_list_when_popped_until_empty_then_null),
        cmocka_unit_test(test_list_when_all_appended_then_source_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
