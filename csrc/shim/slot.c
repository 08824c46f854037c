/* Slots: the places for children on a strand. The number of a slot is the place of its description in the tether's
 * queue.
 *
 * A description stays in the queue for ever, and serves the next child when its owner is gone. It never serves another
 * child while a process is armed on it, or may still become its owner. The state of a slot says which of these holds.
 * The callers hold the lock. Needs fd.c, description.c and tether.c. */

#include "shim.h"

#include <unistd.h>

int og_looked_for;

bool og_is_whole(const struct og_strand *strand)
{
    return strand->room && og_still_ours(&strand->tether.end) && (strand->flat || og_still_ours(&strand->tether.queue));
}

bool og_slot_is_looked_for(const struct og_slot *slot)
{
    return slot->state == OG_LEFT || (slot->state == OG_TAKEN && slot->for_hook && slot->fd >= 0);
}

static bool is_alive(unsigned char state)
{
    return state == OG_TAKEN || state == OG_LEFT;
}

void og_slot_set_state(struct og_strand *strand, struct og_slot *slot, enum og_slot_state state)
{
    strand->alive += is_alive((unsigned char)state) - is_alive(slot->state);
    strand->lost += state == OG_LOST;
    og_looked_for -= og_slot_is_looked_for(slot);
    slot->state = (unsigned char)state;
    og_looked_for += og_slot_is_looked_for(slot);
}

/* Closes the parent's fd of the description. */
void og_slot_close(struct og_strand *strand, struct og_slot *slot)
{
    struct own_fd own = {slot->fd, strand->tether.dev, strand->tether.ino};
    og_close_if_ours(&own);
    og_looked_for -= og_slot_is_looked_for(slot);
    slot->fd = -1;
    og_looked_for += og_slot_is_looked_for(slot);
}

/* Returns an fd of the description: the slot's own; or, where there is none, a copy from the tether. *copied is set for
 * a copy, which the caller must close. */
int og_slot_look_at(const struct og_strand *strand, const struct og_slot *slot, bool *copied, struct og_error *err)
{
    struct own_fd own = {slot->fd, strand->tether.dev, strand->tether.ino};
    *copied = !og_still_ours(&own);
    if (!*copied)
        return slot->fd;
    if (strand->flat || !og_is_whole(strand))
        return og_fail(err, EBADF, "lifeline, which this program has closed");
    return og_tether_peek(&strand->tether, (int)(slot - strand->slots), err);
}

/* Whether a process is armed on the description, or may still arm itself. Without an owner, a slow child may be about
 * to become it: the child of a fork server that is gone, or of a start that was interrupted. That child shares the
 * description, so a flag in there tells it to give up (og_revoke). */
static bool is_owned(struct og_slot *slot, int fd)
{
    if (!slot->armed && !slot->revoked && !og_owner_of(fd)) {
        if (!og_revoke(fd))
            return true;
        slot->revoked = true;
    }
    if (!og_owner_of(fd))
        return false;
    slot->armed = true;
    return true;
}

/* `gone`: the caller knows that the description had an owner, which is gone. Otherwise the caller may know nothing of
 * the owner. */
void og_slot_give_back(struct og_strand *strand, struct og_slot *slot, bool gone)
{
    slot->armed |= gone;
    if (!gone) {
        bool copied;
        int fd = og_slot_look_at(strand, slot, &copied, NULL);
        /* If the program has closed the tether, no process is armed on it any more. */
        gone = fd >= 0 ? !is_owned(slot, fd) : !og_still_ours(&strand->tether.end);
        if (fd >= 0 && copied)
            close(fd);
    }
    og_slot_set_state(strand, slot, !gone ? OG_LEFT : slot->armed && !slot->revoked ? OG_FREE : OG_LOST);
    if (gone || !strand->flat)
        og_slot_close(strand, slot);
}
