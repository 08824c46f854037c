/* What the supervisor says: lines on stderr for people, JSON objects on the status fd for programs, and why it failed.
 *
 * It never waits for a reader: a reader that does not read must not keep the tree alive. While the command runs, it
 * holds no end of a pipe that is the command's stderr. It needs `output`, which options.c and contain.c fill in. */

#include "supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct output output = {.status_fd = -1};

/* The reader of a pipe waits until nobody holds its write end. So once the command runs, the supervisor keeps stderr by
 * an O_PATH fd, which refers to the pipe and is no end of it, and opens that anew for each line. Only a regular file
 * stays open: a new description of it would write at its beginning. */
static int stderr_fd = STDERR_FILENO;
static bool reopen_stderr;

int detach_stderr(void)
{
    struct stat about;
    reopen_stderr = fstat(STDERR_FILENO, &about) < 0 || !S_ISREG(about.st_mode);
    stderr_fd = reopen_stderr ? open("/proc/self/fd/2", O_PATH | O_CLOEXEC)
                              : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    return stderr_fd;
}

static void put(int fd, const char *line, size_t length)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    if (poll(&room, 1, 0) == 1 && room.revents & POLLOUT) {
        ssize_t written = write(fd, line, length);
        (void)written;
    }
}

void say(const char *format, ...)
{
    static const char prefix[] = "orphanguard-run: ";
    char line[1024], path[32];
    va_list arguments;
    memcpy(line, prefix, sizeof prefix);
    va_start(arguments, format);
    int length = vsnprintf(line + sizeof prefix - 1, sizeof line - sizeof prefix, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    size_t end = strlen(line);
    line[end++] = '\n';
    int fd = stderr_fd;
    if (reopen_stderr) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", stderr_fd);
        fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }
    put(fd, line, end);
    if (reopen_stderr && fd >= 0)
        close(fd);
}

void report(const char *format, ...)
{
    char line[1024]; /* at most PIPE_BUF: a pipe takes all of it or nothing */
    va_list arguments;
    if (output.status_fd < 0)
        return;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length > 0 && (size_t)length < sizeof line)
        put(output.status_fd, line, (size_t)length);
}

/* Says why the supervisor ends, and ends it with `status`. `code` is an errno, or 0. */
_Noreturn void die(int status, int code, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    /* A program that has started the supervisor reads the reason from the status fd, and raises it as an exception. */
    if (!output.to_program || output.status_fd < 0) {
        if (code)
            say("%s: %s", text, strerror(code));
        else
            say("%s", text);
    }
    for (char *at = text; *at; at++)
        if (*at < ' ' || *at > '~' || *at == '"' || *at == '\\')
            *at = '?';
    report("{\"event\": \"failed\", \"exit\": %d, \"errno\": %d, \"what\": \"%s\"}\n", status, code, text);
    if (output.cleanup)
        output.cleanup();
    _exit(status);
}
