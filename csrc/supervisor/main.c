/* orphanguard-run, the supervisor: runs a command, and ends everything below it when the command ends, when the parent
 * dies, or when it is told to. This file is the event loop and the ending of the tree.
 *
 * Waiting. One epoll watches the parent's pidfd, the control fd, a signalfd and, while the tree is ended, a timer. The
 * command's pidfd is not among them: the command's end, its stops, and the deaths of all adopted processes arrive as
 * SIGCHLD, and its pidfd would make the loop spin while a debugger withholds the dead command from us.
 *
 * The witness. A pidfd of the parent tells of its death. The parent opened this pidfd and we inherited it, or we opened
 * it while the parent was above us. Nothing else ends the tree on the parent's behalf. The lifeline and PDEATHSIG send
 * SIGCONT; they only wake the supervisor if it is stopped at that moment.
 *
 * Being invisible. The command is in the supervisor's process group and session, where it would be without us. So the
 * terminal, the shell and anybody who signals the group reach the command themselves. The supervisor blocks all signals
 * and passes on those that were sent to it alone. Signals of the kernel (si_code > 0) are for the group, with one
 * exception: when a terminal hangs up, SIGHUP and SIGCONT go to the session's leader alone, which without us would be
 * the command. When the command stops, the supervisor stops by the same signal. One case cannot be told apart: if
 * another process signals the whole group by kill(), the command gets the signal twice. */

#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seconds after SIGKILL until the supervisor gives up on what still lives. The kernel takes more than one second to
 * tear down a process of many gigabytes. */
#define PATIENCE 5

/* ENDING: the death signal was sent, and the grace runs. KILLING: SIGKILL was sent. */
static enum { RUNNING, ENDING, KILLING } state;
static int seconds_left = PATIENCE;

static void end_tree(const char *why, int sig, long grace)
{
    if (state == KILLING || (state == ENDING && sig != SIGKILL))
        return;
    if (options.verbose)
        say("ending the tree: %s", why);
    report("{\"event\": \"ending\", \"because\": \"%s\"}\n", why);
    if (watched.timer_fd < 0) {
        watched.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        watch(watched.timer_fd);
    }
    if (sig != SIGKILL)
        signal_tree(sig, true);
    if (sig != SIGKILL && grace > 0) {
        state = ENDING;
        set_timer(grace);
    } else {
        state = KILLING;
        kill_tree(true);
        set_timer(1000);
    }
}

/* Ends as the command has ended, or with 125 if something lives on. */
static _Noreturn void finish(int survivors)
{
    leave_containment();
    int status = survivors ? EXIT_OURS : command.end.si_status;
    bool exited = survivors || command.end.si_code == CLD_EXITED;
    report("{\"event\": \"ended\", \"%s\": %d}\n", exited ? "exit" : "signal", status);
    if (exited)
        _exit(status);
    /* The command has dumped its core already, if any. The supervisor shall not dump a second one. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    struct sigaction deflt = {.sa_handler = SIG_DFL};
    sigaction(status, &deflt, NULL);
    kill(getpid(), status);
    set_mask(~signal_bit(status));
    _exit(128 + status); /* reached by the init of a pid namespace, which cannot kill itself */
}

/* Reaps all dead children. Returns false when no child is left. */
static bool reap(void)
{
    siginfo_t info;
    for (;;) {
        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0)
            return false;
        if (info.si_pid == 0)
            return true;
        reaped(info.si_pid);
        if (!command.reaped && info.si_pid == command.pid) {
            command.reaped = true;
            command.end = info;
            report("{\"event\": \"command\", \"%s\": %d}\n", info.si_code == CLD_EXITED ? "exit" : "signal",
                   info.si_status);
        }
    }
}

static void timer_fired(void)
{
    uint64_t times;
    if (read(watched.timer_fd, &times, sizeof times) < 0)
        return;
    if (state == ENDING) {
        end_tree("the grace is over", SIGKILL, 0);
    } else if (state == KILLING) {
        if (--seconds_left == 0) {
            int survivors = name_survivors();
            finish(survivors ? survivors : 1);
        }
        kill_tree(true);
        set_timer(1000);
    }
}

/* Each byte is an order. The end of the file is none: a program may drop its end of the pipe, with a handle that is
 * garbage collected. */
static void read_control(void)
{
    unsigned char orders[64];
    ssize_t got = read(options.control_fd, orders, sizeof orders);
    if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
        unwatch(&options.control_fd);
    for (ssize_t i = 0; i < got; i++) {
        int sig = orders[i] & 0x7f;
        if (orders[i] == 0)
            end_tree("told to", options.signal, options.grace);
        else if (orders[i] == 128 + SIGKILL)
            end_tree("told to", SIGKILL, 0);
        else if (orders[i] > 128)
            signal_tree(sig, false);
        else
            to_command(sig);
    }
}

static _Noreturn void supervise(void)
{
    struct epoll_event events[4];
    for (;;) {
        int count = epoll_wait(watched.epoll_fd, events, 4, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == watched.signal_fd) {
                read_signals();
                while (command.stopped && state == RUNNING)
                    stop_with_command(command.stopped, continued);
            } else if (fd == watched.parent_fd) {
                unwatch(&watched.parent_fd);
                end_tree("the parent is gone", options.signal, options.grace);
            } else if (fd == watched.timer_fd)
                timer_fired();
            else if (fd == options.control_fd)
                read_control();
        }
        if (!reap())
            finish(0);
        if (command.reaped) {
            end_tree("the command has ended", options.signal, options.grace);
            release_init();
        }
        if (state == KILLING)
            kill_tree(false);
    }
}

int main(int argc, char **argv)
{
    fill_standard_fds();
    parse_options(argc, argv);
    prepare();
    tie_to_parent();
    refuse_other_children();
    contain();
    if (options.child)
        adopt_command();
    else
        start_command();
    report("{\"event\": \"started\", \"command_pid\": %d, \"containment\": \"%s\"}\n", command.pid, containment_name());
    if (options.verbose)
        say("process %d started, containment %s", command.pid, containment_name());
    let_go();
    supervise();
}
