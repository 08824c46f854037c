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
        return OG_FAILED + og_report_failure(errno, "ioctl(PIDFD_GET_INFO)");
    if (!(info.mask & PIDFD_INFO_EXIT))
        return OG_RUNNING;
    return WIFEXITED(info.exit_code) ? WEXITSTATUS(info.exit_code) : -WTERMSIG(info.exit_code);
}
