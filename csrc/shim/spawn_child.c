/* The child of a spawn: from clone() to execve().
 *
 * Rules for everything in this file, which runs in the parent's memory while the
 * thread that called is suspended and the parent's others run:
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
 * again the child's new user could reach into the parent by ptrace. So it is the
 * launcher's (launcher.c); only where that can't be executed is the child's
 * memory a copy, and the change made here. */

#include "shim.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"

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

struct entry { /* of getdents64(2) */
    uint64_t ino, offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

static bool close_listed(int first, int last)
{
    char buffer[1024] __attribute__((aligned(8)));
    long got;
    int list = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while ((got = syscall(SYS_getdents64, list, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < got;) {
            const struct entry *entry = (const void *)(buffer + at);
            int fd = 0; /* of "." and ".." as well */
            for (const char *digit = entry->name; *digit >= '0' && *digit <= '9'; digit++)
                fd = 10 * fd + *digit - '0';
            if (fd >= first && fd <= last && fd != list)
                close(fd);
            at += entry->length;
        }
    close(list);
    return got == 0;
}

static void close_between(int first, int last)
{
    if (first > last || syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0) == 0)
        return;
    /* Refused by a seccomp filter. Not up to the limit, which in a container may be 2^30;
     * only without /proc. */
    if (close_listed(first, last))
        return;
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

/* The highest that is to stay open, up to `to`; 0 to 2: none above them. *i goes
 * down keep_fds. The lifeline is close-on-exec, and looked at before that. */
static int next_kept(const struct og_spawn_child *a, int to, int *i)
{
    const struct og_spawn *s = a->spawn;
    while (*i >= 0 && s->keep_fds[*i] > to)
        --*i;
    int fd = *i >= 0 ? s->keep_fds[*i] : STDERR_FILENO;
    if (s->child->lifeline <= to && s->child->lifeline > fd)
        fd = s->child->lifeline;
    return a->report <= to && a->report > fd ? a->report : fd;
}

/* Out of the parent's table of fds, with a copy of those that are needed: the
 * kernel copies no others, however many there are. Before anything is done to an
 * fd, since it would be done to the parent's. (Before Linux 6.11 and the stable
 * ones of that time, the program may find free numbers from 64 on skipped if its
 * parent had 64 and more open.)
 *
 * If the parent is gone by now, this drops the last of its fds as its exit would
 * have, the tethers among them, and so we are killed here. Hence no look at the
 * lifeline afterwards. */
static int leave_fds(const struct og_spawn_child *a, struct og_error *err)
{
    if (syscall(SYS_close_range, (unsigned)a->top + 1, UINT32_MAX, CLOSE_RANGE_UNSHARE) < 0)
        return og_fail(err, errno, OG_LEAVE_FDS);
    return 0;
}

/* Copies of tethers: what follows may take long (chdir), and nobody else's end may
 * wait for it. One that was made after the list goes with the exec. */
static void close_copies(const struct og_spawn_child *a)
{
    for (const struct own_fd *own = a->not_for_it; own && own->fd >= 0; own++)
        if (own->fd != a->report && og_still_ours(own))
            close(own->fd);
}

/* Closes everything else above stderr. */
static void close_others(const struct og_spawn_child *a)
{
    int last = INT32_MAX, i = a->spawn->keep_count - 1;
    for (int fd; (fd = next_kept(a, last, &i)) > STDERR_FILENO; last = fd - 1)
        close_between(fd + 1, last);
    close_between(STDERR_FILENO + 1, last);
}

static int put(int fd, int place, struct og_error *err)
{
    if (fd == -1)
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

static int set_ids(const struct og_spawn *s, struct og_error *err)
{
    if (s->group_count >= 0 && syscall(OG_SETGROUPS, (size_t)s->group_count, s->groups) < 0)
        return og_fail(err, errno, "setgroups");
    if (s->gid >= 0 && syscall(OG_SETREGID, (gid_t)s->gid, (gid_t)s->gid) < 0)
        return og_fail(err, errno, "setregid");
    if (s->uid >= 0 && syscall(OG_SETREUID, (uid_t)s->uid, (uid_t)s->uid) < 0)
        return og_fail(err, errno, "setreuid");
    /* The owner once more, with the new credentials: see launcher.c. */
    return s->uid >= 0 && s->child->lifeline >= 0 && og_make_mine(s->child->lifeline, err) < 0 ? -1 : 0;
}

static void execute(const struct og_spawn_child *a)
{
    int first = 0;
    for (char *const *path = a->paths; *path; path++) {
        execve(*path, a->argv, a->envp);
        if (errno != ENOENT && errno != ENOTDIR && !first)
            first = errno;
    }
    og_fail(a->err, first ? first : errno, "execve");
}

/* Runs in the child; does not return. */
int og_spawn_child(void *argument)
{
    struct og_spawn_child *a = argument;
    const struct og_spawn *s = a->spawn;
    struct og_error *err = a->err;

    /* First, so that it dies with its parent wherever it is held up below. */
    if (s->child->lifeline >= 0 && og_make_mine(s->child->lifeline, err) < 0)
        goto fail;
    if (a->shares_fds && leave_fds(a, err) < 0)
        goto fail;
    close_copies(a);
    for (int i = 0; i < s->keep_count; i++)
        if (make_inheritable(s->keep_fds[i], err) < 0)
            goto fail;
    if (a->report >= 0 && make_inheritable(a->report, err) < 0)
        goto fail;
    if (a->owns_lifeline_later && make_inheritable(s->child->lifeline, err) < 0)
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
    if (a->report < 0 && set_ids(s, err) < 0)
        goto fail;
    /* Cleared by a change of ids, so after it. */
    if (s->pdeathsig && og_set_pdeathsig(SIGKILL, err) < 0)
        goto fail;
    if (s->close_fds)
        close_others(a);
    if (s->child->lifeline >= 0 && !a->shares_fds && og_die_if_hung_up(s->child->lifeline, s->signal, err) < 0)
        goto fail;
    if (!a->no_handlers)
        reset_handlers();
    if (s->restore_signals)
        restore_signals();
    set_signal_mask(&a->mask, NULL);
    execute(a);
fail:
    _exit(127);
}
