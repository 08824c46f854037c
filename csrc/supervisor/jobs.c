/* Job control: the supervisor stops and goes on with the command.
 *
 * A shell watches the supervisor in place of the command. So when a signal stops the command, the supervisor stops by
 * the same signal, and when the shell continues the supervisor, the command goes on. A stopped supervisor wakes for all
 * that ends the tree: the end of the command, an order, the parent's death.
 *
 * It needs the command's pidfd, and the caller's handler of SIGCONT. */

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

/* Notes whether the command is stopped. Returns true if another process has continued it since the last look. */
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

/* Stops the supervisor by `sig`, the signal that stopped the command, until there is something to do.
 *
 * A stopped process sees nothing: not that the command was killed meanwhile, or continued just before the stop. It does
 * not see an order or the parent's death either, if these came just before the stop. So a helper, which does not stop,
 * sends the supervisor `sig`, looks whether the command is still stopped, waits for any of these events, and sends
 * SIGCONT. It signals by a pipe that the supervisor owns (F_SETSIG), because from inside a pid namespace it could not
 * by a pidfd.
 *
 * Meanwhile `on_continue` handles SIGCONT at once. A signalfd would need it blocked, and then the stop signal would
 * discard the pending SIGCONT, and nobody would continue the supervisor. */
void stop_with_command(int sig, void (*on_continue)(int, siginfo_t *, void *))
{
    int wake[2] = {-1, -1}, sent[2] = {-1, -1};
    struct sigaction deflt = {.sa_handler = SIG_DFL}, go_on = {.sa_flags = SA_SIGINFO};
    char byte = 0;
    command.stopped = 0; /* dealt with: if it is still stopped afterwards, the SIGCONT that wakes us goes on to it */
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
        close(command.lifeline[1]);
        /* `sent` tells the supervisor that `sig` was sent. The byte in `wake` could not: its reader could be quicker
         * than the signal. F_SETSIG comes before `sent`, because the helper's end closes the pipe, which is an event
         * too, and must not stop the supervisor again. */
        if (write(wake[1], &byte, 1) != 1 || fcntl(wake[0], F_SETSIG, SIGCONT) < 0 || write(sent[1], &byte, 1) != 1)
            _exit(1);
        if (is_stopped(command.pid))
            poll(ends, 3, -1);
        _exit(write(wake[1], &byte, 1) != 1);
    }
    close(sent[1]); /* so that read() below returns if the helper dies */
    sent[1] = -1;
    if (helper > 0) {
        set_mask(~(signal_bit(sig) | signal_bit(SIGCONT)));
        while (read(sent[0], &byte, 1) < 0 && errno == EINTR)
            ; /* the supervisor is stopped in here */
        set_mask(~UINT64_C(0));
        /* The supervisor waits until the helper is gone: a SIGCONT that came from it later would undo the next stop.
         * The helper is our child and not reaped, so its pid is not another's. */
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
