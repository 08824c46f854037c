/* One description of a lifeline: what the parent prepares, and what the child does with it to be armed.
 *
 * The owner and the signal live in the description (fcntl(2)), not in the fd. So each child has a description of its
 * own, which the parent opens anew from the same pipe. When the last write end of the pipe is released, pipe_release()
 * of the kernel signals every owner. The functions of the child are async-signal-safe, for use between fork or clone
 * and exec. Needs fd.c. */

#include "shim.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* Opens another description of the pipe that `reader` refers to. */
int og_reopen(int reader, unsigned long long dev, unsigned long long ino, struct og_error *err)
{
    char path[32];
    struct own_fd end;
    snprintf(path, sizeof path, "/proc/self/fd/%d", reader);
    int fd = og_above_stdio(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (fd < 0)
        return og_fail(err, errno, "open(/proc/self/fd)");
    if (og_identify(&end, fd) && end.dev == dev && end.ino == ino)
        return fd;
    close(fd); /* something else is mounted at /proc */
    return og_fail(err, ENOENT, "open(/proc/self/fd)");
}

/* Sets everything but the owner, in the parent. So the child has fewer calls to make, and what a seccomp filter refuses
 * is refused before there is a child. Without an owner the kernel sends no signal. */
int og_load(int fd, int sig, int flags, struct og_error *err)
{
    if (fcntl(fd, F_SETSIG, sig) < 0)
        return og_fail(err, errno, "fcntl(F_SETSIG)");
    if (fcntl(fd, F_SETOWN, 0) < 0)
        return og_fail(err, errno, "fcntl(F_SETOWN)");
    /* `flags` tells the child that its lifeline is flat (OG_FLAT). If the kernel refuses the flag, the lifeline works all
     * the same, but the child's own guard does not say that it is flat. */
    if (fcntl(fd, F_SETFL, flags | O_ASYNC | O_NONBLOCK) < 0 &&
        (!flags || fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK) < 0))
        return og_fail(err, errno, "fcntl(F_SETFL, O_ASYNC)");
    return 0;
}

/* Returns the pid of the owner, 0 without a living owner, -1 if a seccomp filter refuses to tell. Before Linux 5.12 the
 * kernel still names an owner that has been reaped, hence kill(). */
int og_owner_of(int fd)
{
    int owner = fcntl(fd, F_GETOWN);
    return owner < 0 ? -1 : owner > 0 && (kill(owner, 0) == 0 || errno != ESRCH) ? owner : 0;
}

/* Tells a slow child that it may not be armed on this description any more. The child becomes the owner first and looks
 * for this flag afterwards (og_make_mine); the caller sets the flag first and looks for an owner afterwards. So at
 * least one of the two sees the other. */
bool og_revoke(int fd)
{
    if (fcntl(fd, F_SETFL, OG_REVOKED | O_ASYNC | O_NONBLOCK) < 0)
        return false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return true;
}

/* --- in the child ------------------------------------------------------------- */

/* Makes this process the owner. Returns the signal with which the parent loaded the description. */
int og_make_mine(int fd, struct og_error *err)
{
    /* The program may have closed the fd that og_lifeline_open() gave, and the number may be another file by now.
     * F_SETOWN may succeed on that file, but arms nothing. Only a lifeline has a signal. */
    int sig = fcntl(fd, F_GETSIG);
    if (sig <= 0)
        return og_fail(err, sig < 0 ? errno : EBADF, "fcntl(F_GETSIG)");
    if (fcntl(fd, F_SETOWN, getpid()) < 0)
        return og_fail(err, errno, "fcntl(F_SETOWN)");
    /* The order matters: see og_revoke(). */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return og_fail(err, errno, "fcntl(F_GETFL)");
    if (flags & OG_REVOKED)
        return og_fail(err, ECANCELED, "lifeline (its start was given up)");
    return sig;
}

void og_die(int sig)
{
    kill(getpid(), sig);
    if (sig == SIGKILL)
        _exit(128 + SIGKILL); /* the init of a pid namespace can't kill itself */
}

/* Ends this process if its parent is gone already: the kernel does not repeat the signal for an owner that comes after
 * the event. This is right only when this process has no copy of its parent's tether any more: a copy hides the end. */
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
        og_die(sig);
    return 0;
}
