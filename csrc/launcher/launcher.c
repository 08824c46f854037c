/* orphanguard-launch: changes ids, then executes a program in its own place.
 *
 * Popen(user=...) starts this program, by spawn.c, and this one the user's. A
 * child of clone(CLONE_VM) must not change its ids itself (see spawn_child.c),
 * and a fork() of a parent with gigabytes takes hundreds of milliseconds.
 *
 * It is armed already: the lifeline is the parent's to hold. A change of ids
 * clears PDEATHSIG (prctl(2)), so that is set again after it. And the kernel
 * sends a lifeline's signal with the credentials of whoever set its owner
 * (sigio_perm() of fs/fcntl.c). Those of global root reach everybody; any other
 * parent has us set the owner once more, after the change. Its own
 * environment is empty, and the program's comes as arguments: with the ids of
 * the parent still on, nothing in it may have a say, LD_PRELOAD for one.
 *
 * Arguments: a header of numbers, then as many paths, arguments and variables as
 * it says. */

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

/* The next number of the header. */
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
    /* A signal that came between the change and this did not get through. */
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
    int lifeline = (int)number(&header); /* -1: it is right as it is */
    int pdeathsig = (int)number(&header);
    long long gid = number(&header), uid = number(&header);
    char **paths = take(&rest, number(&header));
    char **args = take(&rest, number(&header));
    char **env = take(&rest, number(&header));
    long long group_count = number(&header); /* and the groups; -1: as here */

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
