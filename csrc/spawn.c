/* Starts a program that is armed before it is executed.
 *
 * fork() copies the page tables of a parent that may have gigabytes, and runs
 * at-fork handlers; posix_spawn() has no step for arming. So: clone() with
 * CLONE_VM | CLONE_VFORK, as posix_spawn does it, with CLONE_PIDFD for an
 * identity that no recycled pid can steal.
 *
 * Rules for everything that runs in the child, which shares the parent's
 * memory while this thread of the parent is suspended and the others run:
 *  - only async-signal-safe calls; no allocation, no locks, no stdio;
 *  - no signal handler of the parent may run in it: all signals are blocked
 *    across the clone and handlers are reset before the mask is restored;
 *  - what it writes, the parent sees: that is how errors come back, and it
 *    writes nothing else;
 *  - no libc wrapper that changes ids: it would change those of all threads;
 *  - it ends by execve() or _exit(), nothing else.
 *
 * A change of ids in a child that shares the parent's memory would clear the
 * parent's dumpable flag (prctl(2), PR_SET_DUMPABLE), and with the flag set
 * again the child's new user could reach into the parent by ptrace. Such a
 * child gets a copy of the memory, and everything else is the same. */

#include "shim.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
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
/* Where ids once had 16 bits, the plain names are of those. */
#ifdef SYS_setgroups32
#define OG_SETGROUPS SYS_setgroups32
#define OG_SETREGID SYS_setregid32
#define OG_SETREUID SYS_setreuid32
#else
#define OG_SETGROUPS SYS_setgroups
#define OG_SETREGID SYS_setregid
#define OG_SETREUID SYS_setreuid
#endif

/* The child's stack, a part of its parent's: a dozen shallow calls, execve()
 * among them, and no signal handler. CPython's smallest thread has 32 KiB. */
#define STACK_SIZE (12 * 1024)
#define KERNEL_SIGSET_SIZE 8 /* what rt_sigprocmask(2) takes, not libc's 128 */

struct child_args {
    const struct og_spawn *spawn;
    char *const *paths, *const *argv, *const *envp;
    struct og_error *err;
    int main_thread;
    bool no_handlers; /* clone3() has reset them */
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

static void restore_signals(void)
{
    struct sigaction deflt = {.sa_handler = SIG_DFL};
    sigaction(SIGPIPE, &deflt, NULL);
    sigaction(SIGXFSZ, &deflt, NULL);
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

static int make_inheritable(int fd, struct og_error *err)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags < 0 || fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC) < 0)
        return og_fail(err, errno, "fcntl(F_SETFD)");
    return 0;
}

/* Closes everything above stderr that is not to be kept: with that, every copy
 * of a lifeline's write end, whoever made it. */
static void keep_only(const struct og_spawn *s)
{
    int next = 3;
    int lifeline = s->lifeline; /* close-on-exec, and looked at before that */
    for (int i = 0; i < s->keep_count || lifeline >= 0;) {
        int fd = lifeline;
        if (i < s->keep_count && (lifeline < 0 || s->keep_fds[i] < lifeline))
            fd = s->keep_fds[i++];
        else
            lifeline = -1;
        if (fd >= next) {
            close_between(next, fd - 1);
            next = fd + 1;
        }
    }
    close_between(next, INT32_MAX);
}

static int put(int fd, int place, struct og_error *err)
{
    if (fd < 0)
        return 0;
    if (fd == place)
        return make_inheritable(fd, err);
    return dup2(fd, place) < 0 ? og_fail(err, errno, "dup2") : 0;
}

static int redirect(const struct og_spawn *s, struct og_error *err)
{
    int out = s->stdio[1], errors = s->stdio[2];
    /* What is about to be replaced is moved out of the way. */
    if (out == 0 && (out = fcntl(out, F_DUPFD_CLOEXEC, 3)) < 0)
        return og_fail(err, errno, "fcntl(F_DUPFD_CLOEXEC)");
    if ((errors == 0 || errors == 1) && (errors = fcntl(errors, F_DUPFD_CLOEXEC, 3)) < 0)
        return og_fail(err, errno, "fcntl(F_DUPFD_CLOEXEC)");
    return put(s->stdio[0], 0, err) < 0 || put(out, 1, err) < 0 || put(errors, 2, err) < 0 ? -1 : 0;
}

static bool changes_ids(const struct og_spawn *s)
{
    return s->group_count >= 0 || s->gid >= 0 || s->uid >= 0;
}

