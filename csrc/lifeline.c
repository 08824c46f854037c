/* The lifeline: the kernel kills a child when its parent *process* is gone.
 *
 * The problem. SIGKILL can't be caught, so the dying parent can do nothing for
 * its children: somebody else has to. PR_SET_PDEATHSIG, which everyone uses,
 * follows the *thread* that forked (prctl(2), BUGS): a pool that starts its
 * workers from a helper thread loses them when that thread ends.
 *
 * The mechanism. A process that starts children has one pipe that is never
 * written to. A child's own open file description of its read end is set to
 * F_SETSIG = SIGKILL, O_ASYNC, F_SETOWN = the child. When the last write end
 * is closed, which the kernel does as it tears the parent down, pipe_release()
 * signals every such owner: no thread, no polling, no code that has to run.
 *
 * What it takes to be right:
 *  - Owner and signal live in the open file description (fcntl(2)), so each
 *    child has one of its own: the parent re-opens /proc/self/fd/N.
 *  - The parent keeps that description until the child is reaped. So a child
 *    that closes all its fds, or execs, stays armed.
 *  - With both pipe ends in the parent the order of release at exit counts:
 *    Linux (5.10 to 7.3, measured) releases the highest fd first, and a read
 *    end released before the last writer hears nothing. So the write end
 *    always has a higher number than every read end.
 *  - A forked child has a copy of the write end. One such copy keeps all its
 *    siblings alive, so the at-fork handler closes it in *every* forked child,
 *    also in those that C libraries fork. After vfork, posix_spawn and clone
 *    no handler runs; there close-on-exec does it.
 *  - An event before the arming is not signalled again: look for POLLHUP once
 *    afterwards.
 *
 * What defeats it: docs/design.md, "What defeats a lifeline". */

#include "shim.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The write end's first place. Above what ordinary programs use, so that it is
 * seldom moved; below 1024, so that the fd table of a small process stays at
 * the size that it has anyway once it is larger than the built-in 64. */
#define WRITER_FLOOR 1000

/* Children on one pipe. Once the last writer is gone, the kernel's pipe_release()
 * signals everybody left on the pipe anew for each description that is
 * released: n * n / 2 signals, under the pipe's mutex (measured: 155 ms for
 * 1,000 on one pipe, 619 ms for 2,000). With this many it is linear, and the
 * price is one more fd for each so many children. */
#define PER_PIPE 64

/* An fd and what it referred to when we made it. A program may close our fds
 * (os.closerange) and get their numbers again for something else; we must
 * neither close nor use that. */
struct pipe_end {
    int fd;
    dev_t dev;
    ino_t ino;
};

struct strand {
    struct pipe_end writer;
    int used;  /* descriptions that are open for children */
    bool solo; /* for one child, and closed after it: the pipe can't be re-opened */
};

static const struct pipe_end NO_PIPE = {.fd = -1};

/* Held across fork(), so that no child is born between pipe2() and the moment
 * at which the handlers below know of the write end. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The lifeline's pipes: one, and more of them with many children. The first is
 * never closed, since children that armed themselves may be on it. */
static struct strand *strands;
static size_t strand_count, strand_room;
static struct pipe_end reader = {.fd = -1}; /* of strands[0], for forked children to inherit; not needed here */

/* Set for the one fork() that shall arm its child, for this thread only. */
static __thread struct {
    int lifeline; /* -1: an ordinary fork */
    int gate;
    int forks; /* since it was set */
} next_fork = {-1, -1, 0};

static struct og_origin next_origin;
static struct og_origin origin = {.lifeline = -1, .armed = -1};
static struct pipe_end inherited = {.fd = -1};

int og_is_main_thread(void)
{
    return syscall(SYS_gettid) == getpid();
}

static bool identify(struct pipe_end *end, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return false;
    *end = (struct pipe_end){.fd = fd, .dev = st.st_dev, .ino = st.st_ino};
    return true;
}

static bool still_ours(const struct pipe_end *end)
{
    struct pipe_end now;
    return end->fd >= 0 && identify(&now, end->fd) && now.dev == end->dev && now.ino == end->ino;
}

static void close_if_ours(struct pipe_end *end)
{
    if (still_ours(end))
        close(end->fd);
    *end = NO_PIPE;
}

/* Moves a write end above `above`, far if it can. The copy is made before the
 * old number is closed, so the pipe never is without a writer. -1, and nothing
 * changed, when no number up there is free. */
