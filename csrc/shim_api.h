/* What Python sees of the shim. The C compiler includes this file and cffi's
 * cdef() reads the very same text, so the two can't drift apart: no #if, no
 * #include, no attributes, plain C types only.
 *
 * Every function that can fail fills *err (when it is not NULL) with the errno
 * and the name of the call that failed, and returns -1. Nothing here prints,
 * exits or touches Python, except that a child whose arming fails in the
 * at-fork handler says why on stderr and ends: it must not run unguarded. */

struct og_error {
    int code;
    const char *call;
};

/* --- lifeline.c: who dies with whom ------------------------------------- */

/* Where this process came from, as its parent's at-fork handlers saw it. */
struct og_origin {
    int parent;         /* pid of the forking process; 0: not forked, or forked before the shim was loaded */
    int by_main_thread; /* the forking thread was that process's main thread */
    int lifeline;       /* read end of the parent's lifeline, shared with siblings; -1: none */
    int armed;          /* the description that this process is armed on; -1: none */
    int armed_signal;   /* what it will be sent */
    int held_by_parent; /* the parent holds that description too */
};

int og_init(struct og_error *err);
int og_is_main_thread(void);
int og_lifeline_open(struct og_error *err);
void og_lifeline_close(int fd);
int og_lifeline_owner(int fd);
int og_rehearse_pdeathsig(struct og_error *err);
void og_arm_next_fork(int fd);
int og_arm(int fd, int pdeathsig, struct og_error *err);
int og_arm_inherited(int sig, struct og_error *err);
int og_arm_pdeathsig(int sig, int parent, struct og_error *err);
int og_pdeathsig(void);
void og_origin(struct og_origin *origin);
int og_claim(char *word);

/* --- spawn.c: a program, armed before it is executed -------------------- */

struct og_spawn {
    const char *path;
    char *const *argv;
    char *const *envp;   /* NULL: the environment of this process */
    const int *keep_fds; /* ascending; the child has these and 0, 1, 2, and no others */
    int keep_count;
    int lifeline;        /* from og_lifeline_open() */
    int pid;             /* out */
    int pidfd;           /* out; close-on-exec */
};

int og_spawn(struct og_spawn *spawn, struct og_error *err);

/* --- pidfd.c: a process, by its identity -------------------------------- */

struct og_exit {
    int exited;  /* 0: still running */
    int code;    /* as subprocess has it: the exit status, or minus the signal */
};

int og_pidfd_open(int pid, struct og_error *err);
int og_pidfd_send_signal(int pidfd, int sig, struct og_error *err);
int og_pidfd_reap(int pidfd, struct og_exit *result, struct og_error *err);
int og_pidfd_reaped_status(int pidfd, struct og_exit *result, struct og_error *err);
