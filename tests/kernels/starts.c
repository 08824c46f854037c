/* All of csrc/ under fire: a parent whose threads spawn and fork guarded children, while others fork and execute on
 * their own and are slow at it, is killed at a random moment. Is anybody left? */

#include "checks.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define EACH 15 /* starts of a thread */

static bool guarded;
static volatile int busy; /* threads that start guarded children */

static void failed(int code, const char *what)
{
    errno = -code;
    must(code >= 0, what);
}

static struct og_child *child_of_ours(void)
{
    struct og_child *child = calloc(1, sizeof *child);
    *child = (struct og_child){.lifeline = -1, .strand = -1, .pidfd = -1};
    if (guarded)
        failed(og_lifeline_open(child, SIGKILL, 0, 0), "og_lifeline_open");
    return child;
}

static void *spawner(void *unused)
{
    for (int i = 0; i < EACH; i++) {
        struct og_spawn spawn;
        og_spawn_defaults(&spawn);
        spawn.path_count = 1;
        spawn.arg_count = 3;
        spawn.child = child_of_ours();
        spawn.close_fds = i % 2;
        failed(og_spawn(&spawn, "/proc/self/exe", "tether\0linger\0-", NULL), "og_spawn");
        watch(spawn.child->pid);
    }
    __atomic_sub_fetch(&busy, 1, __ATOMIC_SEQ_CST);
    return unused;
}

static void *forker(void *unused)
{
    for (int i = 0; i < EACH; i++) {
        struct og_child *child = child_of_ours();
        if (guarded) {
            og_begin_start();
            failed(og_arm_next_fork(child), "og_arm_next_fork");
        }
        pid_t pid = fork();
        int code = guarded ? og_forked(pid) : pid;
        if (pid == 0)
            for (;;)
                pause();
        if (guarded)
            og_end_start();
        failed(code, "fork");
        watch(pid);
    }
    __atomic_sub_fetch(&busy, 1, __ATOMIC_SEQ_CST);
    return unused;
}

/* As a plain subprocess: no handler runs at its fork, and its copies go with the exec, which is late. */
static __attribute__((noinline)) pid_t start_slowly(unsigned microseconds)
{
    char *const argv[] = {"tether", "true", NULL};
    pid_t pid = vfork();
    if (pid == 0) {
        usleep(microseconds);
        execv("/proc/self/exe", argv);
        _exit(1);
    }
    return pid;
}

static void *slow_executer(void *unused)
{
    (void)unused;
    for (unsigned i = 0;; i++)
        waitpid(start_slowly(i * 3701 % 20000), NULL, 0);
    return NULL;
}

static void *plain_forker(void *unused)
{
    (void)unused;
    for (unsigned i = 0;; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            usleep(i * 3701 % 20000);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
    return NULL;
}

static void starting_parent(void)
{
    void *(*const all[])(void *) = {slow_executer, plain_forker, slow_executer, spawner, spawner, forker, forker};
    busy = 4;
    must(og_init() == 0, "og_init");
    long long began = now_us();
    sh->go = 1;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, all[i], NULL) == 0, "pthread_create");
    }
    while (busy)
        usleep(500);
    sh->numbers[1] = now_us() - began;
    play_on();
}

/* Of all that come to us, the guarded and the others: who does not go by itself. */
static int left(int milliseconds)
{
    for (long long end = now_us() + milliseconds * 1000LL; now_us() < end;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0)
            return 0;
        if (pid == 0)
            nap(2);
    }
    int count = 0;
    for (int more; (more = kill_children()) > 0; count += more)
        while (waitpid(-1, NULL, 0) > 0)
            ;
    return count;
}

void starts(void)
{
    for (int control = 0; control < 2; control++) {
        int survivors = 0, with = 0, early = 0, started = 0, times = control ? 3 : 10 * rounds;
        guarded = !control;
        /* First, a parent that comes to the end of its starts. */
        pid_t pid = begin(starting_parent);
        nap(50);
        early = dead(0);
        long long all = sh->numbers[1];
        int whole = sh->count;
        kill(pid, SIGKILL);
        survivors += left(control ? 1000 : 20000);
        end_play();
        for (int i = 0; i < times; i++) {
            reset();
            pid = fork();
            if (pid == 0) {
                starting_parent();
                _exit(1);
            }
            while (!sh->go)
                usleep(200);
            usleep((unsigned)((long long)rand() % all));
            kill(pid, SIGKILL);
            int now = left(control ? 1000 : 20000);
            survivors += now;
            with += now > 0;
            started += sh->count;
            errno = sh->error;
            must(!sh->error, sh->call);
        }
        check(!early && (control ? survivors > 0 : survivors == 0),
              "%s, killed after all %d starts, and %d times at a random moment (%d starts and more): %d left, of %d "
              "parents; %d early",
              control ? "control, unguarded" : "threads that start and fork at once", whole, times, started, survivors,
              with, early);
    }
}
