/* The lifeline: the kernel kills a child when its parent *process* is gone.
 *
 * The problem. SIGKILL can't be caught, so the dying parent can do nothing for
 * its children: somebody else has to. PR_SET_PDEATHSIG, which everyone uses,
 * follows the *thread* that forked (prctl(2), BUGS): a pool that starts its
 * workers from a helper thread loses them when that thread ends.
 *
 * The mechanism. A process that starts children has a pipe that is never
 * written to (and another one for every 64 children more, see PER_PIPE). A
 * child's own open file description of its read end is set to F_SETSIG =
 * SIGKILL, O_ASYNC, F_SETOWN = the child. When the last write end is closed,
 * which the kernel does as it tears the parent down, pipe_release() signals
 * every such owner: no thread, no polling, no code that has to run.
 *
 * What it takes to be right:
 *  - Owner and signal live in the open file description (fcntl(2)), so each
 *    child has one of its own: the parent opens the pipe anew.
 *  - A description must be there when the last write end is released, whoever
 *    releases it. Both hang on a tether, which sees to that: tether.c. The
 *    description is there before the child is. The parent needs no fd for it
 *    once the child is armed, and a child that closes all its fds, or executes
 *    another program, stays armed.
 *  - A copy of the tether keeps all children alive. So the at-fork handler closes
 *    it in *every* forked child, also in those that C libraries fork. After
 *    vfork, posix_spawn and clone no handler runs; there close-on-exec does it.
 *  - An event before the arming is not signalled again: look for POLLHUP once
 *    afterwards.
 *
 * A description is used again for the next child when its owner is gone: a copy
 * is taken from the queue. Otherwise the queues would grow with each start.
 *
 * Where there can't be a tether (sockets are refused, too many fds in flight),
 * the child has a pipe of its own, with both ends in the parent's table of fds,
 * and the guarantee is weaker: `flat` below.
 *
 * What defeats it: docs/design.md, "What defeats a lifeline". */

#include "shim.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Children on one pipe. Once the last writer is gone, the kernel's pipe_release()
 * signals everybody left on the pipe anew for each description that is
 * released: n * n / 2 signals, under the pipe's mutex (measured: 155 ms for
 * 1,000 on one pipe, 619 ms for 2,000). With this many it is linear. */
#define PER_PIPE 64

/* Slots of whose owners a start looks whether they are gone. */
#define LOOKS 4

enum state {
    EMPTY, /* no description has been made */
    FREE,  /* its owner is gone: for the next child */
    TAKEN,
    LEFT, /* given back while its owner was alive */
    LOST, /* given back before anybody became its owner, who may still come: never used again */
};

/* The place of one child's description in its strand's queue. */
struct slot {
    int fd; /* the parent's, while the child is being made; -1 */
    unsigned char state;
    bool for_hook; /* its child is forked by somebody else, and looks for it by its number */
    bool armed;    /* an owner has been seen */
    bool revoked;  /* who is not its owner yet can't become it */
};

/* A pipe, and the children on it. */
struct strand {
    struct og_tether tether; /* flat: `end` is the write end itself, and there is no queue */
    int room;                /* slots; 0: this is none */
    int made;                /* slots that are not EMPTY; they are the first ones */
    int alive;               /* TAKEN or LEFT */
    int lost;
    bool flat;
    struct slot slots[PER_PIPE];
};

/* Everything here is changed with og_lock() held. A child of ours knows its slot by the index of its strand, so that stays. */
static struct strand *strands;
static int strand_count, strand_room;
/* Slots that starts look at again: LEFT, or for a hook and with an fd; and where the last look was. */
static int looked_for, last_look;

/* Forks between this process and the first one that has loaded the shim: a struct of another one is a copy. A pid would not
 * tell, in pid namespaces or when it is another's again. */
static int generation;

/* The tether of forked children that were not started by us. They arm themselves, with die_with_parent(), and how many
 * they are is not known here. */
static struct {
    struct og_tether tether;
    struct own_fd reader, sender; /* for them to inherit */
} visitors = {.tether = {.end = {.fd = -1}, .queue = {.fd = -1}}, .reader = {.fd = -1}, .sender = {.fd = -1}};

/* Everything but the owner is set here, in the parent: the child has one call
 * less to make, and what a seccomp filter refuses is refused before there is a
 * child. Without an owner the kernel sends nothing. */
