/* The command: how it is started, or adopted if it is a child already.
 *
 * Before the command executes its program, it is armed to die with the supervisor: by PDEATHSIG, and by a lifeline,
 * which outlasts the exec of a setuid program. If a step before the exec fails, nothing is left running, and the
 * supervisor ends with the name of the call.
 *
 * It needs what prepare() and contain() have made. All signals are blocked. */

#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

struct command command = {.fd = -1};

/* Written by the command, in the supervisor's memory. */
static struct {
    int code;         /* errno; 0: executed */
    const char *call; /* NULL: the exec */
} failure;

/* These are the raw calls because libc's would change the ids of all threads, and libc's own record of them. The
 * supervisor shares that record. */
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
    /* The command is armed once more after the change of ids. The change clears PDEATHSIG (prctl(2)). And the kernel
     * sends a lifeline's signal with the credentials of the process that set the owner, so from now on with the
     * command's own. */
    failure.call = "prctl(PR_SET_PDEATHSIG)";
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return -1;
    failure.call = "fcntl(F_SETOWN)";
    return fcntl(command.lifeline[0], F_SETOWN, getpid());
}

/* Whether the supervisor may signal a process that runs as options.uid (kill(2)). */
static bool may_signal_command(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[2] = {{0, 0, 0}, {0, 0, 0}};
    if (options.uid < 0 || options.uid == geteuid() || options.uid == getuid())
        return true;
    return syscall(SYS_capget, &header, caps) == 0 && caps[0].effective & 1U << CAP_KILL;
}

/* Returns only if it fails. errno is then that of the first file that is there and cannot be executed. */
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

/* The command until its exec. It runs in the supervisor's memory while the supervisor waits (CLONE_VM, CLONE_VFORK). */
static int command_main(void *unused)
{
    struct pollfd gone = {.fd = command.lifeline[0]};
    (void)unused;
    failure.call = "arming the command";
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || fcntl(command.lifeline[0], F_SETOWN, getpid()) < 0)
        goto fail;
    failure.call = "entering the containment";
    if (enter_containment() < 0 || set_ids() < 0)
        goto fail;
    close(command.lifeline[1]); /* the command's copy would hide that the supervisor is gone */
    if (poll(&gone, 1, 0) != 0)
        _exit(EXIT_OURS); /* the supervisor was gone before the lifeline was armed */
    if (command.sigchld.sa_handler == SIG_IGN)
        sigaction(SIGCHLD, &command.sigchld, NULL);
    set_mask(command.mask);
    failure.call = NULL;
    execute();
fail:
    failure.code = errno;
    _exit(EXIT_OURS);
}

void start_command(void)
{
    static _Alignas(16) char stack[64 * 1024];
    if (options.tree == SUBREAPER && !may_signal_command()) /* cgroup.kill needs no permission */
        die(EXIT_OURS, EPERM, "--uid=%lld: kill, which takes CAP_KILL here", options.uid);
    command.pid = clone(command_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, NULL,
                        &command.fd);
    if (command.pid < 0 || command.fd < 0)
        failure.call = "clone", failure.code = errno;
    if (!failure.code)
        return;
    kill_tree(true); /* what is left: the init of a pid namespace, or the child that failed */
    while (waitid(P_ALL, 0, &command.end, WEXITED) == 0)
        ;
    leave_containment();
    if (failure.call)
        die(EXIT_OURS, failure.code, "%s", failure.call);
    die(failure.code == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE, failure.code, "%s", options.command[0]);
}

void adopt_command(void)
{
    command.pid = options.child;
    command.fd = pidfd_of(command.pid);
    /* It is our child and not reaped, so its pid is not another's. */
    if (command.fd < 0 || waitid(P_PIDFD, (id_t)command.fd, &command.end, WEXITED | WNOHANG | WNOWAIT) < 0)
        die(EXIT_OURS, errno, "--child-pid: process %d is no child of ours", command.pid);
    if (fcntl(command.lifeline[0], F_SETOWN, command.pid) < 0)
        die(EXIT_OURS, errno, "fcntl(F_SETOWN)");
    place(command.pid);
}
