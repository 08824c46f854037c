/* The first process of the virtual machine: mounts /proc, runs /tether, says its exit status, switches off. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

int main(void)
{
    struct termios terminal;
    char line[4096] = "", *argv[32] = {"/tether"};
    int status = 0, count = 1;
    mkdir("/proc", 0755);
    mkdir("/dev", 0755);
    if (mount("proc", "/proc", "proc", 0, NULL) < 0 || mount("dev", "/dev", "devtmpfs", 0, NULL) < 0)
        perror("mount");
    int out = open("/dev/ttyS1", O_RDWR | O_NOCTTY);
    if (out >= 0 && tcgetattr(out, &terminal) == 0) {
        cfmakeraw(&terminal);
        tcsetattr(out, TCSANOW, &terminal);
    }
    /* What follows "--" is for us: X=Y for the environment, or an argument. */
    int commands = open("/proc/cmdline", O_RDONLY);
    ssize_t got = read(commands, line, sizeof line - 1);
    close(commands);
    char *ours = got > 0 ? strstr(line, " -- ") : NULL;
    for (char *word = ours ? strtok(ours + 4, " \n") : NULL; word && count < 31; word = strtok(NULL, " \n")) {
        if (strchr(word, '='))
            putenv(word);
        else
            argv[count++] = word;
    }
    pid_t pid = fork();
    if (pid == 0) {
        dup2(open("/dev/null", O_RDONLY), 0);
        dup2(out, 1);
        dup2(out, 2);
        close(out);
        setsid();
        execv(argv[0], argv);
        _exit(127);
    }
    while (waitpid(-1, &status, 0) != pid)
        ;
    dprintf(out, "STATUS %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    tcdrain(out);
    sync();
    reboot(RB_POWER_OFF);
}
