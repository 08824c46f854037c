/* Who outlives a parent that is killed while a forked sibling has copies of everything? */

#include "checks.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

#define MANY 14000 /* open files */
#define HIGH 16000 /* a number above all of them */
#define CHILDREN 3

enum shape {
    NEST,   /* og_tether_make(), and the descriptions one level below */
    SINGLE, /* the same, with a tether for each child */
    FLAT,   /* control: the descriptions in the same queue as the write end */
    TABLE,  /* control, and the design before: both in the table of fds, the write end above */
};
static const char *const SHAPES[] = {"nest", "single", "control: flat nest", "control: table"};

enum way { EXITS, IS_KILLED, EXECUTES, CLOSES_RANGE, ASCENDING, DESCENDING, TETHER_ONLY, TOGETHER, WAYS };
static const char *const WAY_NAMES[] = {
    "exits",
    "is killed",
    "executes",
    "does close_range()",
    "closes one by one, ascending",
    "closes one by one, descending",
    "closes the tether only",
    "is killed in one go with the parent",
};

static struct {
    enum shape shape;
    enum way way;
    bool high; /* the tether's number is above all others, and its queue's below; or the other way round */
} now;

static struct line {
    struct own_fd hold; /* whoever has it keeps the children alive */
    struct og_tether tether;
    int sender, reader;
} lines[CHILDREN];
static int line_count;

static void move(int *fd, bool high)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, high ? HIGH : 3);
    must(moved >= 0, "F_DUPFD_CLOEXEC");
    close(*fd);
    *fd = moved;
}

static void make_line(struct line *line)
{
    struct og_error err;
    struct own_fd reader;
    int fds[2], pair[2];
    if (now.shape == NEST || now.shape == SINGLE) {
        must_og(og_tether_make(&line->tether, now.shape == SINGLE, &reader, &err) == 0, &err);
        move(&line->tether.end.fd, now.high);
        move(&line->tether.queue.fd, !now.high);
        line->hold = line->tether.end;
        line->reader = reader.fd;
        return;
    }
    must(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0, "pipe2");
    line->reader = fds[0];
    if (now.shape == FLAT) {
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
        send_fd(pair[0], fds[1]);
        close(fds[1]);
        line->sender = pair[0];
        fds[1] = pair[1];
    }
    move(&fds[1], now.high);
    must(og_identify(&line->hold, fds[1]), "fstat");
}

static int description(const struct line *line, int place)
{
    struct og_error err;
    struct own_fd pipe;
    if (now.shape == NEST)
        return added(&line->tether, place, SIGKILL);
    int fd = line->reader;
    if (now.shape != SINGLE) {
        must(og_identify(&pipe, fd), "fstat");
        fd = og_reopen(fd, pipe.dev, pipe.ino, &err);
        must_og(fd >= 0, &err);
    }
    must_og(og_load(fd, SIGKILL, 0, &err) == 0, &err);
    if (now.shape == FLAT)
        send_fd(line->sender, fd);
    return fd;
}

static void let_go(void)
{
    char *const linger[] = {"tether", "linger", "", NULL};
    switch (now.way) {
    case EXECUTES:
        execv("/proc/self/exe", linger);
        must(false, "execv");
        break;
    case CLOSES_RANGE:
        must(syscall(SYS_close_range, 3, ~0U, 0) == 0, "close_range");
        break;
    case ASCENDING:
        for (int fd = 3; fd < HIGH + 16; fd++)
            close(fd);
        break;
    case DESCENDING:
        for (int fd = HIGH + 15; fd >= 3; fd--)
            close(fd);
        break;
    case TETHER_ONLY:
        for (int i = 0; i < line_count; i++)
            close(lines[i].hold.fd);
        break;
    default:
        break;
    }
    sh->gone = 1;
    if (now.way == EXITS)
        _exit(0);
}

/* With copies of all that is there now. It is slow: it goes on when its parent is gone. */
static void fork_sibling(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        while (!sh->go)
            usleep(500);
        let_go();
        for (;;)
            pause();
    }
    must(pid > 0, "fork");
    sh->sibling = pid;
}

static void parent(void)
{
    raise_limit(HIGH + 4000);
    line_count = now.shape == SINGLE ? CHILDREN : 1;
    for (int i = 0; i < MANY; i++)
        must(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0, "open(/dev/null)");
    for (int i = 0; i < line_count; i++)
        make_line(&lines[i]);
    /* When the sibling is forked, the first description is in nobody's table any more, of the second it gets a copy,
     * and the third is not made. */
    for (int i = 0; i < CHILDREN; i++) {
        int fd = description(&lines[i % line_count], i);
        if (i == 1)
            fork_sibling();
        watch(armed_child(fd));
        if (now.shape != TABLE)
            close(fd);
    }
    play_on();
}

