/* What the C files of the shim share. Python sees nothing of this.
 *
 * The order of the sections is the order of the layers, lowest first. A file may use only what stands above its own
 * section, here and in shim_api.h; tools/arrows.py checks that. */
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

/* The stack of a child that shares its parent's memory. It holds a dozen shallow calls, execve() among them, and no
 * signal handler. In spawn.c it is a part of the stack of the parent's thread; CPython's smallest thread has 32 KiB. */
#define OG_CHILD_STACK (12 * 1024)

/* --- error.c: which call has failed */

/* A function of the shim that fails fills *err, if it is not NULL, and returns -1. */
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

/* A function for Python returns what these return: -errno. They keep the name of the call for og_failed_call(). */
int og_report(const struct og_error *err);

static inline int og_report_failure(int code, const char *call)
{
    return og_report(&(struct og_error){code, call});
}

/* --- fd.c: fds that the shim has opened */

#define OG_NO_FD ((struct own_fd){.fd = -1})

void og_lock(void);
void og_unlock(void);
int og_above_stdio(int fd);
bool og_identify(struct own_fd *own, int fd);
void og_close_copy(const struct own_fd *own);

/* --- pipe.c: pipes, and the write ends that no forked child keeps */

int og_make_pipe(struct own_fd *reader, struct own_fd *writer, int flags, struct og_error *err);
size_t og_kept_from_forks(struct own_fd *into, size_t room);
void og_close_kept(void);

/* --- pdeathsig.c: PR_SET_PDEATHSIG */

int og_set_pdeathsig(int sig, struct og_error *err);

/* --- credentials.c: whom the signal of a lifeline reaches */

bool og_reaches_us(uid_t real, uid_t effective);

/* --- description.c: one description of a lifeline */

/* Two notes in the flags of a description: no process may arm itself on it any more; it hangs on no tether. These flags
 * do nothing on the read end of a pipe, and do not change its signals. */
#define OG_REVOKED O_APPEND
#define OG_FLAT O_DIRECT

int og_reopen(int reader, unsigned long long dev, unsigned long long ino, struct og_error *err);
int og_load(int fd, int sig, int flags, struct og_error *err);
int og_owner_of(int fd);
bool og_revoke(int fd);
int og_make_mine(int fd, struct og_error *err);
void og_die(int sig);
int og_die_if_hung_up(int fd, int sig, struct og_error *err);

/* --- tether.c: what holds the write end and the descriptions */

struct og_tether {
    struct own_fd end;           /* the tether itself: the children live as long as any process has it */
    struct own_fd queue;         /* to look at their descriptions */
    unsigned long long dev, ino; /* of the pipe */
};

int og_tether_make(struct og_tether *tether, bool single, struct own_fd *reader, struct og_error *err);
void og_tether_close(struct og_tether *tether);
bool og_tether_has(const struct og_tether *tether, int fd);
int og_tether_parts(const struct og_tether *tether, int parts[2], struct og_error *err);
int og_tether_add(int sender, int place, int fd, struct og_error *err);
int og_tether_peek(const struct og_tether *tether, int place, struct og_error *err);

/* --- slot.c: the place of one child on a strand */

/* The most children on one pipe. Once the last write end is gone, pipe_release() of the kernel signals all owners that
 * are left on the pipe again for each description that is released. For n children these are n * n / 2 signals, under
 * the pipe's mutex (measured: 155 ms for 1,000 on one pipe, 619 ms for 2,000). With a limit the work is linear. */
#define OG_PER_PIPE 64

enum og_slot_state {
    OG_EMPTY, /* no description has been made */
    OG_FREE,  /* the description's owner is gone: it is for the next child */
    OG_TAKEN,
    OG_LEFT, /* given back while its owner was alive */
    OG_LOST, /* given back before it had an owner. The owner may still come, so it is never used again */
};

struct og_slot {
    int fd; /* the parent's, while the child is being started; or -1 */
    unsigned char state;
    bool for_hook; /* other code forks the child, and the child looks for the description by its number */
    bool armed;    /* an owner has been seen */
    bool revoked;  /* a process that is not the owner yet can't be armed on it any more */
};

