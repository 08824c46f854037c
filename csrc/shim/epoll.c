/* Waiting until a pidfd or a pipe is readable, by poll(2) or by an epoll that we know to be ours.
 *
 * The kernel tells no identity of an epoll. So we put something into ours that has an identity: a pipe whose write end
 * is closed. Its one event, the end of file, is taken out at once. Needs error.c, fd.c and pipe.c. */

#include "shim.h"

#include <poll.h>
#include <sys/epoll.h>

/* Returns 1 when fd is readable or hung up, 0 when the time is over, -EINTR after a signal: then the caller lets
 * Python's handlers run. */
int og_wait_readable(int fd, int milliseconds)
{
    struct pollfd look = {.fd = fd, .events = POLLIN};
    int ready = poll(&look, 1, milliseconds);
    return ready < 0 ? og_report_failure(errno, "poll") : ready;
}

static struct own_fd mark = {.fd = -1};

static int add_mark(int epoll)
{
    struct epoll_event event = {.events = EPOLLET, .data.fd = mark.fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, mark.fd, &event);
}

int og_epoll_is_ours(int epoll)
{
    if (!og_still_ours(&mark))
        return false;
    if (add_mark(epoll) < 0)
        return errno == EEXIST;
    (void)epoll_ctl(epoll, EPOLL_CTL_DEL, mark.fd, NULL); /* the number belongs to another epoll by now */
    return false;
}

/* Marks a new epoll. Only one epoll is marked at a time. */
int og_epoll_mark(int epoll)
{
    struct own_fd writer;
    og_close_if_ours(&mark);
    int code = og_pipe(&mark, &writer, 0);
    if (code < 0)
        return code;
    og_close_if_ours(&writer);
    if (add_mark(epoll) < 0) {
        code = og_report_failure(errno, "epoll_ctl");
        og_close_if_ours(&mark);
        return code;
    }
    struct epoll_event end_of_file;
    (void)epoll_wait(epoll, &end_of_file, 1, 0);
    return 0;
}
