/* Everything below: how it is found and signalled.
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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

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

/* Whether we descend from the process that has the pid `wanted` now. Each step up is verified as each step down is: who
 * lives on after its child has named it is that child's parent. */
bool is_above_us(pid_t wanted)
{
    pid_t pid = getpid();
    int fd = pidfd_of(pid);
    while (fd >= 0 && pid != wanted) {
        char state, name[16];
        pid_t parent;
        int parent_fd = look_up(pid, &state, &parent, name) && parent > 0 ? pidfd_of(parent) : -1;
        if (parent_fd >= 0 && !(is_child_of(pid, parent, parent_fd) && exists(fd))) {
            close(parent_fd);
            parent_fd = -1;
        }
        close(fd);
        pid = parent;
        fd = parent_fd;
    }
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* For messages. */
const char *name_of(pid_t pid)
{
    static char names[2][16];
    static int next;
    char state, *name = names[next++ % 2];
    pid_t parent;
    return look_up(pid, &state, &parent, name) ? name : "?";
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

static int *held;
static size_t held_count, held_room;

static void hold(pid_t pid, int pidfd, int sig)
{
    (void)pid;
    if (held_count == held_room) {
        size_t room = held_room ? 2 * held_room : 64;
        int *grown = realloc(held, room * sizeof *grown);
        if (grown) {
            held = grown;
            held_room = room;
        }
    }
    int copy = held_count < held_room ? fcntl(pidfd, F_DUPFD_CLOEXEC, 0) : -1;
    if (copy >= 0)
        held[held_count++] = copy;
    else
        send_signal(pidfd, sig); /* no fd left */
}

/* All are found before the first is told: the children of one that ends at once
 * would be missed, since they are not its any more. */
void signal_tree(int sig, bool go_on)
{
    raise_fd_limit();
    walk(getpid(), -1, hold, sig, false);
    for (size_t i = 0; i < held_count; i++) {
        send_signal(held[i], sig);
        if (go_on)
            send_signal(held[i], SIGCONT); /* who is stopped can't act on it */
        close(held[i]);
    }
    held_count = 0;
}

/* Children of the program that has executed us are not the command's, and could
 * not be told from them later on. */
void refuse_other_children(void)
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
    if (again)
        kill_cgroup();
    walk(getpid(), -1, signal_one, SIGKILL, true);
}
