/* Shared by the shim's C files; nothing of this is seen by Python. */
#ifndef ORPHANGUARD_SHIM_H
#define ORPHANGUARD_SHIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stddef.h>

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

/* Async-signal-safe: used between fork or clone and exec. */
int og_make_mine(int fd, int pdeathsig, struct og_error *err);
int og_die_if_hung_up(int fd, struct og_error *err);

int og_pidfd(int pid, struct og_error *err);

#pragma GCC visibility pop
#endif
