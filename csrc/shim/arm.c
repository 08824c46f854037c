/* How a process arms itself, and what it is armed on.
 *
 * There are two layers here. The lifeline is the guarantee: the child becomes the owner of the description that its
 * parent opened for it, and then looks once whether the parent is gone already. PR_SET_PDEATHSIG is the second layer,
 * where it can do no harm: pdeathsig.c.
 *
 * A worker that is forked arms itself in the at-fork handler, before any code of Python's runs in it (atfork.c); a
 * program is armed before the exec (spawn_child.c); the child of a fork server arms itself when the description has
 * reached it; a foreign child, when it calls die_with_parent(). Needs pdeathsig.c, credentials.c, description.c and
 * foreign.c. */

#include "shim.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct og_origin origin = {.lifeline = -1, .armed = -1};
static uid_t armed_as[2];  /* the real and effective uid that the kernel recorded with the owner */
static bool has_pdeathsig; /* this layer is armed, too */

/* Runs in a forked child. It is armed on nothing yet: the kernel clears PDEATHSIG at a fork (prctl(2)). */
void og_forget_arming(const struct og_origin *from)
{
    origin = *from;
    has_pdeathsig = false;
}

static void armed_on(int fd, int sig, int held_by_parent)
{
    origin.armed = fd;
    origin.armed_signal = sig;
    origin.held_by_parent = held_by_parent;
    origin.flat = (fcntl(fd, F_GETFL) & OG_FLAT) != 0;
    armed_as[0] = getuid();
    armed_as[1] = geteuid();
}

/* Arms this process on a description that its parent opened for it. */
int og_arm_on(int fd, int pdeathsig, struct og_error *err)
{
    int sig = og_make_mine(fd, err);
    if (sig < 0 || (pdeathsig && og_set_pdeathsig(sig, err) < 0) || og_die_if_hung_up(fd, sig, err) < 0)
        return -1;
    armed_on(fd, sig, 1);
    has_pdeathsig = pdeathsig;
    return 0;
}

int og_arm(int fd, int pdeathsig)
{
    struct og_error err;
    return og_arm_on(fd, pdeathsig, &err) < 0 ? og_report(&err) : 0;
}

static int arm_inherited(int sig, struct og_error *err)
{
    bool held;
    int fd = og_foreign_open(&held, err);
    if (fd < 0)
        return -1;
    if (og_load(fd, sig, 0, err) < 0 || og_make_mine(fd, err) < 0) {
        close(fd);
        return -1;
    }
    (void)og_die_if_hung_up(fd, sig, NULL);
    armed_on(fd, sig, held);
    return fd;
}

/* Arms a foreign child on a description that it opens itself. Returns the fd. */
int og_arm_inherited(int sig)
{
    struct og_error err;
    og_lock(); /* og_foreign_open() wants it */
    int fd = arm_inherited(sig, &err);
    og_unlock();
    return fd < 0 ? og_report(&err) : fd;
}

/* Arms this process by PR_SET_PDEATHSIG alone. `parent` is the pid that getppid() must still give, or 0 if it is
 * unknown. If the parent is gone already, this process dies of `sig` here. */
int og_arm_pdeathsig(int sig, int parent)
{
    siginfo_t ignored;
    struct og_error err;
    if (og_set_pdeathsig(sig, &err) < 0)
        return og_report(&err);
    has_pdeathsig = true;
    /* Before Linux 6.18 a parent that exits right now may not see what prctl() has stored, while getppid() still names
     * that parent. waitid() over all children takes the tasklist lock, which orders the two. */
    (void)waitid(P_ALL, 0, &ignored, WEXITED | WNOHANG | WNOWAIT);
    int now = getppid();
    /* 0: the parent is outside our pid namespace, where its pid means nothing. */
    if (parent && now && now != parent)
        og_die(sig);
    return 0;
}

int og_armed(void)
{
    return origin.armed;
}

/* The number alone proves nothing: this process may have closed it, and may have the description of a child of its own
 * under that number by now. */
static bool is_mine(int fd)
{
    return fd >= 0 && fcntl(fd, F_GETOWN) == getpid();
}

/* Whether the lifeline still reaches this process. Some changes of its uids end that. So does the closing of the
 * description, if no other process holds it. */
int og_armed_still(void)
{
    return origin.armed >= 0 && (origin.held_by_parent || is_mine(origin.armed)) &&
           og_reaches_us(armed_as[0], armed_as[1]);
}

/* Arms this process again after a change of uids, which may have undone both layers. */
int og_arm_again(void)
{
    struct og_error err;
    if (!is_mine(origin.armed))
        return og_report_failure(EBADF, "lifeline");
    int sig = og_make_mine(origin.armed, &err);
    if (sig < 0 || (has_pdeathsig && og_is_main_thread() && og_set_pdeathsig(sig, &err) < 0) ||
        og_die_if_hung_up(origin.armed, sig, &err) < 0)
        return og_report(&err);
    armed_on(origin.armed, sig, origin.held_by_parent);
    return 0;
}

/* Returns 1 for the first caller among all processes that share the page of `word`. */
int og_claim(char *word)
{
    char unclaimed = 0;
    return __atomic_compare_exchange_n(word, &unclaimed, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

void og_origin(struct og_origin *result)
{
    *result = origin;
    result->lifeline = og_foreign_reader();
}
