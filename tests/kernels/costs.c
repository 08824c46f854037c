/* What it costs, in µs. On an emulated processor only ratios say something: each table has a call to compare with. */

#include "checks.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIMES 200
#define BATCH 20

static struct og_tether tethers[20000 / ROOM + 1];

static int ascending(const void *a, const void *b)
{
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

/* Of times in ns, in µs. */
static double median(long long *all, int count)
{
    qsort(all, (size_t)count, sizeof *all, ascending);
    return (double)all[count / 2] / 1000;
}

static long long now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Of a call, in µs: the mean of a batch, of the best batch. */
static double cost(void (*call)(int i))
{
    long long best = 0;
    for (int i = 0; i < TIMES; i += BATCH) {
        long long began = now_ns();
        for (int k = 0; k < BATCH; k++)
            call(i + k);
        long long took = now_ns() - began;
        if (i == 0 || took < best)
            best = took;
    }
    return (double)best / BATCH / 1000;
}

static void fork_once(int unused)
{
    (void)unused;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
}

static void make_pipe(int unused)
{
    int fds[2];
    (void)unused;
    must(pipe2(fds, O_CLOEXEC) == 0, "pipe2");
    close(fds[0]);
    close(fds[1]);
}

static void make_one(int i)
{
    make_tether(&tethers[i]);
}

static void add_one(int i)
{
    close(added(&tethers[i / ROOM], i % ROOM, SIGKILL));
}

static void peek_one(int i)
{
    close(peeked(&tethers[i / ROOM], i % ROOM));
}

static void close_one(int i)
{
    og_tether_close(&tethers[i]);
}

void costs_of_calls(void)
{
    raise_limit(20000);
    double forked = cost(fork_once), pipes = cost(make_pipe), makes = cost(make_one), adds = cost(add_one);
    double peeks = cost(peek_one), closes = cost(close_one);
    printf("costs µs: fork, exit and wait %.1f; pipe2() and close %.1f; a tether: make %.1f, add %.1f, peek %.1f, "
           "close %.1f\n",
           forked, pipes, makes, adds, peeks, closes);
}

/* --- the program's own sockets ------------------------------------------------- */

static int own[2];

static void make_pair(int unused)
{
    int fds[2];
    (void)unused;
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "socketpair");
    close(fds[0]);
    close(fds[1]);
}

static void pass_byte(int unused)
{
    char byte = 0;
    (void)unused;
    must(write(own[0], &byte, 1) == 1 && read(own[1], &byte, 1) == 1, "write");
}

static void pass_fd(int unused)
{
    char byte;
    (void)unused;
    send_fd(own[0], 0);
    must(read(own[1], &byte, 1) == 1, "read");
}

/* While descriptions are in flight: before Linux 6.10 each close of a Unix socket walked all Unix sockets in flight. */
void costs_in_flight(void)
{
    const int counts[] = {0, 64, 1000, 5000, 20000};
    int count = 0;
    raise_limit(20000);
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, own) == 0, "socketpair");
    for (size_t at = 0; at < sizeof counts / sizeof *counts; at++) {
        for (; count < counts[at]; count++) {
            if (count % ROOM == 0)
                make_one(count / ROOM);
            add_one(count);
        }
        double pairs = cost(make_pair), bytes = cost(pass_byte), fds = cost(pass_fd);
        printf("costs µs, %d in flight: socketpair() and close %.1f; a byte passed %.2f; an fd passed %.1f\n", count,
               pairs, bytes, fds);
    }
    for (int i = 0; i * ROOM < count; i++)
        close_one(i);
    close(own[0]);
    close(own[1]);
}

/* --- the death of many ---------------------------------------------------------- */

#define MANY 1000

/* By the whole of csrc/shim/lifeline.c; by the tether's own calls, with children that keep no fds; and so in the design
 * before, descriptions and write ends in the parent's table of fds. */
static enum { LIFELINE, TETHER, TABLE } now;
static const char *const NAMES[] = {"1,000 lifelines", "1,000 on tethers", "to compare, 1,000 in the table of fds"};

static void parent_of_bare(void)
{
    struct own_fd r = OG_NO_FD, w;
    struct og_error err;
    for (int i = 0; i < MANY; i++) {
        int fd;
        if (now == TETHER) {
            if (i % ROOM == 0)
                make_tether(&tethers[i / ROOM]);
            fd = added(&tethers[i / ROOM], i % ROOM, SIGKILL);
        } else {
            if (i % ROOM == 0) {
                must_og(og_make_pipe(&r, &w, O_NONBLOCK, &err) == 0, &err);
                must(fcntl(w.fd, F_DUPFD_CLOEXEC, 10000) >= 0, "F_DUPFD_CLOEXEC");
                og_close_if_ours(&w);
            }
            fd = og_reopen(r.fd, r.dev, r.ino, &err);
            must_og(fd >= 0 && og_load(fd, SIGKILL, 0, &err) == 0, &err);
        }
        watch(armed_child(fd));
        if (now == TETHER)
            close(fd);
    }
    play_on();
}

static void parent_of_many(void)
{
    static struct og_child children[MANY];
    int strands = 0;
    raise_limit(20000);
    if (now != LIFELINE)
        parent_of_bare();
    must(og_init() == 0, "og_init");
    for (int i = 0; i < MANY; i++) {
        struct og_child *child = &children[i];
        must(og_lifeline_open(child, SIGKILL, 0, 0) >= 0, "og_lifeline_open");
        og_begin_start();
        must(og_arm_next_fork(child) >= 0, "og_arm_next_fork");
        pid_t pid = fork();
        int code = og_forked(pid);
        if (pid == 0)
            for (;;)
                pause();
        og_end_start();
        errno = -code;
        must(code > 0, "og_forked");
        must(!child->flat, "a tether");
        if (child->strand >= strands)
            strands = child->strand + 1;
        watch(pid);
    }
    sh->numbers[1] = strands;
    play_on();
}

void thousand(void)
{
    for (now = LIFELINE; now <= TABLE; now++) {
        long long took[5], starts[5];
        int ended = 0, early = 0;
        raise_limit(20000);
        for (int i = 0; i < 5; i++) {
            long long began = now_ns();
            pid_t pid = begin(parent_of_many);
            starts[i] = now_ns() - began;
            early += dead(0);
            began = now_ns();
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            ended += dead(60000);
            took[i] = now_ns() - began;
            must(now != LIFELINE || sh->numbers[1] == (MANY + ROOM - 1) / ROOM, "16 tethers");
            end_play();
        }
        check(!early && ended == 5 * MANY,
              "%s: %d of %d died with the parent, %d early; the last one after %.1f ms; their starts took %.0f ms",
              NAMES[now], ended, 5 * MANY, early, median(took, 5) / 1000, median(starts, 5) / 1000);
    }
}
