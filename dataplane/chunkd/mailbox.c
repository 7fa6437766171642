// SPDX-License-Identifier: Apache-2.0
// Mailboxes: a ring of mails, an eventfd that wakes the reader, a list of what did not fit.
#include "dataplane/chunkd/mailbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"

#define MAILBOX_RING_COUNT 1024u

struct mail *mail_new(enum mail_type type)
{
    struct mail *mail = calloc(1, sizeof(*mail));
    if (mail != NULL) {
        mail->type = type;
    }
    return mail;
}

void mail_free(struct mail *mail)
{
    if (mail == NULL) {
        return;
    }
    if (mail->command != NULL) {
        pawl__request__free_unpacked(mail->command, NULL);
    }
    free(mail->leases);
    free(mail->replicas);
    free(mail->bytes);
    free(mail);
}

int mailbox_init(struct mailbox *box)
{
    memset(box, 0, sizeof(*box));
    box->waiting_last = &box->waiting_first;
    box->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (box->fd < 0) {
        return -errno;
    }
    int code = pawl_spsc_init(&box->ring, pawl_alloc_heap(), MAILBOX_RING_COUNT);
    if (code != 0) {
        close(box->fd);
        box->fd = -1;
    }
    return code;
}

void mailbox_fini(struct mailbox *box)
{
    struct mail *mail;
    while ((mail = pawl_spsc_pop(&box->ring)) != NULL) {
        mail_free(mail);
    }
    while ((mail = box->waiting_first) != NULL) {
        box->waiting_first = mail->next;
        mail_free(mail);
    }
    pawl_spsc_fini(&box->ring);
    close(box->fd);
    box->fd = -1;
}

void mailbox_flush(struct mailbox *box)
{
    bool moved = false;
    while (box->waiting_first != NULL) {
        struct mail *mail = box->waiting_first;
        struct mail *next = mail->next; // the reader owns the mail once it is pushed
        if (!pawl_spsc_push(&box->ring, mail)) {
            break;
        }
        box->waiting_first = next;
        if (next == NULL) {
            box->waiting_last = &box->waiting_first;
        }
        moved = true;
    }
    if (moved) {
        // It fails only with EAGAIN at a full counter, and then the reader is awake anyway.
        uint64_t one = 1;
        ssize_t written = write(box->fd, &one, sizeof(one));
        (void)written;
    }
}

void mailbox_post(struct mailbox *box, struct mail *mail)
{
    mail->next = NULL;
    *box->waiting_last = mail;
    box->waiting_last = &mail->next;
    mailbox_flush(box);
}

struct mail *mailbox_take(struct mailbox *box)
{
    return pawl_spsc_pop(&box->ring);
}

int mailbox_fd(const struct mailbox *box)
{
    return box->fd;
}

void mailbox_clear(struct mailbox *box)
{
    uint64_t count;
    ssize_t got = read(box->fd, &count, sizeof(count));
    (void)got;
}
