/* A process by its identity. A pid can be somebody else's by the time it is
 * used; a pidfd (Linux 5.3) never is. Here no wait and no signal uses a pid.
 *
 * Its *number* can: the program closes all fds while children live, and the next
 * that it opens gets it. So each pidfd is identified before it is used or closed.
 *
 * System calls go through syscall(), so that the extension also loads where
 * libc has no wrapper for them (glibc before 2.36). */

#include "shim.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

/* linux/pidfd.h; no libc of today has it. The first published size (Linux
 * 6.13) is enough, and every later kernel accepts it. */
struct pidfd_info {
    uint64_t mask;
    uint64_t cgroupid;
    uint32_t ids[11];
    int32_t exit_code; /* raw wait status; Linux 6.15 */
};
#define PIDFD_GET_INFO _IOWR(0xFF, 11, struct pidfd_info)
#define PIDFD_INFO_EXIT (UINT64_C(1) << 3)

static __thread const char *failed_call = "";

int og_report(const struct og_error *err)
{
    failed_call = err->call;
    return -err->code;
}

const char *og_failed_call(void)
{
    return failed_call;
}

static int failed(int code, const char *call)
{
    return og_report(&(struct og_error){code, call});
}

int og_pidfd(int pid, struct og_error *err)
{
    int fd = og_above_stdio((int)syscall(SYS_pidfd_open, pid, 0)); /* close-on-exec by itself */
    return fd >= 0 ? fd : og_fail(err, errno, "pidfd_open");
}

int og_pidfd_open(int pid)
{
    struct og_error err;
    int fd = og_pidfd(pid, &err);
    return fd >= 0 ? fd : og_report(&err);
}

/* Of the process with this `pid`, which the caller knows to be the child's. */
int og_pidfd_hold(struct og_child *child, int pid)
{
    struct og_error err;
    child->pid = pid;
    int fd = og_pidfd(pid, &err);
    if (fd < 0)
        return og_report(&err);
    child->pidfd = fd;
    child->identity = og_pidfd_identity(fd);
    return 0;
}

/* The "Pid:" of a pidfd as /proc has it: -1 once the process has been reaped, 0 if it can't be told. */
static long long pid_of(int fd)
{
    char path[40], text[512];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    int info = open(path, O_RDONLY | O_CLOEXEC);
    if (info < 0)
        return 0;
    ssize_t got = read(info, text, sizeof text - 1);
    close(info);
    text[got > 0 ? got : 0] = 0;
    const char *line = strstr(text, "\nPid:");
    return line ? strtoll(line + 5, NULL, 10) : 0;
}

/* Since Linux 6.9 each process has an inode of its own in pidfs. Before, all
 * pidfds share one, and only /proc tells them apart (5 us instead of 0.2). */
#define PIDFS_MAGIC 0x50494446
static dev_t pidfs;

long long og_pidfd_identity(int pidfd)
{
    struct stat st;
    struct statfs fs;
    if (!pidfs && fstatfs(pidfd, &fs) == 0 && fs.f_type == PIDFS_MAGIC && fstat(pidfd, &st) == 0)
        pidfs = st.st_dev;
    if (!pidfs)
        return pid_of(pidfd);
    return fstat(pidfd, &st) == 0 ? (long long)st.st_ino : 0;
}

static bool still_it(int pidfd, long long identity)
{
    struct stat st;
    if (!identity)
        return pidfd >= 0;
    if (pidfs)
        return fstat(pidfd, &st) == 0 && st.st_dev == pidfs && (long long)st.st_ino == identity;
    long long now = pid_of(pidfd);
    return now == identity || now == -1;
}

int og_pidfd_check(int pidfd, long long identity)
{
    return still_it(pidfd, identity) ? 0 : failed(EBADF, "pidfd, which this program has closed");
}

void og_pidfd_close(struct og_child *child)
{
    if (child->pidfd >= 0 && still_it(child->pidfd, child->identity))
        close(child->pidfd);
    child->pidfd = -1;
}

/* When nobody has a use for it any more; or so it seems. Python finalises all that is in a cycle, and a Popen in there may
 * just have gone to those that are polled until they have ended. */
void og_child_free(struct og_child *child)
{
    if (!child->running)
        og_pidfd_close(child);
    og_lifeline_give_back(child);
}

