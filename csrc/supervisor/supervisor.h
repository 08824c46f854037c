/* What the files of orphanguard-run, the supervisor, share. The sections are its layers, the lowest first: a file uses
 * only what stands above its own section (tools/arrows.py checks it).
 *
 * It is a program, not a library: it may print and exit. It has one thread. All its state is in the structs here, one
 * for a file, and in the files' own statics. */
#ifndef ORPHANGUARD_SUPERVISOR_H
#define ORPHANGUARD_SUPERVISOR_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { EXIT_OURS = 125, EXIT_CANNOT_EXECUTE = 126, EXIT_NOT_FOUND = 127 };

/* --- calls.c: system calls that libc does not have, or does too much in */

int pidfd_of(pid_t pid);
int send_signal(int pidfd, int sig);
bool is_dead(int pidfd);
void set_mask(uint64_t to);
uint64_t signal_bit(int sig);
void close_all_but(const int *keep, int count);

/* --- report.c: what the supervisor says: lines on stderr, JSON on the status fd, and why it failed */

struct output {
    int status_fd;         /* --status-fd; -1: none */
    bool to_program;       /* the caller is a program, which reads the status */
    void (*cleanup)(void); /* what die() calls last */
};
extern struct output output;

/* One line on stderr, and one JSON object on the status fd. Neither ever
 * blocks: a reader that does not read must not keep the tree alive. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void die(int status, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int detach_stderr(void);

/* --- options.c: the command line */

enum containment { SUBREAPER, CGROUP, PIDNS };

struct options {
    int signal;     /* the death signal */
    long grace;     /* ms between it and SIGKILL */
    enum containment tree;
    int control_fd; /* -1: none; so with the other one */
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

/* --- proc.c: what /proc says of processes, and how it is verified */

struct pids {
    pid_t *pid;
    size_t count, room;
};
extern struct pids pids;

bool proc_is_ours(void);
bool look_up(pid_t pid, char *state, pid_t *parent, char name[16]);
bool is_stopped(pid_t pid);
const char *name_of(pid_t pid);
void list_children(pid_t parent);
bool is_my_child(int pidfd);
bool is_child_of(pid_t pid, pid_t parent, int parent_fd);
bool is_above_us(pid_t pid);

/* --- contain.c: cgroups and pid namespaces */

extern int init_fd; /* of a pid namespace, or -1 */

void contain(void);
int enter_containment(void); /* in the command, before the exec; 0, or -1 with errno */
void place(pid_t pid);
void kill_cgroup(void);
void release_init(void);
void leave_containment(void);

/* --- tree.c: finds and signals everything below */

void refuse_other_children(void);
void signal_tree(int sig, bool go_on);
void kill_tree(bool again);
void reaped(pid_t pid);
int name_survivors(void);

/* --- watch.c: the fds that the supervisor waits for */

struct watched {
    int epoll_fd, signal_fd, timer_fd, parent_fd;
};
extern struct watched watched;

void watch(int fd);
void unwatch(int *fd);
void set_timer(long ms);

/* --- command.c: starts or adopts the command */

struct command {
    pid_t pid;
    int fd;
    int leash[2]; /* a lifeline of our own, for the command */
    uint64_t mask; /* of the signals, as we got it */
    struct sigaction sigchld;
    int stopped; /* by this signal */
    bool continued_by_us; /* and the kernel has not told us of it yet */
    bool reaped;
    siginfo_t end;
};
extern struct command command;

void start_command(void);
void adopt_command(void);

/* --- jobs.c: job control: stops and continues with the command */

bool look_at_stops(void);
void stop_with_command(int sig, void (*on_continue)(int, siginfo_t *, void *));

/* --- signals.c: which signals are passed on, and to whom */

void to_command(int sig);
void continued(int sig, siginfo_t *info, void *unused);
void read_signals(void);

/* --- start.c: all that comes before the command */

void fill_standard_fds(void);
void prepare(void);
void tie_to_parent(void);
void let_go(void);

/* --- main.c: waits, and ends the tree */

#endif
