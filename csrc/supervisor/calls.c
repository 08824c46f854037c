/* calls.c */

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

bool is_dead(int pidfd)
{
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    return poll(&end, 1, 0) != 0;
}

/* Raw: libc keeps two signals for itself, which would end us. */
void set_mask(uint64_t to)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &to, NULL, KERNEL_SIGSET_SIZE);
}

uint64_t signal_bit(int sig)
{
    return UINT64_C(1) << (sig - 1);
}

void close_all_but(const int *keep, int count)
{
    struct rlimit limit = {.rlim_cur = 1 << 20};
    int next = 0;
    for (int i = 0; i <= count; i++) { /* `keep` ascends */
        int until = i < count ? keep[i] : INT32_MAX;
        if (until > next && syscall(SYS_close_range, (unsigned)next, (unsigned)until - 1, 0) < 0) {
            getrlimit(RLIMIT_NOFILE, &limit); /* refused by a seccomp filter */
            for (int fd = next; fd < until && (rlim_t)fd < limit.rlim_cur; fd++)
                close(fd);
        }
        next = until < INT32_MAX ? until + 1 : until;
    }
}