static int raise_above(struct pipe_end *end, int above)
{
    struct rlimit limit = {.rlim_cur = 0};
    int moved = -1, soft = above;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > (rlim_t)above)
        soft = limit.rlim_cur < INT_MAX ? (int)limit.rlim_cur : INT_MAX;
    int wish[] = {2 * above > WRITER_FLOOR ? 2 * above : WRITER_FLOOR, above + (soft - above) / 2, above + 1};
    for (size_t i = 0; i < sizeof wish / sizeof *wish && moved < 0; i++)
        if (wish[i] > above)
            moved = fcntl(end->fd, F_DUPFD_CLOEXEC, wish[i]);
    if (moved < 0)
        return -1;
    close(end->fd);
    end->fd = moved;
    return 0;
}

static int make_pipe(struct pipe_end *r, struct pipe_end *w, struct og_error *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return og_fail(err, errno, "pipe2");
    if (!identify(r, fds[0]) || !identify(w, fds[1])) {
        int code = errno;
        close(fds[0]);
        close(fds[1]);
        return og_fail(err, code, "fstat");
    }
    return 0;
}

/* Makes the pipe of strands[at], and leaves its read end open in *r. */
static struct strand *make_strand(size_t at, struct pipe_end *r, struct og_error *err)
{
    if (at == strand_room) {
        size_t room = strand_room ? 2 * strand_room : 4;
        struct strand *grown = realloc(strands, room * sizeof *grown);
        if (!grown) {
            og_fail(err, ENOMEM, "realloc");
            return NULL;
        }
        strands = grown;
        strand_room = room;
    }
    struct pipe_end w;
    if (make_pipe(r, &w, err) < 0)
        return NULL;
    (void)raise_above(&w, w.fd > r->fd ? w.fd : r->fd); /* a wish; whoever must have it looks */
    strands[at] = (struct strand){.writer = w};
    if (at == strand_count)
        strand_count++;
    return &strands[at];
}

static struct strand *first_strand(struct og_error *err)
{
    if (strand_count && still_ours(&strands[0].writer))
        return &strands[0];
    /* Not made yet, or closed behind our back: then its children are gone
     * already (forked ones) or have lost it (exec'd ones). */
    struct pipe_end r;
    struct strand *first = make_strand(0, &r, err);
    if (first) {
        close_if_ours(&reader);
        reader = r;
    }
    return first;
}

static struct strand *strand_with_room(struct og_error *err)
{
    if (!first_strand(err))
        return NULL;
    for (size_t i = 0; i < strand_count; i++)
        if (!strands[i].solo && strands[i].used < PER_PIPE && still_ours(&strands[i].writer))
            return &strands[i];
    struct pipe_end r;
    struct strand *made = make_strand(strand_count, &r, err);
    if (made)
        close(r.fd); /* children re-open the pipe through its write end */
    return made;
}

static bool out_of_resources(int code)
{
    return code == EMFILE || code == ENFILE || code == ENOMEM || code == EINTR;
}

/* A description of the read end that nobody else has, numbered below the
 * write end. */
static int reopen(struct strand *strand, struct og_error *err)
{
    struct pipe_end *writer = &strand->writer;
    char path[32];
    /* Other threads open and close fds meanwhile, hence the loop. */
    for (int tries = 0; tries < 16; tries++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", writer->fd);
        int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
            return og_fail(err, errno, "open(/proc/self/fd)");
        struct pipe_end end;
        if (!identify(&end, fd) || end.ino != writer->ino || end.dev != writer->dev) {
            close(fd); /* something else is mounted at /proc */
            return og_fail(err, ENOENT, "open(/proc/self/fd)");
        }
        if (fd < writer->fd || raise_above(writer, fd) == 0) {
            strand->used++;
            return fd;
        }
        /* Every number above is taken or forbidden. Give ours up, move the
         * write end onto it, and open again: below it. */
        close(fd);
        (void)raise_above(writer, writer->fd);
    }
    return og_fail(err, EMFILE, "open(/proc/self/fd)");
}

/* A pipe for one child, where none can be re-opened: no /proc, or a pipe made
 * under another uid. It costs one fd more. */
static int open_solo(struct og_error *err)
{
    struct pipe_end r;
    struct strand *strand = make_strand(strand_count, &r, err);
    if (!strand)
        return -1;
    if (strand->writer.fd < r.fd && raise_above(&strand->writer, r.fd) < 0) {
        close(r.fd);
        close_if_ours(&strand->writer);
        strand_count--;
        return og_fail(err, EMFILE, "fcntl(F_DUPFD_CLOEXEC)");
    }
    strand->solo = true;
    strand->used = 1;
    return r.fd;
}

static void close_locked(int fd)
{
    struct pipe_end end;
    struct strand *strand = NULL;
    if (!identify(&end, fd))
        return;
    for (size_t i = 0; i < strand_count && !strand; i++)
        if (strands[i].writer.ino == end.ino && strands[i].writer.dev == end.dev)
            strand = &strands[i];
    if (!strand)
        return; /* closed behind our back: somebody else's by now */
    /* The read end first: closing the last writer would signal its owner. */
    close(fd);
    strand->used--;
    if (strand->solo) {
        close_if_ours(&strand->writer);
        *strand = strands[--strand_count];
    }
}

