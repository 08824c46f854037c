/* The fds that the supervisor waits for, in one epoll.
 *
 * An fd that is watched wakes the event loop until it is read or unwatched. A failure to watch ends the supervisor. The
 * other files need prepare() of start.c to have opened the epoll. */

#include "supervisor.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct watched watched = {.timer_fd = -1, .parent_fd = -1};

void watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(watched.epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die(EXIT_OURS, errno, "epoll_ctl");
}

void unwatch(int *fd)
{
    epoll_ctl(watched.epoll_fd, EPOLL_CTL_DEL, *fd, NULL);
    close(*fd);
    *fd = -1;
}

void set_timer(long ms)
{
    struct itimerspec timer = {.it_value = {ms / 1000, ms % 1000 * 1000000}};
    timerfd_settime(watched.timer_fd, 0, &timer, NULL);
}
