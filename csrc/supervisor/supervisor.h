/* What the files of orphanguard-run, the supervisor, share.
 *
 * Each section is a file and a layer, the lowest first: a file uses only what is declared above its own section
 * (tools/arrows.py checks it). How the supervisor works is told in main.c.
 *
 * The supervisor is a program and not a library, so it may print and exit. It has one thread. Its state is in the
 * structs below, each in the section of the file that owns it, and in the files' own statics. */
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

/* --- calls.c: system calls that libc lacks or changes */

int pidfd_of(pid_t pid);
int send_signal(int pidfd, int sig);
bool is_dead(int pidfd);
void set_mask(uint64_t to);
uint64_t signal_bit(int sig);
void close_all_but(const int *keep, int count);

/* --- report.c: what the supervisor says, on stderr and on the status fd */

struct output {
    int status_fd;         /* --status-fd; -1: none */
    bool to_program;       /* --lifeline-fd: the caller is a program, which reads the status */
    void (*cleanup)(void); /* die() calls it last; NULL: nothing */
};
extern struct output output;

/* say() writes one line to stderr, report() one JSON object to the status fd. Neither ever blocks. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void die(int status, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int detach_stderr(void); /* returns the fd by which stderr is kept */

/* --- options.c: the command line */

enum containment { SUBREAPER, CGROUP, PIDNS };

struct options {
    int signal; /* the death signal: the tree gets it first */
    long grace; /* ms between the death signal and SIGKILL */
    enum containment tree;
    int control_fd, lifeline_fd; /* -1: none */
    int parent_fd;               /* a pidfd of the process whose death ends the tree; -1: none given */
    pid_t parent;                /* the pid of that process; 0: none given */
    pid_t child;                 /* the child to adopt; 0: start `command` */
    bool verbose;
    char **executables; /* tried in order, as execvpe() does; if there are none, execvp() looks for the command */
    int executable_count;
    int group_count; /* -1: the supervisor's own groups */
    gid_t *groups;
    long long gid, uid; /* -1: the supervisor's own */
    char **command;
};
extern struct options options;

void parse_options(int argc, char **argv);
const char *containment_name(void);

/* --- proc.c: what /proc says about processes */

/* A stack: the children of each process on the way down. */
struct pids {
    pid_t *pid;
    size_t count, room;
};
extern struct pids pids;

bool proc_is_ours(void); /* /proc is that of our pid namespace */
bool look_up(pid_t pid, char *state, pid_t *parent, char name[16]);
bool is_stopped(pid_t pid);
const char *name_of(pid_t pid);
void list_children(pid_t parent); /* pushes them on `pids` */
bool is_my_child(int pidfd);
bool is_child_of(pid_t pid, pid_t parent, int parent_fd);
bool is_above_us(pid_t pid);

/* --- contain.c: cgroups and pid namespaces */

extern int init_fd; /* a pidfd of the pid namespace's init; -1: none */

void contain(void);
int enter_containment(void); /* called by the command, before the exec; returns 0, or -1 with errno */
void place(pid_t pid);
void kill_cgroup(void);
void release_init(void);
void leave_containment(void);

/* --- tree.c: finds and signals everything below the supervisor */

void refuse_other_children(void);
void signal_tree(int sig, bool go_on); /* `go_on`: SIGCONT follows */
void kill_tree(bool again);
void reaped(pid_t pid); /* `pid` may be another process from now on */
int name_survivors(void);

/* --- watch.c: what the supervisor waits for */

struct watched {
    int epoll_fd, signal_fd;
    int timer_fd;  /* -1: the tree is not being ended yet */
    int parent_fd; /* a pidfd; -1: the parent is gone, or outside our pid namespace */
};
extern struct watched watched;

void watch(int fd);
void unwatch(int *fd); /* closes it, too */
void set_timer(long ms);

/* --- command.c: starts or adopts the command */

struct command {
    pid_t pid;
    int fd;                   /* its pidfd */
    int lifeline[2];          /* kills the command when the supervisor dies */
    uint64_t mask;            /* the signal mask that the command gets: the caller's */
    struct sigaction sigchld; /* the caller's too; the command ignores SIGCHLD if the caller has ignored it */
    int stopped;              /* the signal that has stopped it; 0: none */
    bool continued_by_us;     /* the supervisor has continued it, and the kernel has not reported it yet */
    bool reaped;
    siginfo_t end;            /* how it ended, once it is reaped */
};
extern struct command command;

void start_command(void);
void adopt_command(void);

/* --- jobs.c: job control: the supervisor stops and goes on with the command */

bool look_at_stops(void);
void stop_with_command(int sig, void (*on_continue)(int, siginfo_t *, void *));

/* --- signals.c: which signals the supervisor passes on to the command */

void to_command(int sig);
void continued(int sig, siginfo_t *info, void *unused);
void read_signals(void);

/* --- start.c: what comes before the command */

void fill_standard_fds(void);
void prepare(void);
void tie_to_parent(void);
void let_go(void);

/* --- main.c: the event loop, and the ending of the tree */

#endif
