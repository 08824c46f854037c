/* Copies in children of what keeps this process's children alive.
 *
 * A copy of a tether in any process delays the death of all children on it, and a copy of a description is a number
 * that the child has no use for. A forked child closes its copies in the at-fork handler; a spawned child closes those
 * that it shares or copies. After an exec there are none: all are close-on-exec. Needs fd.c, pipe.c, lifeline.c and
 * foreign.c. */

#include "shim.h"

#include <stdlib.h>

/* Lists the fds up to `top` that children must not have. The array ends with an fd of -1; NULL: there is no memory. */
struct own_fd *og_not_for_children(int top)
{
    og_lock();
    size_t strands = og_strand_ends(NULL, 0), kept = og_kept_from_forks(NULL, 0), count = strands;
    struct own_fd *all = malloc((strands + 1 + kept + 1) * sizeof *all);
    if (all) {
        (void)og_strand_ends(all, strands);
        all[count++] = og_foreign_end();
        count += og_kept_from_forks(all + count, kept);
        size_t left = 0;
        for (size_t i = 0; i < count; i++)
            if (all[i].fd >= 0 && all[i].fd <= top)
                all[left++] = all[i];
        all[left] = OG_NO_FD;
    }
    og_unlock();
    return all;
}

/* Whether `fd` is a tether or a queue. A program may pass on a number that it has closed, and that is ours by now. A
 * child with a copy of a tether would keep everything on it alive; a child that reads from a queue takes descriptions
 * out. */
bool og_is_tether(int fd)
{
    og_lock();
    bool found = og_strands_have(fd) || og_foreign_has(fd);
    og_unlock();
    return found;
}

/* Runs in a forked child, which must not keep its siblings alive, nor hide an end of file: closes all its copies but
 * that of `own`, its own description. */
void og_close_copies(int own, bool is_foreign)
{
    og_lifelines_leave(own);
    og_foreign_leave(is_foreign);
    og_close_kept();
}
