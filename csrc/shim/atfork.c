/* What happens within every fork() of this process, by whatever code.
 *
 * pthread_atfork(3) handlers run inside fork(), before any at-fork hook of Python's. They arm the child if this thread
 * is about to start a worker, and close what no forked child may keep, also in children that C libraries fork. After
 * vfork, posix_spawn and clone no handler runs; there close-on-exec does the same at the exec.
 *
 * In the child only the forking thread exists, and only async-signal-safe calls are safe: no allocation, no stdio, no
 * Python. Needs fd.c, pdeathsig.c, foreign.c, copies.c and arm.c. */

#include "shim.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

__thread struct og_start og_this_start = {.lifeline = -1, .gate_read = -1, .gate_write = -1};

/* The number of forks of this process, by all threads. It changes with the lock held. */
static int forks;

static struct og_origin next_origin;

static void before_fork(void)
{
    /* This read makes libc allocate the thread's copy here, and not in the child. */
    volatile int touch = og_this_start.armed;
    (void)touch;
    og_lock();
    if (!og_this_start.armed)
        og_foreign_expect();
    next_origin = (struct og_origin){
        .parent = getpid(), .by_main_thread = og_is_main_thread(), .lifeline = -1, .armed = -1};
}

static void after_fork_in_parent(void)
{
    og_this_start.right = og_this_start.armed;
    og_this_start.armed = 0;
    og_this_start.forks = ++forks;
    og_unlock();
}

static void say(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

static void after_fork_in_child(void)
{
    struct og_error err;
    int armed = og_this_start.armed;
    og_this_start.right = armed;
    og_this_start.armed = og_this_start.busy = 0;

    og_close_copies(armed ? og_this_start.lifeline : -1, !armed);
    og_forget_arming(&next_origin);
    og_unlock();

    if (armed && og_arm_on(og_this_start.lifeline, next_origin.by_main_thread, &err) < 0) {
        /* The parent has rehearsed the arming, so only something that changed in between can make it fail. The child
         * must not run unguarded. */
        say("orphanguard: this child could not be tied to its parent and ends: ");
        say(err.call);
        say(" failed\n");
        _exit(127);
    }
}

int og_init(void)
{
    static bool done;
    if (done)
        return 0;
    int code = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    if (code)
        return og_report_failure(code, "pthread_atfork");
    done = true;
    return 0;
}

int og_fork_count(void)
{
    return __atomic_load_n(&forks, __ATOMIC_SEQ_CST);
}
