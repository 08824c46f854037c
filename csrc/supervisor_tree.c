/* Everything below: how it is found, signalled and kept together.
 *
 * The problem. A process group is left by one setsid(), a parent by one double
 * fork, and whatever is read of processes is old when it is used: pids are
 * recycled, and a tree forks while it is being killed.
 *
 * Finding. We are the child subreaper: who loses its parent below us becomes
 * our child, so by the children's lists of /proc the whole tree can be walked
 * from us down, and nobody in it can leave.
 *
 * Not hitting a stranger. A pid is turned into a pidfd first; then it is
 * verified, while that process exists, that it is a child of the process that
 * we came from: of ours by waitid(), of another's by its PPid in /proc, with
 * the pidfd of that other still valid afterwards. Signals go to the pidfd.
 *
 * Missing nobody. SIGKILL first, list the children then: a process to which
 * SIGKILL has been sent can't fork any more (copy_process() refuses with a
 * signal pending), so that list is final. Who is orphaned meanwhile comes to
 * us; and every such change is the death of a process whose SIGCHLD reaches us
 * later, whereupon our own children are listed again: until waitid() says
 * ECHILD. The same holds for entries that the kernel leaves out of a list when
 * a sibling goes while it is read (proc(5)).
 *
 * Our own children are signalled once. Their pids can't be recycled before we
 * reap them, which makes marking them by pid safe, and n deaths cost n looks
 * at a bit instead of n * n / 2 signals. */

#include "supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

#define PID_LIMIT (4 * 1024 * 1024) /* the kernel's own, on 64 bits */
#define NAMED_AT_MOST 20

static unsigned char *marked; /* a bit for each pid */
static pid_t *pids;           /* a stack: the children of each process on the way down */
static size_t pid_count, pid_room;

int pidfd_of(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

int send_signal(int pidfd, int sig)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}

/* --- walking ------------------------------------------------------------ */

static void push(pid_t pid)
{
    if (pid_count == pid_room) {
        size_t room = pid_room ? 2 * pid_room : 1024;
        pid_t *grown = realloc(pids, room * sizeof *grown);
        if (!grown)
            return; /* found when those above it are gone */
        pids = grown;
        pid_room = room;
    }
    pids[pid_count++] = pid;
}

/* Pushes the pids in a children file; false if there is no such file. */
static bool push_children(const char *path)
{
    char buffer[4096];
    ssize_t got;
    pid_t pid = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while ((got = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < got; i++)
            if (buffer[i] >= '0' && buffer[i] <= '9')
                pid = 10 * pid + (buffer[i] - '0');
            else if (pid) {
                push(pid);
                pid = 0;
            }
    close(fd);
    return true;
}

/* The state and the parent of a process, and its name. */
static bool look_up(pid_t pid, char *state, pid_t *parent, char name[16])
{
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return false;
    text[got] = 0;
    /* The name may hold anything, parentheses too: it ends at the last one. */
    char *begin = strchr(text, '('), *end = strrchr(text, ')');
    if (!begin || !end || sscanf(end + 1, " %c %d", state, parent) != 2)
        return false;
    size_t length = 0;
    for (char *at = begin + 1; at < end && length < 15; at++)
        name[length++] = *at > ' ' && *at <= '~' ? *at : '?';
    name[length] = 0;
    return true;
}

bool is_stopped(pid_t pid)
{
    char process_state, name[16];
    pid_t parent;
    return look_up(pid, &process_state, &parent, name) && (process_state == 'T' || process_state == 't');
}

/* A kernel without CONFIG_PROC_CHILDREN: slow, and right. */
static void search_children(pid_t parent)
{
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && (entry = readdir(proc));) {
        char state, name[16];
        pid_t pid = atoi(entry->d_name), its_parent;
        if (pid > 0 && look_up(pid, &state, &its_parent, name) && its_parent == parent)
            push(pid);
    }
    if (proc)
        closedir(proc);
}

