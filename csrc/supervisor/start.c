/* What comes before the command, and what is let go once it runs.
 *
 * After tie_to_parent() the parent's death cannot be missed: either the supervisor has ended, or it watches a pidfd of
 * a parent that was alive. Until then the supervisor dies by the lifeline or PDEATHSIG, if the caller has armed them.
 *
 * It needs the parsed options. The functions are called in the order in which they stand here. */

#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel.h"

/* Opens the standard fds that are closed, so that none of the supervisor's own becomes one of them. For the command
 * they stay closed. */
void fill_standard_fds(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_CLOEXEC) < 0)
            _exit(EXIT_OURS);
}

/* Returns a pidfd of the process whose death ends the tree. The caller names that process by a pidfd or by a pid.
 * Otherwise it is our parent, be it one that has adopted us because the caller is gone. A pid may be recycled, so the
 * process that has the pid must be above us, and live. Returns -1 if our parent is outside our pid namespace, whose
 * init we are then. */
static int open_parent(void)
{
    pid_t now = getppid(), parent = options.parent ? options.parent : now;
    if (options.parent_fd >= 0 && is_dead(options.parent_fd))
        die(EXIT_OURS, 0, "the parent is gone: nothing started");
    if (options.parent == getpid())
        die(EXIT_OURS, 0, "--parent-pid: process %d is this one: a shell that executes its last command is not above that",
            options.parent);
    if (options.parent_fd >= 0 || parent == 0)
        return options.parent_fd;
    int fd = pidfd_of(parent);
    if (fd < 0 && errno != ESRCH)
        die(EXIT_OURS, errno, "process %d: pidfd_open", parent);
    if (fd < 0 || is_dead(fd))
        die(EXIT_OURS, 0, "the parent %d is gone: nothing started", parent);
    /* If that process is still our parent, or above us, it was so while the pidfd was opened. So the pidfd refers to
     * it. */
    now = getppid();
    if (now == parent || (options.parent && is_above_us(parent) && !is_dead(fd)))
        return fd;
    if (!options.parent)
        die(EXIT_OURS, 0, "the parent %d is gone: nothing started", parent);
    die(EXIT_OURS, 0, "--parent-pid: process %d (%s) is not above this one, whose parent is %d (%s): nothing started",
        parent, name_of(parent), now, name_of(now));
}

void tie_to_parent(void)
{
    int armed = 0;
    watched.parent_fd = open_parent();
    if (watched.parent_fd >= 0)
        watch(watched.parent_fd);
    if (options.lifeline_fd >= 0) {
        /* Until here the lifeline would have killed us, and nothing was started. From here on the parent's pidfd tells
         * of its death, and the lifeline only wakes a supervisor that is stopped. */
        if (fcntl(options.lifeline_fd, F_GETOWN) != getpid())
            die(EXIT_OURS, 0, "--lifeline-fd: not armed for this process");
        if (fcntl(options.lifeline_fd, F_SETSIG, SIGCONT) < 0)
            die(EXIT_OURS, errno, "--lifeline-fd: fcntl(F_SETSIG)");
    }
    /* PDEATHSIG, too, only wakes us. We do not arm it beside a lifeline if the caller has not: the thread that started
     * us may end before its process does. The call is made in any case: if a seccomp filter refuses it to us, it
     * refuses it to our children, and not all of these could report it. */
    prctl(PR_GET_PDEATHSIG, &armed, 0, 0, 0);
    if (prctl(PR_SET_PDEATHSIG, armed || options.lifeline_fd < 0 ? SIGCONT : 0, 0, 0, 0) < 0)
        die(EXIT_OURS, errno, "prctl(PR_SET_PDEATHSIG)");
}

void prepare(void)
{
    const uint64_t all = ~UINT64_C(0);
    struct sigaction deflt = {.sa_handler = SIG_DFL};
    set_signal_mask(&all, &command.mask);
    sigaction(SIGCHLD, &deflt, &command.sigchld); /* if it were ignored, the kernel would reap our children */
    watched.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    watched.signal_fd = (int)syscall(SYS_signalfd4, -1, &all, KERNEL_SIGSET_SIZE, SFD_CLOEXEC | SFD_NONBLOCK);
    if (watched.epoll_fd < 0 || watched.signal_fd < 0)
        die(EXIT_OURS, errno, watched.epoll_fd < 0 ? "epoll_create1" : "signalfd");
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        die(EXIT_OURS, errno, "prctl(PR_SET_CHILD_SUBREAPER)");
    watch(watched.signal_fd);
    if (options.control_fd >= 0) {
        /* An order sends SIGCONT, because the supervisor may be stopped. */
        if (fcntl(options.control_fd, F_SETOWN, getpid()) < 0 || fcntl(options.control_fd, F_SETSIG, SIGCONT) < 0 ||
            fcntl(options.control_fd, F_SETFL, O_ASYNC | O_NONBLOCK) < 0)
            die(EXIT_OURS, errno, "--control-fd: fcntl");
        watch(options.control_fd);
    }
    /* The command's lifeline. The exec of a setuid program clears PDEATHSIG and not this. The read end must have the
     * lower number: when the supervisor exits, the kernel releases the highest fd first, and the release of the write
     * end signals only while the read end is there. */
    if (pipe2(command.lifeline, O_CLOEXEC | O_NONBLOCK) < 0 || fcntl(command.lifeline[0], F_SETSIG, SIGKILL) < 0 ||
        fcntl(command.lifeline[0], F_SETFL, O_ASYNC | O_NONBLOCK) < 0)
        die(EXIT_OURS, errno, "the command's lifeline");
}

/* Closes all that the supervisor has inherited and does not use. It is the command's, the ends of pipes above all. */
void let_go(void)
{
    int keep[] = {watched.epoll_fd, watched.signal_fd, watched.parent_fd, options.control_fd, output.status_fd,
                  command.fd, command.lifeline[0], command.lifeline[1], init_fd, detach_stderr()};
    int count = sizeof keep / sizeof *keep;
    for (int i = 1; i < count; i++) /* sort: ten numbers */
        for (int k = i; k > 0 && keep[k] < keep[k - 1]; k--) {
            int swap = keep[k];
            keep[k] = keep[k - 1];
            keep[k - 1] = swap;
        }
    int absent = 0;
    while (absent < count && keep[absent] < 0)
        absent++;
    close_all_but(keep + absent, count - absent);
}
