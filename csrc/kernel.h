/* Kernel interfaces that an old libc (manylinux) does not name, for the shim and for the two programs. A system call
 * that is newer than Linux 5.1 has the same number on every architecture. */
#ifndef ORPHANGUARD_KERNEL_H
#define ORPHANGUARD_KERNEL_H

#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

/* On an architecture whose ids once had 16 bits, the plain names are the calls for 16 bits. */
#ifdef SYS_setgroups32
#define OG_SETGROUPS SYS_setgroups32
#define OG_SETREGID SYS_setregid32
#define OG_SETREUID SYS_setreuid32
#else
#define OG_SETGROUPS SYS_setgroups
#define OG_SETREGID SYS_setregid
#define OG_SETREUID SYS_setreuid
#endif

/* The size of a signal set for rt_sigprocmask(2) and similar calls. libc's sigset_t has 128 bytes. */
#define KERNEL_SIGSET_SIZE 8

/* Sets the signal mask without libc. libc's functions leave out the two signals that libc uses itself, and setuid() in
 * another thread sends one of them. */
static inline void set_signal_mask(const uint64_t *mask, uint64_t *old)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, mask, old, KERNEL_SIGSET_SIZE);
}

#endif
