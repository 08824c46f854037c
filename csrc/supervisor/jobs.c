/* jobs.c */

#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

/* What happened to the command; true if somebody else has continued it since the
 * last look. */
bool look_at_stops(void)
{
    bool continued = false;
    siginfo_t info;
    while (!command.reaped) {
        info.si_pid = 0;
        if (waitid(P_PIDFD, (id_t)command.fd, &info, WSTOPPED | WCONTINUED | WNOHANG) < 0 || info.si_pid == 0)
            break;
        command.stopped = info.si_code == CLD_CONTINUED ? 0 : info.si_status;
        continued = info.si_code == CLD_CONTINUED && !command.continued_by_us;
        command.continued_by_us = false;
    }
    return continued;
}

/* Stops this process by `sig`, as the command was. Whoever is stopped sees
 * nothing: not that the command was killed meanwhile, nor that it was continued
 * just before, nor, if it came just before, an order or its parent's death. So a
 * helper that is not stopped sends us `sig`, looks whether the command still is,
 * and waits for any of these. It signals by a pipe that we
 * own, F_SETSIG, since from inside a pid namespace it could not by a pidfd.
 * SIGCONT is handled at once meanwhile: were it pending, as it is for a
 * signalfd, the stop signal would discard it, and nobody would go on. */
void stop_with_command(int sig, void (*on_continue)(int, siginfo_t *, void *))
{
    int wake[2] = {-1, -1}, sent[2] = {-1, -1};
    struct sigaction deflt = {.sa_handler = SIG_DFL}, go_on = {.sa_flags = SA_SIGINFO};
    char byte = 0;
    command.stopped = 0; /* seen; if it still is, whoever continues us continues it */
    if (pipe2(wake, O_CLOEXEC) < 0 || pipe2(sent, O_CLOEXEC) < 0 || fcntl(wake[0], F_SETOWN, getpid()) < 0 ||
        fcntl(wake[0], F_SETSIG, sig) < 0 || fcntl(wake[0], F_SETFL, O_ASYNC) < 0)
        goto done;
    sigaction(sig, &deflt, NULL);
    go_on.sa_sigaction = on_continue;
    sigaction(SIGCONT, &go_on, NULL);
    pid_t helper = fork();
    if (helper == 0) {
        struct pollfd ends[] = {
            {command.fd, POLLIN, 0}, {options.control_fd, POLLIN, 0}, {watched.parent_fd, POLLIN, 0}};
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        close(command.leash[1]);
        /* We are told when that is over: a reader of the first write could be quicker than its signal, and our own
         * end closes the pipe, which is an event as well. */
        if (write(wake[1], &byte, 1) != 1 || fcntl(wake[0], F_SETSIG, SIGCONT) < 0 || write(sent[1], &byte, 1) != 1)
            _exit(1);
        if (is_stopped(command.pid))
            poll(ends, 3, -1);
        _exit(write(wake[1], &byte, 1) != 1);
    }
    close(sent[1]); /* so that the helper's end would be the end of the file */
    sent[1] = -1;
    if (helper > 0) {
        set_mask(~(signal_bit(sig) | signal_bit(SIGCONT)));
        while (read(sent[0], &byte, 1) < 0 && errno == EINTR)
            ; /* stopped in here */
        set_mask(~UINT64_C(0));
        /* Until it is gone: its end of the pipe is our SIGCONT, and would undo the next stop. It is ours and not
         * reaped, so its pid is its own. */
        kill(helper, SIGKILL);
        while (waitpid(helper, NULL, 0) < 0 && errno == EINTR)
            ;
    }
done:
    for (int i = 0; i < 2; i++) {
        close(wake[i]);
        close(sent[i]);
    }
}
