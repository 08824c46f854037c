/* The tether: it holds the write end of a pipe, and the children's descriptions of its read end, so that the write end
 * is always released first.
 *
 * The problem. When the last write end of a pipe is released, the kernel signals the owners of the descriptions that
 * exist at that moment. The owner of a description that is released before that moment hears nothing, and becomes an
 * orphan. If both are plain fds of the parent, the order of their release is open: it depends on how the parent ends,
 * and on when every process that has copies of them by a fork or a clone ends, executes something, or closes its
 * copies.
 *
 * Why no numbering of fds is a cure. When a table of fds goes, close_files() of fs/file.c drops the references in
 * ascending order. For a last reference, fput() delays the release to the end of that process's batch, which runs
 * newest first. So if two processes that share files end together, each file is released by the process that drops it
 * last, at the time of that process. (With 14,000 fds between the two, parent and forked sibling killed at once: 7 of
 * 60 programs lived on.)
 *
 * The nest. T, R, S and Q are pairs of stream sockets, with the ends ta and tb, and so on. Fds that are sent over a
 * socket (SCM_RIGHTS, unix(7)) hang in the queue of the receiving end:
 *
 *     tb, an fd of the parent
 *      '- its queue: the write end of the pipe
 *                    rb
 *                     '- its queue: sb
 *                                    '- its queue: qb, also an fd of the parent
 *                                                   '- its queue: the children's descriptions
 *
 * ta is closed. Unless there will be only one description, qa and a read end of the pipe hang in the queue of tb, too:
 * with them more descriptions are made. Now the write end is in no table of fds. It hangs on tb, the tether. When a
 * process drops the last copy of tb, in whatever way, the kernel takes the queue of tb apart: it releases the write end
 * and rb in one batch. The release of rb takes the queue of rb apart, and what hangs there goes into the *next* batch.
 * So all descriptions exist when the write end is released. The order is inside one object: it does not matter which
 * process is last, when, or how it lets go (exit, kill, exec, close, close_range).
 *
 * With the descriptions in the queue of tb itself, beside the write end, 40 of 40 children lived on. With qb in the
 * place of rb, two levels, 12 of 360 parents left orphans. The parent has an fd of qb, and so has a child that is just
 * being forked. If the parent dies then, it takes the queue of tb apart: that drops qb at once, but only queues the
 * release of the write end. In that moment the child can close the last copy of qb, and the descriptions go first. So
 * two more levels lie between: the nest drops qb only in the batch after that of the write end. Until then no process
 * can drop the last reference to qb, and later it does no harm.
 *
 * So the parent can have its fd of qb: with MSG_PEEK and SO_PEEK_OFF it gets a copy of any description in the queue.
 *
 * The nest is made where no thread can copy it. If another thread of the parent cloned a child in the middle of the
 * work, that child would have a copy of the bare write end, and could close that later than its copy of tb. So a child
 * that shares the parent's memory, but not its table of fds, makes the nest, and sends only the finished fds back.
 *
 * It takes 0.15 ms to make a nest (measured), and two fds for all the children on one pipe. The kernel limits the number
 * of fds in flight: unix(7), ETOOMANYREFS. Needs fd.c. */

#include "shim.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

#define MOST_FDS 3 /* that are sent in one message */

union control {
    struct cmsghdr header;
    char space[CMSG_SPACE(MOST_FDS * sizeof(int))];
};

/* An empty message carries no fds, hence `byte`. */
static int send_fds(int socket, char byte, const int *fds, size_t count, struct og_error *err)
{
    struct iovec iov = {&byte, 1};
    union control control = {.space = {0}};
    size_t size = count * sizeof *fds;
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(size)};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(&control.header), fds, size);
    ssize_t sent;
    do
        sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == 1 ? 0 : og_fail(err, sent < 0 ? errno : EPROTO, "sendmsg(SCM_RIGHTS)");
}

