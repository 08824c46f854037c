/* Which signals the supervisor passes on to the command. The essay in main.c says why.
 *
 * The command gets what was sent to the supervisor alone. It does not get a second time what the kernel sends to the
 * whole group, nor a SIGCONT that has continued it already.
 *
 * It needs all signals blocked, and jobs.c to tell who has continued the command. */

#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

void to_command(int sig)
{
    if (command.reaped)
        return;
    /* The kernel will report that the command goes on. If that passed for somebody else's doing, forward() would take
     * the next SIGCONT for one of the whole group and not pass it on, and a stop that is under way would stay. */
    if (sig == SIGCONT && is_stopped(command.pid))
        command.continued_by_us = true;
    send_signal(command.fd, sig);
}

static void forward(int sig, int code, pid_t sender)
{
    if (sig == SIGCHLD || (code == SI_USER && sender == getpid()))
        return; /* of our own making: SIGPIPE, of a status fd that nobody reads */
    if (code > 0) {
        bool leader = getsid(0) == getpid();
        if (code != SI_KERNEL || !leader || (sig != SIGHUP && sig != SIGCONT))
            return;
    }
    /* A shell's fg continues the whole group, so the command has gone on already. */
    if (sig == SIGCONT && look_at_stops())
        return;
    to_command(sig);
}

/* A handler of SIGCONT, for stop_with_command(). */
void continued(int sig, siginfo_t *info, void *unused)
{
    int code = errno;
    (void)unused;
    forward(sig, info->si_code, info->si_pid);
    errno = code;
}

void read_signals(void)
{
    struct signalfd_siginfo info[16];
    ssize_t got;
    while ((got = read(watched.signal_fd, info, sizeof info)) > 0)
        for (size_t i = 0; i < (size_t)got / sizeof *info; i++)
            forward((int)info[i].ssi_signo, info[i].ssi_code, (pid_t)info[i].ssi_pid);
    look_at_stops();
}
