// SPDX-License-Identifier: Apache-2.0
// Tests of slabs, slots of a window, and mailboxes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>

#include "dataplane/chunkd/chunkd_private.h"

static void test_slab_name_when_given_back_finds_nothing(void **state)
{
    (void)state;
    struct slab slab;
    uint64_t first = 0;
    uint64_t second = 0;
    slab_init(&slab, 24, 10);
    void *item = slab_get(&slab, &first);
    assert_non_null(item);
    assert_ptr_equal(slab_find(&slab, first), item);
    slab_put(&slab, first);
    assert_null(slab_find(&slab, first));
    assert_ptr_equal(slab_get(&slab, &second), item); // the place is used again, the name isn't
    assert_true(second != first && second != 0);
    assert_null(slab_find(&slab, first));
    assert_null(slab_find(&slab, 0));
    assert_null(slab_find(&slab, 5));
    slab_fini(&slab);
}

static void test_slab_when_limit_is_reached_gives_null(void **state)
{
    (void)state;
    struct slab slab;
    uint64_t names[200];
    slab_init(&slab, 8, 200);
    for (int i = 0; i < 200; i++) {
        uint64_t *item = slab_get(&slab, &names[i]);
        assert_non_null(item);
        *item = names[i];
    }
    uint64_t none;
    assert_null(slab_get(&slab, &none));
    for (int i = 0; i < 200; i++) {
        assert_int_equal(*(uint64_t *)slab_find(&slab, names[i]), names[i]);
    }
    uint32_t cursor = 0;
    int count = 0;
    while (slab_next(&slab, &cursor) != NULL) {
        count++;
    }
    assert_int_equal(count, 200);
    slab_put(&slab, names[17]);
    assert_non_null(slab_get(&slab, &none));
    slab_fini(&slab);
}

static void test_slots_take_when_run_is_free_takes_the_first(void **state)
{
    (void)state;
    uint64_t used = 0;
    assert_int_equal(slots_take(&used, 8, 3), 0);
    assert_int_equal(slots_take(&used, 8, 3), 3);
    assert_int_equal(slots_take(&used, 8, 3), -1); // two are left
    used &= ~slots_mask(0, 3);
    assert_int_equal(slots_take(&used, 8, 2), 0);
    assert_int_equal(slots_take(&used, 8, 2), 6);
    assert_int_equal(slots_take(&used, 8, 1), 2);
    assert_int_equal(slots_take(&used, 8, 1), -1);
    assert_int_equal(used, 0xff);
    used = 0;
    assert_int_equal(slots_take(&used, 64, 64), 0);
    assert_true(used == UINT64_MAX);
    assert_int_equal(slots_take(&used, 64, 1), -1);
}

static void test_mailbox_when_ring_is_full_keeps_mails_in_order(void **state)
{
    (void)state;
    struct mailbox box;
    assert_int_equal(mailbox_init(&box), 0);
    for (uint64_t i = 0; i < 3000; i++) {
        struct mail *mail = mail_new(MAIL_REPORT);
        mail->handle = i;
        mailbox_post(&box, mail);
    }
    struct pollfd poll_fd = {.fd = mailbox_fd(&box), .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 0), 1);
    mailbox_clear(&box);
    assert_int_equal(poll(&poll_fd, 1, 0), 0);
    uint64_t expected = 0;
    while (expected < 2500) {
        struct mail *mail = mailbox_take(&box);
        if (mail == NULL) {
            mailbox_flush(&box);
            assert_int_equal(poll(&poll_fd, 1, 0), 1); // it was woken again
            mail = mailbox_take(&box);
        }
        assert_int_equal(mail->handle, expected);
        expected++;
        mail_free(mail);
    }
    mailbox_fini(&box); // frees the rest
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slab_name_when_given_back_finds_nothing),
        cmocka_unit_test(test_slab_when_limit_is_reached_gives_null),
        cmocka_unit_test(test_slots_take_when_run_is_free_takes_the_first),
        cmocka_unit_test(test_mailbox_when_ring_is_full_keeps_mails_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