/* Returns the byte. With MSG_PEEK the message stays in the queue, and the fds are copies. */
static int receive_fds(int socket, int flags, int *fds, size_t count, struct og_error *err)
{
    char byte;
    struct iovec iov = {&byte, 1};
    union control control = {.space = {0}};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(count * sizeof *fds)};
    ssize_t got;
    do
        got = recvmsg(socket, &message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return og_fail(err, errno, "recvmsg(SCM_RIGHTS)");
    size_t length = message.msg_controllen >= sizeof control.header ? control.header.cmsg_len - CMSG_LEN(0) : 0;
    memcpy(fds, CMSG_DATA(&control.header), length);
    if (got == 1 && length == count * sizeof *fds)
        return (unsigned char)byte;
    for (size_t i = 0; i < length / sizeof *fds; i++)
        close(fds[i]);
    /* EMFILE: the kernel has found no free numbers for the others. */
    return og_fail(err, got == 1 ? EMFILE : EPROTO, "recvmsg(SCM_RIGHTS)");
}

/* --- in a child that shares our memory -------------------------------------- */

struct task {
    void (*does)(struct task *);
    struct og_error err;
    int socket, fd;
    char place;
    bool single;
    bool done; /* the child was not killed before its end */
};

/* The kernel compares the fds that the user has in flight, over all processes, with RLIMIT_NOFILE of the process that
 * sends. So this child, and only this child, raises its soft limit. */
static int run_task(void *argument)
{
    struct task *task = argument;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    task->does(task);
    task->done = true;
    _exit(0);
}

/* Whether the next child would be the init of a new pid namespace, after unshare(CLONE_NEWPID). The namespace ends with
 * its init, so the program must start that child itself. Until then the namespace has no name (since Linux 4.12). */
static bool would_be_init(void)
{
    char name[64];
    return readlink("/proc/thread-self/ns/pid_for_children", name, sizeof name) < 0 && errno == ENOENT &&
           readlink("/proc/thread-self/ns/pid", name, sizeof name) > 0;
}

/* Runs a task in a child that shares this process's memory. No other code waits for that child: no signal tells of its
 * end, and plain wait calls leave it out (__WCLONE). Its stack is not a part of the caller's: the caller may be any
 * thread that forks, and the thread of a C library may have only 16 KiB. The caller holds the lock. */
static int in_child(struct task *task, int flags, struct og_error *err)
{
    static char stack[OG_CHILD_STACK] __attribute__((aligned(16)));
    const uint64_t all = ~(uint64_t)0;
    uint64_t mask;

    if (would_be_init())
        return og_fail(err, ENOTSUP, "clone, of the first process of a pid namespace");
    task->err = (struct og_error){0, NULL};
    set_signal_mask(&all, &mask); /* no signal handler of the program may run in the child */
    int pid = clone(run_task, stack + sizeof stack, flags | CLONE_VM | CLONE_VFORK, task);
    if (pid < 0)
        og_fail(&task->err, errno, "clone");
    else
        while (waitpid(pid, NULL, (int)__WCLONE) < 0 && errno == EINTR)
            ;
    set_signal_mask(&mask, NULL);
    if (!task->err.call && !task->done)
        og_fail(&task->err, ECANCELED, "clone (its child was killed)");
    return task->err.call ? og_fail(err, task->err.code, task->err.call) : 0;
}

/* The sockets of the nest, from Q, the innermost, to T. */
enum { LEVELS = 4 };

static void make_nest(struct task *task)
{
    struct og_error *err = &task->err;
    int pipe[2], level[LEVELS][2], *q = level[0], *t = level[LEVELS - 1], from_start = 0;
    if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        og_fail(err, errno, "pipe2");
        return;
    }
    for (int i = 0; i < LEVELS; i++)
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, level[i]) < 0) {
            og_fail(err, errno, "socketpair");
            return;
        }
    if (setsockopt(q[1], SOL_SOCKET, SO_PEEK_OFF, &from_start, sizeof from_start) < 0) {
        og_fail(err, errno, "setsockopt(SO_PEEK_OFF)");
        return;
    }
    /* Either the only description, or the two fds with which more descriptions are made. These lie first in the queue
     * of tb, where they can be peeked at. */
    if ((task->single ? send_fds(q[0], 0, pipe, 1, err) : send_fds(t[0], 0, (int[]){q[0], pipe[0]}, 2, err)) < 0)
        return;
    for (int i = 1; i < LEVELS; i++)
        if (send_fds(level[i][0], 0, &level[i - 1][1], 1, err) < 0)
            return;
    if (send_fds(t[0], 0, &pipe[1], 1, err) < 0)
        return;
    send_fds(task->socket, 0, (int[]){t[1], q[1], pipe[0]}, 3, err);
}

