/* What the checks share. A `play` is a parent that is going to be killed: it makes children, whose pids it leaves in
 * `sh`, says that it is ready, and waits. Whoever outlives its parent comes to us, since we are a subreaper. */
#ifndef KERNELS_CHECKS_H
#define KERNELS_CHECKS_H

#include "shim.h"

#define MOST 1100 /* children of one play */

struct shared {
    volatile int error;          /* errno, and what failed: the play could not be set up */
    char call[80];
    volatile int ready, go, gone, armed;
    volatile int sibling;
    volatile int count, pids[MOST];
    volatile long long numbers[8];
};
extern struct shared *sh;

void check(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));
void must(bool ok, const char *what);
void must_og(bool ok, const struct og_error *err);
void nap(int milliseconds);
long long now_us(void);

void reset(void);
/* Starts a play, and waits until it is ready. */
pid_t begin(void (*play)(void));
/* In a play: it is ready, and waits to be killed. */
void play_on(void) __attribute__((noreturn));
/* In a play: the pid is that of a child to be watched. */
void watch(pid_t pid);
/* How many of the children of the play are dead; at most `milliseconds` are waited for all to be. */
int dead(int milliseconds);
/* Whether this one is. */
bool is_dead(int at);
/* Kills the children that we have now; returns how many. */
int kill_children(void);
/* Kills and reaps whoever is left. */
void end_play(void);
void raise_limit(int fds);

/* A child of a play, armed on `fd`, that keeps no other fd but 0, 1 and 2, and says in `sh` that it is armed. */
pid_t armed_child(int fd);

/* The calls of csrc/shim/tether.c, in the order in which csrc/shim/strand.c makes them. */
void make_tether(struct og_tether *tether);
/* A new description, loaded and on the tether, at its end, which is `place`. -1: there is none, and *err says why. */
int add_description(const struct og_tether *tether, int place, int sig, struct og_error *err);
int added(const struct og_tether *tether, int place, int sig);
int peeked(const struct og_tether *tether, int place);
/* By a message of its own. */
void send_fd(int socket, int fd);

#define ROOM 64 /* descriptions on one tether, OG_PER_PIPE of csrc/shim/shim.h */

extern int rounds;

/* order.c */
void nest(void);
void made_while_forking(void);
/* tether.c */
void places(void);
void slot_again(void);
void flags(void);
void limits(void);
/* starts.c */
void starts(void);
/* costs.c */
void costs_in_flight(void);
void costs_of_calls(void);
void thousand(void);

#endif
