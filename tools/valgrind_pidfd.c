/* For a valgrind that answers ENOSYS to pidfd_open and pidfd_send_signal: has
 * them done by valgrind_pidfd.py. Linked with -Wl,--wrap=syscall. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, ...);

enum { PIDFD_SEND_SIGNAL = 424, PIDFD_OPEN = 434 };

static void carry(struct msghdr *message, char *space, size_t size)
{
    message->msg_control = space;
    message->msg_controllen = size;
}

static long ask(int number, int first, int second)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int words[3] = {number, first, second};
    char space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec data = {words, sizeof words};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    int answer[2] = {-1, EIO};
    strncpy(address.sun_path, getenv("VALGRIND_PIDFD"), sizeof address.sun_path - 1);
    int at = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (at < 0 || connect(at, (struct sockaddr *)&address, sizeof address) < 0)
        abort();
    if (number == PIDFD_SEND_SIGNAL) {
        carry(&message, space, sizeof space);
        struct cmsghdr *with = CMSG_FIRSTHDR(&message);
        with->cmsg_level = SOL_SOCKET;
        with->cmsg_type = SCM_RIGHTS;
        with->cmsg_len = CMSG_LEN(sizeof first);
        memcpy(CMSG_DATA(with), &first, sizeof first);
    }
    if (sendmsg(at, &message, 0) < 0)
        abort();
    data = (struct iovec){answer, sizeof answer};
    message = (struct msghdr){.msg_iov = &data, .msg_iovlen = 1};
    carry(&message, space, sizeof space);
    if (recvmsg(at, &message, MSG_CMSG_CLOEXEC) != sizeof answer)
        abort();
    close(at);
    struct cmsghdr *got = CMSG_FIRSTHDR(&message);
    if (got && answer[0] == 0 && number == PIDFD_OPEN)
        memcpy(&answer[0], CMSG_DATA(got), sizeof answer[0]);
    errno = answer[1];
    return answer[0];
}

long __wrap_syscall(long number, ...)
{
    long argument[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        argument[i] = va_arg(list, long);
    va_end(list);
    if (number == PIDFD_OPEN || number == PIDFD_SEND_SIGNAL)
        return ask((int)number, (int)argument[0], (int)argument[1]);
    return __real_syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
}