static void send_one(struct task *task)
{
    send_fds(task->socket, task->place, &task->fd, 1, &task->err);
}

/* --- in the parent ------------------------------------------------------------ */

static int keep(struct own_fd *place, int fd, struct og_error *err)
{
    int high = og_above_stdio(fd);
    return og_identify(place, high) ? 0 : og_fail(err, errno == EBADF ? EMFILE : errno, "fcntl(F_DUPFD_CLOEXEC)");
}

/* Makes a pipe with its tether. `single`: `reader` is the only description on the tether. Otherwise there is none yet,
 * and og_tether_add() adds them. */
int og_tether_make(struct og_tether *tether, bool single, struct own_fd *reader, struct og_error *err)
{
    int back[2], fds[MOST_FDS];
    *tether = (struct og_tether){.end = OG_NO_FD, .queue = OG_NO_FD};
    *reader = OG_NO_FD;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, back) < 0)
        return og_fail(err, errno, "socketpair");
    struct task task = {.does = make_nest, .socket = back[1], .single = single};
    int made = in_child(&task, 0, err);
    if (made == 0)
        made = receive_fds(back[0], 0, fds, MOST_FDS, err);
    close(back[0]);
    close(back[1]);
    if (made < 0)
        return -1;
    /* All three, also after a failure, so that all can be closed below. */
    made = keep(&tether->end, fds[0], err) | keep(&tether->queue, fds[1], err) | keep(reader, fds[2], err);
    tether->dev = reader->dev;
    tether->ino = reader->ino;
    if (made < 0) {
        og_tether_close(tether);
        og_close_if_ours(reader);
    }
    return made;
}

void og_tether_close(struct og_tether *tether)
{
    og_close_if_ours(&tether->end);
    og_close_if_ours(&tether->queue);
}

/* Whether `fd` is the tether or its queue. */
bool og_tether_has(const struct og_tether *tether, int fd)
{
    return (tether->end.fd == fd && og_still_ours(&tether->end)) ||
           (tether->queue.fd == fd && og_still_ours(&tether->queue));
}

/* Gives copies of the two fds with which descriptions are made: qa, the sending end of the queue, and a read end of the
 * pipe. */
int og_tether_parts(const struct og_tether *tether, int parts[2], struct og_error *err)
{
    return receive_fds(tether->end.fd, MSG_PEEK, parts, 2, err) < 0 ? -1 : 0;
}

/* Adds a description to the end of the queue. Its `place` is its position there, and is sent with it as a check. */
int og_tether_add(int sender, int place, int fd, struct og_error *err)
{
    struct og_error refused;
    if (send_fds(sender, (char)place, &fd, 1, &refused) == 0)
        return 0;
    if (refused.code != ETOOMANYREFS)
        return og_fail(err, refused.code, refused.call);
    struct task task = {.does = send_one, .socket = sender, .place = (char)place, .fd = fd};
    return in_child(&task, CLONE_FILES, err);
}

/* Returns a copy of the description at this place of the queue. */
int og_tether_peek(const struct og_tether *tether, int place, struct og_error *err)
{
    int fd;
    if (setsockopt(tether->queue.fd, SOL_SOCKET, SO_PEEK_OFF, &place, sizeof place) < 0)
        return og_fail(err, errno, "setsockopt(SO_PEEK_OFF)");
    int found = receive_fds(tether->queue.fd, MSG_PEEK, &fd, 1, err);
    if (found < 0)
        return -1;
    if (found != place) {
        close(fd);
        return og_fail(err, EPROTO, "lifeline (in the place of another one)");
    }
    int high = og_above_stdio(fd);
    return high >= 0 ? high : og_fail(err, errno, "fcntl(F_DUPFD_CLOEXEC)");
}