int og_pidfd_send_signal(int pidfd, long long identity, int sig)
{
    int code = og_pidfd_check(pidfd, identity);
    if (code < 0)
        return code;
    if (syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) < 0)
        return failed(errno, "pidfd_send_signal");
    return 0;
}

void og_kill_and_reap(int pidfd)
{
    siginfo_t ignored;
    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    while (waitid(P_PIDFD, (id_t)pidfd, &ignored, WEXITED) < 0 && errno == EINTR)
        ;
}

static int status(int pidfd, long long identity, int options)
{
    siginfo_t info = {.si_pid = 0};
    int code = og_pidfd_check(pidfd, identity);
    if (code < 0)
        return OG_FAILED + code;
    if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOWAIT | options) < 0)
        return OG_FAILED + failed(errno, "waitid(P_PIDFD)");
    if (info.si_pid == 0)
        return OG_RUNNING;
    return info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
}

/* The exit code of a child that has ended, or minus the signal; OG_RUNNING if it
 * has not. Does not block and does not reap: a signal handler of Python's, which
 * may run right after this call, can ask again and gets the same answer. ECHILD:
 * not our child, or somebody else reaped it. */
int og_pidfd_status(int pidfd, long long identity)
{
    return status(pidfd, identity, WNOHANG);
}

/* The same, and blocks until it has ended. EINTR after a signal: the caller lets
 * Python's handlers run. */
int og_pidfd_wait(int pidfd, long long identity)
{
    return status(pidfd, identity, 0);
}

/* What comes after the end of a child has been noted. */
void og_child_reap(struct og_child *child)
{
    siginfo_t info;
    /* Let go of: it was. Else before it is reaped: then it is nobody's. */
    bool armed = child->lifeline < 0 || fcntl(child->lifeline, F_GETOWN) == child->pid;
    if (still_it(child->pidfd, child->identity))
        (void)waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG);
    child->running = 0;
    og_give_back(child, armed);
}

/* As og_pidfd_status(), of a process that somebody else has reaped: Linux 6.15.
 * Asking for anything but EXIT then is ESRCH; before the reap EXIT is not
 * returned, and the answer is OG_RUNNING. */
int og_pidfd_reaped_status(int pidfd, long long identity)
{
    struct pidfd_info info = {.mask = PIDFD_INFO_EXIT};
    int code = og_pidfd_check(pidfd, identity);
    if (code < 0)
        return OG_FAILED + code;
    if (ioctl(pidfd, PIDFD_GET_INFO, &info) < 0)
        return OG_FAILED + failed(errno, "ioctl(PIDFD_GET_INFO)");
    if (!(info.mask & PIDFD_INFO_EXIT))
        return OG_RUNNING;
    return WIFEXITED(info.exit_code) ? WEXITSTATUS(info.exit_code) : -WTERMSIG(info.exit_code);
}

/* 1 when fd is readable or hung up, 0 when the time is over. -EINTR after a
 * signal: the caller lets Python's handlers run. */
int og_wait_readable(int fd, int milliseconds)
{
    struct pollfd look = {.fd = fd, .events = POLLIN};
    int ready = poll(&look, 1, milliseconds);
    return ready < 0 ? failed(errno, "poll") : ready;
}

/* An epoll has no identity that the kernel would tell. So ours has something in
 * it that has: a pipe, of which nothing is to be heard but one end of file. */
static struct own_fd mark = {.fd = -1};

static int add_mark(int epoll)
{
    struct epoll_event event = {.events = EPOLLET, .data.fd = mark.fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, mark.fd, &event);
}

int og_epoll_is_ours(int epoll)
{
    if (!og_still_ours(&mark))
        return false;
    if (add_mark(epoll) < 0)
        return errno == EEXIST;
    (void)epoll_ctl(epoll, EPOLL_CTL_DEL, mark.fd, NULL); /* another one has got its number */
    return false;
}

/* To a new epoll; one at a time. */
int og_epoll_mark(int epoll)
{
    struct own_fd writer;
    og_close_if_ours(&mark);
    int code = og_pipe(&mark, &writer, 0);
    if (code < 0)
        return code;
    og_close_if_ours(&writer);
    if (add_mark(epoll) < 0) {
        code = failed(errno, "epoll_ctl");
        og_close_if_ours(&mark);
        return code;
    }
    struct epoll_event end_of_file;
    (void)epoll_wait(epoll, &end_of_file, 1, 0);
    return 0;
}
