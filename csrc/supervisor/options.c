/* The command line of orphanguard-run.
 *
 * After parse_options() all options are valid and agree with each other. Otherwise the supervisor ends with status 125
 * before it has started anything. It needs report.c to say why.
 *
 * getopt() is not used. The first word that is no option is the command, and every word after it belongs to the
 * command, whatever it looks like. */

#include "supervisor.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#ifndef ORPHANGUARD_VERSION
#define ORPHANGUARD_VERSION "unknown"
#endif

/* The time in ms that the tree gets to clean up if the caller has chosen a signal and no time. */
#define DEFAULT_GRACE 5000

struct options options = {
    .control_fd = -1, .lifeline_fd = -1, .parent_fd = -1, .group_count = -1, .gid = -1, .uid = -1};

static const char help[] =
    "Usage: orphanguard-run [OPTIONS] [--] COMMAND [ARG...]\n"
    "Runs COMMAND and ends everything that it has started when COMMAND ends, or\n"
    "when the process that called this dies, even by kill -9.\n"
    "\n"
    "  --signal=SIG     the signal that the tree gets first (KILL; TERM with --grace)\n"
    "  --grace=TIME     the time until SIGKILL follows: 5, 5s, 500ms, 2m\n"
    "                   (default: 5s with a --signal other than KILL)\n"
    "  --tree=MODE      subreaper (default), cgroup or pidns\n"
    "  --status-fd=FD   write events to FD, as JSON lines\n"
    "  --verbose        say on stderr what happens\n"
    "  -h, --help; -V, --version\n"
    "\n"
    "For programs that start this one:\n"
    "  --parent-pid=PID   the process whose death ends the tree: the caller, or any\n"
    "                     process above it ($$ in a subshell). If it is gone already,\n"
    "                     nothing is started\n"
    "  --parent-fd=FD     the same process, by a pidfd\n"
    "  --lifeline-fd=FD   a lifeline that the caller has armed for this process\n"
    "  --control-fd=FD    a byte is an order: 0 ends the tree, N sends signal N to\n"
    "                     COMMAND, 128+N to the whole tree (128+9 ends it at once)\n"
    "  --child-pid=PID    supervise a child that this process has already, in place\n"
    "                     of COMMAND\n"
    "  --executable=PATH  the file to execute as COMMAND; if given several times,\n"
    "                     the files are tried in order\n"
    "  --uid=N --gid=N --groups=N,...   the ids of COMMAND\n"
    "\n"
    "Exit status: that of COMMAND. If a signal killed COMMAND, this program dies of\n"
    "the same signal (128+N in a shell). 125: orphanguard-run failed, or a process\n"
    "outlived SIGKILL; 126: COMMAND cannot be executed; 127: COMMAND was not found.\n";

static const struct {
    const char *name;
    int number;
} signals[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"ILL", SIGILL},   {"TRAP", SIGTRAP}, {"ABRT", SIGABRT},
    {"BUS", SIGBUS},   {"FPE", SIGFPE},   {"KILL", SIGKILL}, {"USR1", SIGUSR1}, {"SEGV", SIGSEGV}, {"USR2", SIGUSR2},
    {"PIPE", SIGPIPE}, {"ALRM", SIGALRM}, {"TERM", SIGTERM}, {"CHLD", SIGCHLD}, {"CONT", SIGCONT}, {"STOP", SIGSTOP},
    {"TSTP", SIGTSTP}, {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU}, {"URG", SIGURG},   {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ},
    {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF}, {"WINCH", SIGWINCH}, {"IO", SIGIO}, {"PWR", SIGPWR}, {"SYS", SIGSYS},
    {"CLD", SIGCHLD}, {"IOT", SIGABRT}, {"POLL", SIGIO},
#ifdef SIGSTKFLT
    {"STKFLT", SIGSTKFLT},
#endif
};

const char *containment_name(void)
{
    static const char *const names[] = {[SUBREAPER] = "subreaper", [CGROUP] = "cgroup", [PIDNS] = "pidns"};
    return names[options.tree];
}

