/* Starts a program that is armed before it is executed.
 *
 * fork() copies the page tables of a parent that may have gigabytes, and runs
 * at-fork handlers; posix_spawn() has no step for arming. So: clone() with
 * CLONE_VM | CLONE_VFORK, as posix_spawn does it, with CLONE_PIDFD for an
 * identity that no recycled pid can steal. Legacy clone(), not clone3(): that
 * one answers ENOSYS under Docker's default seccomp profile.
 *
 * Rules for everything that runs in the child, which shares the parent's
 * memory while this thread of the parent is suspended and the others run:
 *  - only async-signal-safe calls; no allocation, no locks, no stdio;
 *  - no signal handler of the parent may run in it: all signals are blocked
 *    across the clone and handlers are reset before the mask is restored;
 *  - what it writes, the parent sees: that is how errors come back;
 *  - it ends by execve() or _exit(), nothing else. */

#include "shim.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

/* The child calls a dozen shallow functions and execve(). */
#define STACK_SIZE (64 * 1024)
#define KERNEL_SIGSET_SIZE 8 /* what rt_sigprocmask(2) takes, not libc's 128 */

struct child_args {
    const struct og_spawn *spawn;
    struct og_error *err;
    int main_thread;
    uint64_t mask;
};

/* Raw, since libc's own leaves out the two signals that it uses itself, and
 * setuid() in another thread sends one of them. */
static void set_mask(const uint64_t *mask, uint64_t *old)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, mask, old, KERNEL_SIGSET_SIZE);
}

static void reset_handlers(void)
{
    struct sigaction action, deflt = {.sa_handler = SIG_DFL};
    for (int sig = 1; sig < _NSIG; sig++)
        if (sigaction(sig, NULL, &action) == 0 && action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN)
            sigaction(sig, &deflt, NULL);
}

static void close_between(int first, int last)
{
    if (first > last || syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0) == 0)
        return;
    /* Refused by a seccomp filter. No fd can be above the highest limit that
     * this process has had; the hard one is the nearest to it that is known. */
    struct rlimit limit;
    if (last == INT32_MAX)
        last = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < INT32_MAX ? (int)limit.rlim_max : 1 << 20;
    for (int fd = first; fd <= last; fd++)
        close(fd);
}

/* Closes everything above stderr that is not to be kept: with that, every copy
 * of a lifeline's write end, whoever made it. */
static int keep_only(const struct og_spawn *s, struct og_error *err)
{
    int next = 3;
    int lifeline_pending = 1;
    for (int i = 0; i <= s->keep_count; i++) {
        int keep = i < s->keep_count ? s->keep_fds[i] : INT32_MAX;
        if (lifeline_pending && s->lifeline <= keep) {
            lifeline_pending = 0;
            if (s->lifeline >= next) {
                close_between(next, s->lifeline - 1);
                next = s->lifeline + 1;
            }
        }
        if (i == s->keep_count)
            break;
        if (keep >= next) {
            close_between(next, keep - 1);
            next = keep + 1;
        }
        int flags = fcntl(keep, F_GETFD);
        if (flags < 0 || fcntl(keep, F_SETFD, flags & ~FD_CLOEXEC) < 0)
            return og_fail(err, errno, "fcntl(F_SETFD)");
    }
    close_between(next, INT32_MAX);
    return 0;
}

static int child(void *argument)
{
    struct child_args *a = argument;
    const struct og_spawn *s = a->spawn;

    if (og_make_mine(s->lifeline, a->main_thread, a->err) < 0)
        goto fail;
    /* Before the look at the lifeline: our own copies of its write end would
     * hide that the parent is gone. */
    if (keep_only(s, a->err) < 0 || og_die_if_hung_up(s->lifeline, a->err) < 0)
        goto fail;
    reset_handlers();
    set_mask(&a->mask, NULL);
    execve(s->path, s->argv, s->envp);
    og_fail(a->err, errno, "execve");
fail:
    _exit(127);
}

/* The child is armed when this returns. A child that failed has been reaped. */
int og_spawn(struct og_spawn *s)
{
    extern char **environ;
    const uint64_t all = ~(uint64_t)0;
    struct og_error failure = {0, NULL};
    struct child_args args = {.spawn = s, .err = &failure, .main_thread = og_is_main_thread()};
    struct og_spawn with_env = *s;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (!with_env.envp)
        with_env.envp = environ;
    args.spawn = &with_env;
    s->pid = s->pidfd = -1;

    char *stack = mmap(NULL, STACK_SIZE + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return og_report(&(struct og_error){errno, "mmap"});
    mprotect(stack, page, PROT_NONE);

    set_mask(&all, &args.mask);
    int pidfd = -1;
    int pid = clone(child, stack + page + STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &args, &pidfd);
    int code = errno;
    set_mask(&args.mask, NULL);
    munmap(stack, STACK_SIZE + page);

    if (pid < 0)
        return og_report(&(struct og_error){code, "clone"});
    if (pidfd < 0) {
        /* A kernel that ignores CLONE_PIDFD. Our child is unreaped, so its pid
         * is still its own. */
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return og_report(&(struct og_error){ENOSYS, "clone(CLONE_PIDFD)"});
    }
    if (failure.call) {
        siginfo_t ignored;
        while (waitid(P_PIDFD, (id_t)pidfd, &ignored, WEXITED) < 0 && errno == EINTR)
            ;
        close(pidfd);
        return og_report(&failure);
    }
    int high = og_above_stdio(pidfd);
    if (high < 0) {
        code = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return og_report(&(struct og_error){code, "fcntl(F_DUPFD_CLOEXEC)"});
    }
    pidfd = high;
    og_started(pidfd);
    s->pid = pid;
    s->pidfd = pidfd;
    return 0;
}
