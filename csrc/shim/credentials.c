/* Tells whether the signal of a lifeline can reach a child that changes its uids.
 *
 * At F_SETOWN the kernel records the real and the effective uid of the caller. Later it lets the signal through in two
 * cases: one of the recorded uids is the real or the saved uid that the child has by then, or the recorded effective
 * uid is that of *global* root (sigio_perm() of fs/fcntl.c). The root of a user namespace, as in a rootless container,
 * is not global root, whatever capabilities it has. So a child that changes its uids sets the owner again after the
 * change: then the recorded uids are its own. Needs nothing. */

#include "shim.h"

#include <sys/stat.h>
#include <unistd.h>

/* Whether uid 0 of our user namespace is global root. An inode that belongs to global root tells: in another user
 * namespace its owner shows as nobody. Without /proc the answer is no. */
static bool zero_is_global_root(void)
{
    struct stat st;
    return stat("/proc/sys/kernel/cap_last_cap", &st) == 0 && st.st_uid == 0;
}

int og_is_global_root(void)
{
    return geteuid() == 0 && zero_is_global_root();
}

/* Whether a lifeline reaches this process, with the uids that it has now. `real` and `effective` are the uids that the
 * kernel recorded at F_SETOWN. */
bool og_reaches_us(uid_t real, uid_t effective)
{
    uid_t now[3];
    if (getresuid(&now[0], &now[1], &now[2]) < 0)
        return false;
    bool same = real == now[0] || real == now[2] || effective == now[0] || effective == now[2];
    return same || (effective == 0 && zero_is_global_root());
}
