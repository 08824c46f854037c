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
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

/* Seconds after SIGKILL until what still lives is given up. A process of many
 * gigabytes takes more than one to be torn down. */
#define PATIENCE 5

static int epoll_fd, signal_fd, timer_fd = -1, parent_fd = -1;
static int leash[2]; /* a lifeline of our own, for the command */
static uint64_t mask; /* of the signals, as we got it */
static struct sigaction sigchld;

static struct {
    pid_t pid;
    int fd;
    int stopped; /* by this signal */
    bool continued_by_us; /* and the kernel has not told us of it yet */
    bool reaped;
    siginfo_t end;
} command = {.fd = -1};

/* ENDING: the death signal was sent. KILLING: SIGKILL. */
static enum { RUNNING, ENDING, KILLING } state;
static int seconds_left = PATIENCE;

/* Raw: libc keeps two signals for itself, which would end us. */
static void set_mask(uint64_t to)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &to, NULL, KERNEL_SIGSET_SIZE);
}

static uint64_t bit(int sig)
{
    return UINT64_C(1) << (sig - 1);
}

static void watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die(EXIT_OURS, errno, "epoll_ctl");
}

static void unwatch(int *fd)
{
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, *fd, NULL);
    close(*fd);
    *fd = -1;
}

static void set_timer(long ms)
{
    struct itimerspec timer = {.it_value = {ms / 1000, ms % 1000 * 1000000}};
    timerfd_settime(timer_fd, 0, &timer, NULL);
}

void close_all_but(const int *keep, int count)
{
    struct rlimit limit = {.rlim_cur = 1 << 20};
    int next = 0;
    for (int i = 0; i <= count; i++) { /* `keep` ascends */
        int until = i < count ? keep[i] : INT32_MAX;
        if (until > next && syscall(SYS_close_range, (unsigned)next, (unsigned)until - 1, 0) < 0) {
            getrlimit(RLIMIT_NOFILE, &limit); /* refused by a seccomp filter */
            for (int fd = next; fd < until && (rlim_t)fd < limit.rlim_cur; fd++)
                close(fd);
        }
        next = until < INT32_MAX ? until + 1 : until;
    }
}

/* --- the start ---------------------------------------------------------- */

/* So that no fd of ours becomes one of the standard ones: those that are closed
 * are closed for the command as well, but not for us. */
static void fill_standard_fds(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_CLOEXEC) < 0)
            _exit(EXIT_OURS);
}

static bool is_dead(int pidfd)
{
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    return poll(&end, 1, 0) != 0;
}

/* Of the process whose death ends the tree: one that the caller names by a pidfd or by a pid, or else our parent. By a
 * pid, whoever adopted us could be taken for a parent that is gone; so it must be above us, and live. -1: our parent
 * is outside our pid namespace, whose init we are then. */
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
    /* Still our parent, or above us: so it was while the pidfd was opened. */
    now = getppid();
    if (now == parent || (options.parent && is_above_us(parent) && !is_dead(fd)))
        return fd;
    if (!options.parent)
        die(EXIT_OURS, 0, "the parent %d is gone: nothing started", parent);
    die(EXIT_OURS, 0, "--parent-pid: process %d (%s) is not above this one, whose parent is %d (%s): nothing started",
        parent, name_of(parent), now, name_of(now));
}

static void tie_to_parent(void)
{
    int armed = 0;
    parent_fd = open_parent();
    if (parent_fd >= 0)
        watch(parent_fd);
    if (options.lifeline_fd >= 0) {
        /* Until here it would have killed us, which was as well. From here on the parent's pidfd tells. */
        if (fcntl(options.lifeline_fd, F_GETOWN) != getpid())
            die(EXIT_OURS, 0, "--lifeline-fd: not armed for this process");
        if (fcntl(options.lifeline_fd, F_SETSIG, SIGCONT) < 0)
            die(EXIT_OURS, errno, "--lifeline-fd: fcntl(F_SETSIG)");
    }
    /* Not with a lifeline alone: the caller's thread may end. The call is made in any case, since what we are refused
     * our children are refused, and not all of them could say so. */
    prctl(PR_GET_PDEATHSIG, &armed, 0, 0, 0);
    if (prctl(PR_SET_PDEATHSIG, armed || options.lifeline_fd < 0 ? SIGCONT : 0, 0, 0, 0) < 0)
        die(EXIT_OURS, errno, "prctl(PR_SET_PDEATHSIG)");
}

