/* How the launcher tells the shim (spawn.c) that a step has failed. A report names a step by its number, and
 * LAUNCH_CALLS has the name of each, in the same order. launcher.c says what the launcher is for. */
#ifndef ORPHANGUARD_LAUNCHER_H
#define ORPHANGUARD_LAUNCHER_H

enum launch_step {
    LAUNCH_ARGUMENTS,
    LAUNCH_SETGROUPS,
    LAUNCH_SETREGID,
    LAUNCH_SETREUID,
    LAUNCH_SETOWN,
    LAUNCH_PRCTL,
    LAUNCH_EXECVE
};

#define LAUNCH_CALLS                                                                                                   \
    {"launcher", "setgroups", "setregid", "setreuid", "fcntl(F_SETOWN)", "prctl(PR_SET_PDEATHSIG)", "execve"}

/* The launcher writes it to the report pipe if a step has failed. The end of the file means that the exec succeeded. */
struct launch_report {
    int code; /* errno */
    int step;
};

#endif
