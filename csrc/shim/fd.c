/* Fds that the shim has opened, in a program that may close any of them.
 *
 * The number of an fd proves nothing: a program may close all its fds, and then get our numbers for its own files. So
 * we remember what each fd referred to when we made it (struct own_fd). We look whether it still does before we use or
 * close it. Needs error.c. */

#include "shim.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

/* The at-fork handlers hold this lock across fork(). So no child is born between the making of an fd that it must not
 * keep and the moment at which the handlers know of that fd. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void og_lock(void)
{
    pthread_mutex_lock(&lock);
}

void og_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

/* Moves `fd` above 2. Where a program has closed 0, 1 or 2, the next fd gets that number. Then a print() would write to
 * the pipe of a lifeline, which kills the children, or a child would get a pidfd as its stdin. Returns -1 with errno
 * when no number above 2 is free; `fd` is closed then. */
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

/* Leaves *own as it is: forked children use this, and the kernel must copy each page that they write to. */
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

int og_duplicate(struct own_fd *copy, int fd)
{
    int made = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (made < 0)
        return og_report_failure(errno, "fcntl(F_DUPFD_CLOEXEC)");
    (void)og_identify(copy, made);
    return 0;
}
