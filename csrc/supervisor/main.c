/* orphanguard-run: runs a command and ends everything below it, when the
 * command ends, when our parent dies, or when it is told to.
 *
 * Waiting. One epoll over the parent's pidfd, the control fd, a signalfd and,
 * while the tree is ended, a timer. The command needs none of its own: its end,
 * its stops and the deaths of all that we adopt are SIGCHLD, and a pidfd would
 * spin while a debugger holds the dead command from us.
 *
 * The witness of the parent's death is its pidfd: one that it has opened of
 * itself and we have inherited, or one that we open while it is above us. Nothing else ends the tree on its behalf. The lifeline and PDEATHSIG only
 * wake us, with SIGCONT, should we be stopped then.
 *
 * Being invisible. The command is in our process group and session, where it
 * would be without us, so the terminal, the shell and whoever signals the group
 * reach it themselves. We block all signals and pass on those that were for us
 * alone; those of the kernel (si_code > 0) are for the group. Only SIGHUP and
 * SIGCONT of a terminal that hangs up go to the session's leader alone, which
 * without us would be the command. When it stops we stop, by the same signal.
 * Not told apart: a kill() of the whole group by another process; the command
 * gets that one twice. */

#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seconds after SIGKILL until what still lives is given up. A process of many
 * gigabytes takes more than one to be torn down. */
#define PATIENCE 5

/* ENDING: the death signal was sent. KILLING: SIGKILL. */
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

static _Noreturn void finish(int survivors)
{
    leave_containment();
    int status = survivors ? EXIT_OURS : command.end.si_status;
    bool exited = survivors || command.end.si_code == CLD_EXITED;
    report("{\"event\": \"ended\", \"%s\": %d}\n", exited ? "exit" : "signal", status);
    if (exited)
        _exit(status);
    /* No second core dump; the command has had its own. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    struct sigaction deflt = {.sa_handler = SIG_DFL};
    sigaction(status, &deflt, NULL);
    kill(getpid(), status);
    set_mask(~signal_bit(status));
    _exit(128 + status); /* the init of a pid namespace can't kill itself */
}

/* Reaps whoever there is; false when nobody is left. */
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

/* One byte, one order. The end of the file is none: whoever holds the other end
 * may drop it (a handle that is garbage collected). */
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
