/* The tether of foreign children: children that other code of this program forks, and that may arm themselves later by
 * die_with_parent().
 *
 * The parent does not know which forked child will do so, or how many. So it makes one tether for all of them before
 * the first such fork, and every foreign child inherits two fds: a read end of the pipe, and the sending end of the
 * queue. Without sockets or free numbers there is a bare pipe, or nothing. Then a child is not on a tether, or can't
 * arm itself; the fork goes on. Needs fd.c, pipe.c, description.c and tether.c. */

#include "shim.h"

#include <fcntl.h>
#include <unistd.h>

/* The parent's. */
static struct {
    struct og_tether tether;
    struct own_fd reader, sender; /* what foreign children inherit */
} ours = {.tether = {.end = {.fd = -1}, .queue = {.fd = -1}}, .reader = {.fd = -1}, .sender = {.fd = -1}};

/* What this process has inherited itself, if it is a foreign child. */
static struct own_fd inherited_reader = {.fd = -1}, inherited_sender = {.fd = -1};

/* Runs before a fork, with the lock held. */
void og_foreign_expect(void)
{
    int parts[2];
    if (og_still_ours(&ours.tether.end))
        return;
    /* There is no tether yet, or the program has closed it. */
    og_close_if_ours(&ours.reader);
    og_close_if_ours(&ours.sender);
    if (og_tether_make(&ours.tether, false, &ours.reader, NULL) < 0) {
        (void)og_make_pipe(&ours.reader, &ours.tether.end, O_NONBLOCK, NULL);
    } else if (og_tether_parts(&ours.tether, parts, NULL) == 0) {
        (void)og_identify(&ours.sender, og_above_stdio(parts[0]));
        close(parts[1]);
    }
    og_close_if_ours(&ours.tether.queue); /* og_tether_peek() is not called for it */
}

/* The tether itself: what keeps foreign children alive. */
struct own_fd og_foreign_end(void)
{
    return ours.tether.end;
}

bool og_foreign_has(int fd)
{
    return og_tether_has(&ours.tether, fd);
}

/* --- in a forked child ---------------------------------------------------------- */

/* Closes the copy of the parent's tether, and what the parent had inherited itself. A child that we start is armed
 * already, and closes the two fds for foreign children, too. */
void og_foreign_leave(bool is_foreign)
{
    og_close_if_ours(&inherited_reader);
    og_close_if_ours(&inherited_sender);
    og_tether_close(&ours.tether);
    if (!is_foreign) {
        og_close_if_ours(&ours.reader);
        og_close_if_ours(&ours.sender);
    }
    inherited_reader = ours.reader;
    inherited_sender = ours.sender;
    ours.reader = ours.sender = OG_NO_FD;
}

/* Returns the read end of the parent's pipe that this process has inherited, or -1. */
int og_foreign_reader(void)
{
    return og_still_ours(&inherited_reader) ? inherited_reader.fd : -1;
}

/* Opens a description on which this process can arm itself. *held: it hangs on the parent's tether. Otherwise (there is
 * no tether, or its queue is full) only this process holds it, and loses it when it closes its fds. The caller holds
 * the lock. */
int og_foreign_open(bool *held, struct og_error *err)
{
    if (!og_still_ours(&inherited_reader))
        return og_fail(err, ENOENT, "lifeline");
    int fd = og_reopen(inherited_reader.fd, inherited_reader.dev, inherited_reader.ino, err);
    if (fd >= 0)
        *held = og_still_ours(&inherited_sender) && og_tether_add(inherited_sender.fd, 0, fd, NULL) == 0;
    return fd;
}
