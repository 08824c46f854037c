/* The start of a program, which is armed before it is executed: the parent's side.
 *
 * fork() copies the page tables of a parent that may have gigabytes, and runs at-fork handlers; posix_spawn() has no
 * step in which the child could arm itself. So this is clone() with CLONE_VM | CLONE_VFORK, as posix_spawn() does it,
 * and with CLONE_PIDFD, which gives an identity that no recycled pid can take over. When og_spawn() returns without an
 * error the child is armed and has executed something; a child that has failed has been reaped. Needs fd.c, pipe.c,
 * credentials.c, lifeline.c, copies.c, pidfd.c, spawn_child.c, and the launcher's launcher.h. */

#include "shim.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"
#include "launcher/launcher.h"

extern char **environ;

/* clone3() resets all signal handlers at once (CLONE_CLEAR_SIGHAND, Linux 5.5), which saves 64 system calls. libc has
 * no wrapper for it, and after a plain syscall() the child would return on its parent's stack: hence the assembler.
 * Docker's default seccomp profile refuses clone3() with ENOSYS. There, and on other machines, the old clone() is
 * used. */
#if defined(__x86_64__)
struct clone3_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};
#define CLEAR_SIGHAND UINT64_C(0x100000000)

static long clone3(int flags, char *stack, size_t size, struct og_spawn_child *args, int *pidfd)
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
                     "mov %%rbx, %%rdi\n\t"
                     "call *%%rdx\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone3), "D"(&c), "S"(sizeof c), "b"(args), "d"(og_spawn_child) /* never in rbp */
                     : "rcx", "r11", "cc", "memory");
    return result;
}
#else
static long clone3(int flags, char *stack, size_t size, struct og_spawn_child *args, int *pidfd)
{
    (void)flags, (void)stack, (void)size, (void)args, (void)pidfd;
    return -ENOSYS;
}
#endif

static int clone_child(char *stack, size_t size, int flags, struct og_spawn_child *args, int *pidfd)
{
    static bool unavailable; /* once refused, always refused: a seccomp filter can't be removed */
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
    return clone(og_spawn_child, stack + size, flags | SIGCHLD, args, pidfd);
}

/* Has a frame of its own, so that the child's stack is given back. `memory`: CLONE_VM, or 0 for a copy. */
static int run_child(struct og_spawn_child *child, int memory, int *pidfd)
{
    char stack[OG_CHILD_STACK] __attribute__((aligned(16)));
    const uint64_t all = ~(uint64_t)0;

    set_signal_mask(&all, &child->mask);
    int files = child->shares_fds ? CLONE_FILES : 0;
    int pid = clone_child(stack, sizeof stack, memory | files | CLONE_VFORK | CLONE_PIDFD, child, pidfd);
    if (pid < 0)
        og_fail(child->err, errno, "clone");
    set_signal_mask(&child->mask, NULL);
    return pid;
}

static int reap(const struct og_spawn *s, int pidfd)
{
    siginfo_t ignored;
    (void)og_lifeline_owner(s->child); /* notes that the child was armed, so the next child can have its description */
    while (waitid(P_PIDFD, (id_t)pidfd, &ignored, WEXITED) < 0 && errno == EINTR)
        ;
    close(pidfd);
    return -1;
}

