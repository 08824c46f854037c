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

/* Calls `act` for each process below `parent`, before those below that one. */
static void walk(pid_t parent, int parent_fd, void (*act)(pid_t pid, int pidfd, int sig), int sig, bool unmarked)
{
    size_t first = pids.count;
    list_children(parent);
    for (size_t i = first, last = pids.count; i < last; i++) {
        pid_t pid = pids.pid[i];
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
    pids.count = first;
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
