/* Whether a lifeline's signal reaches a child whatever uids that takes.
 *
 * The kernel records, at F_SETOWN, the real and effective uid of the caller, and
 * lets the signal through if one of them is the child's real or saved uid by
 * then, or if the effective one was that of *global* root (sigio_perm() of
 * fs/fcntl.c). The root of a user namespace (a rootless container) is not that,
 * whatever capabilities it has. Whoever changes its uids sets the owner once
 * more, after the change: then the recorded ones are its own. */

#include "shim.h"

#include <sys/stat.h>
#include <unistd.h>

/* Whether 0 is global root in our user namespace, by an inode that is global root's: elsewhere that is nobody's. Where
 * there is no /proc, we take it that it is not. */
static bool zero_is_global_root(void)
{
    struct stat st;
    return stat("/proc/sys/kernel/cap_last_cap", &st) == 0 && st.st_uid == 0;
}

int og_is_global_root(void)
{
    return geteuid() == 0 && zero_is_global_root();
}

/* Whether a signal of whoever had these uids at F_SETOWN would reach this process, with the uids that it has now. */
bool og_reaches_us(uid_t real, uid_t effective)
{
    uid_t now[3];
    if (getresuid(&now[0], &now[1], &now[2]) < 0)
        return false;
    bool same = real == now[0] || real == now[2] || effective == now[0] || effective == now[2];
    return same || (effective == 0 && zero_is_global_root());
}
