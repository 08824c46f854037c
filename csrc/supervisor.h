/* Shared by the files of orphanguard-run, the supervisor:
 *
 *   supervisor.c          starts the command, waits, forwards, ends the tree
 *   supervisor_tree.c     finds and signals everything below
 *   supervisor_contain.c  cgroups and pid namespaces
 *   supervisor_options.c  the command line, and what is said on stderr
 *
 * A program, not a library: it may print and exit. It has one thread, and no
 * state but what is here and in the files' own statics. */
#ifndef ORPHANGUARD_SUPERVISOR_H
#define ORPHANGUARD_SUPERVISOR_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdbool.h>
#include <sys/types.h>

enum { EXIT_OURS = 125, EXIT_CANNOT_EXECUTE = 126, EXIT_NOT_FOUND = 127 };

enum containment { SUBREAPER, CGROUP, PIDNS };

struct options {
    int signal;     /* the death signal */
    long grace;     /* ms between it and SIGKILL */
    enum containment tree;
    int status_fd;  /* -1: none; so with the other two */
    int control_fd;
    int lifeline_fd;
    int parent_fd; /* a pidfd of whose death ends the tree; -1: none given */
    pid_t parent;   /* its pid; 0: none given */
    pid_t child;    /* supervise this one; 0: start `command` */
    bool verbose;
    char **executables; /* tried one after the other, as execvpe() does; none: execvp() */
    int executable_count;
    int group_count; /* -1: as here; so with the other two */
    gid_t *groups;
    long long gid, uid;
    char **command;
};

extern struct options options;

void parse_options(int argc, char **argv);
const char *containment_name(void);

/* One line on stderr, and one JSON object on the status fd. Neither ever
 * blocks: a reader that does not read must not keep the tree alive. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void die(int status, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int detach_stderr(void);

/* System calls newer than the oldest libc. */
int pidfd_of(pid_t pid);
int send_signal(int pidfd, int sig);
void close_all_but(const int *keep, int count);

void refuse_other_children(void);
void signal_tree(int sig, bool go_on);
void kill_tree(bool again);
void reaped(pid_t pid);
bool is_stopped(pid_t pid);
bool is_above_us(pid_t pid);
const char *name_of(pid_t pid);
int name_survivors(void);

void contain(void);
int enter_containment(void); /* in the command, before the exec; 0, or -1 with errno */
void place(pid_t pid);
void kill_cgroup(void);
void release_init(void);
void leave_containment(void);

extern int init_fd; /* of a pid namespace, or -1 */

#endif
