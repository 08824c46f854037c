/* What Python sees of the shim. The C compiler includes this file and cffi's
 * cdef() reads the very same text, so the two can't drift apart: no #if, no
 * #include, no attributes, plain C types only.
 *
 * Functions that can fail return -errno then, and og_failed_call() names the
 * call that failed, for this thread. (No error record is passed in: between a
 * fork and its end every object that Python touches costs a page fault.)
 * Nothing here prints, exits or touches Python, except that a child whose arming
 * fails in the at-fork handler says why on stderr and ends: it must not run
 * unguarded. */

const char *og_failed_call(void);

/* --- fds.c: fds of ours ---------------------------------------------------- */

/* An fd, and what it referred to when we made it. A program may close our
 * fds (os.closerange) and get their numbers again for something else; we must
 * neither close nor use that. */
struct own_fd {
    int fd;
    unsigned long long dev, ino;
};

int og_pipe(struct own_fd *reader, struct own_fd *writer, int keep_from_forks);
int og_duplicate(struct own_fd *copy, int fd);
int og_still_ours(const struct own_fd *own);
void og_close_if_ours(struct own_fd *own);

/* --- lifeline.c: what a parent holds for its children --------------------- */

/* What a parent holds for one child. Made before there is anything to hold; each
 * call fills in what it has opened, so no signal handler of Python's can come
 * between the two. */
struct og_child {
    int lifeline;     /* an fd of the description, until the child is armed; -1: none */
    int strand, slot; /* where the description is; strand -1: nothing is held */
    int flat;         /* the errno for which it hangs on no tether; 0: it does */
    int generation;   /* of the process that has opened it; a forked child has only a copy of this struct */
    int pid;
    int pidfd;          /* close-on-exec; -1: there is no child */
    long long identity; /* of the pidfd: og_pidfd_identity() */
    int running;        /* nobody has seen its end */
};

int og_lifeline_open(struct og_child *child, int sig, int pdeathsig, int for_hook);
void og_lifeline_let_go(struct og_child *child);
void og_lifeline_give_back(struct og_child *child);
int og_lifeline_owner(const struct og_child *child);

/* --- arm.c: what a child does to die with it ------------------------------ */

/* Where this process came from, as its parent's at-fork handlers saw it. */
struct og_origin {
    int parent;         /* pid of the forking process; 0: not forked, or forked before the shim was loaded */
    int by_main_thread; /* the forking thread was that process's main thread */
    int lifeline;       /* read end of the parent's lifeline for those that arm themselves; -1: none */
    int armed;          /* the description that this process is armed on; -1: none */
    int armed_signal;   /* what it will be sent */
    int held_by_parent; /* that description is there whatever this process closes */
    int flat;           /* it hangs on no tether */
};

/* A start that is under way in a thread. */
struct og_start {
    int busy;  /* between og_begin_start() and og_end_start() */
    int armed; /* the next fork() is not an ordinary one */
    int lifeline;
    int gate_read; /* -1: there is no gate */
    int gate_write;
    int forks; /* of this process, with this thread's last one */
    int right; /* that one was armed */
    struct og_child *child;
};

int og_init(void);
int og_is_main_thread(void);
int og_begin_start(void);
void og_end_start(void);
void og_save_start(struct og_start *start);
void og_restore_start(const struct og_start *start);
int og_arm_next_fork(struct og_child *child);
int og_armed_next_fork(void);
int og_forked(int pid);
void og_fork_failed(void);
void og_abandon(void);
int og_last_fork(void);
int og_arm(int fd, int pdeathsig);
int og_arm_inherited(int sig);
int og_rehearse_pdeathsig(void);
int og_arm_pdeathsig(int sig, int parent);
int og_pdeathsig(void);
int og_armed(void);
int og_armed_still(void);
int og_arm_again(void);
void og_origin(struct og_origin *origin);
int og_claim(char *word);

/* --- credentials.c: whom a lifeline's signal reaches --------------------- */

int og_is_global_root(void);

/* --- spawn.c: a program, armed before it is executed -------------------- */

/* What the child is to be. Lists of strings come as the strings one after the
 * other, each with its NUL, and their number. */
struct og_spawn {
    int path_count; /* tried one after the other, as execvpe() does */
    int arg_count;
    int env_count;       /* -1: the environment of this process */
    const char *cwd;     /* NULL: as here */
    const int *keep_fds; /* ascending; inherited whatever close_fds says */
    int keep_count;
    int close_fds; /* the child has 0, 1, 2 and keep_fds, and no others */
    int stdio[3];  /* fds of this process that become 0, 1 and 2; -1: as here */
    int umask;     /* -1: as here */
    int restore_signals; /* SIGPIPE and SIGXFSZ, which Python ignores, to their default actions */
    int new_session;
    int process_group; /* -1: as here; 0: one of its own */
    int group_count;   /* of supplementary groups; -1: as here */
    const unsigned *groups;
    long long gid; /* -1: as here */
    long long uid;
    const char *launcher; /* the program that changes ids; NULL: a copy of this process's memory, and no such program */
    struct og_child *child; /* its lifeline; -1: unguarded. The rest is filled in */
    int signal;             /* what the lifeline was opened with */
    /* Out. */
    int pdeathsig; /* armed besides the lifeline: it is SIGKILL, from the main thread */
    /* What failed. og_failed_call() may be another's by the time that it is
     * asked: a failed child's SIGCHLD runs the user's handler first. */
    const char *failed_call;
};

void og_spawn_defaults(struct og_spawn *spawn);
int og_spawn(struct og_spawn *spawn, const char *paths, const char *args, const char *env);

/* --- pidfd.c: a process, by its identity -------------------------------- */

enum { OG_RUNNING = 1000 }; /* in place of an exit code */
enum { OG_FAILED = -1000 }; /* OG_FAILED - errno, since exit codes are negative for signals */

int og_pidfd_open(int pid);
int og_pidfd_hold(struct og_child *child, int pid);
/* `identity`: from og_pidfd_identity(), or 0 for a pidfd that has just been made. EBADF: the program has closed it. */
long long og_pidfd_identity(int pidfd);
int og_pidfd_check(int pidfd, long long identity);
int og_pidfd_send_signal(int pidfd, long long identity, int sig);
int og_pidfd_status(int pidfd, long long identity);
int og_pidfd_wait(int pidfd, long long identity);
void og_child_reap(struct og_child *child);
int og_pidfd_reaped_status(int pidfd, long long identity);
void og_pidfd_close(struct og_child *child);
void og_child_free(struct og_child *child);
int og_wait_readable(int fd, int milliseconds);
int og_epoll_mark(int epoll);
int og_epoll_is_ours(int epoll);
