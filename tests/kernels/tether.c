/* The calls of csrc/shim/tether.c: do they find each description, reuse it, mark it, and stay below the limits? */

#include "checks.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

/* --- each at its place ------------------------------------------------------- */

static volatile bool enough;

static void *fork_and_reap(void *unused)
{
    while (!enough) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        if (pid > 0)
            waitpid(pid, NULL, 0);
        __atomic_add_fetch(&sh->numbers[1], 1, __ATOMIC_SEQ_CST);
    }
    return unused;
}

/* The mark of a description is its signal, 1 to 64, and its owner. */
static void peeking_parent(void)
{
    struct og_tether tether;
    int right = 0, looks = 0, owners[2] = {getpid(), getppid()};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        must(pthread_create(&threads[i], NULL, fork_and_reap, NULL) == 0, "pthread_create");
    make_tether(&tether);
    for (int i = 0; i < ROOM; i++) {
        int fd = added(&tether, i, i + 1);
        must(fcntl(fd, F_SETOWN, owners[i % 2]) == 0, "F_SETOWN");
        close(fd);
    }
    for (int i = 0; i < 20 * ROOM || sh->numbers[1] < 100; i++) {
        int place = i * 37 % ROOM, fd = peeked(&tether, place);
        right += fcntl(fd, F_GETSIG) == place + 1 && fcntl(fd, F_GETOWN) == owners[place % 2];
        looks++;
        close(fd);
    }
    enough = true;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < ROOM; i++) { /* or the end of us signals ourselves and our parent */
        int fd = peeked(&tether, i);
        must(fcntl(fd, F_SETOWN, 0) == 0, "F_SETOWN");
        close(fd);
    }
    struct og_error err;
    sh->numbers[2] = right;
    sh->numbers[3] = looks;
    sh->numbers[4] = og_tether_peek(&tether, ROOM, &err) < 0 ? err.code : 0;
    play_on();
}

void places(void)
{
    begin(peeking_parent);
    check(sh->numbers[1] && sh->numbers[2] == sh->numbers[3] && sh->numbers[4] == EAGAIN,
          "peeked by its place, while 2 threads fork (%lld times): %lld of %lld right; behind the last: %s",
          sh->numbers[1], sh->numbers[2], sh->numbers[3], strerror((int)sh->numbers[4]));
    end_play();
}

/* --- a slot for the next child -------------------------------------------------- */

enum { OLD_OWNER, NEW_OWNER, AFTER_REAPED, OTHER_SLOT, UNGUARDED, ROLES };

static void reusing_parent(void)
{
    struct og_error err;
    struct og_tether tether;
    int status;
    make_tether(&tether);
    /* The old owner lives, and must not hear anything any more. */
    int fd = added(&tether, 0, SIGKILL);
    watch(armed_child(fd));
    close(fd);
    fd = peeked(&tether, 0);
    must_og(og_load(fd, SIGKILL, 0, &err) == 0, &err);
    watch(armed_child(fd));
    close(fd);
    /* As in life: the old owner has been reaped. */
    fd = added(&tether, 1, SIGKILL);
    pid_t pid = armed_child(fd);
    close(fd);
    must(pid > 0 && kill(pid, SIGTERM) == 0 && waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGTERM, "kill");
    fd = peeked(&tether, 1);
    must_og(og_load(fd, SIGKILL, 0, &err) == 0, &err);
    watch(armed_child(fd));
    close(fd);

    fd = added(&tether, 2, SIGKILL);
    watch(armed_child(fd));
    close(fd);
    pid = fork();
    if (pid == 0) {
        must(syscall(SYS_close_range, 3, ~0U, 0) == 0, "close_range");
        for (;;)
            pause();
    }
    watch(pid);
    play_on();
}

