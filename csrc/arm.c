/* Arming: what a child does, or has done to it, to die with its parent.
 *
 * Two layers. The lifeline (lifeline.c) is the guarantee: the child makes the
 * description that its parent opened for it its own, and looks once whether the
 * parent is gone already. PR_SET_PDEATHSIG is the second, where it can do no
 * harm: when the parent's *main* thread forks, since the signal comes when the
 * forking thread ends (prctl(2)), not the process.
 *
 * A forked child is armed in a pthread_atfork handler, before anything of
 * Python's runs in it; an executed one in spawn.c, before the exec; a fork
 * server's child when the description has reached it. */

#include "shim.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Armed for one fork(), and for this thread only. */
#define NO_START ((struct og_start){.lifeline = -1, .gate_read = -1, .gate_write = -1})
static __thread struct og_start start = {.lifeline = -1, .gate_read = -1, .gate_write = -1};

/* fork() calls of this process, by whatever thread; changes under the lifeline's lock. */
static int forks;

static struct og_origin next_origin;
static struct og_origin origin = {.lifeline = -1, .armed = -1};
/* In a forked child that may arm itself: a read end of its parent's lifeline, and what puts a description on the tether. */
static struct own_fd inherited = {.fd = -1}, inherited_sender = {.fd = -1};
static uid_t armed_as[2]; /* real and effective, recorded by the kernel with the owner */
static bool has_pdeathsig; /* armed beside the lifeline */

int og_is_main_thread(void)
{
    return syscall(SYS_gettid) == getpid();
}

/* seccomp filters are inherited, so what this thread may do its child may do:
 * setting the value that is there already tells, before anything is forked,
 * whether the child will be allowed to set it. */
int og_rehearse_pdeathsig(void)
{
    int now = 0;
    if (prctl(PR_GET_PDEATHSIG, &now, 0, 0, 0) < 0)
        return og_report(&(struct og_error){errno, "prctl(PR_GET_PDEATHSIG)"});
    if (prctl(PR_SET_PDEATHSIG, now, 0, 0, 0) < 0)
        return og_report(&(struct og_error){errno, "prctl(PR_SET_PDEATHSIG)"});
    return 0;
}

static void die_now(int sig)
{
    kill(getpid(), sig);
    if (sig == SIGKILL)
        _exit(128 + SIGKILL); /* the init of a pid namespace can't kill itself */
}