/* Returns how many of the children are left. *early: who died before the last holder of the tether let go of it. */
static int trial(int *early)
{
    bool is_control = now.shape >= FLAT;
    pid_t pid = begin(parent);
    *early += dead(0);
    kill(now.way == TOGETHER ? -pid : pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (now.way != TOGETHER) {
        nap(20);
        *early += dead(0);
        sh->go = 1;
        if (now.way == IS_KILLED)
            kill(sh->sibling, SIGKILL);
        while (now.way == IS_KILLED ? waitpid(sh->sibling, NULL, WNOHANG) == 0 : now.way != EXECUTES && !sh->gone)
            usleep(500);
    }
    /* A survivor survives for ever, so a control needs no long wait; and one that is only slow is none. */
    int left = CHILDREN - dead(is_control ? 700 : 20000);
    errno = sh->error;
    must(!sh->error, sh->call);
    end_play();
    return left;
}

static void one_way(int times, int *all_left)
{
    int count[2] = {0, 0}, left[2] = {0, 0}, early = 0;
    for (int high = now.shape == TABLE; high < 2; high++) /* there, the only order that helps in simple cases */
        for (int i = 0; i < times * (now.way == TOGETHER ? 5 : 1); i++) {
            now.high = high;
            left[high] += trial(&early);
            count[high] += CHILDREN;
        }
    *all_left += left[0] + left[1];
    char low[40] = "";
    if (count[0])
        snprintf(low, sizeof low, "%d of %d left (number low), ", left[0], count[0]);
    check(!early && (now.shape >= FLAT || !(left[0] + left[1])), "%s, sibling %s: %s%d of %d left (high), %d early",
          SHAPES[now.shape], WAY_NAMES[now.way], low, left[1], count[1], early);
}

void nest(void)
{
    const int times[] = {rounds, (rounds + 1) / 2, (rounds + 4) / 5, (rounds + 4) / 5};
    for (now.shape = NEST; now.shape <= TABLE; now.shape++) {
        int left = 0;
        for (now.way = EXITS; now.way < WAYS; now.way++)
            one_way(times[now.shape], &left);
        check(now.shape < FLAT ? !left : left > 0, "%s: %d left in all", SHAPES[now.shape], left);
    }
}

/* --- made while other threads fork ------------------------------------------------- */

#define THREADS 3
#define SIBLINGS 6 /* for each line */
#define LINES 30

static bool in_the_open; /* control: the nest is made in our own table of fds */
static volatile bool enough;

static void *fork_siblings(void *unused)
{
    while (!enough) {
        if (sh->numbers[1] > SIBLINGS * (sh->count + 1)) { /* some for each line, not all at once */
            sched_yield();
            continue;
        }
        pid_t pid = fork();
        if (pid == 0) {
            struct stat st;
            while (!sh->go)
                nap(5);
            for (int fd = 3; fd < 400; fd++) /* whoever has the tether lets go of it; a bare write end stays */
                if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
                    close(fd);
            __atomic_add_fetch(&sh->gone, 1, __ATOMIC_SEQ_CST);
            for (;;)
                pause();
        }
        if (pid > 0)
            __atomic_add_fetch(&sh->numbers[1], 1, __ATOMIC_SEQ_CST);
    }
    return unused;
}

static int description_of_new_line(void)
{
    struct og_error err;
    struct og_tether tether;
    struct own_fd reader;
    int pipe[2], q[2], t[2];
    if (!in_the_open) {
        make_tether(&tether);
        return added(&tether, 0, SIGKILL);
    }
    must(pipe2(pipe, O_CLOEXEC | O_NONBLOCK) == 0, "pipe2");
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, q) == 0, "socketpair");
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, t) == 0, "socketpair");
    send_fd(t[0], q[1]);
    send_fd(t[0], pipe[1]);
    close(pipe[1]);
    close(t[0]);
    must(og_identify(&reader, pipe[0]), "fstat");
    int fd = og_reopen(pipe[0], reader.dev, reader.ino, &err);
    must_og(fd >= 0 && og_load(fd, SIGKILL, 0, &err) == 0, &err);
    send_fd(q[0], fd);
    return fd;
}

static void forking_parent(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, fork_siblings, NULL) == 0, "pthread_create");
    for (int i = 0; i < LINES; i++) {
        int fd = description_of_new_line();
        watch(armed_child(fd));
        close(fd);
    }
    enough = true;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    play_on();
}

void made_while_forking(void)
{
    for (int control = 0; control < 2; control++) {
        int left = 0, count = 0, early = 0, siblings = 0;
        in_the_open = control;
        for (int i = 0; i < (control ? 10 : rounds) && !(control && left); i++) {
            pid_t pid = begin(forking_parent);
            early += dead(0);
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            sh->go = 1;
            while (sh->gone < sh->numbers[1])
                nap(5);
            left += sh->count - dead(control ? 700 : 20000);
            count += sh->count;
            siblings += sh->gone;
            end_play();
        }
        check(!early && siblings && (control ? left > 0 : left == 0),
              "%smade while 3 threads forked %d siblings: %d of %d left, %d early",
              control ? "control, in the parent's table: " : "", siblings, left, count, early);
    }
}