/* Everything but the owner is set here, in the parent: the child has one call
 * less to make, and what a seccomp filter refuses is refused before there is a
 * child. Without an owner the kernel sends nothing. */
static int load(int fd, int sig, struct og_error *err)
{
    if (fcntl(fd, F_SETSIG, sig) < 0)
        return og_fail(err, errno, "fcntl(F_SETSIG)");
    if (fcntl(fd, F_SETOWN, 0) < 0)
        return og_fail(err, errno, "fcntl(F_SETOWN)");
    if (fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK) < 0)
        return og_fail(err, errno, "fcntl(F_SETFL, O_ASYNC)");
    return 0;
}

/* seccomp filters are inherited, so what this thread may do its child may do:
 * setting the value that is there already tells, before anything is forked,
 * whether the child will be allowed to set it. */
static int rehearse_pdeathsig(struct og_error *err)
{
    int now = 0;
    if (prctl(PR_GET_PDEATHSIG, &now, 0, 0, 0) < 0)
        return og_fail(err, errno, "prctl(PR_GET_PDEATHSIG)");
    if (prctl(PR_SET_PDEATHSIG, now, 0, 0, 0) < 0)
        return og_fail(err, errno, "prctl(PR_SET_PDEATHSIG)");
    return 0;
}

/* A description for one child to be armed on. It stays open in this process
 * until og_lifeline_close(), which is for after the child has been reaped.
 * `pdeathsig`: the child will want that too, if this is the main thread. */
int og_lifeline_open(int pdeathsig)
{
    int fd = -1;
    struct og_error why = {0, NULL};
    if (pdeathsig && og_is_main_thread() && rehearse_pdeathsig(&why) < 0)
        return og_report(&why);
    pthread_mutex_lock(&lock);
    struct strand *strand = strand_with_room(&why);
    if (strand) {
        fd = reopen(strand, &why);
        if (fd < 0 && !out_of_resources(why.code))
            fd = open_solo(&why);
    }
    if (fd >= 0 && load(fd, SIGKILL, &why) < 0) {
        close_locked(fd);
        fd = -1;
    }
    pthread_mutex_unlock(&lock);
    return fd >= 0 ? fd : og_report(&why);
}

void og_lifeline_close(int fd)
{
    pthread_mutex_lock(&lock);
    close_locked(fd);
    pthread_mutex_unlock(&lock);
}

/* The pid that is armed on this description; 0 when nobody is yet, and again
 * once that process has been reaped (the kernel holds a struct pid, not a
 * number, so a recycled pid never shows here). */
int og_lifeline_owner(int fd)
{
    int owner = fcntl(fd, F_GETOWN);
    return owner > 0 ? owner : 0;
}

static void die_now(int sig)
{
    kill(getpid(), sig);
    if (sig == SIGKILL)
        _exit(128 + SIGKILL); /* the init of a pid namespace can't kill itself */
}

int og_make_mine(int fd, int pdeathsig, struct og_error *err)
{
    /* Is it still what og_lifeline_open() gave? The parent may have closed it meanwhile, and its number may be
     * something that can be owned as well, and kills nobody. */
    int sig = fcntl(fd, F_GETSIG);
    if (sig <= 0)
        return og_fail(err, sig < 0 ? errno : EBADF, "fcntl(F_GETSIG)");
    if (fcntl(fd, F_SETOWN, getpid()) < 0)
        return og_fail(err, errno, "fcntl(F_SETOWN)");
    if (pdeathsig && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return og_fail(err, errno, "prctl(PR_SET_PDEATHSIG)");
    return 0;
}

/* Only right once this process holds no write end of its own any more. */
int og_die_if_hung_up(int fd, struct og_error *err)
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
        die_now(SIGKILL);
    return 0;
}

static void armed_on(int fd, int sig, int held_by_parent)
{
    origin.armed = fd;
    origin.armed_signal = sig;
    origin.held_by_parent = held_by_parent;
}

/* Arms the calling process on a description that its parent opened for it. */
static int arm(int fd, int pdeathsig, struct og_error *err)
{
    if (og_make_mine(fd, pdeathsig, err) < 0 || og_die_if_hung_up(fd, err) < 0)
        return -1;
    armed_on(fd, SIGKILL, 1);
    return 0;
}

int og_arm(int fd, int pdeathsig)
{
    struct og_error err;
    return arm(fd, pdeathsig, &err) < 0 ? og_report(&err) : 0;
}

/* Arms a running forked child that its parent did not arm, on a description
 * that it opens itself. Only this process holds it: lost when it closes its
 * fds. Returns the fd. */