/* Returns the signal that the description was loaded with. */
int og_make_mine(int fd, struct og_error *err)
{
    /* Is it still what og_lifeline_open() gave? The parent may have closed it meanwhile, and its number may be
     * something that can be owned as well, and kills nobody. */
    int sig = fcntl(fd, F_GETSIG);
    if (sig <= 0)
        return og_fail(err, sig < 0 ? errno : EBADF, "fcntl(F_GETSIG)");
    if (fcntl(fd, F_SETOWN, getpid()) < 0)
        return og_fail(err, errno, "fcntl(F_SETOWN)");
    /* In this order: see is_owned() of lifeline.c. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || flags & OG_REVOKED)
        return og_fail(err, flags < 0 ? errno : ECANCELED, flags < 0 ? "fcntl(F_GETFL)" : "lifeline (its start was given up)");
    return sig;
}

int og_set_pdeathsig(int sig, struct og_error *err)
{
    if (prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0) < 0)
        return og_fail(err, errno, "prctl(PR_SET_PDEATHSIG)");
    return 0;
}

/* Only right once this process has no copy of its parent's tether any more. */
int og_die_if_hung_up(int fd, int sig, struct og_error *err)
{
    struct pollfd look = {.fd = fd};
    int ready;
    do
        ready = poll(&look, 1, 0);
    while (ready < 0 && errno == EINTR);
    if (ready < 0)
        return og_fail(err, errno, "poll");
    if (look.revents & POLLNVAL)
        return og_fail(err, EBADF, "poll");
    if (look.revents & POLLHUP)
        die_now(sig);
    return 0;
}

static void armed_on(int fd, int sig, int held_by_parent)
{
    origin.armed = fd;
    origin.armed_signal = sig;
    origin.held_by_parent = held_by_parent;
    origin.flat = (fcntl(fd, F_GETFL) & OG_FLAT) != 0;
    armed_as[0] = getuid();
    armed_as[1] = geteuid();
}

/* Arms the calling process on a description that its parent opened for it. */
static int arm(int fd, int pdeathsig, struct og_error *err)
{
    int sig = og_make_mine(fd, err);
    if (sig < 0 || (pdeathsig && og_set_pdeathsig(sig, err) < 0) || og_die_if_hung_up(fd, sig, err) < 0)
        return -1;
    armed_on(fd, sig, 1);
    has_pdeathsig = pdeathsig;
    return 0;
}

int og_arm(int fd, int pdeathsig)
{
    struct og_error err;
    return arm(fd, pdeathsig, &err) < 0 ? og_report(&err) : 0;
}

/* Arms a running forked child that its parent did not arm, on a description
 * that it opens itself. Off the tether (there is none, or its queue is full) only
 * this process holds it: lost when it closes its fds. Returns the fd. */
static int arm_inherited(int sig, struct og_error *err)
{
    if (!og_still_ours(&inherited))
        return og_fail(err, ENOENT, "lifeline");
    int fd = og_reopen(inherited.fd, inherited.dev, inherited.ino, err);
    if (fd < 0)
        return -1;
    bool tied = og_still_ours(&inherited_sender) && og_tether_add(inherited_sender.fd, 0, fd, NULL) == 0;
    if (og_load(fd, sig, 0, err) < 0 || og_make_mine(fd, err) < 0) {
        close(fd);
        return -1;
    }
    struct pollfd look = {.fd = fd};
    if (poll(&look, 1, 0) > 0 && look.revents & POLLHUP)
        die_now(sig);
    armed_on(fd, sig, tied);
    return fd;
}

int og_arm_inherited(int sig)
{
    struct og_error err;
    og_lock(); /* og_tether_add() */
    int fd = arm_inherited(sig, &err);
    og_unlock();
    return fd < 0 ? og_report(&err) : fd;
}

/* PR_SET_PDEATHSIG alone. `parent` is the pid that getppid() must still give;
 * 0: unknown. Dies on the spot, by `sig`, if the parent was gone before. */
int og_arm_pdeathsig(int sig, int parent)
{
    siginfo_t ignored;
    if (prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0) < 0)
        return og_report(&(struct og_error){errno, "prctl(PR_SET_PDEATHSIG)"});
    has_pdeathsig = true;
    /* Before Linux 6.18 the store above may be unseen by a parent that exits
     * right now while getppid() still names it. waitid() over all children
     * takes the tasklist lock, which orders the two. */
    (void)waitid(P_ALL, 0, &ignored, WEXITED | WNOHANG | WNOWAIT);
    int now = getppid();
    /* 0: the parent is outside our pid namespace, its pid means nothing here. */
    if (parent && now && now != parent)
        die_now(sig);
    return 0;
}

int og_pdeathsig(void)
{
    int sig = 0;
    return prctl(PR_GET_PDEATHSIG, &sig, 0, 0, 0) < 0 ? 0 : sig;
}

int og_armed(void)
{
    return origin.armed;
}

/* The number alone proves nothing: this process may have closed it, and have a child's description under it by now. */
static bool is_mine(int fd)
{
    return fd >= 0 && fcntl(fd, F_GETOWN) == getpid();
}

/* Whether what this process is armed on still reaches it: not after some changes of its uids, nor once it has closed what
 * nobody else holds. */
int og_armed_still(void)
{
    return origin.armed >= 0 && (origin.held_by_parent || is_mine(origin.armed)) &&
           og_reaches_us(armed_as[0], armed_as[1]);
}

