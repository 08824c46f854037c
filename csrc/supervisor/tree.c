/* Everything below the supervisor: how it is found and how it is signalled.
 *
 * The problem. One setsid() leaves a process group, and one double fork leaves a parent. What is read about processes
 * is old when it is used: pids are recycled, and a tree forks while it is being killed.
 *
 * How the tree is found. The supervisor is the child subreaper: a process below it that loses its parent becomes its
 * child. So the lists of children in /proc lead from the supervisor down to the whole tree, and no process can leave
 * it.
 *
 * How strangers are spared. A pid is turned into a pidfd first. Then, while that process exists, the supervisor
 * verifies that it is a child of the process in whose list it was: for its own children by waitid(), for others by PPid
 * in /proc, with the pidfd of their parent still valid afterwards. Signals go to the pidfd.
 *
 * How nobody is missed. A process gets SIGKILL first, and its children are listed then. A process to which SIGKILL has
 * been sent cannot fork any more (copy_process() refuses while a signal is pending), so that list is final. Children
 * that lose their parent meanwhile become the supervisor's. Every such change is the death of a process whose SIGCHLD
 * reaches the supervisor later. It then lists its own children again, until waitid() says ECHILD. By this it also finds
 * those that the kernel leaves out of a list when a sibling goes while the list is read (proc(5)).
 *
 * What it costs. The supervisor's own children get SIGKILL once and are marked by pid. The mark is safe, because their
 * pids cannot be recycled before the supervisor reaps them. So n deaths cost a look at a bit for each child that is
 * left, and not n*n/2 signals.
 *
 * It needs one fd for each level of the tree, and contain.c, whose cgroup is killed with the tree. */

#include "supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PID_LIMIT (4 * 1024 * 1024) /* the kernel's own, on 64 bits */
#define NAMED_AT_MOST 20

static unsigned char *marked; /* a bit for each pid */

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

/* Calls `act` for each process below `parent`, and for a process before those below it. If `parent_fd` is -1, `parent`
 * is the supervisor. With `unmarked`, it skips those of the supervisor's children that are marked, and marks the
 * others. */
static void walk(pid_t parent, int parent_fd, void (*act)(pid_t pid, int pidfd, int sig), int sig, bool unmarked)
{
    size_t first = pids.count;
    list_children(parent);
    for (size_t i = first, last = pids.count; i < last; i++) {
        pid_t pid = pids.pid[i];
        bool mine = parent_fd < 0;
        if (mine && unmarked && is_marked(pid))
            continue;
        int pidfd = pidfd_of(pid); /* if no fd is left, this process is found when those above it are gone */
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
    pids.count = first;
}

/* walk() takes one fd for each level of the tree. The command is not affected: it started before, with the caller's
 * limit. */
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
        send_signal(pidfd, sig); /* no fd is left to hold it by, so it is signalled at once */
}

/* All processes are found before the first gets the signal. If a process ended at once, its children would not be in
 * its list any more, and the walk would miss them. */
void signal_tree(int sig, bool go_on)
{
    raise_fd_limit();
    walk(getpid(), -1, hold, sig, false);
    for (size_t i = 0; i < held_count; i++) {
        send_signal(held[i], sig);
        if (go_on)
            send_signal(held[i], SIGCONT); /* a stopped process cannot act on the signal */
        close(held[i]);
    }
    held_count = 0;
}

/* Ends the supervisor if the process that executed it has other children. They do not belong to the tree, and later
 * they could not be told from children of the tree that the supervisor has adopted. */
void refuse_other_children(void)
{
    siginfo_t info;
    if (options.child) {
        list_children(getpid());
        if (pids.count > 1)
            die(EXIT_OURS, 0, "this process has other children than --child-pid");
        pids.count = 0;
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

/* Returns how many processes live on. stderr and the status name the first of them. */
int name_survivors(void)
{
    walk(getpid(), -1, name_one, 0, false);
    report("{\"event\": \"survivors\", \"count\": %d, \"pids\": [%s]}\n", survivors, list);
    return survivors;
}

/* Sends SIGKILL to each process that is not marked as having got it; with `again`, to all. If there is no memory for
 * the marks, every call sends it to all. */
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