int og_load(int fd, int sig, int flags, struct og_error *err)
{
    if (fcntl(fd, F_SETSIG, sig) < 0)
        return og_fail(err, errno, "fcntl(F_SETSIG)");
    if (fcntl(fd, F_SETOWN, 0) < 0)
        return og_fail(err, errno, "fcntl(F_SETOWN)");
    /* The flags are a note for the child, and may be refused. */
    if (fcntl(fd, F_SETFL, flags | O_ASYNC | O_NONBLOCK) < 0 && (!flags || fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK) < 0))
        return og_fail(err, errno, "fcntl(F_SETFL, O_ASYNC)");
    return 0;
}

/* --- strands ------------------------------------------------------------------ */

static bool is_whole(const struct strand *strand)
{
    return strand->room && og_still_ours(&strand->tether.end) && (strand->flat || og_still_ours(&strand->tether.queue));
}

/* One with no room yet. */
static struct strand *new_strand(struct og_error *err)
{
    int at = 0;
    while (at < strand_count && strands[at].room)
        at++;
    if (at == strand_room) {
        int more = strand_room ? 2 * strand_room : 4;
        struct strand *grown = realloc(strands, (size_t)more * sizeof *grown);
        if (!grown) {
            og_fail(err, ENOMEM, "realloc");
            return NULL;
        }
        strands = grown;
        strand_room = more;
    }
    if (at == strand_count)
        strand_count++;
    strands[at] = (struct strand){.tether = {.end = OG_NO_FD, .queue = OG_NO_FD}};
    return &strands[at];
}

static void close_number(struct strand *strand, struct slot *slot)
{
    struct own_fd own = {slot->fd, strand->tether.dev, strand->tether.ino};
    og_close_if_ours(&own);
    slot->fd = -1;
}

static void end_strand(struct strand *strand)
{
    for (int i = 0; i < strand->made; i++)
        close_number(strand, &strand->slots[i]);
    og_tether_close(&strand->tether);
    strand->room = 0;
}

static bool has_room(const struct strand *strand)
{
    return strand->room == PER_PIPE && strand->alive + strand->lost < PER_PIPE;
}

static struct strand *strand_with_room(void)
{
    for (int i = 0; i < strand_count; i++)
        if (has_room(&strands[i]) && is_whole(&strands[i]))
            return &strands[i];
    return NULL;
}

/* When its last child is gone. One with room is kept for the next. */
static void end_if_unused(struct strand *strand)
{
    if (strand->alive)
        return;
    int room = strand->room;
    strand->room = 0; /* not itself */
    bool wanted = room == PER_PIPE && strand->lost < PER_PIPE && !strand_with_room();
    strand->room = room;
    if (!wanted)
        end_strand(strand);
}

/* --- descriptions --------------------------------------------------------------- */

/* Who is armed on it; -1: a filter refuses to tell. Before Linux 5.12 one that has been reaped is still named. */
static int owner_of(int fd)
{
    int owner = fcntl(fd, F_GETOWN);
    return owner < 0 ? -1 : owner > 0 && (kill(owner, 0) == 0 || errno != ESRCH) ? owner : 0;
}

/* An fd of the slot's description; *copied: it is to be closed. */
static int look_at(const struct strand *strand, const struct slot *slot, bool *copied, struct og_error *err)
{
    struct own_fd own = {slot->fd, strand->tether.dev, strand->tether.ino};
    *copied = !og_still_ours(&own);
    if (!*copied)
        return slot->fd;
    if (strand->flat || !is_whole(strand))
        return og_fail(err, EBADF, "lifeline, which this program has closed");
    return og_tether_peek(&strand->tether, (int)(slot - strand->slots), err);
}

static bool is_looked_for(const struct slot *slot)
{
    return slot->state == LEFT || (slot->state == TAKEN && slot->for_hook && slot->fd >= 0);
}

static void set_state(struct strand *strand, struct slot *slot, enum state state)
{
    bool was_alive = slot->state == TAKEN || slot->state == LEFT, is_alive = state == TAKEN || state == LEFT;
    looked_for -= is_looked_for(slot);
    slot->state = (unsigned char)state;
    looked_for += is_looked_for(slot);
    strand->alive += is_alive - was_alive;
    strand->lost += state == LOST;
}

static void drop_number(struct strand *strand, struct slot *slot)
{
    looked_for -= is_looked_for(slot);
    close_number(strand, slot);
    looked_for += is_looked_for(slot);
}

/* Whether somebody is armed on it, or may still be. Where no owner has been seen,
 * a child that is slow may be about to become it: one of a fork server that is
 * gone, one whose start was interrupted. It shares this description, so it is
 * told there. It looks for that after it has become the owner (og_make_mine), and
 * here the owner is looked for afterwards: one of the two sees the other. */