static void list_children(pid_t parent)
{
    char path[300];
    if (parent == getpid()) {
        snprintf(path, sizeof path, "/proc/self/task/%d/children", parent);
        if (!push_children(path))
            search_children(parent);
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/task", parent);
    DIR *tasks = opendir(path);
    for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/children", parent, entry->d_name);
        if (!push_children(path) && access("/proc/thread-self/children", F_OK) < 0) {
            search_children(parent);
            break;
        }
    }
    if (tasks)
        closedir(tasks);
}

static bool is_my_child(int pidfd)
{
    siginfo_t info;
    return waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static bool exists(int pidfd)
{
    return send_signal(pidfd, 0) == 0 || errno == EPERM;
}

/* Whether the process of `pidfd` is a child of that of `parent_fd`. A pid stays
 * its process's own as long as that exists, a zombie included: so whoever
 * exists afterwards existed when PPid was read. The child is looked at again
 * by the signal itself. */
static bool is_child_of(pid_t pid, pid_t parent, int parent_fd)
{
    char state, name[16];
    pid_t its_parent;
    return look_up(pid, &state, &its_parent, name) && its_parent == parent && exists(parent_fd);
}

static bool is_marked(pid_t pid)
{
    return marked && pid < PID_LIMIT && marked[pid / 8] & 1 << pid % 8;
}

static void mark(pid_t pid, bool on)
{
    unsigned char bit = (unsigned char)(1 << pid % 8);
    if (!marked || pid >= PID_LIMIT)
        return;
    marked[pid / 8] = on ? marked[pid / 8] | bit : marked[pid / 8] & (unsigned char)~bit;
}

void reaped(pid_t pid)
{
    mark(pid, false);
}

/* Calls `act` for each process below `parent`, before those below that one. */
static void walk(pid_t parent, int parent_fd, void (*act)(pid_t pid, int pidfd, int sig), int sig, bool unmarked)
{
    size_t first = pid_count;
    list_children(parent);
    for (size_t i = first, last = pid_count; i < last; i++) {
        pid_t pid = pids[i];
        bool mine = parent_fd < 0;
        if (mine && unmarked && is_marked(pid))
            continue;
        int pidfd = pidfd_of(pid); /* no fd left: found when those above it are gone */
        if (pidfd < 0)
            continue;
        if (mine ? is_my_child(pidfd) : is_child_of(pid, parent, parent_fd)) {
            act(pid, pidfd, sig);
            if (mine && unmarked)
                mark(pid, true);
            walk(pid, pidfd, act, sig, unmarked);
        }
        close(pidfd);
    }
    pid_count = first;
}

/* One fd for each level of the tree; the command has started, with the limit
 * that it shall have. */
static void raise_fd_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void signal_one(pid_t pid, int pidfd, int sig)
{
    (void)pid;
    send_signal(pidfd, sig);
}

void signal_tree(int sig)
{
    raise_fd_limit();
    walk(getpid(), -1, signal_one, sig, false);
}

static int survivors;
static size_t listed;
static char list[NAMED_AT_MOST * 12 + 1];

static void name_one(pid_t pid, int pidfd, int unused)
{
    char state, name[16];
    pid_t parent;
    (void)unused;
    if (!look_up(pid, &state, &parent, name) || state == 'Z' || state == 'X')
        return;
    if (survivors++ >= NAMED_AT_MOST)
        return;
    say("process %d (%s) outlived SIGKILL: %s", pid, name,
        send_signal(pidfd, 0) == 0 ? "it has not ended yet" : "it is not ours to kill");
    listed += (size_t)snprintf(list + listed, sizeof list - listed, "%s%d", listed ? ", " : "", pid);
}

/* How many live on; the first of them in the status as well. */
int name_survivors(void)
{
    walk(getpid(), -1, name_one, 0, false);
    report("{\"event\": \"survivors\", \"count\": %d, \"pids\": [%s]}\n", survivors, list);
    return survivors;
}

/* --- containment -------------------------------------------------------- */

static char cgroup[4096]; /* the directory that is the command's */
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

static bool write_cgroup(const char *name, const char *text)
{
    char path[sizeof cgroup + 32];
    snprintf(path, sizeof path, "%s/%s", cgroup, name);
    return write_file(path, text);
}

/* Where cgroup v2 is mounted: with v1 beside it, not at /sys/fs/cgroup. */
static bool find_own_cgroup(void)
{
    static char line[2 * 4096];
    char mount[4096] = "", own[4096] = "", type[32];
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file && fgets(line, sizeof line, file)) {
        char *rest = strstr(line, " - ");
        /* The fields are documented in proc(5): the 5th is the mount point. A
         * mount of a part of the hierarchy (root not "/") has other paths. */
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
    /* Left behind by a supervisor of the same pid that was killed. */
    if (mkdir(cgroup, 0755) < 0 && (errno != EEXIST || rmdir(cgroup) < 0 || mkdir(cgroup, 0755) < 0))
        die(EXIT_OURS, errno, "--tree=cgroup: our cgroup is not delegated to us: mkdir(%s)", cgroup);
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

/* The init of the pid namespace: reaps, and ends when it is told to and has no
 * child left. Told by us: whoever sends from outside has pid 0 in here. */
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

/* The command has ended: so may the init, with the last of what it has left. */
void release_init(void)
{
    if (init_fd >= 0)
        send_signal(init_fd, SIGPWR);
    close(init_fd);
    init_fd = -1;
}

/* Our next children are in a pid namespace, the first of them its init: when
 * that dies the kernel kills all others. PDEATHSIG reaches it, since we are
 * outside, so nobody has to be alive to end the tree. The command is not the
 * init, for which signals have other defaults, but our own second child. */
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
        /* Before Linux 6.18 an exit that is under way may not see it; waitid()
         * takes the lock that orders the two. getppid() is 0 in here; but we
         * are single-threaded, so our pidfd tells as early as the signal. */
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

/* Not that of another pid namespace either, where our numbers are somebody
 * else's. */
static bool proc_is_ours(void)
{
    char self[16];
    ssize_t length = readlink("/proc/self", self, sizeof self - 1);
    if (length < 0)
        return false;
    self[length] = 0;
    return atoi(self) == getpid();
}

/* Children of the program that has executed us are not the command's, and could
 * not be told from them later on. */
static void refuse_other_children(void)
{
    siginfo_t info;
    if (options.child) {
        list_children(getpid());
        if (pid_count > 1)
            die(EXIT_OURS, 0, "this process has other children than --child-pid");
        pid_count = 0;
    } else if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
        die(EXIT_OURS, 0, "this process has children already, which are not the command's; start it as one of its own");
}

void contain(void)
{
    refuse_other_children();
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
    /* Without a /proc of its own the command would not find itself there. Not
     * everybody may mount one (containers hide parts of it): then the pids that
     * it sees are those of outside, and the containment is the same. */
    if (own_mounts && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) == 0)
        (void)mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    return 0;
}

/* The same for a process that runs already. */
void place(pid_t pid)
{
    char text[16];
    snprintf(text, sizeof text, "%d", pid);
    if (procs_fd >= 0 && write(procs_fd, text, strlen(text)) < 0)
        die(EXIT_OURS, errno, "--tree=cgroup: write(cgroup.procs)");
}

/* SIGKILL for all that has not got it; `again`: for all. */
void kill_tree(bool again)
{
    raise_fd_limit();
    if (!marked) {
        void *map = mmap(NULL, PID_LIMIT / 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        marked = map == MAP_FAILED ? NULL : map;
        again = true;
    } else if (again)
        memset(marked, 0, PID_LIMIT / 8);
    if (again && *cgroup)
        write_cgroup("cgroup.kill", "1");
    walk(getpid(), -1, signal_one, SIGKILL, true);
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
    if (!*cgroup)
        return;
    remove_below(cgroup);
    if (access(cgroup, F_OK) == 0)
        say("%s could not be removed", cgroup);
}