/* Starts the child, and waits until it has executed something or has failed. A child that has failed is reaped. */
static int start_once(struct og_spawn_child *child, int memory, struct og_spawn *s, struct og_error *err)
{
    int pidfd = -1;
    child->err = err;
    if (!memory) { /* parent and child share only this page */
        child->err = mmap(NULL, sizeof *err, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (child->err == MAP_FAILED)
            return og_fail(err, errno, "mmap");
    }
    int pid = run_child(child, memory, &pidfd);
    if (!memory) {
        *err = *child->err;
        munmap(child->err, sizeof *err);
    }
    if (pid < 0)
        return -1;
    int high = og_above_stdio(pidfd);
    if (high < 0) {
        /* The kernel ignores CLONE_PIDFD, or no fd is free. Nobody has reaped the child, so the pid is still the
         * child's. */
        og_fail(err, pidfd < 0 ? ENOSYS : errno, pidfd < 0 ? "clone(CLONE_PIDFD)" : "fcntl(F_DUPFD_CLOEXEC)");
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return -1;
    }
    if (err->call)
        return reap(s, high);
    s->child->pid = pid;
    s->child->pidfd = high;
    return 0;
}

static int top_of(const struct og_spawn_child *a)
{
    const struct og_spawn *s = a->spawn;
    int top = a->report > STDERR_FILENO ? a->report : STDERR_FILENO;
    if (s->keep_count && s->keep_fds[s->keep_count - 1] > top)
        top = s->keep_fds[s->keep_count - 1];
    for (int i = 0; i < 3; i++)
        if (s->stdio[i] > top)
            top = s->stdio[i];
    return a->owns_lifeline_later && s->child->lifeline > top ? s->child->lifeline : top;
}

/* Copying a table of fds takes time for each fd, and closing them takes that time again. So the child shares its
 * parent's table, and leaves it with a copy of the fds that it needs. This takes Linux 5.9, and no seccomp filter that
 * is older. */
static int start(struct og_spawn_child *child, int memory, struct og_spawn *s, struct og_error *err)
{
    static bool unavailable;
    child->shares_fds = memory && s->close_fds && !__atomic_load_n(&unavailable, __ATOMIC_RELAXED);
    child->top = top_of(child);
    struct own_fd *not_for_it = NULL;
    if (!child->shares_fds || child->top > STDERR_FILENO) {
        not_for_it = og_not_for_children(child->shares_fds ? child->top : INT_MAX);
        if (!not_for_it)
            return og_fail(err, ENOMEM, "malloc");
    }
    child->not_for_it = not_for_it;
    int code = start_once(child, memory, s, err);
    free(not_for_it);
    if (code == 0 || strcmp(err->call, OG_LEAVE_FDS) != 0 || err->code == ENOMEM)
        return code;
    __atomic_store_n(&unavailable, true, __ATOMIC_RELAXED);
    *err = (struct og_error){0, NULL};
    return start(child, memory, s, err);
}

struct lists {
    const char *paths, *args, *env; /* strings one after the other, each with its NUL */
    int env_count;                  /* never -1, unlike in struct og_spawn: those of environ are counted */
    char **pointers;
};

/* Appends pointers to strings that come one after the other. */
static char **point(char **at, int count, const char *strings)
{
    for (int i = 0; i < count; i++) {
        *at++ = (char *)(uintptr_t)strings; /* execve() takes pointers without const */
        strings += strlen(strings) + 1;
    }
    return at;
}

/* Copies the pointers of environ: other threads run until the exec, and their setenv() may move the array. */
static char **point_env(char **at, const struct og_spawn *s, const struct lists *l)
{
    if (s->env_count >= 0)
        return point(at, l->env_count, l->env);
    for (int i = 0; i < l->env_count && environ[i]; i++)
        *at++ = environ[i];
    return at;
}

static int execute_program(struct og_spawn_child *child, int memory, struct og_spawn *s, struct lists *l,
                           struct og_error *err)
{
    char **at = l->pointers;
    child->paths = at;
    at = point(at, s->path_count, l->paths);
    *at++ = NULL;
    child->argv = at;
    at = point(at, s->arg_count, l->args);
    *at++ = NULL;
    child->envp = at;
    *point_env(at, s, l) = NULL;
    child->report = -1;
    return start(child, memory, s, err);
}

/* Executes the launcher, which changes the ids and then executes the program (spawn_child.c says why). `err->call` is
 * "launcher" if the launcher can't be executed. */
static int execute_launcher(struct og_spawn_child *child, struct og_spawn *s, struct lists *l, struct og_error *err)
{
    static const char *const calls[] = LAUNCH_CALLS;
    char *nothing[] = {NULL}, *launcher[] = {(char *)(uintptr_t)s->launcher, NULL};
    size_t size = 128 + (s->group_count > 0 ? (size_t)s->group_count * 12 : 0);
    char *header = malloc(size);
    struct own_fd reader, writer;
    int code = header ? og_pipe(&reader, &writer, 1) : -ENOMEM;
    if (code < 0) {
        free(header);
        return og_fail(err, -code, header ? "pipe2" : "malloc");
    }
    char **at = l->pointers;
    *at++ = launcher[0];
    *at++ = header;
    at = point(at, s->path_count, l->paths);
    at = point(at, s->arg_count, l->args);
    char **env = at;
    at = point_env(at, s, l);
    *at = NULL;
    child->owns_lifeline_later = s->child->lifeline >= 0 && !og_is_global_root();
    int used = snprintf(header, size, "%d %d %d %lld %lld %d %d %d %d", writer.fd,
                        child->owns_lifeline_later ? s->child->lifeline : -1, s->pdeathsig ? SIGKILL : 0, s->gid, s->uid,
                        s->path_count, s->arg_count, (int)(at - env), s->group_count);
    for (int i = 0; i < s->group_count; i++)
        used += snprintf(header + used, size - (size_t)used, " %u", s->groups[i]);

    child->paths = launcher;
    child->argv = l->pointers;
    child->envp = nothing;
    child->report = writer.fd;
    code = start(child, CLONE_VM, s, err);
    close(writer.fd);
    free(header);
    struct launch_report report;
    ssize_t got = 0;
    if (code == 0)
        do
            got = read(reader.fd, &report, sizeof report);
        while (got < 0 && errno == EINTR);
    close(reader.fd);
    if (code < 0)
        return strcmp(err->call, "execve") == 0 ? og_fail(err, err->code, "launcher") : -1;
    if (got == 0)
        return 0;
    bool known = got == sizeof report && report.step >= 0 && report.step <= LAUNCH_EXECVE;
    og_fail(err, known ? report.code : EPROTO, calls[known ? report.step : LAUNCH_ARGUMENTS]);
    int pidfd = s->child->pidfd;
    s->child->pid = s->child->pidfd = -1;
    return reap(s, pidfd);
}

/* The child is like this process, and has no fds above stderr. Python sets what differs. */
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
                           .signal = SIGKILL};
}

