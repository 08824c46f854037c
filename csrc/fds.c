/* Fds of ours. Their numbers prove nothing: a program may close all fds, and get
 * our numbers again for its own. So each is known by what it referred to when we
 * made it, and looked at before it is used or closed. */

#include "shim.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Held across fork(): no child is born between the making of an fd that it must not keep, and the moment at which the
 * at-fork handlers know of that. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Write ends that a forked child must not keep: somebody waits for their end of file. Entries whose pipe has been closed
 * go when the next one comes. */
static struct own_fd *kept_from_forks;
static size_t kept_count, kept_room;

void og_lock(void)
{
    pthread_mutex_lock(&lock);
}

void og_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

/* Where 0, 1 or 2 is closed, the next fd gets that number: then a print() would write to a lifeline, which kills, or
 * a child's stdin be a pidfd. -1 with errno: no number is free above, and `fd` is closed. */
int og_above_stdio(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int code = errno;
    close(fd);
    errno = code;
    return moved;
}

bool og_identify(struct own_fd *own, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return false;
    *own = (struct own_fd){.fd = fd, .dev = st.st_dev, .ino = st.st_ino};
    return true;
}

int og_still_ours(const struct own_fd *own)
{
    struct own_fd now;
    return own->fd >= 0 && og_identify(&now, own->fd) && now.dev == own->dev && now.ino == own->ino;
}

void og_close_copy(const struct own_fd *own)
{
    if (og_still_ours(own))
        close(own->fd);
}

void og_close_if_ours(struct own_fd *own)
{
    og_close_copy(own);
    *own = OG_NO_FD;
}

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

/* A pipe of blocking ends. With `keep_from_forks`, no forked child keeps its write end:
 * an unguarded one would hide from the reader that this process is gone. */
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

int og_duplicate(struct own_fd *copy, int fd)
{
    int made = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (made < 0)
        return og_report(&(struct og_error){errno, "fcntl(F_DUPFD_CLOEXEC)"});
    (void)og_identify(copy, made);
    return 0;
}

/* With the lock held, up to `room` of them; returns how many there are. */
size_t og_kept_from_forks(struct own_fd *into, size_t room)
{
    for (size_t i = 0; i < kept_count && i < room; i++)
        into[i] = kept_from_forks[i];
    return kept_count;
}

/* In a forked child. */
void og_close_kept(void)
{
    for (size_t i = 0; i < kept_count; i++)
        og_close_copy(&kept_from_forks[i]);
    kept_count = 0;
}
