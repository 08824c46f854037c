/* System calls that an old libc lacks or that libc changes, and small helpers around fds and pidfds.
 *
 * Each function only makes its calls: it prints nothing, never exits and keeps no state. It needs no other file. */

#include "supervisor.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"

int pidfd_of(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

int send_signal(int pidfd, int sig)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}

/* A pidfd is readable once its process has ended, reaped or not (pidfd_open(2)). */
bool is_dead(int pidfd)
{
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    return poll(&end, 1, 0) != 0;
}

/* libc's two own signals would end the supervisor, which has no handler for them. So they are blocked too. */
void set_mask(uint64_t to)
{
    set_signal_mask(&to, NULL);
}

uint64_t signal_bit(int sig)
{
    return UINT64_C(1) << (sig - 1);
}

/* Closes all fds but those in `keep`, which must ascend. */
void close_all_but(const int *keep, int count)
{
    struct rlimit limit = {.rlim_cur = 1 << 20};
    int next = 0;
    for (int i = 0; i <= count; i++) {
        int until = i < count ? keep[i] : INT32_MAX;
        if (until > next && syscall(SYS_close_range, (unsigned)next, (unsigned)until - 1, 0) < 0) {
            getrlimit(RLIMIT_NOFILE, &limit); /* a seccomp filter refuses close_range() */
            for (int fd = next; fd < until && (rlim_t)fd < limit.rlim_cur; fd++)
                close(fd);
        }
        next = until < INT32_MAX ? until + 1 : until;
    }
}
