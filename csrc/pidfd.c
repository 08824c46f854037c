/* A process by its identity. A pid can be somebody else's by the time it is
 * used; a pidfd (Linux 5.3) never is. Here no wait and no signal uses a pid.
 *
 * System calls go through syscall(), so that the extension also loads where
 * libc has no wrapper for them (glibc before 2.36). */

#include "shim.h"

#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The same on every architecture: they are from after the unification. */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

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
    int fd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
    return fd >= 0 ? fd : og_fail(err, errno, "pidfd_open");
}

int og_pidfd_open(int pid)
{
    struct og_error err;
    int fd = og_pidfd(pid, &err);
    return fd >= 0 ? fd : og_report(&err);
}

int og_pidfd_send_signal(int pidfd, int sig)
{
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

/* The exit code of a child that has ended, or minus the signal; OG_RUNNING if it
 * has not. Does not block and does not reap: a signal handler of Python's, which
 * may run right after this call, can ask again and gets the same answer. ECHILD:
 * not our child, or somebody else reaped it. */
int og_pidfd_status(int pidfd)
{
    siginfo_t info = {.si_pid = 0};
    if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return OG_FAILED + failed(errno, "waitid(P_PIDFD)");
    if (info.si_pid == 0)
        return OG_RUNNING;
    return info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
}

void og_pidfd_reap(int pidfd)
{
    siginfo_t info;
    (void)waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
}

/* As og_pidfd_status(), of a process that somebody else has reaped: Linux 6.15.
 * Asking for anything but EXIT then is ESRCH; before the reap EXIT is not
 * returned, and the answer is OG_RUNNING. */
int og_pidfd_reaped_status(int pidfd)
{
    struct pidfd_info info = {.mask = PIDFD_INFO_EXIT};
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