static bool number(const char *text, long long most, long long *result)
{
    long long value = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (!isdigit((unsigned char)*text) || value > most / 10)
            return false;
        value = 10 * value + (*text - '0');
    }
    *result = value;
    return value <= most;
}

static int parse_signal(const char *text)
{
    long long value;
    if (number(text, SIGRTMAX, &value) && value > 0)
        return (int)value;
    const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (strcasecmp(name, signals[i].name) == 0)
            return signals[i].number;
    if (strcasecmp(name, "RTMIN") == 0) /* libc computes these two, so they cannot be in the table */
        return SIGRTMIN;
    if (strcasecmp(name, "RTMAX") == 0)
        return SIGRTMAX;
    die(EXIT_OURS, 0, "no such signal: '%s'", text);
}

/* Takes the durations of timeout(1), and those in ms. Returns milliseconds. A fraction of a millisecond counts as a
 * whole one, so that a short grace does not become none. */
static long parse_duration(const char *text)
{
    static const struct {
        const char *name;
        long ms;
    } units[] = {{"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    const char *at = text;
    double value = 0, place = 1;
    while (isdigit((unsigned char)*at))
        value = 10 * value + (*at++ - '0');
    if (*at == '.' && at++)
        while (isdigit((unsigned char)*at))
            value += (*at++ - '0') * (place /= 10);
    if (isdigit((unsigned char)*text) || (*text == '.' && isdigit((unsigned char)text[1])))
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            if (strcmp(at, units[i].name) == 0 && value * (double)units[i].ms <= INT_MAX) {
                double ms = value * (double)units[i].ms;
                return (long)ms + (ms > (double)(long)ms);
            }
    die(EXIT_OURS, 0, "not a duration: '%s' (5, 5s, 500ms, 2m; at most 24 days)", text);
}

static enum containment parse_tree(const char *text)
{
    for (options.tree = SUBREAPER; options.tree <= PIDNS; options.tree++)
        if (strcmp(text, containment_name()) == 0)
            return options.tree;
    options.tree = SUBREAPER;
    die(EXIT_OURS, 0, "no such containment: '%s' (subreaper, cgroup, pidns)", text);
}

/* Returns an fd, open for `access`, that the command does not inherit. A standard fd stays the command's; the
 * supervisor takes a copy of it. */
static int parse_fd(const char *name, const char *text, int access)
{
    long long fd;
    if (!number(text, INT_MAX, &fd))
        die(EXIT_OURS, 0, "%s: not a file descriptor: '%s'", name, text);
    int flags = fcntl((int)fd, F_GETFL);
    if (flags < 0)
        die(EXIT_OURS, errno, "%s: file descriptor %lld", name, fd);
    if (flags & O_PATH || ((flags & O_ACCMODE) != access && (flags & O_ACCMODE) != O_RDWR))
        die(EXIT_OURS, 0, "%s: file descriptor %lld is not open for %s", name, fd,
            access == O_RDONLY ? "reading" : "writing");
    int ours = fd <= STDERR_FILENO ? fcntl((int)fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : (int)fd;
    if (ours < 0 || fcntl(ours, F_SETFD, FD_CLOEXEC) < 0)
        die(EXIT_OURS, errno, "%s: file descriptor %lld", name, fd);
    return ours;
}

static void parse_parent_fd(const char *text)
{
    options.parent = 0;
    options.parent_fd = parse_fd("--parent-fd", text, O_RDONLY);
    if (send_signal(options.parent_fd, 0) < 0 && errno == EBADF)
        die(EXIT_OURS, 0, "--parent-fd: file descriptor %s is no pidfd", text);
}

static pid_t parse_pid(const char *name, const char *text)
{
    long long pid;
    if (!number(text, INT_MAX, &pid) || pid == 0)
        die(EXIT_OURS, 0, "%s: not a process id: '%s'", name, text);
    return (pid_t)pid;
}

static long long parse_id(const char *name, const char *text)
{
    long long id;
    if (!number(text, UINT32_MAX - 1, &id))
        die(EXIT_OURS, 0, "%s: not an id: '%s'", name, text);
    return id;
}

static void parse_groups(char *list)
{
    size_t most = 1;
    for (const char *at = list; *at; at++)
        most += *at == ',';
    options.groups = calloc(most, sizeof *options.groups);
    if (!options.groups)
        die(EXIT_OURS, errno, "--groups: calloc");
    options.group_count = 0;
    for (char *id = strtok(list, ","); id; id = strtok(NULL, ","))
        options.groups[options.group_count++] = (gid_t)parse_id("--groups", id);
}

static _Noreturn void print_and_exit(const char *text)
{
    size_t length = strlen(text);
    _exit(write(STDOUT_FILENO, text, length) == (ssize_t)length ? 0 : EXIT_OURS);
}

/* Returns the value of --NAME=VALUE or --NAME VALUE, or NULL if `word` is another option. */
static char *value_of(const char *name, char ***word)
{
    size_t length = strlen(name);
    if (strncmp(**word, name, length) != 0)
        return NULL;
    if ((**word)[length] == '=')
        return **word + length + 1;
    if ((**word)[length])
        return NULL;
    if (!(*word)[1])
        die(EXIT_OURS, 0, "%s needs a value; see --help", name);
    return *++*word;
}

void parse_options(int argc, char **argv)
{
    char *value;
    char **word = argc > 0 ? argv + 1 : argv;
    options.grace = -1;
    options.executables = argv; /* the paths take the places of words that are parsed already */
    for (; *word && (*word)[0] == '-'; word++) {
        if (strcmp(*word, "--") == 0) {
            word++;
            break;
        }
        if (strcmp(*word, "--help") == 0 || strcmp(*word, "-h") == 0)
            print_and_exit(help);
        if (strcmp(*word, "--version") == 0 || strcmp(*word, "-V") == 0)
            print_and_exit("orphanguard-run " ORPHANGUARD_VERSION "\n");
        if (strcmp(*word, "--verbose") == 0)
            options.verbose = true;
        else if ((value = value_of("--signal", &word)))
            options.signal = parse_signal(value);
        else if ((value = value_of("--grace", &word)))
            options.grace = parse_duration(value);
        else if ((value = value_of("--tree", &word)))
            options.tree = parse_tree(value);
        else if ((value = value_of("--status-fd", &word)))
            output.status_fd = parse_fd("--status-fd", value, O_WRONLY);
        else if ((value = value_of("--control-fd", &word)))
            options.control_fd = parse_fd("--control-fd", value, O_RDONLY);
        else if ((value = value_of("--lifeline-fd", &word)))
            options.lifeline_fd = parse_fd("--lifeline-fd", value, O_RDONLY), output.to_program = true;
        else if ((value = value_of("--parent-fd", &word)))
            parse_parent_fd(value);
        else if ((value = value_of("--parent-pid", &word)))
            options.parent = parse_pid("--parent-pid", value), options.parent_fd = -1; /* the last of the two counts */
        else if ((value = value_of("--child-pid", &word)))
            options.child = parse_pid("--child-pid", value);
        else if ((value = value_of("--executable", &word)))
            options.executables[options.executable_count++] = value;
        else if ((value = value_of("--uid", &word)))
            options.uid = parse_id("--uid", value);
        else if ((value = value_of("--gid", &word)))
            options.gid = parse_id("--gid", value);
        else if ((value = value_of("--groups", &word)))
            parse_groups(value);
        else
            die(EXIT_OURS, 0, "no such option: '%s'; see --help", *word);
    }
    options.command = word;
    if (!*word == !options.child)
        die(EXIT_OURS, 0, *word ? "--child-pid and a command: one of them" : "no command; see --help");
    if (options.child && options.tree == PIDNS)
        die(EXIT_OURS, 0, "--tree=pidns: a child that runs already can't be moved into a pid namespace");
    if (!options.signal)
        options.signal = options.grace < 0 ? SIGKILL : SIGTERM;
    if (options.grace < 0)
        options.grace = options.signal == SIGKILL ? 0 : DEFAULT_GRACE;
}