static void single_parent(void)
{
    struct og_error err;
    struct og_tether tether;
    struct own_fd reader;
    must_og(og_tether_make(&tether, true, &reader, &err) == 0 && og_load(reader.fd, SIGUSR1, 0, &err) == 0, &err);
    watch(armed_child(reader.fd));
    og_close_if_ours(&reader);
    int fd = peeked(&tether, 0); /* where og_slot_give_back() of csrc/shim/slot.c looks for its owner */
    sh->numbers[1] = fcntl(fd, F_GETOWN) == sh->pids[0];
    close(fd);
    play_on();
}

static pid_t ends(void (*play)(void), int *early)
{
    pid_t pid = begin(play);
    nap(20);
    *early += dead(0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return pid;
}

void slot_again(void)
{
    int ended[ROLES] = {0}, early = 0, times = 4 * rounds, right = 0, signalled = 0, status;
    for (int i = 0; i < times; i++) {
        ends(reusing_parent, &early);
        for (long long end = now_us() + 20000000; now_us() < end;) {
            if (is_dead(NEW_OWNER) && is_dead(AFTER_REAPED) && is_dead(OTHER_SLOT))
                break;
            nap(2);
        }
        nap(50);
        for (int role = 0; role < ROLES; role++)
            ended[role] += is_dead(role);
        end_play();
    }
    check(!early && ended[NEW_OWNER] == times && ended[AFTER_REAPED] == times && ended[OTHER_SLOT] == times,
          "a slot again: the new owner died with the parent, %d of %d; where the old one had been reaped, %d of %d; "
          "the next slot's, %d of %d; %d early",
          ended[NEW_OWNER], times, ended[AFTER_REAPED], times, ended[OTHER_SLOT], times, early);
    check(ended[OLD_OWNER] == 0 && ended[UNGUARDED] == 0,
          "a slot again: who is not its owner any more died, %d of %d; an unguarded child, %d of %d", ended[OLD_OWNER],
          times, ended[UNGUARDED], times);
    early = 0;
    for (int i = 0; i < times; i++) {
        ends(single_parent, &early);
        right += sh->numbers[1] == 1;
        dead(20000);
        signalled += waitpid(sh->pids[0], &status, WNOHANG) > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1;
        end_play();
    }
    check(!early && right == times && signalled == times,
          "single: its owner is peeked, %d of %d; ended by SIGUSR1 with the parent, %d of %d; %d early", right, times,
          signalled, times, early);
}

/* --- flags ------------------------------------------------------------------- */

static int set;

static void flagged_parent(void)
{
    struct og_error err;
    struct og_tether tether;
    make_tether(&tether);
    int fd = added(&tether, 0, SIGKILL);
    must_og(og_load(fd, SIGKILL, set, &err) == 0, &err);
    int copy = peeked(&tether, 0), again = dup(fd), plain = added(&tether, 1, SIGKILL);
    int seen = (fcntl(copy, F_GETFL) & set) == set && (fcntl(again, F_GETFL) & set) == set;
    int other = fcntl(plain, F_GETFL) & set;
    must(fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK) == 0, "F_SETFL");
    int cleared = !(fcntl(copy, F_GETFL) & set);
    must(fcntl(copy, F_SETFL, set | O_ASYNC | O_NONBLOCK) == 0, "F_SETFL");
    sh->numbers[1] = seen && !other && cleared && (fcntl(fd, F_GETFL) & set) == set;

    pid_t pid = fork();
    if (pid == 0) { /* og_make_mine() refuses a revoked one */
        setpgid(0, 0);
        int mine = og_make_mine(fd, &err);
        sh->numbers[2] = mine > 0 ? 0 : err.code;
        must(syscall(SYS_close_range, 3, ~0U, 0) == 0, "close_range");
        __atomic_add_fetch(&sh->armed, 1, __ATOMIC_SEQ_CST);
        for (;;)
            pause();
    }
    watch(pid);
    while (!sh->armed)
        nap(1);
    close(fd);
    close(copy);
    close(again);
    close(plain);
    play_on();
}

