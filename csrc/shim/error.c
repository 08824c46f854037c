/* Tells Python which call failed.
 *
 * Functions for Python return -errno; the name of the failed call is kept here, once for each thread. So a failure in
 * another thread does not change it. Needs nothing. */

#include "shim.h"

static __thread const char *failed_call = "";

int og_report(const struct og_error *err)
{
    failed_call = err->call;
    return -err->code;
}

const char *og_failed_call(void)
{
    return failed_call;
}
