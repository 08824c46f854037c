/* Does the tether hold what csrc/shim/tether.c promises, on the kernel that runs? Real processes, really killed, and the
 * same with the designs that do not work, as controls.
 * Usage: tether [nest|made|places|again|flags|limits|starts|thousand|calls|gc]...; all without one. ROUNDS=5 in the
 * environment: how often each way to end is tried. Root: it changes limits, and one check its uid. */

#include "checks.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"

struct shared *sh;
int rounds = 5;
static int failures, pidfds[MOST];

void check(bool ok, const char *format, ...)
{
    va_list arguments;
    failures += !ok;
    printf(ok ? "ok    " : "FAIL  ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

/* In us it ends all. In a play it is told to us. */
void must(bool ok, const char *what)
{
    if (ok)
        return;
    if (getpid() != (pid_t)sh->numbers[0]) {
        snprintf(sh->call, sizeof sh->call, "%s", what);
        __atomic_store_n(&sh->error, errno ? errno : EPROTO, __ATOMIC_SEQ_CST);
        for (;;)
            pause();
    }
    printf("FAIL  %s: %s\n", what, strerror(errno));
    sh->count = 0;
    end_play();
    exit(99);
}

void must_og(bool ok, const struct og_error *err)
{
    if (!ok)
        errno = err->code;
    must(ok, err->call);
}

void nap(int milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

long long now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

void raise_limit(int fds)
{
    struct rlimit limit = {(rlim_t)fds, (rlim_t)fds};
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

/* --- plays ------------------------------------------------------------------ */

void reset(void)
{
    memset(sh, 0, sizeof *sh);
    sh->numbers[0] = getpid();
    fflush(stdout);
}

pid_t begin(void (*play)(void))
{
    reset();
    pid_t parent = fork();
    if (parent == 0) {
        setpgid(0, 0);
        play();
        _exit(1);
    }
    while (!sh->ready && !sh->error) {
        errno = 0;
        must(waitpid(parent, NULL, WNOHANG) == 0, "the play has ended");
        nap(2);
    }
    errno = sh->error;
    must(!sh->error, sh->call);
    for (int i = 0; i < sh->count; i++) {
        pidfds[i] = (int)syscall(SYS_pidfd_open, sh->pids[i], 0);
        must(pidfds[i] >= 0, "pidfd_open");
    }
    return parent;
}

void play_on(void)
{
    __atomic_store_n(&sh->ready, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
}

void watch(pid_t pid)
{
    must(pid > 0, "fork");
    sh->pids[__atomic_fetch_add(&sh->count, 1, __ATOMIC_SEQ_CST)] = pid;
}

bool is_dead(int at)
{
    struct pollfd look = {.fd = pidfds[at], .events = POLLIN};
    return poll(&look, 1, 0) == 1;
}

int dead(int milliseconds)
{
    long long end = now_us() + milliseconds * 1000LL;
    for (;;) {
        int count = 0;
        for (int i = 0; i < sh->count; i++)
            count += is_dead(i);
        if (count == sh->count || now_us() >= end)
            return count;
        nap(2);
    }
}

int kill_children(void)
{
    char text[16384], path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    FILE *file = fopen(path, "r");
    must(file, path);
    size_t got = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[got] = 0;
    int count = 0;
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        count += kill(atoi(word), SIGKILL) == 0;
    return count;
}

void end_play(void)
{
    while (kill_children())
        while (waitpid(-1, NULL, 0) > 0)
            ;
    for (int i = 0; i < sh->count; i++)
        close(pidfds[i]);
}

pid_t armed_child(int fd)
{
    int before = sh->armed;
    pid_t pid = fork();
    if (pid == 0) {
        struct og_error err;
        setpgid(0, 0);
        must_og(og_make_mine(fd, &err) > 0, &err);
        must(syscall(SYS_close_range, 3, ~0U, 0) == 0, "close_range");
        __atomic_add_fetch(&sh->armed, 1, __ATOMIC_SEQ_CST);
        for (;;)
            pause();
    }
    while (pid > 0 && sh->armed == before)
        usleep(500);
    return pid;
}

/* --- tethers ------------------------------------------------------------------ */

void make_tether(struct og_tether *tether)
{
    struct og_error err;
    struct own_fd reader;
    must_og(og_tether_make(tether, false, &reader, &err) == 0, &err);
    og_close_if_ours(&reader);
}

int add_description(const struct og_tether *tether, int place, int sig, struct og_error *err)
{
    int parts[2];
    if (og_tether_parts(tether, parts, err) < 0)
        return -1;
    int fd = og_reopen(parts[1], tether->dev, tether->ino, err);
    if (fd >= 0 && (og_load(fd, sig, 0, err) < 0 || og_tether_add(parts[0], place, fd, err) < 0)) {
        close(fd);
        fd = -1;
    }
    close(parts[0]);
    close(parts[1]);
    return fd;
}

int added(const struct og_tether *tether, int place, int sig)
{
    struct og_error err;
    int fd = add_description(tether, place, sig, &err);
    must_og(fd >= 0, &err);
    return fd;
}

int peeked(const struct og_tether *tether, int place)
{
    struct og_error err;
    int fd = og_tether_peek(tether, place, &err);
    must_og(fd >= 0, &err);
    return fd;
}

void send_fd(int socket, int fd)
{
    char byte = 0;
    struct iovec iov = {&byte, 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof fd)];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    must(sendmsg(socket, &message, 0) == 1, "sendmsg");
}

/* --- all of it ---------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(void);
} CHECKS[] = {
    {"nest", nest},     {"made", made_while_forking}, {"places", places},   {"again", slot_again},
    {"flags", flags},   {"limits", limits},           {"starts", starts},   {"thousand", thousand},
    {"calls", costs_of_calls}, {"gc", costs_in_flight},
};

int main(int argc, char **argv)
{
    struct utsname name;
    /* What children execute. */
    if (argc == 2 && strcmp(argv[1], "true") == 0)
        return 0;
    if (argc == 3 && strcmp(argv[1], "linger") == 0)
        for (;;)
            pause();
    setvbuf(stdout, NULL, _IOLBF, 0);
    sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sh->numbers[0] = getpid();
    must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "prctl");
    if (getenv("ROUNDS"))
        rounds = atoi(getenv("ROUNDS"));
    uname(&name);
    printf("Linux %s\n", name.release);
    for (size_t i = 0; i < sizeof CHECKS / sizeof *CHECKS; i++) {
        bool wanted = argc == 1;
        for (int k = 1; k < argc; k++)
            wanted |= strcmp(argv[k], CHECKS[i].name) == 0;
        long long began = now_us();
        if (!wanted)
            continue;
        CHECKS[i].run();
        printf("      (%s: %.1f s)\n", CHECKS[i].name, (double)(now_us() - began) / 1e6);
    }
    printf("%d failures\n", failures);
    return failures != 0;
}