void flags(void)
{
    const int all[] = {OG_FLAT, OG_REVOKED, OG_FLAT | OG_REVOKED};
    const char *const names[] = {"OG_FLAT (O_DIRECT)", "OG_REVOKED (O_APPEND)", "both"};
    for (int i = 0; i < 3; i++) {
        int times = 2 * rounds, right = 0, told = 0, signalled = 0, early = 0;
        set = all[i];
        for (int k = 0; k < times; k++) {
            ends(flagged_parent, &early);
            right += sh->numbers[1] == 1;
            told += sh->numbers[2] == (set & OG_REVOKED ? ECANCELED : 0);
            signalled += dead(20000);
            end_play();
        }
        check(!early && right == times && told == times && signalled == times,
              "%s: set, seen and cleared by another fd of the description, %d of %d; og_make_mine() says %s, %d of %d; "
              "the signal came, %d of %d; %d early",
              names[i], right, times, set & OG_REVOKED ? "ECANCELED" : "nothing", told, times, signalled, times, early);
    }
}

/* --- fds in flight ------------------------------------------------------------- */

#define WANTED 1000
static int soft, hard;

static void limited_parent(void)
{
    struct og_error err = {0, NULL};
    struct og_tether tethers[WANTED / ROOM + 1];
    struct rlimit limit = {(rlim_t)soft, (rlim_t)hard};
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    must(setgid(1000) == 0 && setuid(1000) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0, "setuid");
    int count = 0;
    for (; count < WANTED; count++) {
        struct own_fd reader;
        if (count % ROOM == 0) {
            if (og_tether_make(&tethers[count / ROOM], false, &reader, &err) < 0)
                break;
            og_close_if_ours(&reader);
        }
        int fd = add_description(&tethers[count / ROOM], count % ROOM, SIGKILL, &err);
        if (fd < 0)
            break;
        if (count == WANTED - 1)
            watch(armed_child(fd));
        close(fd);
    }
    sh->numbers[1] = count;
    sh->numbers[2] = count < WANTED ? err.code : 0;
    snprintf(sh->call, sizeof sh->call, "%s", err.call && count < WANTED ? err.call : "");
    getrlimit(RLIMIT_NOFILE, &limit);
    sh->numbers[3] = limit.rlim_cur == (rlim_t)soft;

    /* What a start does then: no tether, but it goes on. */
    if (count < WANTED) {
        struct og_child child = {.pidfd = -1};
        int fd = og_lifeline_open(&child, SIGKILL, 0, 0);
        must(fd >= 0, "og_lifeline_open");
        sh->numbers[4] = child.flat;
        watch(armed_child(fd));
    }
    play_on();
}

void limits(void)
{
    int early = 0;
    soft = 64;
    hard = 4096;
    ends(limited_parent, &early);
    int gone = dead(20000);
    check(sh->numbers[1] == WANTED && sh->numbers[3] && gone == 1 && !early,
          "uid 1000, soft limit 64, hard 4,096: %lld of %d added%s%s; soft limit as before: %s; the last one's owner "
          "died with the parent, %d of 1",
          sh->numbers[1], WANTED, sh->numbers[2] ? ", then " : "", sh->numbers[2] ? strerror((int)sh->numbers[2]) : "",
          sh->numbers[3] ? "yes" : "NO", gone);
    end_play();
    hard = 64;
    ends(limited_parent, &early);
    gone = dead(20000);
    bool refused = sh->numbers[2] == ETOOMANYREFS && sh->numbers[4] == ETOOMANYREFS;
    check(sh->numbers[1] < 65 && refused && gone == 1 && !early,
          "hard limit 64: %lld added, then %s: %s; a lifeline is flat then (%s), its owner died with the parent, %d "
          "of 1",
          sh->numbers[1], sh->call, strerror((int)sh->numbers[2]), strerror((int)sh->numbers[4]), gone);
    end_play();
}
