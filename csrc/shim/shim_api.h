/* What Python sees of the shim. The C compiler includes this file, and cffi's cdef() reads the same text, so the two
 * can't differ. Therefore it has no #if, no #include, no attributes, and plain C types only. Its sections come in the
 * order of the layers, as in shim.h.
 *
 * A function that fails returns -errno, and og_failed_call() names the call that failed, for this thread. (No record of
 * the error is passed in: between a fork and its end every object that Python touches costs a page fault.) Nothing here
 * prints, exits or touches Python, with one exception: a child that can't be armed in the at-fork handler says why on
 * stderr and ends, because it must not run unguarded. */

/* --- error.c: which call has failed */

const char *og_failed_call(void);

/* --- fd.c: fds that the shim has opened */

/* An fd, and what it referred to when we made it. A program may close our fds (os.closerange) and get their numbers
 * again for its own files. We must neither close nor use those. */
struct own_fd {
    int fd;
    unsigned long long dev, ino;
};

int og_duplicate(struct own_fd *copy, int fd);
int og_still_ours(const struct own_fd *own);
void og_close_if_ours(struct own_fd *own);

/* --- pipe.c: pipes, and the write ends that no forked child keeps */

int og_pipe(struct own_fd *reader, struct own_fd *writer, int keep_from_forks);

/* --- pdeathsig.c: PR_SET_PDEATHSIG */

int og_is_main_thread(void);
int og_rehearse_pdeathsig(void);
int og_pdeathsig(void);

/* --- credentials.c: whom the signal of a lifeline reaches */

int og_is_global_root(void);

/* --- lifeline.c: the lifeline of one child */

/* What a parent holds for one child. Python makes it before there is anything to hold, and each call fills in what it
 * has opened. So no signal handler of Python's can come between the opening and the note of it. */
struct og_child {
    int lifeline;       /* the parent's fd of the description, until the child is armed; -1: none */
    int strand, slot;   /* where the description is; strand -1: nothing is held */
    int flat;           /* the errno for which the lifeline hangs on no tether; 0: it hangs on one */
    int generation;     /* of the process that has opened it; a forked child has only a copy of this struct */
    int pid;
    int pidfd;          /* close-on-exec; -1: there is no child */
    long long identity; /* of the pidfd: og_pidfd_identity() */
    int running;        /* its end has not been seen */
};

int og_lifeline_open(struct og_child *child, int sig, int pdeathsig, int for_hook);
void og_lifeline_let_go(struct og_child *child);
void og_lifeline_give_back(struct og_child *child);
int og_lifeline_owner(const struct og_child *child);

/* --- pidfd.c: a process, by its identity */

enum { OG_RUNNING = 1000 }; /* in place of an exit code */
enum { OG_FAILED = -1000 }; /* OG_FAILED - errno, since an exit code is negative after a signal */

/* `identity`: from og_pidfd_identity(), or 0 for a pidfd that has just been made. EBADF: the program has closed the
 * pidfd. */
int og_pidfd_open(int pid);
int og_pidfd_check(int pidfd, long long identity);
int og_pidfd_send_signal(int pidfd, long long identity, int sig);
int og_pidfd_status(int pidfd, long long identity);
int og_pidfd_wait(int pidfd, long long identity);
int og_pidfd_reaped_status(int pidfd, long long identity);

/* --- child.c: a child's pidfd and lifeline together */

int og_pidfd_hold(struct og_child *child, int pid);
void og_child_reap(struct og_child *child);
void og_pidfd_close(struct og_child *child);
void og_child_free(struct og_child *child);

/* --- arm.c: how a process arms itself */

/* Where this process comes from, as its parent's at-fork handlers saw it, and what it is armed on. */
struct og_origin {
    int parent;         /* pid of the forking process; 0: not forked, or forked before the shim was loaded */
    int by_main_thread; /* the forking thread was that process's main thread */
    int lifeline;       /* read end of the pipe that the parent has for foreign children; -1: none */
    int armed;          /* this process's fd of the description that it is armed on; -1: none */
    int armed_signal;   /* what the kernel will send */
    int held_by_parent; /* the parent's tether holds that description too: no close here releases it */
    int flat;           /* that description hangs on no tether */
};

int og_arm(int fd, int pdeathsig);
int og_arm_inherited(int sig);
int og_arm_pdeathsig(int sig, int parent);
int og_armed(void);
int og_armed_still(void);
int og_arm_again(void);
void og_origin(struct og_origin *origin);
int og_claim(char *word);

/* --- atfork.c: what happens within every fork() */

/* A start that is under way in a thread. */
struct og_start {
    int busy;  /* between og_begin_start() and og_end_start() */
    int armed; /* the next fork() arms its child */
    int lifeline;
    int gate_read; /* -1: there is no gate */
    int gate_write;
    int forks; /* of this process, up to the last fork of this thread */
    int right; /* the last fork of this thread armed its child */
    struct og_child *child;
};

int og_init(void);

/* --- fork.c: the start of a worker by fork */

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

/* --- spawn.c: the start of a program */

/* What the child is to be. Python passes a list of strings as the strings one after the other, each with its NUL, and
 * their number. */
struct og_spawn {
    int path_count; /* tried one after the other, as execvpe() does */
    int arg_count;
    int env_count;       /* -1: the environment of this process */
    const char *cwd;     /* NULL: as here */
    const int *keep_fds; /* ascending; the child inherits them whatever close_fds says */
    int keep_count;
    int close_fds; /* the child has 0, 1, 2 and keep_fds, and no others */
    int stdio[3];  /* fds of this process that become 0, 1 and 2; -1: as here */
    int umask;     /* -1: as here */
    int restore_signals; /* SIGPIPE and SIGXFSZ, which Python ignores, get their default actions */
    int new_session;
    int process_group; /* -1: as here; 0: a new one */
    int group_count;   /* of supplementary groups; -1: as here */
    const unsigned *groups;
    long long gid; /* -1: as here */
    long long uid;
    const char *launcher; /* the program that changes ids; NULL: the child does, in a copy of our memory */
    struct og_child *child; /* its lifeline; -1: unguarded. og_spawn() fills in the rest */
    int signal;             /* what the lifeline was opened with */
    /* Results. */
    int pdeathsig; /* this layer is armed, too: the signal is SIGKILL, and this is the main thread */
    /* What failed. og_failed_call() may name another failure by the time that it is asked: the SIGCHLD of a failed
     * child runs the user's handler first. */
    const char *failed_call;
};

void og_spawn_defaults(struct og_spawn *spawn);
int og_spawn(struct og_spawn *spawn, const char *paths, const char *args, const char *env);

/* --- epoll.c: waiting until an fd is readable */

int og_wait_readable(int fd, int milliseconds);
int og_epoll_mark(int epoll);
int og_epoll_is_ours(int epoll);