static bool is_owned(struct slot *slot, int fd)
{
    if (!slot->armed && !slot->revoked && !owner_of(fd)) {
        if (fcntl(fd, F_SETFL, OG_REVOKED | O_ASYNC | O_NONBLOCK) < 0)
            return true;
        slot->revoked = true;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    if (!owner_of(fd))
        return false;
    slot->armed = true;
    return true;
}

/* `gone`: its owner is, as the caller knows. Else whoever gives it back needs to know nothing of the child. */
static void give_back(struct strand *strand, struct slot *slot, bool gone)
{
    struct og_error err;
    if (!gone) {
        bool copied;
        int fd = look_at(strand, slot, &copied, &err);
        /* Closed behind our back, all of it: then nobody is armed any more. */
        gone = fd >= 0 ? !is_owned(slot, fd) : !og_still_ours(&strand->tether.end);
        if (fd >= 0 && copied)
            close(fd);
    }
    set_state(strand, slot, !gone ? LEFT : slot->armed && !slot->revoked ? FREE : LOST);
    if (gone || !strand->flat)
        drop_number(strand, slot);
    end_if_unused(strand);
}

/* Some of those that were given back while their owners were alive, and of those whose hook has run by now. */
static void look_again(void)
{
    int all = strand_count * PER_PIPE;
    for (int steps = 0, looks = 0; steps < all && looks < looked_for && looks < LOOKS; steps++) {
        last_look = (last_look + 1) % all;
        struct strand *strand = &strands[last_look / PER_PIPE];
        struct slot *slot = &strand->slots[last_look % PER_PIPE];
        if (!strand->room || !is_looked_for(slot))
            continue;
        looks++;
        if (slot->state == LEFT) {
            give_back(strand, slot, false);
        } else if (owner_of(slot->fd) > 0) {
            slot->armed = true;
            if (!strand->flat)
                drop_number(strand, slot);
        }
    }
}

/* --- a lifeline for one child ---------------------------------------------------- */

/* An fd of the description in a slot that is not taken, or -1. */
static int take_free(struct strand *strand, int *at, struct og_error *err)
{
    for (*at = 0; *at < strand->made; ++*at) {
        struct slot *slot = &strand->slots[*at];
        if (slot->state != FREE)
            continue;
        int fd = og_tether_peek(&strand->tether, *at, err);
        if (fd < 0 || owner_of(fd) <= 0)
            return fd;
        close(fd);
        set_state(strand, slot, LEFT);
    }
    return og_fail(err, 0, NULL);
}

/* Whether it got there all the same: whoever added it was killed right afterwards. */
static bool was_added(const struct strand *strand)
{
    int copy = og_tether_peek(&strand->tether, strand->made, NULL);
    if (copy >= 0)
        close(copy);
    return copy >= 0;
}

static int add_new(struct strand *strand, struct og_error *err)
{
    int parts[2];
    if (og_tether_parts(&strand->tether, parts, err) < 0)
        return -1;
    int fd = og_reopen(parts[1], strand->tether.dev, strand->tether.ino, err);
    if (fd >= 0 && og_tether_add(parts[0], strand->made, fd, err) < 0 && !was_added(strand)) {
        close(fd);
        fd = -1;
    }
    close(parts[0]);
    close(parts[1]);
    return fd;
}

/* A new pipe, with a first description if there will be only one. */
static int make_strand(int room, struct strand **made, struct og_error *err)
{
    struct own_fd reader;
    struct strand *strand = *made = new_strand(err);
    if (!strand || og_tether_make(&strand->tether, room == 1, &reader, err) < 0)
        return -1;
    strand->room = room;
    if (room == 1)
        strand->made = 1;
    else
        og_close_if_ours(&reader);
    return reader.fd;
}

/* One that was kept for the next child, when this program closed it. */
static void end_closed(void)
{
    for (int i = 0; i < strand_count; i++)
        if (strands[i].room && !strands[i].alive)
            end_strand(&strands[i]);
}

static int open_shared(struct strand **strand, int *at, struct og_error *err)
{
    *err = (struct og_error){0, NULL};
    *strand = strand_with_room();
    if (!*strand) {
        end_closed();
        (void)make_strand(PER_PIPE, strand, err);
        if (err->call)
            return -1;
    }
    int fd = take_free(*strand, at, err);
    if (fd < 0 && !err->call && (*strand)->made < PER_PIPE) {
        fd = add_new(*strand, err);
        if (fd >= 0)
            *at = (*strand)->made++;
    }
    return fd < 0 && !err->call ? og_fail(err, EAGAIN, "lifeline") : fd;
}

/* Both ends of a pipe in our table of fds, the write end above the read end: of a process that ends alone Linux (5.10 to
 * 7.3, measured) releases the highest first. */
static int open_flat(struct strand **made, struct og_error *err)
{
    struct own_fd r, w;
    struct strand *strand = *made = new_strand(err);
    if (!strand || og_make_pipe(&r, &w, O_NONBLOCK, err) < 0)
        return -1;
    if (w.fd < r.fd) {
        int moved = fcntl(w.fd, F_DUPFD_CLOEXEC, r.fd + 1);
        int code = errno;
        og_close_if_ours(&w);
        if (moved < 0) {
            og_close_if_ours(&r);
            return og_fail(err, code, "fcntl(F_DUPFD_CLOEXEC)");
        }
        (void)og_identify(&w, moved);
    }
    strand->tether.end = w;
    strand->tether.dev = r.dev;
    strand->tether.ino = r.ino;
    strand->flat = true;
    strand->room = strand->made = 1;
    return r.fd;
}

static bool out_of_resources(int code)
{
    return code == EMFILE || code == ENFILE || code == ENOMEM;
}

static int open_description(int sig, struct strand **strand, int *at, int *flat, struct og_error *err)
{
    int fd = -1;
    *flat = 0;
    /* Those on one pipe may be signalled more than once (PER_PIPE): nothing to
     * SIGKILL, but a handler of another signal would run again. */
    bool single = sig != SIGKILL;
    if (!single) {
        fd = open_shared(strand, at, err);
        /* No /proc, or a pipe that was made under another uid. */
        single = fd < 0 && strcmp(err->call, "open(/proc/self/fd)") == 0 && !out_of_resources(err->code);
    }
    if (single) {
        *at = 0;
        fd = make_strand(1, strand, err);
    }
    if (fd >= 0)
        return fd;
    *at = 0;
    *flat = err->code;
    return open_flat(strand, err);
}

/* A description for one child to be armed on. `sig`: what the child is sent.
 * `pdeathsig`: it will want that layer too, if this is the main thread.
 * `for_hook`: see struct slot. Returns its fd, which is this process's until
 * og_lifeline_let_go(); the description stays until it is given back. */
int og_lifeline_open(struct og_child *child, int sig, int pdeathsig, int for_hook)
{
    struct og_error err;
    struct strand *strand;
    int at, flat, code = pdeathsig && og_is_main_thread() ? og_rehearse_pdeathsig() : 0;
    if (code < 0)
        return code;
    og_lock();
    look_again();
    int fd = open_description(sig, &strand, &at, &flat, &err);
    if (fd >= 0) {
        struct slot *slot = &strand->slots[at];
        *slot = (struct slot){.fd = fd, .state = slot->state, .for_hook = for_hook};
        set_state(strand, slot, TAKEN);
        *child = (struct og_child){.lifeline = fd, .strand = (int)(strand - strands), .slot = at, .flat = flat,
                                   .generation = generation, .pid = child->pid, .pidfd = child->pidfd};
        if (og_load(fd, sig, flat ? OG_FLAT : 0, &err) < 0) {
            slot->armed = true; /* nobody knows of it yet */
            give_back(strand, slot, true);
            child->lifeline = child->strand = fd = -1;
        }
    }
    og_unlock();
    return fd >= 0 ? fd : og_report(&err);
}

/* NULL in a forked child: there is only a copy of the struct. */
static struct slot *slot_of(const struct og_child *child, struct strand **strand)
{
    if (child->strand < 0 || child->generation != generation)
        return NULL;
    *strand = &strands[child->strand];
    return &(*strand)->slots[child->slot];
}

/* This process needs no fd for it any more: the child has one, or is `armed`. */
void og_let_go(struct og_child *child, bool armed)
{
    struct strand *strand;
    og_lock();
    struct slot *slot = slot_of(child, &strand);
    if (slot && !strand->flat) {
        slot->armed |= armed;
        drop_number(strand, slot);
        child->lifeline = -1;
    }
    og_unlock();
}

void og_lifeline_let_go(struct og_child *child)
{
    og_let_go(child, true);
}

/* `gone`: the caller has seen that it was armed, and its end. Gives it back and says so in one go, at which no signal
 * handler of Python's can interrupt: else it would be given back never, or twice, when its slot may be another child's. */
void og_give_back(struct og_child *child, bool gone)
{
    struct strand *strand;
    og_lock();
    struct slot *slot = slot_of(child, &strand);
    if (slot) {
        slot->armed |= gone;
        give_back(strand, slot, gone);
    }
    child->lifeline = child->strand = -1;
    og_unlock();
}

/* At any time, also while the child lives, or before it has armed itself. */
void og_lifeline_give_back(struct og_child *child)
{
    og_give_back(child, false);
}

/* The pid that is armed on it; 0 when nobody is yet, and again once that process
 * has been reaped (the kernel holds a struct pid, not a number, so a recycled
 * pid never shows here). */
int og_lifeline_owner(const struct og_child *child)
{
    struct og_error err;
    struct strand *strand;
    bool copied = false;
    int owner = 0;
    og_lock();
    struct slot *slot = slot_of(child, &strand);
    int fd = slot ? look_at(strand, slot, &copied, &err) : -1;
    if (fd >= 0) {
        owner = owner_of(fd);
        owner = owner > 0 ? owner : 0;
        slot->armed |= owner != 0;
        if (copied)
            close(fd);
    }
    og_unlock();
    return owner;
}

/* --- copies in children ------------------------------------------------------------ */

/* Those that children must not have, up to `top`. Returns an array that ends with an fd of -1; NULL without memory. */
struct own_fd *og_not_for_children(int top)
{
    og_lock();
    size_t kept = og_kept_from_forks(NULL, 0), count = 0;
    struct own_fd *all = malloc(((size_t)strand_count + 1 + kept + 1) * sizeof *all);
    if (all) {
        for (int i = 0; i < strand_count; i++)
            all[count++] = strands[i].room ? strands[i].tether.end : OG_NO_FD;
        all[count++] = visitors.tether.end;
        count += og_kept_from_forks(all + count, kept);
        size_t left = 0;
        for (size_t i = 0; i < count; i++)
            if (all[i].fd >= 0 && all[i].fd <= top)
                all[left++] = all[i];
        all[left] = OG_NO_FD;
    }
    og_unlock();
    return all;
}

static bool is_either(const struct og_tether *tether, int fd)
{
    return (tether->end.fd == fd && og_still_ours(&tether->end)) || (tether->queue.fd == fd && og_still_ours(&tether->queue));
}

/* Whether `fd` is a tether or a queue. A program that passes on a number which it has closed, and which is ours by now,
 * would keep all that hang on it alive; and whoever reads from a queue takes the descriptions out. */
bool og_is_tether(int fd)
{
    bool found = false;
    og_lock();
    for (int i = 0; i < strand_count && !found; i++)
        found = strands[i].room && is_either(&strands[i].tether, fd);
    found = found || is_either(&visitors.tether, fd);
    og_unlock();
    return found;
}

/* Before a fork, with the lock held: so that its child can arm itself. Without sockets, or free fds, it just can't be
 * on a tether, or can't at all. */
void og_expect_visitor(void)
{
    int parts[2];
    if (og_still_ours(&visitors.tether.end))
        return;
    /* Not made yet, or closed behind our back. */
    og_close_if_ours(&visitors.reader);
    og_close_if_ours(&visitors.sender);
    if (og_tether_make(&visitors.tether, false, &visitors.reader, NULL) < 0) {
        (void)og_make_pipe(&visitors.reader, &visitors.tether.end, O_NONBLOCK, NULL);
    } else if (og_tether_parts(&visitors.tether, parts, NULL) == 0) {
        (void)og_identify(&visitors.sender, og_above_stdio(parts[0]));
        close(parts[1]);
    }
    og_close_if_ours(&visitors.tether.queue); /* nobody looks at it */
}

/* In a forked child, which must not keep its siblings alive nor anybody waiting: closes its copies of what is in flight
 * and of all tethers, but its `own` description. An armed one has no use for what visitors inherit. A page that it writes
 * to is one that the kernel copies, so nothing is noted for each. */
void og_lifelines_leave(int own, bool visitor, struct own_fd *reader, struct own_fd *sender)
{
    for (int i = 0; i < strand_count; i++) {
        struct strand *strand = &strands[i];
        if (!strand->room)
            continue;
        og_close_copy(&strand->tether.end);
        og_close_copy(&strand->tether.queue);
        for (int k = 0; k < strand->made; k++) {
            const struct slot *slot = &strand->slots[k];
            struct own_fd copy = {slot->fd, strand->tether.dev, strand->tether.ino};
            if (slot->fd >= 0 && slot->fd != own && (!slot->for_hook || owner_of(slot->fd) > 0))
                og_close_copy(&copy);
        }
    }
    strand_count = looked_for = 0;
    generation++;
    og_tether_close(&visitors.tether);
    if (!visitor) {
        og_close_if_ours(&visitors.reader);
        og_close_if_ours(&visitors.sender);
    }
    *reader = visitors.reader;
    *sender = visitors.sender;
    visitors.reader = visitors.sender = OG_NO_FD;
    og_close_kept();
}