/* After a change of uids, which may have undone both layers. */
int og_arm_again(void)
{
    struct og_error err;
    if (!is_mine(origin.armed))
        return og_report(&(struct og_error){EBADF, "lifeline"});
    int sig = og_make_mine(origin.armed, &err);
    if (sig < 0 || (has_pdeathsig && og_is_main_thread() && og_set_pdeathsig(sig, &err) < 0) ||
        og_die_if_hung_up(origin.armed, sig, &err) < 0)
        return og_report(&err);
    armed_on(origin.armed, sig, origin.held_by_parent);
    return 0;
}

/* 1 for the one caller that gets there first, over all processes that share
 * the page. */
int og_claim(char *word)
{
    char unclaimed = 0;
    return __atomic_compare_exchange_n(word, &unclaimed, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

void og_origin(struct og_origin *result)
{
    *result = origin;
    result->lifeline = og_still_ours(&inherited) ? inherited.fd : -1;
}

/* --- at fork ------------------------------------------------------------
 *
 * pthread_atfork handlers run inside fork(), before any hook of Python's, and
 * for every fork() of the process. In the child only this thread exists and
 * anything but async-signal-safe calls may deadlock: no allocation, no stdio,
 * no Python. */

static void before_fork(void)
{
    /* Touched here, so that the child's access never allocates it. */
    volatile int touch = start.armed;
    (void)touch;
    og_lock();
    if (!start.armed)
        og_expect_visitor();
    next_origin = (struct og_origin){
        .parent = getpid(), .by_main_thread = og_is_main_thread(), .lifeline = -1, .armed = -1};
}

static void after_fork_in_parent(void)
{
    start.right = start.armed;
    start.armed = 0;
    start.forks = ++forks;
    og_unlock();
}

static void say(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

static void after_fork_in_child(void)
{
    struct og_error err;
    int armed = start.armed;
    start.right = armed;
    start.armed = start.busy = 0;
    has_pdeathsig = false;

    og_close_if_ours(&inherited);
    og_close_if_ours(&inherited_sender);
    og_lifelines_leave(armed ? start.lifeline : -1, !armed, &inherited, &inherited_sender);
    origin = next_origin;
    og_unlock();

    if (armed && arm(start.lifeline, origin.by_main_thread, &err) < 0) {
        /* Rehearsed in the parent, so only something that changed in between
         * gets here. It must not run unguarded. */
        say("orphanguard: this child could not be tied to its parent and ends: ");
        say(err.call);
        say(" failed\n");
        _exit(127);
    }
}

int og_init(void)
{
    static bool done;
    if (done)
        return 0;
    int code = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    if (code)
        return og_report(&(struct og_error){code, "pthread_atfork"});
    done = true;
    return 0;
}

/* --- a start by fork -----------------------------------------------------
 *
 * The gate. A child forked by Process reads one byte before it gets to its own
 * code, and its parent writes that byte when it has the child's pidfd. So none
 * ends by itself before that (its pid could be somebody else's by the time of
 * pidfd_open, where SIGCHLD is ignored), and none has run that a failed start
 * takes back. Its own lifeline ends it here as anywhere.
 *
 * It is behind the at-fork hooks of Python's, on both sides: one in the parent
 * may wait for one in the child, or the other way round. */
enum { GO = 'g', STOP = 's' };

static void close_gate(void)
{
    if (start.gate_read >= 0) {
        close(start.gate_read);
        close(start.gate_write);
    }
    start.gate_read = start.gate_write = -1;
}

static void give_order(char order)
{
    ssize_t written;
    do /* our own read end is open still: no SIGPIPE */
        written = write(start.gate_write, &order, 1);
    while (written < 0 && errno == EINTR);
    close_gate();
}

/* The child's side. */
static void pass_gate(void)
{
    char order = STOP;
    ssize_t got;
    close(start.gate_write); /* or it would keep the end of the file from us */
    do
        got = read(start.gate_read, &order, 1);
    while (got < 0 && errno == EINTR);
    close(start.gate_read);
    if (order != GO)
        _exit(127);
}

/* The next fork() of this thread arms its child, on the lifeline of `child`. 1 if that child will
 * have PDEATHSIG as well, else 0. */
int og_arm_next_fork(struct og_child *child)
{
    struct own_fd gate_read, gate_write;
    int code = og_pipe(&gate_read, &gate_write, 0);
    if (code < 0)
        return code;
    start.child = child;
    start.lifeline = child->lifeline;
    start.gate_read = gate_read.fd;
    start.gate_write = gate_write.fd;
    start.armed = 1;
    return og_is_main_thread();
}

int og_armed_next_fork(void)
{
    return start.lifeline;
}

/* Who is armed on it, once its child has come so far; 0 if there is none. */
static int owner_soon(const struct og_child *child)
{
    int owner = og_lifeline_owner(child);
    for (int tries = 0; !owner && tries < 1000; tries++) {
        usleep(1000);
        owner = og_lifeline_owner(child);
    }
    return owner;
}

static void reap(int pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ; /* ECHILD: SIGCHLD is ignored */
}

/* The pidfd of the child that fork() gave as `pid`. Is it that one's? A hook of
 * Python's may have ended it, or a signal, and somebody else have reaped it,
 * before pidfd_open. Then `pid` is no child of ours any more; unless it has been
 * given to another one meanwhile. Where there may be another one, or a hook may
 * have forked ahead of us and got the arming that was meant for this child, its
 * lifeline must name it as the owner: there the kernel holds no number but a
 * struct pid, which is named until it is reaped. */
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
            /* Nothing of its own has run, and there is nothing that a handle could wait for. */
            og_fail(err, errno, "fork (the child ended before its own code)");
            give_order(STOP);
            break;
        }
        if (start.right && __atomic_load_n(&forks, __ATOMIC_SEQ_CST) == start.forks)
            return pidfd;
        int owner = og_lifeline_owner(start.child);
        if (owner == pid)
            return pidfd;
        if (owner || info.si_pid) {
            og_fail(err, EDEADLK, "fork, while an at-fork hook of this program forks as well");
            give_order(STOP);
            og_kill_and_reap(pidfd);
            break;
        }
        usleep(100); /* it has not come so far */
    }
    close(pidfd);
    return -1;
}