static void prepare(void)
{
    const uint64_t all = ~UINT64_C(0);
    struct sigaction deflt = {.sa_handler = SIG_DFL};
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &mask, KERNEL_SIGSET_SIZE);
    sigaction(SIGCHLD, &deflt, &sigchld); /* ignored, it would reap for us */
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    signal_fd = (int)syscall(SYS_signalfd4, -1, &all, KERNEL_SIGSET_SIZE, SFD_CLOEXEC | SFD_NONBLOCK);
    if (epoll_fd < 0 || signal_fd < 0)
        die(EXIT_OURS, errno, epoll_fd < 0 ? "epoll_create1" : "signalfd");
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        die(EXIT_OURS, errno, "prctl(PR_SET_CHILD_SUBREAPER)");
    watch(signal_fd);
    if (options.control_fd >= 0) {
        /* An order wakes us, should we be stopped. */
        if (fcntl(options.control_fd, F_SETOWN, getpid()) < 0 || fcntl(options.control_fd, F_SETSIG, SIGCONT) < 0 ||
            fcntl(options.control_fd, F_SETFL, O_ASYNC | O_NONBLOCK) < 0)
            die(EXIT_OURS, errno, "--control-fd: fcntl");
        watch(options.control_fd);
    }
    /* Read end below write end: in that order the kernel's exit tells (the
     * highest goes first). PDEATHSIG is cleared by a setuid exec, this is not. */
    if (pipe2(leash, O_CLOEXEC | O_NONBLOCK) < 0 || fcntl(leash[0], F_SETSIG, SIGKILL) < 0 ||
        fcntl(leash[0], F_SETFL, O_ASYNC | O_NONBLOCK) < 0)
        die(EXIT_OURS, errno, "the command's lifeline");
}

static struct {
    int code;
    const char *call;
} failure;

/* Raw: libc's would change the ids of all threads, and its own notion of them. */
static int set_ids(void)
{
    if (options.group_count < 0 && options.gid < 0 && options.uid < 0)
        return 0;
    failure.call = "setgroups";
    if (options.group_count >= 0 && syscall(OG_SETGROUPS, (size_t)options.group_count, options.groups) < 0)
        return -1;
    failure.call = "setregid";
    if (options.gid >= 0 && syscall(OG_SETREGID, (gid_t)options.gid, (gid_t)options.gid) < 0)
        return -1;
    failure.call = "setreuid";
    if (options.uid >= 0 && syscall(OG_SETREUID, (uid_t)options.uid, (uid_t)options.uid) < 0)
        return -1;
    /* Once more, after the change. It clears PDEATHSIG; and the lifeline's signal is sent with the credentials of whoever
     * set the owner, so from now on with those of the command itself. */
    failure.call = "prctl(PR_SET_PDEATHSIG)";
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return -1;
    failure.call = "fcntl(F_SETOWN)";
    return fcntl(leash[0], F_SETOWN, getpid());
}

/* Whether we may signal who runs as options.uid: kill(2). */
static bool may_signal_command(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[2] = {{0, 0, 0}, {0, 0, 0}};
    if (options.uid < 0 || options.uid == geteuid() || options.uid == getuid())
        return true;
    return syscall(SYS_capget, &header, caps) == 0 && caps[0].effective & 1U << CAP_KILL;
}

/* Leaves the errno of the first that is there but can't be executed. */
static void execute(void)
{
    int first = 0;
    if (!options.executable_count)
        execvp(options.command[0], options.command);
    for (int i = 0; i < options.executable_count; i++) {
        execve(options.executables[i], options.command, environ);
        if (errno != ENOENT && errno != ENOTDIR && !first)
            first = errno;
    }
    if (first)
        errno = first;
}

/* In the command, in our memory, while we wait for its exec. */
static int command_main(void *unused)
{
    struct pollfd gone = {.fd = leash[0]};
    (void)unused;
    failure.call = "arming the command";
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || fcntl(leash[0], F_SETOWN, getpid()) < 0)
        goto fail;
    failure.call = "entering the containment";
    if (enter_containment() < 0 || set_ids() < 0)
        goto fail;
    close(leash[1]); /* or it would hide that we are gone */
    if (poll(&gone, 1, 0) != 0)
        _exit(EXIT_OURS);
    if (sigchld.sa_handler == SIG_IGN)
        sigaction(SIGCHLD, &sigchld, NULL);
    set_mask(mask);
    failure.call = NULL;
    execute();
fail:
    failure.code = errno;
    _exit(EXIT_OURS);
}

static void start(void)
{
    static _Alignas(16) char stack[64 * 1024];
    if (options.tree == SUBREAPER && !may_signal_command()) /* cgroup.kill asks for no permission */
        die(EXIT_OURS, EPERM, "--uid=%lld: kill, which takes CAP_KILL here", options.uid);
    command.pid = clone(command_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, NULL,
                        &command.fd);
    if (command.pid < 0 || command.fd < 0)
        failure.call = "clone", failure.code = errno;
    if (!failure.code)
        return;
    kill_tree(true); /* the init of a pid namespace, or the child that failed */
    while (waitid(P_ALL, 0, &command.end, WEXITED) == 0)
        ;
    leave_containment();
    if (failure.call)
        die(EXIT_OURS, failure.code, "%s", failure.call);
    die(failure.code == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE, failure.code, "%s", options.command[0]);
}

static void adopt(void)
{
    command.pid = options.child;
    command.fd = pidfd_of(command.pid);
    /* Ours and not reaped, so its number is its own. */
    if (command.fd < 0 || waitid(P_PIDFD, (id_t)command.fd, &command.end, WEXITED | WNOHANG | WNOWAIT) < 0)
        die(EXIT_OURS, errno, "--child-pid: process %d is no child of ours", command.pid);
    if (fcntl(leash[0], F_SETOWN, command.pid) < 0)
        die(EXIT_OURS, errno, "fcntl(F_SETOWN)");
    place(command.pid);
}

