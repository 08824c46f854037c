/* A child, to its parent: its pidfd and its lifeline together.
 *
 * One call does each step that must not be torn apart, since a signal handler of Python's can run between two calls,
 * but not within one. Needs lifeline.c and pidfd.c. */

#include "shim.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

/* Opens the pidfd of the process `pid`, which the caller knows to be the child. */
int og_pidfd_hold(struct og_child *child, int pid)
{
    struct og_error err;
    child->pid = pid;
    int fd = og_pidfd(pid, &err);
    if (fd < 0)
        return og_report(&err);
    child->pidfd = fd;
    child->identity = og_pidfd_identity(fd);
    return 0;
}

/* Reaps the child and gives its lifeline back. The caller has noted the exit code before. */
void og_child_reap(struct og_child *child)
{
    siginfo_t info;
    /* Once the parent has let go of the fd, the child was armed. Otherwise the owner tells, but only before the child
     * is reaped: afterwards the description has no owner. */
    bool armed = child->lifeline < 0 || fcntl(child->lifeline, F_GETOWN) == child->pid;
    if (og_pidfd_is(child->pidfd, child->identity))
        (void)waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG);
    child->running = 0;
    og_give_back(child, armed);
}

void og_pidfd_close(struct og_child *child)
{
    if (child->pidfd >= 0 && og_pidfd_is(child->pidfd, child->identity))
        close(child->pidfd);
    child->pidfd = -1;
}

/* Frees what is held, when Python has no use for the child any more, or seems to have none. Python finalises everything
 * that is in a cycle, and a Popen in that cycle may just have gone to the list of those that are polled until their
 * end. So the pidfd of a running child stays open. */
void og_child_free(struct og_child *child)
{
    if (!child->running)
        og_pidfd_close(child);
    og_lifeline_give_back(child);
}
