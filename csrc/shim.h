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

#define OG_NO_PIPE ((struct pipe_end){.fd = -1})

/* A description on which nobody may arm himself any more. A pipe has no use for this flag, and no effect on its
 * signals comes with it. */
#define OG_REVOKED O_APPEND

int og_above_stdio(int fd);
bool og_identify(struct pipe_end *end, int fd);
int og_load(int fd, int sig, struct og_error *err);
void og_give_back(struct og_child *child, bool armed);
bool og_is_writer(int fd);
bool og_writers_below(int top);
void og_lifelines_lock(void);
void og_lifelines_unlock(void);

bool og_reaches_us(uid_t real, uid_t effective);

/* Async-signal-safe: used between fork or clone and exec. */
struct pipe_end og_lifelines_leave(int own);
void og_lifelines_close_copies(int used);
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
    bool has_writers; /* at or below that there is a lifeline's write end; the lock is held */
    uint64_t mask;
};

#define OG_LEAVE_FDS "close_range(CLOSE_RANGE_UNSHARE)"

int og_spawn_child(void *argument);
void og_set_signal_mask(const uint64_t *mask, uint64_t *old);

int og_pidfd(int pid, struct og_error *err);

void og_kill_and_reap(int pidfd);

#pragma GCC visibility pop
#endif
