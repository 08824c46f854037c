/* The start of a worker by fork, with its gate.
 *
 * The calls of one start, in their order: og_begin_start(), og_arm_next_fork(), Python's fork(), og_forked() on both
 * sides, og_end_start(). The at-fork handler arms the child (atfork.c).
 *
 * The gate is a pipe. The child reads one byte from it before its own code, and the parent writes that byte when it has
 * the child's pidfd. So no child ends by itself before its parent has the pidfd; otherwise its pid could be another
 * process's by the time of pidfd_open, where SIGCHLD is ignored. And a start that fails takes back only children whose
 * own code has not run. A child at the gate is armed: it dies with its parent like any other.
 *
 * The gate comes after the at-fork hooks of Python's on both sides: a hook in the parent may wait for a hook in the
 * child, and a hook in the child for one in the parent. Needs pipe.c, lifeline.c, pidfd.c and atfork.c. */

#include "shim.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

#define NO_START ((struct og_start){.lifeline = -1, .gate_read = -1, .gate_write = -1})

/* --- a start of this thread --------------------------------------------------------- */

/* Returns 1 if this thread is in the middle of a start. Then a signal handler of Python's has interrupted that start,
 * and is about to start a child itself. */
int og_begin_start(void)
{
    if (og_this_start.busy)
        return 1;
    og_this_start = NO_START;
    og_this_start.busy = 1;
    return 0;
}

void og_end_start(void)
{
    og_this_start.busy = 0;
}

/* Puts the interrupted start aside, for such a signal handler. */
void og_save_start(struct og_start *saved)
{
    *saved = og_this_start;
    og_this_start = NO_START;
}

void og_restore_start(const struct og_start *saved)
{
    og_this_start = *saved;
}

/* Returns a number that changes with each fork of this thread. */
int og_last_fork(void)
{
    return og_this_start.forks;
}

int og_armed_next_fork(void)
{
    return og_this_start.lifeline;
}

/* --- the gate ------------------------------------------------------------------------ */

enum { GO = 'g', STOP = 's' };

static void close_gate(void)
{
    if (og_this_start.gate_read >= 0) {
        close(og_this_start.gate_read);
        close(og_this_start.gate_write);
    }
    og_this_start.gate_read = og_this_start.gate_write = -1;
}

/* The parent's side. */
static void give_order(char order)
{
    ssize_t written;
    do /* the parent's own read end is still open, so there is no SIGPIPE */
        written = write(og_this_start.gate_write, &order, 1);
    while (written < 0 && errno == EINTR);
    close_gate();
}

/* The child's side. */
static void pass_gate(void)
{
    char order = STOP;
    ssize_t got;
    close(og_this_start.gate_write); /* the child's own copy would hide the end of file */
    do
        got = read(og_this_start.gate_read, &order, 1);
    while (got < 0 && errno == EINTR);
    close(og_this_start.gate_read);
    if (order != GO)
        _exit(127);
}

/* --- the fork ------------------------------------------------------------------------ */

/* Makes the next fork() of this thread arm its child, on the lifeline of `child`. Returns 1 if that child will have
 * PDEATHSIG, too, else 0. */
int og_arm_next_fork(struct og_child *child)
{
    struct own_fd gate_read, gate_write;
    int code = og_pipe(&gate_read, &gate_write, 0);
    if (code < 0)
        return code;
    og_this_start.child = child;
    og_this_start.lifeline = child->lifeline;
    og_this_start.gate_read = gate_read.fd;
    og_this_start.gate_write = gate_write.fd;
    og_this_start.armed = 1;
    return og_is_main_thread();
}

static void reap(int pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ; /* ECHILD: SIGCHLD is ignored */
}

/* Opens the pidfd of the child that fork() gave as `pid`, and checks that it is the pidfd of that child.
 *
 * A hook of Python's or a signal may have ended the child, and other code may have reaped it, before pidfd_open. Then
 * `pid` is no child of ours any more, or it is a child of ours that has got the number since. Or a hook of Python's has
 * forked ahead of us, and its child has got the arming that was meant for this child. Where this process has forked
 * since, or the fork was not the armed one, the lifeline must name `pid` as its owner: there the kernel holds no number
 * but a struct pid, which it names until that process is reaped. */
static int identify(int pid, struct og_error *err)
{
    int pidfd = og_pidfd(pid, err);
    if (pidfd < 0) {
        give_order(STOP);
        if (err->code != ESRCH)
            reap(pid);
        return -1;
    }
    for (;;) {
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT | __WNOTHREAD) < 0) {
            /* None of the child's own code has run, and a handle would have nothing to wait for. */
            og_fail(err, errno, "fork (the child ended before its own code)");
            give_order(STOP);
            break;
        }
        if (og_this_start.right && og_fork_count() == og_this_start.forks)
            return pidfd;
        int owner = og_lifeline_owner(og_this_start.child);
        if (owner == pid)
            return pidfd;
        if (owner || info.si_pid) {
            og_fail(err, EDEADLK, "fork, while an at-fork hook of this program forks as well");
            give_order(STOP);
            og_kill_and_reap(pidfd);
            break;
        }
        usleep(100); /* the child has not armed itself yet */
    }
    close(pidfd);
    return -1;
}

/* Follows fork(), on both sides. In the child it returns 0, or not at all. In the parent it returns the pid, and the
 * child has been let through the gate; or an error, and then there is no child. */
int og_forked(int pid)
{
    struct og_error err;
    if (pid == 0) {
        if (!og_this_start.right)
            _exit(127); /* this child is not armed: see identify() */
        pass_gate();
        og_this_start = NO_START;
        return 0;
    }
    struct og_child *child = og_this_start.child;
    int pidfd = identify(pid, &err);
    if (pidfd < 0)
        return og_report(&err);
    child->pid = pid;
    child->pidfd = pidfd;
    child->running = 1;
    child->identity = og_pidfd_identity(pidfd);
    og_let_go(child, false); /* the child has a copy of the fd, and may not be armed yet */
    give_order(GO);
    return pid;
}

void og_fork_failed(void)
{
    close_gate();
}

/* Waits up to a second for the child to become the owner. Returns the owner's pid, or 0. */
static int owner_soon(const struct og_child *child)
{
    int owner = og_lifeline_owner(child);
    for (int tries = 0; !owner && tries < 1000; tries++) {
        usleep(1000);
        owner = og_lifeline_owner(child);
    }
    return owner;
}

/* Ends a start that an exception has interrupted between fork() and og_forked(), say that of a signal handler. The pid
 * was lost with the return of fork(). But the child arms itself before it waits at the gate, so its lifeline knows the
 * pid. To be called before the lifeline is given back. */
void og_abandon(void)
{
    og_this_start.armed = 0;
    if (og_this_start.gate_read >= 0) {
        give_order(STOP);
        int pid = og_this_start.right ? owner_soon(og_this_start.child) : 0;
        if (pid)
            reap(pid);
    }
}
