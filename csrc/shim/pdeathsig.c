/* PR_SET_PDEATHSIG: the second layer of a guard, below the lifeline.
 *
 * The kernel sends this signal when the *thread* that forked ends, not the process (prctl(2)). So we set it only for
 * children that the main thread starts: the main thread's end is the end of the program, and any other use could kill a
 * child early. Needs error.c. */

#include "shim.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int og_is_main_thread(void)
{
    return syscall(SYS_gettid) == getpid();
}

/* Tells, before anything is forked, whether a child may set the signal. A child inherits the seccomp filters of the
 * forking thread, so this thread sets the value that it has already. */
int og_rehearse_pdeathsig(void)
{
    int now = 0;
    if (prctl(PR_GET_PDEATHSIG, &now, 0, 0, 0) < 0)
        return og_report_failure(errno, "prctl(PR_GET_PDEATHSIG)");
    if (prctl(PR_SET_PDEATHSIG, now, 0, 0, 0) < 0)
        return og_report_failure(errno, "prctl(PR_SET_PDEATHSIG)");
    return 0;
}

int og_set_pdeathsig(int sig, struct og_error *err)
{
    if (prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0) < 0)
        return og_fail(err, errno, "prctl(PR_SET_PDEATHSIG)");
    return 0;
}

int og_pdeathsig(void)
{
    int sig = 0;
    return prctl(PR_GET_PDEATHSIG, &sig, 0, 0, 0) < 0 ? 0 : sig;
}