static int arm_inherited(int sig, struct og_error *err)
{
    char path[32];
    if (!still_ours(&inherited))
        return og_fail(err, ENOENT, "lifeline");
    snprintf(path, sizeof path, "/proc/self/fd/%d", inherited.fd);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct pipe_end end;
    if (fd < 0)
        return og_fail(err, errno, "open(/proc/self/fd)");
    if (!identify(&end, fd) || end.ino != inherited.ino || end.dev != inherited.dev)
        og_fail(err, ENOENT, "open(/proc/self/fd)");
    else if (load(fd, sig, err) == 0 && og_make_mine(fd, 0, err) == 0) {
        struct pollfd look = {.fd = fd};
        if (poll(&look, 1, 0) > 0 && look.revents & POLLHUP)
            die_now(sig);
        armed_on(fd, sig, 0);
        return fd;
    }
    close(fd);
    return -1;
}

int og_arm_inherited(int sig)
{
    struct og_error err;
    int fd = arm_inherited(sig, &err);
    return fd < 0 ? og_report(&err) : fd;
}

/* PR_SET_PDEATHSIG alone. `parent` is the pid that getppid() must still give;
 * 0: unknown. Dies on the spot, by `sig`, if the parent was gone before. */
int og_arm_pdeathsig(int sig, int parent)
{
    siginfo_t ignored;
    if (prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0) < 0)
        return og_report(&(struct og_error){errno, "prctl(PR_SET_PDEATHSIG)"});
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
    result->lifeline = still_ours(&inherited) ? inherited.fd : -1;
}

/* The next fork() of this thread arms its child on `fd`, and holds it at the
 * read end `gate` until og_admit(). -1, -1: takes that back. */
void og_arm_next_fork(int fd, int gate)
{
    next_fork.lifeline = fd;
    next_fork.gate = gate;
    next_fork.forks = 0;
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
    volatile int touch = next_fork.lifeline;
    (void)touch;
    pthread_mutex_lock(&lock);
    /* So that a child forked by whatever means can still arm itself, with
     * die_with_parent(). Without free fds it just can't. */
    (void)first_strand(NULL);
    next_origin = (struct og_origin){
        .parent = getpid(), .by_main_thread = og_is_main_thread(), .lifeline = -1, .armed = -1};
}

static void after_fork_in_parent(void)
{
    next_fork.lifeline = -1;
    next_fork.forks++;
    pthread_mutex_unlock(&lock);
}

/* The gate. A child forked by Process reads one byte before anything else runs
 * in it, and its parent writes that byte when it has the child's pidfd. So no
 * child runs whose identity rests on luck (with SIGCHLD ignored it could end,
 * and its pid be somebody else's, before pidfd_open), and none that a failed
 * start would have to take back. Its own lifeline ends it here as anywhere. */
enum { GO = 'g', STOP = 's' };

static bool may_pass(int gate)
{
    char order = STOP;
    ssize_t got;
    do
        got = read(gate, &order, 1);
    while (got < 0 && errno == EINTR);
    return order == GO;
}

static void say(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

static void after_fork_in_child(void)
{
    int fd = next_fork.lifeline, gate = next_fork.gate;
    struct og_error err;
    og_arm_next_fork(-1, -1);

    close_if_ours(&inherited);
    inherited = reader;
    reader = NO_PIPE;
    for (size_t i = 0; i < strand_count; i++)
        close_if_ours(&strands[i].writer);
    strand_count = 0;
    origin = next_origin;
    pthread_mutex_unlock(&lock);

    if (fd < 0)
        return;
    if (arm(fd, origin.by_main_thread, &err) < 0) {
        /* Rehearsed in the parent, so only something that changed in between
         * gets here. It must not run unguarded. */
        say("orphanguard: this child could not be tied to its parent and ends: ");
        say(err.call);
        say(" failed\n");
        _exit(127);
    }
    if (!may_pass(gate))
        _exit(127);
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

/* Opens the gate and returns the child's pidfd. Without one there will be no
 * child. */
int og_admit(int pid, int gate)
{
    struct og_error err = {EDEADLK, "fork, while an at-fork hook of this program forks as well"};
    int pidfd = -1;
    if (next_fork.forks == 1)
        pidfd = og_pidfd(pid, &err);
    else
        kill(pid, SIGKILL); /* which of the two was armed? Ours may be running, and is not reaped */
    char order = pidfd >= 0 ? GO : STOP;
    ssize_t written;
    do /* EPIPE: killed while it waited */
        written = write(gate, &order, 1);
    while (written < 0 && errno == EINTR);
    if (pidfd >= 0)
        return pidfd;
    /* The one wait by pid: there is no pidfd, which is why the start failed.
     * ECHILD: SIGCHLD is ignored. */
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return og_report(&err);
}