static int refused(struct og_spawn *s, int code, const char *call)
{
    s->failed_call = call;
    return og_report(&(struct og_error){code, call});
}

static int count_environ(void)
{
    int count = 0;
    while (environ && environ[count])
        count++;
    return count;
}

int og_spawn(struct og_spawn *s, const char *paths, const char *args, const char *env)
{
    bool new_ids = s->group_count >= 0 || s->gid >= 0 || s->uid >= 0;
    bool launch = new_ids && s->launcher;
    struct og_error err = {0, NULL};
    struct og_spawn_child child = {.spawn = s};
    struct lists lists = {.paths = paths, .args = args, .env = env};

    /* Only in the main thread: PDEATHSIG follows the thread that forked. And only for SIGKILL: a handler of another
     * signal would run twice, since the lifeline sends the signal, too. */
    s->pdeathsig = s->child->lifeline >= 0 && s->signal == SIGKILL && og_is_main_thread();
    s->child->pid = s->child->pidfd = -1;
    for (int i = 0; i < s->keep_count + 3; i++) {
        int fd = i < s->keep_count ? s->keep_fds[i] : s->stdio[i - s->keep_count];
        /* A number that is free now could become that of the child's pidfd, so the child can't check this. */
        if (fd >= 0 && (fcntl(fd, F_GETFD) < 0 || og_is_tether(fd)))
            return refused(s, EBADF, i < s->keep_count ? "fcntl(F_SETFD)" : "dup2");
    }
    lists.env_count = s->env_count >= 0 ? s->env_count : count_environ();
    size_t room = (size_t)s->path_count + (size_t)s->arg_count + (size_t)lists.env_count + 3;
    lists.pointers = malloc(room * sizeof *lists.pointers);
    if (!lists.pointers)
        return refused(s, ENOMEM, "malloc");

    int code = -1;
    if (launch)
        code = execute_launcher(&child, s, &lists, &err);
    if (!launch || (code < 0 && strcmp(err.call, "launcher") == 0)) {
        err = (struct og_error){0, NULL};
        child.owns_lifeline_later = false;
        code = execute_program(&child, new_ids ? 0 : CLONE_VM, s, &lists, &err);
    }
    free(lists.pointers);
    if (code < 0)
        return refused(s, err.code, err.call);
    s->child->identity = og_pidfd_identity(s->child->pidfd);
    s->child->running = 1;
    og_lifeline_let_go(s->child);
    return 0;
}
