/* The floor under a start, in bare C.
 *
 *   floor PROGRAM COUNT      posix_spawn() and waitpid() of PROGRAM, COUNT times; prints nanoseconds, one a line
 *   floor --fork GIB N...    fork() of children that set PDEATHSIG and pause, in a process of GIB, until N live, for each N;
 *                            two lines for each N: nanoseconds of each start since the last, and of ten forks of
 *                            a child that only sets PDEATHSIG, each with its waitpid()
 *   floor --vfork GIB N...   the same with vfork(); a child that stays executes sleep, one that ends executes true
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static pid_t start(int stays)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (stays)
            pause();
        _exit(0);
    }
    return pid;
}

static pid_t start_program(int stays)
{
    char *sleep[] = {"/bin/sleep", "1000", NULL}, *none[] = {"/bin/true", NULL}, **args = stays ? sleep : none;
    pid_t pid = vfork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execve(args[0], args, environ);
        _exit(127);
    }
    return pid;
}

static pid_t checked(pid_t pid)
{
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    return pid;
}

static int forks(char **args, pid_t (*start)(int stays))
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* our own parent may be killed */
    size_t size = (size_t)atoi(args[0]) << 30;
    char *ballast = malloc(size + 1);
    if (!ballast)
        return 1;
    memset(ballast, 'x', size + 1);
    for (int left = 2; left > 0; left--)
        reap(checked(start(0))); /* the first ones map and link what later ones find done */
    int live = 0;
    pid_t *pids = NULL;
    for (args++; *args; args++) {
        int many = atoi(*args);
        pids = realloc(pids, (size_t)many * sizeof *pids);
        if (!pids)
            return 1;
        for (; live < many; live++) {
            long long before = now();
            pids[live] = checked(start(1));
            printf("%lld ", now() - before);
        }
        usleep(200 * 1000); /* the last ones have come up */
        printf("\n");
        for (int left = 10; left > 0; left--) {
            long long before = now();
            reap(checked(start(0)));
            printf("%lld ", now() - before);
        }
        printf("\n");
        fflush(stdout); /* or each child would inherit the buffer, and write it too */
    }
    /* A child that has not run yet is not armed, and would outlive us. */
    while (live > 0) {
        kill(pids[--live], SIGKILL);
        reap(pids[live]);
    }
    return ballast[size] != 'x';
}

int main(int argc, char **argv)
{
    if (argc >= 4 && strcmp(argv[1], "--fork") == 0)
        return forks(argv + 2, start);
    if (argc >= 4 && strcmp(argv[1], "--vfork") == 0)
        return forks(argv + 2, start_program);
    if (argc != 3) {
        fprintf(stderr, "usage: floor PROGRAM COUNT | floor --fork|--vfork GIB N...\n");
        return 2;
    }
    char *args[] = {argv[1], NULL};
    for (int left = atoi(argv[2]) + 2; left > 0; left--) {
        pid_t pid;
        long long before = now();
        int code = posix_spawn(&pid, argv[1], NULL, NULL, args, environ);
        if (code) {
            fprintf(stderr, "posix_spawn: %s\n", strerror(code));
            return 1;
        }
        reap(pid);
        if (left <= atoi(argv[2])) /* the first two map and link what later ones find done */
            printf("%lld\n", now() - before);
    }
    return 0;
}
