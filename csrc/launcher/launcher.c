/* orphanguard-launch: changes its ids, then executes a program in its own place, for Popen(user=...).
 *
 * Either the program runs, armed again after what the change of ids has undone, or the parent gets the failed step and
 * its errno. It needs what spawn.c gives it: a header of numbers, then as many paths, arguments and variables as the
 * header says.
 *
 * Why a program. A child of clone(CLONE_VM) must not change its ids itself (see spawn_child.c), and a fork() of a
 * parent with gigabytes takes hundreds of milliseconds. So spawn.c starts this program, and this program the user's.
 *
 * Arming. The lifeline is armed already, and the parent holds its write end. But a change of ids clears PDEATHSIG
 * (prctl(2)), so PDEATHSIG is set again after the change. And the kernel sends a lifeline's signal with the credentials
 * of the process that set the owner (sigio_perm() of fs/fcntl.c). Those of global root reach everybody; any other
 * parent has this program set the owner once more, after the change.
 *
 * The environment of this program is empty, and that of the user's program comes as arguments. While this program still
 * has the parent's ids, no variable of the user's may influence it (LD_PRELOAD for one). */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "launcher.h"

static int report_fd = -1;

static _Noreturn void fail(enum launch_step step)
{
    struct launch_report report = {errno, (int)step};
    ssize_t written = write(report_fd, &report, sizeof report);
    (void)written;
    _exit(127);
}

/* Returns the next number of the header. */
static long long number(char **header)
{
    char *end;
    errno = EINVAL;
    long long value = strtoll(*header, &end, 10);
    if (end == *header)
        fail(LAUNCH_ARGUMENTS);
    *header = end;
    return value;
}

/* Returns the next `count` arguments as an array that ends in NULL. */
static char **take(char ***from, long long count)
{
    char **taken = malloc(((size_t)count + 1) * sizeof *taken);
    if (!taken)
        fail(LAUNCH_ARGUMENTS);
    for (long long i = 0; i < count; i++) {
        if (!**from) {
            errno = EINVAL;
            fail(LAUNCH_ARGUMENTS);
        }
        taken[i] = *(*from)++;
    }
    taken[count] = NULL;
    return taken;
}

static void set_groups(char **header, long long count)
{
    gid_t *groups = malloc(((size_t)count + 1) * sizeof *groups);
    if (!groups)
        fail(LAUNCH_ARGUMENTS);
    for (long long i = 0; i < count; i++)
        groups[i] = (gid_t)number(header);
    if (setgroups((size_t)count, groups) < 0)
        fail(LAUNCH_SETGROUPS);
}

static void own_lifeline(int fd)
{
    struct pollfd parent = {.fd = fd};
    int sig = fcntl(fd, F_GETSIG);
    if (sig <= 0 || fcntl(fd, F_SETOWN, getpid()) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        fail(LAUNCH_SETOWN);
    /* If the parent died between the change of ids and this, the lifeline's signal was refused, so it is sent here. */
    if (poll(&parent, 1, 0) == 1 && parent.revents & POLLHUP)
        kill(getpid(), sig);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 127;
    char *header = argv[1], **rest = argv + 2;
    report_fd = (int)number(&header);
    fcntl(report_fd, F_SETFD, FD_CLOEXEC);
    int lifeline = (int)number(&header); /* -1: its owner need not be set again */
    int pdeathsig = (int)number(&header);
    long long gid = number(&header), uid = number(&header);
    char **paths = take(&rest, number(&header));
    char **args = take(&rest, number(&header));
    char **env = take(&rest, number(&header));
    long long group_count = number(&header); /* the groups follow; -1: they stay */

    if (group_count >= 0)
        set_groups(&header, group_count);
    if (gid >= 0 && setregid((gid_t)gid, (gid_t)gid) < 0)
        fail(LAUNCH_SETREGID);
    if (uid >= 0 && setreuid((uid_t)uid, (uid_t)uid) < 0)
        fail(LAUNCH_SETREUID);
    if (lifeline >= 0)
        own_lifeline(lifeline);
    if (pdeathsig && prctl(PR_SET_PDEATHSIG, pdeathsig, 0, 0, 0) < 0)
        fail(LAUNCH_PRCTL);

    int first = 0;
    for (char **path = paths; *path; path++) {
        execve(*path, args, env);
        if (errno != ENOENT && errno != ENOTDIR && !first)
            first = errno;
    }
    if (first)
        errno = first;
    fail(LAUNCH_EXECVE);
}
