/* A process by its identity. A pid can be somebody else's by the time it is
 * used; a pidfd (Linux 5.3) never is. Here no wait and no signal uses a pid.
 *
 * System calls go through syscall(), so that the extension also loads where
 * libc has no wrapper for them (glibc before 2.36). */

#include "shim.h"

#include <fcntl.h>
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

int og_pidfd_open(int pid, struct og_error *err)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
    return fd >= 0 ? fd : og_fail(err, errno, "pidfd_open");
}

int og_pidfd_send_signal(int pidfd, int sig, struct og_error *err)
{
    if (syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) < 0)
        return og_fail(err, errno, "pidfd_send_signal");
    return 0;
}

/* Reaps the child if it has ended; does not block. *result is that child's for
 * good: a signal handler of Python's that runs right after this call, and asks
 * again, finds the status there. ECHILD: not our child, or somebody else
 * reaped it. */
int og_pidfd_reap(int pidfd, struct og_exit *result, struct og_error *err)
{
    siginfo_t info = {.si_pid = 0};
    if (result->exited)
        return 0;
    if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0)
        return og_fail(err, errno, "waitid(P_PIDFD)");
    if (info.si_pid == 0)
        return 0;
    result->exited = 1;
    result->code = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    return 0;
}

/* The status of a process that somebody else has reaped: Linux 6.15. Asking
 * for anything but EXIT then is ESRCH; before the reap EXIT is not returned. */
int og_pidfd_reaped_status(int pidfd, struct og_exit *result, struct og_error *err)
{
    struct pidfd_info info = {.mask = PIDFD_INFO_EXIT};
    *result = (struct og_exit){0, 0};
    if (ioctl(pidfd, PIDFD_GET_INFO, &info) < 0)
        return og_fail(err, errno, "ioctl(PIDFD_GET_INFO)");
    if (!(info.mask & PIDFD_INFO_EXIT))
        return 0;
    result->exited = 1;
    result->code = WIFEXITED(info.exit_code) ? WEXITSTATUS(info.exit_code) : -WTERMSIG(info.exit_code);
    return 0;
}
