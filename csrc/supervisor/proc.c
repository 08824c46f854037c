/* What /proc says about processes: their state, their name, their parent, their children.
 *
 * Whatever is read of a process by its pid is old when it is used: that process may be gone, and its pid may be
 * another's. Only is_my_child(), is_child_of() and is_above_us() exclude this, by pidfds. What the others return is
 * only a hint, unless the caller knows that the process is not reaped yet. A list of children may lack some (see
 * tree.c).
 *
 * It needs the /proc of the supervisor's own pid namespace. */

#include "supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

struct pids pids;

/* In the /proc of another pid namespace the same numbers are other processes. */
bool proc_is_ours(void)
{
    char self[16];
    ssize_t length = readlink("/proc/self", self, sizeof self - 1);
    if (length < 0)
        return false;
    self[length] = 0;
    return atoi(self) == getpid();
}

static void push(pid_t pid)
{
    if (pids.count == pids.room) {
        size_t room = pids.room ? 2 * pids.room : 1024;
        pid_t *grown = realloc(pids.pid, room * sizeof *grown);
        if (!grown)
            return; /* the supervisor finds this process when the processes above it are gone */
        pids.pid = grown;
        pids.room = room;
    }
    pids.pid[pids.count++] = pid;
}

/* Pushes the pids in a file "children" of /proc; false if there is no such file. */
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

bool look_up(pid_t pid, char *state, pid_t *parent, char name[16])
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
    /* The name may hold any byte, parentheses too, so it ends at the last parenthesis. */
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

/* For messages, which may take two names. */
const char *name_of(pid_t pid)
{
    static char names[2][16];
    static int next;
    char state, *name = names[next++ % 2];
    pid_t parent;
    return look_up(pid, &state, &parent, name) ? name : "?";
}

/* For a kernel without CONFIG_PROC_CHILDREN. It reads every process there is: slow, and right. */
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

void list_children(pid_t parent)
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

bool is_my_child(int pidfd)
{
    siginfo_t info;
    return waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static bool exists(int pidfd)
{
    return send_signal(pidfd, 0) == 0 || errno == EPERM;
}

/* Whether `pid` is a child of `parent`, whose pidfd is `parent_fd`. While a process exists, even as a zombie, no other
 * process gets its pid. So if the parent exists after PPid was read, PPid meant this parent. The child may have gone
 * before, and its pid may be another's; then the signal, which goes to the child's pidfd, finds nobody. */
bool is_child_of(pid_t pid, pid_t parent, int parent_fd)
{
    char state, name[16];
    pid_t its_parent;
    return look_up(pid, &state, &its_parent, name) && its_parent == parent && exists(parent_fd);
}

/* Whether the process that has the pid `wanted` now is above this one. Each step up is verified as a step down is. If
 * both processes exist after the child has named its parent, the pidfds are those of a child and its parent. */
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