static int set_ids(const struct og_spawn *s, struct og_error *err)
{
    if (s->group_count >= 0 && syscall(OG_SETGROUPS, (size_t)s->group_count, s->groups) < 0)
        return og_fail(err, errno, "setgroups");
    if (s->gid >= 0 && syscall(OG_SETREGID, (gid_t)s->gid, (gid_t)s->gid) < 0)
        return og_fail(err, errno, "setregid");
    if (s->uid >= 0 && syscall(OG_SETREUID, (uid_t)s->uid, (uid_t)s->uid) < 0)
        return og_fail(err, errno, "setreuid");
    return 0;
}

static void execute(const struct child_args *a)
{
    int first = 0;
    for (char *const *path = a->paths; *path; path++) {
        execve(*path, a->argv, a->envp);
        if (errno != ENOENT && errno != ENOTDIR && !first)
            first = errno;
    }
    og_fail(a->err, first ? first : errno, "execve");
}

static int child(void *argument)
{
    struct child_args *a = argument;
    const struct og_spawn *s = a->spawn;
    struct og_error *err = a->err;

    /* First, so that it dies with its parent wherever it is held up below. */
    if (s->lifeline >= 0 && og_make_mine(s->lifeline, err) < 0)
        goto fail;
    for (int i = 0; i < s->keep_count; i++)
        if (make_inheritable(s->keep_fds[i], err) < 0)
            goto fail;
    if (redirect(s, err) < 0)
        goto fail;
    if (s->cwd && chdir(s->cwd) < 0) {
        og_fail(err, errno, "chdir");
        goto fail;
    }
    if (s->umask >= 0)
        umask((mode_t)s->umask);
    if (s->new_session && setsid() < 0) {
        og_fail(err, errno, "setsid");
        goto fail;
    }
    if (s->process_group >= 0 && setpgid(0, s->process_group) < 0) {
        og_fail(err, errno, "setpgid");
        goto fail;
    }
    if (set_ids(s, err) < 0)
        goto fail;
    /* Cleared by a change of ids, so after it. Not from another thread: it
     * follows the thread that forked. Of another signal than SIGKILL one is
     * enough, and the lifeline sends that. */
    if (s->lifeline >= 0 && a->main_thread && s->signal == SIGKILL && og_set_pdeathsig(SIGKILL, err) < 0)
        goto fail;
    /* Before the look at the lifeline: our own copies of its write end would
     * hide that the parent is gone. */
    if (s->close_fds)
        keep_only(s);
    else
        og_lifelines_close_copies();
    if (s->lifeline >= 0 && og_die_if_hung_up(s->lifeline, s->signal, err) < 0)
        goto fail;
    if (!a->no_handlers)
        reset_handlers();
    if (s->restore_signals)
        restore_signals();
    set_mask(&a->mask, NULL);
    execute(a);
fail:
    _exit(127);
}

/* Strings one after the other become an array of pointers to them. */
static char **point(char **array, int count, const char *strings)
{
    for (int i = 0; i < count; i++) {
        *array++ = (char *)(uintptr_t)strings; /* execve() takes them so */
        strings += strlen(strings) + 1;
    }
    *array = NULL;
    return array + 1;
}

/* clone3() resets all handlers at once (CLONE_CLEAR_SIGHAND, Linux 5.5): 64
 * system calls less. libc has no wrapper for it, and after a plain syscall() the
 * child would return on its parent's stack. -ENOSYS under Docker's default
 * seccomp profile; there, and on other machines, it is legacy clone(). */
#if defined(__x86_64__)
struct clone3_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};
#define CLEAR_SIGHAND UINT64_C(0x100000000)
#ifndef SYS_clone3
#define SYS_clone3 435
#endif

static long clone3(int flags, char *stack, size_t size, struct child_args *args, int *pidfd)
{
    struct clone3_args c = {.flags = (uint64_t)flags | CLEAR_SIGHAND,
                            .pidfd = (uintptr_t)pidfd,
                            .exit_signal = SIGCHLD,
                            .stack = (uintptr_t)stack,
                            .stack_size = size};
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %[args], %%rdi\n\t"
                     "call *%[child]\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone3), "D"(&c), "S"(sizeof c), [args] "r"(args), [child] "r"(child)
                     : "rcx", "r11", "cc", "memory");
    return result;
}
#else
static long clone3(int flags, char *stack, size_t size, struct child_args *args, int *pidfd)
{
    (void)flags, (void)stack, (void)size, (void)args, (void)pidfd;
    return -ENOSYS;
}
#endif

