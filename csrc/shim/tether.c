/* The tether: it keeps a lifeline's write end, so that nobody can let go of that
 * too late.
 *
 * The problem. The kernel signals the owners of those descriptions that exist at
 * the moment when a pipe's last write end is released. The owner of a description
 * that is released before that moment hears nothing, and lives for ever. If both
 * are fds of the parent, the order of their release is that of the parent's end,
 * and of the end, the exec and the closing of everybody who has copies of them by
 * a fork or a clone.
 *
 * Why no numbering of fds is a cure. When a table of fds goes, close_files() of
 * fs/file.c drops the references in ascending order. Where that was the last
 * reference, fput() puts the release off, to the end of that process's batch,
 * which runs newest first. So if two processes that share files end together,
 * each file is released by the one that drops it last, at that one's own time.
 * (14,000 fds between the two, parent and forked sibling killed at once: 7 of 60
 * programs lived on.)
 *
 * The nest. T and Q are pairs of stream sockets. Fds that are sent over a socket
 * (SCM_RIGHTS, unix(7)) hang in the queue of the receiver:
 *
 *     tb, an fd of the parent
 *      '- its queue: the write end of the pipe
 *                    qb
 *                     '- its queue: the children's descriptions
 *
 * The other ends are closed. Now the write end is in nobody's table of fds, but
 * hangs on tb, the tether. Whoever drops the last copy of tb, in whatever way, has
 * the kernel take its queue apart: it releases the write end and qb in one batch.
 * The queue of qb is taken apart when qb is released, and what hangs there is put
 * into the *next* batch. So the write end is always released while all
 * descriptions are there. It is one object with one order inside: it does not
 * matter who is last, when, or how (exit, kill, exec, close, close_range).
 *
 * The depth does it. With the descriptions in the queue of tb itself, beside the
 * write end, 40 of 40 children lived on. More references to qb do no harm: they
 * keep descriptions for longer. So qb is an fd of the parent as well, to look at
 * the queue (MSG_PEEK, SO_PEEK_OFF): that gives a copy of any description back.
 *
 * It is made where nobody can copy it. A clone by another thread in the middle of
 * all this would have a copy of the bare write end, and could close that later
 * than its copy of tb. So a child that shares our memory, but not our table of
 * fds, makes the nest. Only its fds come back to us.
 *
 * Measured: 0.1 ms to make one; two fds for all the children on one pipe. What is
 * in flight is limited: unix(7), ETOOMANYREFS. */

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

#define MOST_FDS 3 /* in one message */

union control {
    struct cmsghdr header;
    char space[CMSG_SPACE(MOST_FDS * sizeof(int))];
};

/* With `byte`, since an empty message carries no fds. */
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

/* Returns the message's byte. MSG_PEEK leaves it where it is, and gives copies. */
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
    /* No number is free for the others. */
    return og_fail(err, got == 1 ? EMFILE : EPROTO, "recvmsg(SCM_RIGHTS)");
}

/* --- in a child that shares our memory -------------------------------------- */

struct task {
    void (*does)(struct task *);
    struct og_error err;
    int socket, fd;
    char place;
    bool single;
    bool done; /* it was not killed before its end */
};

/* What is in flight is counted against the soft limit of the process that sends: this child alone gets another one. */
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

/* After unshare(CLONE_NEWPID) the next child is the init of that namespace, which ends with it. That one is the program's
 * to make. Until then the namespace has no name, since Linux 4.12. */
static bool would_be_init(void)
{
    char name[64];
    return readlink("/proc/thread-self/ns/pid_for_children", name, sizeof name) < 0 && errno == ENOENT &&
           readlink("/proc/thread-self/ns/pid", name, sizeof name) > 0;
}

/* Nobody else waits for it: no signal tells of its end, and plain wait calls leave it out (__WCLONE). Its stack is no part
 * of the caller's, which is that of any thread that forks: a C library's may have 16 KiB. With the lock held. */
static int in_child(struct task *task, int flags, struct og_error *err)
{
    static char stack[OG_CHILD_STACK] __attribute__((aligned(16)));
    const uint64_t all = ~(uint64_t)0;
    uint64_t mask;

    if (would_be_init())
        return og_fail(err, ENOTSUP, "clone, of the first process of a pid namespace");
    task->err = (struct og_error){0, NULL};
    set_signal_mask(&all, &mask); /* no handler of the program's may run in it */
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

static void make_nest(struct task *task)
{
    struct og_error *err = &task->err;
    int pipe[2], q[2], t[2], from_start = 0;
    if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        og_fail(err, errno, "pipe2");
        return;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, q) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, t) < 0) {
        og_fail(err, errno, "socketpair");
        return;
    }
    if (setsockopt(q[1], SOL_SOCKET, SO_PEEK_OFF, &from_start, sizeof from_start) < 0) {
        og_fail(err, errno, "setsockopt(SO_PEEK_OFF)");
        return;
    }
    /* The only description; or what further ones are made with, on top, where it can be peeked at. */
    if ((task->single ? send_fds(q[0], 0, pipe, 1, err) : send_fds(t[0], 0, (int[]){q[0], pipe[0]}, 2, err)) < 0)
        return;
    if (send_fds(t[0], 0, &q[1], 1, err) < 0 || send_fds(t[0], 0, &pipe[1], 1, err) < 0)
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

/* `single`: the `reader` of the pipe is the one description on it. Else there will be more, by og_tether_add(). */
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
    /* All of them, so that none is forgotten. */
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
    return (tether->end.fd == fd && og_still_ours(&tether->end)) || (tether->queue.fd == fd && og_still_ours(&tether->queue));
}

/* What descriptions are made and added with: the sending end of the queue, and a read end of the pipe. */
int og_tether_parts(const struct og_tether *tether, int parts[2], struct og_error *err)
{
    return receive_fds(tether->end.fd, MSG_PEEK, parts, 2, err) < 0 ? -1 : 0;
}

/* Behind those that are in the queue already; it is found there by its `place`, and known by it. */
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

/* A copy of the description at this place of the queue. */
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
