/* Strands: a pipe with its tether, and the descriptions of up to 64 children on it.
 *
 * A strand that has room serves the next child. A strand whose children are all gone is closed, except one. So the fds
 * of the parent grow with the children that live, not with the starts. The callers hold the lock. Needs fd.c, pipe.c,
 * description.c, tether.c and slot.c. */

#include "shim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* How many slots each start looks at, to find owners that are gone. */
#define LOOKS 4

/* Callers know a strand by its index, so it never moves to another index. */
static struct og_strand *strands;
static int strand_count, strand_room;
static int last_look; /* of og_strands_look_again(): it goes round */

/* --- the entries ---------------------------------------------------------------- */

static struct og_strand *new_strand(struct og_error *err)
{
    int at = 0;
    while (at < strand_count && strands[at].room)
        at++;
    if (at == strand_room) {
        int more = strand_room ? 2 * strand_room : 4;
        struct og_strand *grown = realloc(strands, (size_t)more * sizeof *grown);
        if (!grown) {
            og_fail(err, ENOMEM, "realloc");
            return NULL;
        }
        strands = grown;
        strand_room = more;
    }
    if (at == strand_count)
        strand_count++;
    strands[at] = (struct og_strand){.tether = {.end = OG_NO_FD, .queue = OG_NO_FD}};
    return &strands[at];
}

static void end_strand(struct og_strand *strand)
{
    for (int i = 0; i < strand->made; i++)
        og_slot_close(strand, &strand->slots[i]);
    og_tether_close(&strand->tether);
    strand->room = 0;
}

static bool has_room(const struct og_strand *strand)
{
    return strand->room == OG_PER_PIPE && strand->alive + strand->lost < OG_PER_PIPE;
}

static struct og_strand *strand_with_room(void)
{
    for (int i = 0; i < strand_count; i++)
        if (has_room(&strands[i]) && og_is_whole(&strands[i]))
            return &strands[i];
    return NULL;
}

/* Ends a strand when its last child is gone. One strand with room is kept for the next child. */
static void end_if_unused(struct og_strand *strand)
{
    if (strand->alive)
        return;
    int room = strand->room;
    strand->room = 0; /* so that strand_with_room() leaves this strand out */
    bool wanted = room == OG_PER_PIPE && strand->lost < OG_PER_PIPE && !strand_with_room();
    strand->room = room;
    if (!wanted)
        end_strand(strand);
}

/* Ends the strands that were kept for the next child, after the program has closed a part of them. */
static void end_closed(void)
{
    for (int i = 0; i < strand_count; i++)
        if (strands[i].room && !strands[i].alive)
            end_strand(&strands[i]);
}

/* --- the slots ------------------------------------------------------------------- */

static struct og_slot *slot_at(struct og_place place, struct og_strand **strand)
{
    *strand = &strands[place.strand];
    return &(*strand)->slots[place.slot];
}

/* Marks the slot as taken by a child whose description has the number `fd`. */
void og_strand_take(struct og_place place, int fd, bool for_hook)
{
    struct og_strand *strand;
    struct og_slot *slot = slot_at(place, &strand);
    *slot = (struct og_slot){.fd = fd, .state = slot->state, .for_hook = for_hook};
    og_slot_set_state(strand, slot, OG_TAKEN);
}

/* Closes the parent's fd. A flat lifeline needs it: returns false. */
bool og_strand_let_go(struct og_place place, bool armed)
{
    struct og_strand *strand;
    struct og_slot *slot = slot_at(place, &strand);
    if (strand->flat)
        return false;
    slot->armed |= armed;
    og_slot_close(strand, slot);
    return true;
}

/* `gone`: see og_slot_give_back(). */
void og_strand_give_back(struct og_place place, bool gone)
{
    struct og_strand *strand;
    struct og_slot *slot = slot_at(place, &strand);
    og_slot_give_back(strand, slot, gone);
    end_if_unused(strand);
}

/* Returns the pid of the description's owner, or 0. */
int og_strand_owner(struct og_place place)
{
    struct og_strand *strand;
    struct og_slot *slot = slot_at(place, &strand);
    bool copied;
    int fd = og_slot_look_at(strand, slot, &copied, NULL);
    if (fd < 0)
        return 0;
    int owner = og_owner_of(fd);
    slot->armed |= owner > 0;
    if (copied)
        close(fd);
    return owner > 0 ? owner : 0;
}

/* Looks at a few slots that were given back while their owners were alive, and at a few whose hook may have run by
 * now. */
void og_strands_look_again(void)
{
    int all = strand_count * OG_PER_PIPE;
    for (int steps = 0, looks = 0; steps < all && looks < og_looked_for && looks < LOOKS; steps++) {
        last_look = (last_look + 1) % all;
        struct og_strand *strand = &strands[last_look / OG_PER_PIPE];
        struct og_slot *slot = &strand->slots[last_look % OG_PER_PIPE];
        if (!strand->room || !og_slot_is_looked_for(slot))
            continue;
        looks++;
        if (slot->state == OG_LEFT) {
            og_slot_give_back(strand, slot, false);
            end_if_unused(strand);
        } else if (og_owner_of(slot->fd) > 0) {
            slot->armed = true;
            if (!strand->flat)
                og_slot_close(strand, slot);
        }
    }
}

/* --- a description for one child -------------------------------------------------- */