static int clone_child(char *stack, size_t size, int flags, struct child_args *args, int *pidfd)
{
    static bool unavailable; /* a filter stays */
    if (!__atomic_load_n(&unavailable, __ATOMIC_RELAXED)) {
        args->no_handlers = true;
        long pid = clone3(flags, stack, size, args, pidfd);
        if (pid > 0)
            return (int)pid;
        if (pid != -ENOSYS && pid != -EPERM && pid != -EINVAL) {
            errno = (int)-pid;
            return -1;
        }
        __atomic_store_n(&unavailable, true, __ATOMIC_RELAXED);
    }
    args->no_handlers = false;
    return clone(child, stack + size, flags | SIGCHLD, args, pidfd);
}

static int run_child(struct child_args *args, int *pidfd, struct og_error *err)
{
    char stack[STACK_SIZE] __attribute__((aligned(16)));
    const uint64_t all = ~(uint64_t)0;
    const struct og_spawn *s = args->spawn;
    /* The alternative to closing all: see og_lifelines_close_copies(). No write
     * end may be made or moved before the child has its table of fds. */
    bool locked = !s->close_fds;
    int flags = (changes_ids(s) ? 0 : CLONE_VM) | CLONE_VFORK | CLONE_PIDFD;

    if (locked)
        og_lifelines_lock();
    set_mask(&all, &args->mask);
    int pid = clone_child(stack, sizeof stack, flags, args, pidfd);
    if (pid < 0)
        og_fail(err, errno, "clone");
    set_mask(&args->mask, NULL);
    if (locked)
        og_lifelines_unlock();
    return pid;
}

/* All as here, and nothing above stderr. Python sets what shall be otherwise. */
void og_spawn_defaults(struct og_spawn *s)
{
    *s = (struct og_spawn){.env_count = -1,
                           .close_fds = 1,
                           .stdio = {-1, -1, -1},
                           .umask = -1,
                           .process_group = -1,
                           .group_count = -1,
                           .gid = -1,
                           .uid = -1,
                           .lifeline = -1,
                           .signal = SIGKILL,
                           .pid = -1,
                           .pidfd = -1};
}

static int refused(struct og_spawn *s, int code, const char *call)
{
    s->failed_call = call;
    return og_report(&(struct og_error){code, call});
}

/* The child is armed when this returns. A child that failed has been reaped. */
int og_spawn(struct og_spawn *s, const char *paths, const char *args, const char *env)
{
    extern char **environ;
    struct og_error failure = {0, NULL};
    struct child_args a = {.spawn = s, .err = &failure, .main_thread = og_is_main_thread()};
    int pidfd = -1;

    s->pid = s->pidfd = -1;
    size_t pointers = (size_t)s->path_count + (size_t)s->arg_count + (s->env_count > 0 ? (size_t)s->env_count : 0) + 3;
    char **array = malloc(pointers * sizeof *array);
    if (!array)
        return refused(s, ENOMEM, "malloc");
    a.paths = array;
    a.argv = point(array, s->path_count, paths);
    a.envp = point((char **)a.argv, s->arg_count, args);
    if (s->env_count >= 0)
        point((char **)a.envp, s->env_count, env);
    else
        a.envp = environ;

    if (changes_ids(s)) { /* with memory of its own, the child needs a place that both see */
        a.err = mmap(NULL, sizeof *a.err, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (a.err == MAP_FAILED) {
            free(array);
            return refused(s, errno, "mmap");
        }
    }
    int pid = run_child(&a, &pidfd, a.err);
    failure = *a.err;
    if (a.err != &failure)
        munmap(a.err, sizeof *a.err);
    free(array);

    if (pid < 0)
        return refused(s, failure.code, failure.call);
    if (pidfd < 0) {
        /* A kernel that ignores CLONE_PIDFD. Our child is unreaped, so its pid
         * is still its own. */
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return refused(s, ENOSYS, "clone(CLONE_PIDFD)");
    }
    if (failure.call) {
        siginfo_t ignored;
        while (waitid(P_PIDFD, (id_t)pidfd, &ignored, WEXITED) < 0 && errno == EINTR)
            ;
        close(pidfd);
        return refused(s, failure.code, failure.call);
    }
    int high = og_above_stdio(pidfd);
    if (high < 0) {
        int code = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return og_report(&(struct og_error){code, "fcntl(F_DUPFD_CLOEXEC)"});
    }
    pidfd = high;
    s->pid = pid;
    s->pidfd = pidfd;
    return 0;
}
