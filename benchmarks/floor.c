/* The floor under a spawn: posix_spawn() and waitpid() of PROGRAM, COUNT times; prints nanoseconds, one a line. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: floor PROGRAM COUNT\n");
        return 2;
    }
    char *args[] = {argv[1], NULL};
    for (int left = atoi(argv[2]); left > 0; left--) {
        pid_t pid;
        long long before = now();
        int code = posix_spawn(&pid, argv[1], NULL, NULL, args, environ);
        if (code) {
            fprintf(stderr, "posix_spawn: %s\n", strerror(code));
            return 1;
        }
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        printf("%lld\n", now() - before);
    }
    return 0;
}