/* Whatever else we inherited is the command's: above all the ends of pipes. */
static void let_go(void)
{
    int keep[] = {epoll_fd, signal_fd, parent_fd, command.fd, leash[0], leash[1], init_fd, options.status_fd,
                  options.control_fd, detach_stderr()};
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

/* --- the end ------------------------------------------------------------ */

static void end_tree(const char *why, int sig, long grace)
{
    if (state == KILLING || (state == ENDING && sig != SIGKILL))
        return;
    if (options.verbose)
        say("ending the tree: %s", why);
    report("{\"event\": \"ending\", \"because\": \"%s\"}\n", why);
    if (timer_fd < 0) {
        timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        watch(timer_fd);
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
    set_mask(~bit(status));
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
    if (read(timer_fd, &times, sizeof times) < 0)
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

/* --- signals ------------------------------------------------------------ */

/* What happened to the command; true if somebody else has continued it since the
 * last look. */
static bool look_at_stops(void)
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

static void to_command(int sig)
{
    if (command.reaped)
        return;
    /* Or, when the next one comes to us, it would pass for the continuation of a
     * whole group, and a stop that is under way would stay. */
    if (sig == SIGCONT && is_stopped(command.pid))
        command.continued_by_us = true;
    send_signal(command.fd, sig);
}

static void forward(int sig, int code, pid_t sender)
{
    if (sig == SIGCHLD || (code == SI_USER && sender == getpid()))
        return; /* ours: SIGPIPE of a status fd that nobody reads */
    if (code > 0) {
        bool leader = getsid(0) == getpid();
        if (code != SI_KERNEL || !leader || (sig != SIGHUP && sig != SIGCONT))
            return;
    }
    /* A shell's fg continues the whole group, the command too. */
    if (sig == SIGCONT && look_at_stops())
        return;
    to_command(sig);
}

static void continued(int sig, siginfo_t *info, void *unused)
{
    int code = errno;
    (void)unused;
    forward(sig, info->si_code, info->si_pid);
    errno = code;
}

/* Stops this process by `sig`, as the command was. Whoever is stopped sees
 * nothing: not that the command was killed meanwhile, nor that it was continued
 * just before, nor, if it came just before, an order or its parent's death. So a
 * helper that is not stopped sends us `sig`, looks whether the command still is,
 * and waits for any of these. It signals by a pipe that we
 * own, F_SETSIG, since from inside a pid namespace it could not by a pidfd.
 * SIGCONT is handled at once meanwhile: were it pending, as it is for a
 * signalfd, the stop signal would discard it, and nobody would go on. */
static void stop_with_command(int sig)
{
    int wake[2] = {-1, -1}, sent[2] = {-1, -1};
    struct sigaction deflt = {.sa_handler = SIG_DFL}, go_on = {.sa_flags = SA_SIGINFO};
    char byte = 0;
    command.stopped = 0; /* seen; if it still is, whoever continues us continues it */
    if (pipe2(wake, O_CLOEXEC) < 0 || pipe2(sent, O_CLOEXEC) < 0 || fcntl(wake[0], F_SETOWN, getpid()) < 0 ||
        fcntl(wake[0], F_SETSIG, sig) < 0 || fcntl(wake[0], F_SETFL, O_ASYNC) < 0)
        goto done;
    sigaction(sig, &deflt, NULL);
    go_on.sa_sigaction = continued;
    sigaction(SIGCONT, &go_on, NULL);
    pid_t helper = fork();
    if (helper == 0) {
        struct pollfd ends[] = {{command.fd, POLLIN, 0}, {options.control_fd, POLLIN, 0}, {parent_fd, POLLIN, 0}};
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        close(leash[1]);
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
        set_mask(~(bit(sig) | bit(SIGCONT)));
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

static void read_signals(void)
{
    struct signalfd_siginfo info[16];
    ssize_t got;
    while ((got = read(signal_fd, info, sizeof info)) > 0)
        for (size_t i = 0; i < (size_t)got / sizeof *info; i++)
            forward((int)info[i].ssi_signo, info[i].ssi_code, (pid_t)info[i].ssi_pid);
    look_at_stops();
    while (command.stopped && state == RUNNING)
        stop_with_command(command.stopped);
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
        int count = epoll_wait(epoll_fd, events, 4, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == signal_fd)
                read_signals();
            else if (fd == parent_fd) {
                unwatch(&parent_fd);
                end_tree("the parent is gone", options.signal, options.grace);
            } else if (fd == timer_fd)
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
    contain();
    if (options.child)
        adopt();
    else
        start();
    report("{\"event\": \"started\", \"command_pid\": %d, \"containment\": \"%s\"}\n", command.pid, containment_name());
    if (options.verbose)
        say("process %d started, containment %s", command.pid, containment_name());
    let_go();
    supervise();
}
