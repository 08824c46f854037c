/* The start of a program: the child's side, from clone() to execve().
 *
 * The child runs in the parent's memory. The thread that has called clone() is suspended, and the other threads of the
 * parent run. Hence these rules for everything in this file:
 *  - It makes only async-signal-safe calls: no allocation, no locks, no stdio.
 *  - No signal handler of the parent may run in it. All signals are blocked across the clone, and the handlers are
 *    reset before the mask is restored.
 *  - The parent sees what it writes. That is how errors come back, and it writes nothing else.
 *  - It calls no libc wrapper that changes ids: that would change the ids of all threads of the parent.
 *  - It ends by execve() or _exit(), and in no other way.
 *
 * A change of ids in a child that shares the parent's memory would clear the parent's dumpable flag (prctl(2),
 * PR_SET_DUMPABLE). With the flag set again, the child's new user could reach into the parent by ptrace. So the
 * launcher changes the ids (launcher.c). Only where the launcher can't be executed is the child's memory a copy, and
 * then the child changes them itself. Needs fd.c, pdeathsig.c and description.c. */

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
            int fd = 0; /* also for "." and "..": it is below `first` */
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
    /* A seccomp filter refuses it. The list in /proc comes before the loop up to the limit, which in a container may be
     * 2^30. */
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

/* Returns the highest fd up to `to` that stays open, or a number up to 2 if there is none. *i goes down keep_fds. The
 * lifeline stays open, too: the child looks at it later, and it is close-on-exec. */
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

/* Leaves the parent's table of fds. While the child shares that table, a change of an fd changes the parent's, so this
 * comes before any such change. The kernel copies the fds up to the highest that the child needs, and none above, however
 * many there are. (Before Linux 6.11, and the stable kernels of that time, the program may find that free numbers from 64
 * on are skipped, if its parent had 64 or more open.)
 *
 * If the parent is gone by now, this call or close_copies(), which follows, drops the last references to the tethers,
 * and the kernel kills the child. So the child need not look at the lifeline afterwards. */
static int leave_fds(const struct og_spawn_child *a, struct og_error *err)
{
    if (syscall(SYS_close_range, (unsigned)a->top + 1, UINT32_MAX, CLOSE_RANGE_UNSHARE) < 0)
        return og_fail(err, errno, OG_LEAVE_FDS);
    return 0;
}

/* Closes copies of tethers early: what follows may take long (chdir), and the end of other children must not wait for
 * it. The exec closes a tether that was made after the list. */
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
    /* An fd whose number is about to be replaced moves out of the way. */
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
    /* The child becomes the owner again, with its new credentials: see credentials.c. */
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

int og_spawn_child(void *argument)
{
    struct og_spawn_child *a = argument;
    const struct og_spawn *s = a->spawn;
    struct og_error *err = a->err;

    /* This comes first, so that the child dies with its parent wherever it is held up below. */
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
    /* A change of ids clears it, so it comes after that. */
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
