/* Pipes, with ends that are close-on-exec and numbered above 2.
 *
 * A pipe can be kept from forks: then no forked child keeps its write end, so its reader sees the end of file as soon
 * as this process is gone. Needs error.c and fd.c. */

#include "shim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* The write ends that a forked child closes. The entry of a pipe that has been closed is dropped when the next pipe is
 * made. */
static struct own_fd *kept_from_forks;
static size_t kept_count, kept_room;

int og_make_pipe(struct own_fd *reader, struct own_fd *writer, int flags, struct og_error *err)
{
    int fds[2];
    struct own_fd *ends[] = {reader, writer};
    *reader = *writer = OG_NO_FD;
    if (pipe2(fds, O_CLOEXEC | flags) < 0)
        return og_fail(err, errno, "pipe2");
    for (int i = 0; i < 2; i++) {
        fds[i] = og_above_stdio(fds[i]);
        if (!og_identify(ends[i], fds[i])) {
            int code = errno == EBADF ? EMFILE : errno;
            og_close_if_ours(reader);
            if (i == 0)
                close(fds[1]);
            return og_fail(err, code, "pipe2");
        }
    }
    return 0;
}

static bool make_room_for_kept(void)
{
    size_t left = 0;
    for (size_t i = 0; i < kept_count; i++)
        if (og_still_ours(&kept_from_forks[i]))
            kept_from_forks[left++] = kept_from_forks[i];
    kept_count = left;
    if (kept_count < kept_room)
        return true;
    struct own_fd *grown = realloc(kept_from_forks, (kept_room + 8) * sizeof *grown);
    if (!grown)
        return false;
    kept_from_forks = grown;
    kept_room += 8;
    return true;
}

/* Makes a pipe whose ends block. `keep_from_forks`: no forked child keeps the write end. A child without a guard that
 * kept it would hide from the reader that this process is gone. */
int og_pipe(struct own_fd *reader, struct own_fd *writer, int keep_from_forks)
{
    struct og_error err;
    og_lock();
    int made = keep_from_forks && !make_room_for_kept() ? og_fail(&err, ENOMEM, "realloc")
                                                        : og_make_pipe(reader, writer, 0, &err);
    if (made == 0 && keep_from_forks)
        kept_from_forks[kept_count++] = *writer;
    og_unlock();
    return made < 0 ? og_report(&err) : 0;
}

/* Copies up to `room` of these write ends, and returns how many there are. The caller holds the lock. */
size_t og_kept_from_forks(struct own_fd *into, size_t room)
{
    for (size_t i = 0; i < kept_count && i < room; i++)
        into[i] = kept_from_forks[i];
    return kept_count;
}

/* Runs in a forked child. */
void og_close_kept(void)
{
    for (size_t i = 0; i < kept_count; i++)
        og_close_copy(&kept_from_forks[i]);
    kept_count = 0;
}