struct og_strand {
    struct og_tether tether; /* flat: `end` is the write end itself, and there is no queue */
    int room;                /* the number of slots; 0: this entry is unused */
    int made;                /* how many slots are not EMPTY; these come first */
    int alive;               /* how many slots are TAKEN or LEFT */
    int lost;                /* how many slots are LOST */
    bool flat;
    struct og_slot slots[OG_PER_PIPE];
};

/* How many slots each start may look at again: those that are LEFT, and those for a hook that still have an fd. */
extern int og_looked_for;

bool og_is_whole(const struct og_strand *strand);
bool og_slot_is_looked_for(const struct og_slot *slot);
void og_slot_set_state(struct og_strand *strand, struct og_slot *slot, enum og_slot_state state);
void og_slot_close(struct og_strand *strand, struct og_slot *slot);
int og_slot_look_at(const struct og_strand *strand, const struct og_slot *slot, bool *copied, struct og_error *err);
void og_slot_give_back(struct og_strand *strand, struct og_slot *slot, bool gone);

/* --- strand.c: pipes with their tethers, for 64 children each */

/* Where the description of a child is. */
struct og_place {
    int strand, slot;
};

int og_strand_open_shared(struct og_place *place, struct og_error *err);
int og_strand_open_single(struct og_place *place, struct og_error *err);
int og_strand_open_flat(struct og_place *place, struct og_error *err);
void og_strand_take(struct og_place place, int fd, bool for_hook);
bool og_strand_let_go(struct og_place place, bool armed);
void og_strand_give_back(struct og_place place, bool gone);
int og_strand_owner(struct og_place place);
void og_strands_look_again(void);
size_t og_strand_ends(struct own_fd *into, size_t room);
bool og_strands_have(int fd);
void og_strands_leave(int own);

/* --- lifeline.c: the lifeline of one child */

void og_let_go(struct og_child *child, bool armed);
void og_give_back(struct og_child *child, bool gone);
void og_lifelines_leave(int own);

/* --- foreign.c: the tether of children that other code forks */

void og_foreign_expect(void);
struct own_fd og_foreign_end(void);
bool og_foreign_has(int fd);
void og_foreign_leave(bool is_foreign);
int og_foreign_reader(void);
int og_foreign_open(bool *held, struct og_error *err);

/* --- copies.c: what no child may keep */

struct own_fd *og_not_for_children(int top);
bool og_is_tether(int fd);
void og_close_copies(int own, bool is_foreign);

/* --- pidfd.c: a process, by its identity */

int og_pidfd(int pid, struct og_error *err);
long long og_pidfd_identity(int pidfd);
bool og_pidfd_is(int pidfd, long long identity);
void og_kill_and_reap(int pidfd);

/* --- child.c: a child's pidfd and lifeline together: for Python only */

/* --- arm.c: how a process arms itself */

void og_forget_arming(const struct og_origin *from);
int og_arm_on(int fd, int pdeathsig, struct og_error *err);

/* --- atfork.c: what happens within every fork() */

extern __thread struct og_start og_this_start;

int og_fork_count(void);

/* --- fork.c: the start of a worker by fork: for Python only */

/* --- spawn_child.c: a program's start, from clone to execve */

/* What the child of a spawn is told, and tells. */
struct og_spawn_child {
    const struct og_spawn *spawn;
    char *const *paths, *const *argv, *const *envp;
    struct og_error *err;     /* what failed; the child and the parent share this memory */
    int report;               /* the launcher inherits it; -1: the child does not execute the launcher */
    bool owns_lifeline_later; /* the launcher inherits the lifeline, too, to own it again after the change of ids */
    bool no_handlers;         /* clone3() has reset them */
    bool shares_fds;          /* the child shares its parent's table of fds until it leaves that */
    int top;                  /* the highest fd that the child needs */
    const struct own_fd *not_for_it; /* copies that the child closes first; NULL: it has none */
    uint64_t mask;
};

#define OG_LEAVE_FDS "close_range(CLOSE_RANGE_UNSHARE)"

int og_spawn_child(void *argument);

/* --- spawn.c: the start of a program: for Python only */

/* --- epoll.c: waiting until an fd is readable: for Python only */

#pragma GCC visibility pop
#endif
