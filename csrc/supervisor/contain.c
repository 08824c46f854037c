/* What holds the tree together, besides the subreaper: a cgroup, or a pid namespace.
 *
 * The containment that the caller asked for is made before the command starts, or nothing is started. It is never
 * silently a weaker one. The cgroup is removed at the end, unless the supervisor is killed.
 *
 * A cgroup needs a cgroup v2 that is delegated to us, and Linux 5.14. A pid namespace needs CAP_SYS_ADMIN or user
 * namespaces. */

#include "supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char cgroup[4096]; /* the directory of the command's cgroup, if we have made it */
static bool has_cgroup;
static int procs_fd = -1;
int init_fd = -1;
static bool own_mounts;

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    int code = errno;
    close(fd);
    errno = code;
    return done;
}

/* Finds the path of the command's cgroup, below our own. With v1 beside it, v2 is not mounted at /sys/fs/cgroup. */
static bool find_own_cgroup(void)
{
    static char line[2 * 4096];
    char mount[4096] = "", own[4096] = "", type[32];
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file && fgets(line, sizeof line, file)) {
        char *rest = strstr(line, " - ");
        /* The fields are those of proc(5). The 4th must be "/": in a mount of a part of the hierarchy our cgroup has
         * another path. The 5th is the mount point. */
        if (rest && sscanf(rest, " - %31s", type) == 1 && strcmp(type, "cgroup2") == 0 &&
            sscanf(line, "%*d %*d %*s / %4095s", mount) == 1)
            break;
    }
    if (file)
        fclose(file);
    file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "0::%4095[^\n]", own) == 1)
            break;
    if (file)
        fclose(file);
    return *mount && *own && strncmp(own, "/..", 3) != 0 &&
           snprintf(cgroup, sizeof cgroup, "%s%s/orphanguard-%d", mount, strcmp(own, "/") ? own : "", getpid()) <
               (int)sizeof cgroup;
}

static void make_cgroup(void)
{
    char path[sizeof cgroup + 32];
    if (!find_own_cgroup())
        die(EXIT_OURS, 0, "--tree=cgroup: no cgroup v2 is mounted here that has our own cgroup");
    /* A directory of this name was left by a supervisor that had our pid and was killed. */
    if (mkdir(cgroup, 0755) < 0 && (errno != EEXIST || rmdir(cgroup) < 0 || mkdir(cgroup, 0755) < 0))
        die(EXIT_OURS, errno, "--tree=cgroup: our cgroup is not delegated to us: mkdir(%s)", cgroup);
    has_cgroup = true; /* not before: what another process has made is not ours to remove */
    snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
    procs_fd = open(path, O_WRONLY | O_CLOEXEC);
    int code = errno;
    snprintf(path, sizeof path, "%s/cgroup.kill", cgroup);
    if (procs_fd >= 0 && access(path, W_OK) == 0)
        return;
    rmdir(cgroup);
    if (procs_fd < 0)
        die(EXIT_OURS, code, "--tree=cgroup: open(cgroup.procs)");
    die(EXIT_OURS, 0, "--tree=cgroup: this kernel has no cgroup.kill (Linux 5.14)");
}

/* The init of the pid namespace. It reaps, and it ends when it is told to and has no child left. It obeys only a sender
 * that is outside the namespace, and so has pid 0 in here: the supervisor. */
static _Noreturn void be_init(void)
{
    const unsigned char all[8] = {255, 255, 255, 255, 255, 255, 255, 255};
    bool told = false;
    for (;;) {
        siginfo_t info;
        int sig = (int)syscall(SYS_rt_sigtimedwait, all, &info, NULL, sizeof all);
        told |= sig == SIGPWR && info.si_code == SI_USER && info.si_pid == 0;
        do
            info.si_pid = 0;
        while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == 0 && info.si_pid);
        if (told && waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
            _exit(0);
    }
}

/* The command has ended, so the init may end together with the last process that the command has left. */
void release_init(void)
{
    if (init_fd >= 0)
        send_signal(init_fd, SIGPWR);
    close(init_fd);
    init_fd = -1;
}

/* From here on our children are in a new pid namespace. The first of them is its init: when the init dies, the kernel
 * kills all others. The init itself has PDEATHSIG, which reaches it because the supervisor is outside the namespace. So
 * nobody has to be alive to end the tree. The command is our second child and not the init, since signals have other
 * defaults for an init. */
static void make_pid_namespace(void)
{
    char map[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare(CLONE_NEWPID) < 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
            die(EXIT_OURS, errno, "--tree=pidns: unshare(CLONE_NEWUSER | CLONE_NEWPID)");
        snprintf(map, sizeof map, "%u %u 1", uid, uid);
        bool done = write_file("/proc/self/uid_map", map);
        snprintf(map, sizeof map, "%u %u 1", gid, gid);
        if (!done || !write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/gid_map", map))
            die(EXIT_OURS, errno, "--tree=pidns: the maps of a user namespace");
    }
    struct pollfd us = {.fd = pidfd_of(getpid()), .events = POLLIN};
    pid_t init = us.fd < 0 ? -1 : fork();
    if (init < 0)
        die(EXIT_OURS, errno, "--tree=pidns: fork");
    if (init == 0) {
        siginfo_t info;
        if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
            _exit(EXIT_OURS);
        /* The supervisor may be exiting already, and before Linux 6.18 that exit may miss the PDEATHSIG; waitid() takes
         * the lock that orders the two. After that, poll() sees an exit that has missed it. getppid() could not: it is
         * 0 in here. The supervisor has one thread, so its pidfd tells as early as the signal would. */
        (void)waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
        if (poll(&us, 1, 0) != 0)
            _exit(EXIT_OURS);
        close_all_but(NULL, 0);
        be_init();
    }
    close(us.fd);
    init_fd = pidfd_of(init);
    own_mounts = true;
}

void contain(void)
{
    output.cleanup = leave_containment;
    if (!proc_is_ours())
        die(EXIT_OURS, 0, "--tree=%s: no /proc of this pid namespace, and it takes that to find what to end",
            containment_name());
    if (options.tree == CGROUP)
        make_cgroup();
    else if (options.tree == PIDNS)
        make_pid_namespace();
}

int enter_containment(void)
{
    if (procs_fd >= 0 && write(procs_fd, "0", 1) != 1)
        return -1;
    /* In the /proc from outside, the command would not find itself. Not everybody may mount a new one (containers hide
     * parts of /proc). Without it the command sees the pids of outside, and the containment is the same. */
    if (own_mounts && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) == 0)
        (void)mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    return 0;
}

/* Moves a process that runs already into the cgroup. */
void place(pid_t pid)
{
    char text[16];
    snprintf(text, sizeof text, "%d", pid);
    if (procs_fd >= 0 && write(procs_fd, text, strlen(text)) < 0)
        die(EXIT_OURS, errno, "--tree=cgroup: write(cgroup.procs)");
}

void kill_cgroup(void)
{
    char path[sizeof cgroup + 32];
    if (!has_cgroup)
        return;
    snprintf(path, sizeof path, "%s/cgroup.kill", cgroup);
    write_file(path, "1");
}

static void remove_below(const char *path)
{
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
            char below[sizeof cgroup + 300];
            if (snprintf(below, sizeof below, "%s/%s", path, entry->d_name) < (int)sizeof below)
                remove_below(below);
        }
    if (directory)
        closedir(directory);
    rmdir(path);
}

void leave_containment(void)
{
    if (!has_cgroup)
        return;
    remove_below(cgroup);
    if (access(cgroup, F_OK) == 0)
        say("%s could not be removed", cgroup);
}
