/* Shared by the shim's C files; nothing of this is seen by Python. */
#ifndef ORPHANGUARD_SHIM_H
#define ORPHANGUARD_SHIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim_api.h"

#pragma GCC visibility push(hidden)

/* Inside, whoever can fail fills *err, when it is not NULL, and returns -1. */
struct og_error {
    int code;
    const char *call;
};

static inline int og_fail(struct og_error *err, int code, const char *call)
{
    if (err) {
        err->code = code;
        err->call = call;
    }
    return -1;
}

/* To the outside: -errno, with the name of the call kept for og_failed_call(). */
int og_report(const struct og_error *err);

/* --- fds.c */

#define OG_NO_FD ((struct own_fd){.fd = -1})

void og_lock(void);
void og_unlock(void);
int og_above_stdio(int fd);
bool og_identify(struct own_fd *own, int fd);
int og_make_pipe(struct own_fd *reader, struct own_fd *writer, int flags, struct og_error *err);
size_t og_kept_from_forks(struct own_fd *into, size_t room);
void og_close_copy(const struct own_fd *own);
void og_close_kept(void);

/* --- tether.c */

struct og_tether {
    struct own_fd end;           /* whoever has it keeps the children alive */
    struct own_fd queue;         /* of their descriptions */
    unsigned long long dev, ino; /* of the pipe */
};

int og_tether_make(struct og_tether *tether, bool single, struct own_fd *reader, struct og_error *err);
void og_tether_close(struct og_tether *tether);
int og_tether_parts(const struct og_tether *tether, int parts[2], struct og_error *err);
int og_tether_add(int sender, int place, int fd, struct og_error *err);
int og_tether_peek(const struct og_tether *tether, int place, struct og_error *err);
int og_reopen(int reader, unsigned long long dev, unsigned long long ino, struct og_error *err);

/* --- lifeline.c */

/* A description on which nobody may arm himself any more; and one that hangs on no tether. A pipe's read end has no use
 * for these flags, and no effect on its signals comes with them. */
#define OG_REVOKED O_APPEND
#define OG_FLAT O_DIRECT

int og_load(int fd, int sig, int flags, struct og_error *err);
void og_let_go(struct og_child *child, bool armed);
void og_give_back(struct og_child *child, bool gone);
bool og_is_tether(int fd);
struct own_fd *og_not_for_children(int top);
void og_expect_visitor(void);

bool og_reaches_us(uid_t real, uid_t effective);

/* Async-signal-safe: used between fork or clone and exec. */
void og_lifelines_leave(int own, bool visitor, struct own_fd *reader, struct own_fd *sender);
int og_make_mine(int fd, struct og_error *err);
int og_set_pdeathsig(int sig, struct og_error *err);
int og_die_if_hung_up(int fd, int sig, struct og_error *err);

/* A spawn that is under way: what its child is told, and tells. */
struct og_spawn_child {
    const struct og_spawn *spawn;
    char *const *paths, *const *argv, *const *envp;
    struct og_error *err; /* what failed; the child's memory and its parent's */
    int report;           /* the launcher's, inherited; -1: it is not the launcher */
    bool owns_lifeline_later; /* the launcher inherits that too, for after the change of ids */
    bool no_handlers; /* clone3() has reset them */
    bool shares_fds;  /* with its parent, until it leaves that table */
    int top;          /* the highest fd that it needs */
    const struct own_fd *not_for_it; /* copies that it closes first of all; NULL: it has none */
    uint64_t mask;
};

#define OG_LEAVE_FDS "close_range(CLOSE_RANGE_UNSHARE)"

int og_spawn_child(void *argument);
void og_set_signal_mask(const uint64_t *mask, uint64_t *old);

int og_pidfd(int pid, struct og_error *err);

void og_kill_and_reap(int pidfd);

#pragma GCC visibility pop
#endif
