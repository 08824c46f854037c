/* PR_SET_PDEATHSIG: the second layer of a guard, below the lifeline.
 *
 * The kernel sends this signal when the *thread* that forked ends, not the process (prctl(2)). So a guard has this layer
 * only if the main thread has started the child: the main thread ends with the program, but the end of another thread
 * would be an early death. Needs error.c. */

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