/* Returns an fd of the description in a FREE slot, or -1, with err->call set only if something failed. */
static int open_free(struct og_strand *strand, int *at, struct og_error *err)
{
    for (*at = 0; *at < strand->made; ++*at) {
        struct og_slot *slot = &strand->slots[*at];
        if (slot->state != OG_FREE)
            continue;
        int fd = og_tether_peek(&strand->tether, *at, err);
        if (fd < 0 || og_owner_of(fd) <= 0)
            return fd;
        close(fd);
        og_slot_set_state(strand, slot, OG_LEFT);
    }
    return og_fail(err, 0, NULL);
}

/* Whether the description has got into the queue although its sender has failed: a signal may have killed the sender
 * right after it had sent. */
static bool was_added(const struct og_strand *strand)
{
    int copy = og_tether_peek(&strand->tether, strand->made, NULL);
    if (copy >= 0)
        close(copy);
    return copy >= 0;
}

static int add_new(struct og_strand *strand, struct og_error *err)
{
    int parts[2];
    if (og_tether_parts(&strand->tether, parts, err) < 0)
        return -1;
    int fd = og_reopen(parts[1], strand->tether.dev, strand->tether.ino, err);
    if (fd >= 0 && og_tether_add(parts[0], strand->made, fd, err) < 0 && !was_added(strand)) {
        close(fd);
        fd = -1;
    }
    close(parts[0]);
    close(parts[1]);
    return fd;
}

/* Makes a strand. If it has room for one child only, returns an fd of its one description, else -1. */
static int make_strand(int room, struct og_strand **made, struct og_error *err)
{
    struct own_fd reader;
    struct og_strand *strand = *made = new_strand(err);
    if (!strand || og_tether_make(&strand->tether, room == 1, &reader, err) < 0)
        return -1;
    strand->room = room;
    if (room == 1)
        strand->made = 1;
    else
        og_close_if_ours(&reader);
    return reader.fd;
}

/* Opens a description on a strand that has room, or on a new one. */
int og_strand_open_shared(struct og_place *place, struct og_error *err)
{
    *err = (struct og_error){0, NULL};
    struct og_strand *strand = strand_with_room();
    if (!strand) {
        end_closed();
        (void)make_strand(OG_PER_PIPE, &strand, err);
        if (err->call)
            return -1;
    }
    place->strand = (int)(strand - strands);
    int fd = open_free(strand, &place->slot, err);
    if (fd < 0 && !err->call && strand->made < OG_PER_PIPE) {
        fd = add_new(strand, err);
        if (fd >= 0)
            place->slot = strand->made++;
    }
    return fd < 0 && !err->call ? og_fail(err, EAGAIN, "lifeline") : fd;
}

/* Opens a description on a new strand for one child. It is for a signal that must not come twice, as it may on a shared
 * pipe, and for hosts on which no further description of a pipe can be opened. */
int og_strand_open_single(struct og_place *place, struct og_error *err)
{
    struct og_strand *strand;
    int fd = make_strand(1, &strand, err);
    if (fd >= 0)
        *place = (struct og_place){(int)(strand - strands), 0};
    return fd;
}

/* Opens a description without a tether: both ends of the pipe are in this process's table of fds. The write end gets
 * the higher number, since Linux (5.10 to 7.3, measured) releases the highest first, of a process that ends alone. */
int og_strand_open_flat(struct og_place *place, struct og_error *err)
{
    struct own_fd r, w;
    struct og_strand *strand = new_strand(err);
    if (!strand || og_make_pipe(&r, &w, O_NONBLOCK, err) < 0)
        return -1;
    if (w.fd < r.fd) {
        int moved = fcntl(w.fd, F_DUPFD_CLOEXEC, r.fd + 1);
        int code = errno;
        og_close_if_ours(&w);
        if (moved < 0) {
            og_close_if_ours(&r);
            return og_fail(err, code, "fcntl(F_DUPFD_CLOEXEC)");
        }
        (void)og_identify(&w, moved);
    }
    strand->tether = (struct og_tether){.end = w, .queue = OG_NO_FD, .dev = r.dev, .ino = r.ino};
    strand->flat = true;
    strand->room = strand->made = 1;
    *place = (struct og_place){(int)(strand - strands), 0};
    return r.fd;
}

/* --- copies in children ------------------------------------------------------------ */

/* Copies up to `room` of the tethers, with OG_NO_FD for unused entries. Returns how many entries there are. */
size_t og_strand_ends(struct own_fd *into, size_t room)
{
    for (size_t i = 0; i < (size_t)strand_count && i < room; i++)
        into[i] = strands[i].room ? strands[i].tether.end : OG_NO_FD;
    return (size_t)strand_count;
}

/* Whether `fd` is a tether or a queue. */
bool og_strands_have(int fd)
{
    for (int i = 0; i < strand_count; i++)
        if (strands[i].room && og_tether_has(&strands[i].tether, fd))
            return true;
    return false;
}

/* Runs in a forked child: closes its copies, but that of its `own` description, and those that a hook in the child
 * looks for. The slots stay as they are: the kernel must copy each page that the child writes to. */
void og_strands_leave(int own)
{
    for (int i = 0; i < strand_count; i++) {
        struct og_strand *strand = &strands[i];
        if (!strand->room)
            continue;
        og_close_copy(&strand->tether.end);
        og_close_copy(&strand->tether.queue);
        for (int k = 0; k < strand->made; k++) {
            const struct og_slot *slot = &strand->slots[k];
            struct own_fd copy = {slot->fd, strand->tether.dev, strand->tether.ino};
            if (slot->fd >= 0 && slot->fd != own && (!slot->for_hook || og_owner_of(slot->fd) > 0))
                og_close_copy(&copy);
        }
    }
    strand_count = og_looked_for = 0;
}
