/* A process by its identity: waiting, status and signals.
 *
 * A pid can be another process's by the time that it is used; a pidfd (Linux 5.3) never is. No wait and no signal here
 * uses a pid. But the *number* of a pidfd can become another file's: the program closes all its fds while children
 * live, and the next file that it opens gets the number. So we check the identity of a pidfd before we use or close it.
 *
 * System calls go through syscall(), so that the extension loads where libc has no wrapper for them (glibc before
 * 2.36). Needs error.c and fd.c. */

#include "shim.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

/* From linux/pidfd.h, which no libc of today has. This is the first published size (Linux 6.13). It is large enough,
 * and every later kernel accepts it. */
struct pidfd_info {
    uint64_t mask;
    uint64_t cgroupid;
    uint32_t ids[11];
    int32_t exit_code; /* raw wait status; Linux 6.15 */
};
#define PIDFD_GET_INFO _IOWR(0xFF, 11, struct pidfd_info)
#define PIDFD_INFO_EXIT (UINT64_C(1) << 3)

int og_pidfd(int pid, struct og_error *err)
{
    int fd = og_above_stdio((int)syscall(SYS_pidfd_open, pid, 0)); /* it is close-on-exec */
    return fd >= 0 ? fd : og_fail(err, errno, "pidfd_open");
}

int og_pidfd_open(int pid)
{
    struct og_error err;
    int fd = og_pidfd(pid, &err);
    return fd >= 0 ? fd : og_report(&err);
}

/* Returns the "Pid:" of a pidfd in /proc: -1 after the process has been reaped, 0 if /proc does not tell. */
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

/* Since Linux 6.9 each process has its own inode in pidfs. Before 6.9 all pidfds share one inode, and only /proc tells
 * them apart (5 us instead of 0.2). */
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

bool og_pidfd_is(int pidfd, long long identity)
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
    return og_pidfd_is(pidfd, identity) ? 0 : og_report_failure(EBADF, "pidfd, which this program has closed");
}

int og_pidfd_send_signal(int pidfd, long long identity, int sig)
{
    int code = og_pidfd_check(pidfd, identity);
    if (code < 0)
        return code;
    if (syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) < 0)
        return og_report_failure(errno, "pidfd_send_signal");
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
        return OG_FAILED + og_report_failure(errno, "waitid(P_PIDFD)");
    if (info.si_pid == 0)
        return OG_RUNNING;
    return info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
}

/* Returns the exit code of a child that has ended, or minus the signal that killed it; OG_RUNNING if it has not ended.
 * The call neither blocks nor reaps. So a signal handler of Python's, which may run right after it, can ask again and
 * gets the same answer. ECHILD: the process is not our child, or other code has reaped it. */
int og_pidfd_status(int pidfd, long long identity)
{
    return status(pidfd, identity, WNOHANG);
}

/* Does the same, but blocks until the child has ended. EINTR after a signal: then the caller lets Python's handlers
 * run. */
int og_pidfd_wait(int pidfd, long long identity)
{
    return status(pidfd, identity, 0);
}

/* Does the same as og_pidfd_status() for a process that other code has reaped (Linux 6.15). After the reap the kernel
 * refuses all questions but EXIT with ESRCH. Before the reap it does not answer EXIT, and the result is OG_RUNNING. */
int og_pidfd_reaped_status(int pidfd, long long identity)
{
    struct pidfd_info info = {.mask = PIDFD_INFO_EXIT};
    int code = og_pidfd_check(pidfd, identity);
    if (code < 0)
        return OG_FAILED + code;
    if (ioctl(pidfd, PIDFD_GET_INFO, &info) < 0)
        return OG_FAILED + og_report_failure(errno, "ioctl(PIDFD_GET_INFO)");
    if (!(info.mask & PIDFD_INFO_EXIT))
        return OG_RUNNING;
    return WIFEXITED(info.exit_code) ? WEXITSTATUS(info.exit_code) : -WTERMSIG(info.exit_code);
}
