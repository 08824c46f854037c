/* What spawn.c and the launcher program say to each other: see launcher.c. */
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

/* Written to the report pipe when a step has failed. End of file: executed. */
struct launch_report {
    int code; /* errno */
    int step;
};

#endif