/* What follows fork(), on both sides. In the child it returns 0, or not at all;
 * in the parent the pid, with the child admitted to its own code, or an error,
 * and then there is no child. */
int og_forked(int pid)
{
    struct og_error err;
    if (pid == 0) {
        if (!start.right)
            _exit(127); /* it is not armed: see identify() */
        pass_gate();
        start = NO_START;
        return 0;
    }
    int pidfd = identify(pid, &err);
    if (pidfd < 0)
        return og_report(&err);
    start.child->pid = pid;
    start.child->pidfd = pidfd;
    start.child->running = 1;
    start.child->identity = og_pidfd_identity(pidfd);
    og_let_go(start.child, false); /* it has a copy, and may have run nothing yet */
    give_order(GO);
    return pid;
}

/* 1 if this thread is in the middle of a start: a signal handler of Python's has interrupted
 * it, and is going to start a child itself. */
int og_begin_start(void)
{
    if (start.busy)
        return 1;
    start = NO_START;
    start.busy = 1;
    return 0;
}

/* Changes with each fork of this thread. */
int og_last_fork(void)
{
    return start.forks;
}

void og_end_start(void)
{
    start.busy = 0;
}

/* A signal handler of Python's may start a child in the middle of a start of
 * the thread that it has interrupted. */
void og_save_start(struct og_start *saved)
{
    *saved = start;
    start = NO_START;
}

void og_restore_start(const struct og_start *saved)
{
    start = *saved;
}

void og_fork_failed(void)
{
    close_gate();
}

/* An exception, of a signal handler say, got between fork() and og_forked(): its
 * pid was lost with the return of fork(). But a child arms itself before it waits
 * at the gate, so the lifeline knows it: to be called before that is given back. */
void og_abandon(void)
{
    start.armed = 0;
    if (start.gate_read >= 0) {
        give_order(STOP);
        int pid = start.right ? owner_soon(start.child) : 0;
        if (pid)
            reap(pid);
    }
}
