/* The lifeline of one child: the kernel kills the child when its parent *process* is gone.
 *
 * The problem. SIGKILL can't be caught, so a parent that dies of it can do nothing for its children. PR_SET_PDEATHSIG,
 * which everyone uses, follows the *thread* that forked (prctl(2), BUGS): a pool that starts its workers from a helper
 * thread loses them when that thread ends.
 *
 * The mechanism. The parent has a pipe that no process ever writes to, and one more for every 64 children (strand.c).
 * Each child has its own description of the read end, with F_SETSIG = SIGKILL, O_ASYNC and F_SETOWN = the child. When
 * the last write end is released, which the kernel does as it tears the parent down, pipe_release() signals every
 * owner. This takes no thread, no polling, and no code that has to run.
 *
 * What makes it right:
 *  - The owner and the signal live in the description (fcntl(2)), so each child has its own: description.c.
 *  - A description must exist when the last write end is released, by whatever process. Both hang on a tether, which
 *    guarantees it: tether.c. The description hangs there before the child exists. Once the child is armed the parent
 *    needs no fd of it, and the child stays armed when it closes all its fds or executes another program.
 *  - A copy of the tether keeps all children alive. So *every* forked child closes its copy in the at-fork handler, and
 *    other children by close-on-exec: copies.c.
 *  - If the event comes before the child is armed, the kernel does not signal it again. So the child looks once for
 *    POLLHUP after it has become the owner.
 *  - A description is used again for another child when its owner is gone. Otherwise the queues would grow with each
 *    start.
 *
 * Where there can't be a tether (sockets are refused, or too many fds are in flight), the lifeline is flat: the child
 * has a pipe of its own, with both ends in the parent's table of fds, and the guarantee is weaker.
 *
 * What defeats a lifeline: docs/design.md, "What defeats a lifeline". Needs pdeathsig.c, description.c and strand.c. */

#include "shim.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>

/* The number of forks between this process and the first one that has loaded the shim. In a forked child a struct
 * og_child with another number is a copy of its parent's. A pid could not tell: it can be the same in another pid
 * namespace, or be given again. */
static int generation;

/* False in a forked child, which has only a copy of the struct. */
static bool find_place(const struct og_child *child, struct og_place *place)
{
    *place = (struct og_place){child->strand, child->slot};
    return child->strand >= 0 && child->generation == generation;
}

static bool out_of_resources(int code)
{
    return code == EMFILE || code == ENFILE || code == ENOMEM;
}

static int open_description(int sig, struct og_place *place, int *flat, struct og_error *err)
{
    int fd = -1;
    *flat = 0;
    /* The kernel may signal the owners on a shared pipe more than once (OG_PER_PIPE). That is nothing to SIGKILL,
     * but the handler of another signal would run again. */
    bool single = sig != SIGKILL;
    if (!single) {
        fd = og_strand_open_shared(place, err);
        /* There is no /proc, or the pipe was made under another uid: then no description can be opened anew. */
        single = fd < 0 && strcmp(err->call, "open(/proc/self/fd)") == 0 && !out_of_resources(err->code);
    }
    if (single)
        fd = og_strand_open_single(place, err);
    if (fd >= 0)
        return fd;
    *flat = err->code;
    return og_strand_open_flat(place, err);
}

/* Opens a description on which one child is going to be armed. `sig`: what the kernel sends to the child. `pdeathsig`:
 * the child will want that layer, too, if this is the main thread. `for_hook`: other code forks the child, and the
 * child looks for the description by its number. Returns its fd. The parent has that fd until og_lifeline_let_go(), and
 * the description until og_lifeline_give_back(). */
int og_lifeline_open(struct og_child *child, int sig, int pdeathsig, int for_hook)
{
    struct og_error err;
    struct og_place place;
    int flat, code = pdeathsig && og_is_main_thread() ? og_rehearse_pdeathsig() : 0;
    if (code < 0)
        return code;
    og_lock();
    og_strands_look_again();
    int fd = open_description(sig, &place, &flat, &err);
    if (fd >= 0) {
        og_strand_take(place, fd, for_hook);
        *child = (struct og_child){.lifeline = fd, .strand = place.strand, .slot = place.slot, .flat = flat,
                                   .generation = generation, .pid = child->pid, .pidfd = child->pidfd};
        if (og_load(fd, sig, flat ? OG_FLAT : 0, &err) < 0) {
            og_strand_give_back(place, true); /* no other process knows the description yet */
            child->lifeline = child->strand = fd = -1;
        }
    }
    og_unlock();
    return fd >= 0 ? fd : og_report(&err);
}

/* Closes the parent's fd of the description. The child has a fd of its own by now, or is `armed`. */
void og_let_go(struct og_child *child, bool armed)
{
    struct og_place place;
    og_lock();
    if (find_place(child, &place) && og_strand_let_go(place, armed))
        child->lifeline = -1;
    og_unlock();
}

void og_lifeline_let_go(struct og_child *child)
{
    og_let_go(child, true);
}

/* Gives the description back, and notes that in the struct. No signal handler of Python's can come between the two: it
 * would give the description back never, or twice, when its slot may be another child's. `gone`: the caller has seen
 * that the child was armed, and its end. */
void og_give_back(struct og_child *child, bool gone)
{
    struct og_place place;
    og_lock();
    if (find_place(child, &place))
        og_strand_give_back(place, gone);
    child->lifeline = child->strand = -1;
    og_unlock();
}

/* May be called at any time, also while the child lives, or before it has armed itself. */
void og_lifeline_give_back(struct og_child *child)
{
    og_give_back(child, false);
}

/* Returns the pid of the process that is armed on the description. It is 0 before that, and after that process has been
 * reaped: the kernel holds a struct pid, not a number, so a recycled pid never shows here. */
int og_lifeline_owner(const struct og_child *child)
{
    struct og_place place;
    og_lock();
    int owner = find_place(child, &place) ? og_strand_owner(place) : 0;
    og_unlock();
    return owner;
}

/* Runs in a forked child: closes its copies, but that of `own`. */
void og_lifelines_leave(int own)
{
    og_strands_leave(own);
    generation++;
}
