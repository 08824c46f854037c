/* The lifeline: the kernel kills a child when its parent *process* is gone.
 *
 * The problem. SIGKILL can't be caught, so the dying parent can do nothing for
 * its children: somebody else has to. PR_SET_PDEATHSIG, which everyone uses,
 * follows the *thread* that forked (prctl(2), BUGS): a pool that starts its
 * workers from a helper thread loses them when that thread ends.
 *
 * The mechanism. A process that starts children has a pipe that is never
 * written to (and another one for every 64 children more, see PER_PIPE). A
 * child's own open file description of its read end is set to F_SETSIG =
 * SIGKILL, O_ASYNC, F_SETOWN = the child. When the last write end is closed,
 * which the kernel does as it tears the parent down, pipe_release() signals
 * every such owner: no thread, no polling, no code that has to run.
 *
 * What it takes to be right:
 *  - Owner and signal live in the open file description (fcntl(2)), so each
 *    child has one of its own: the parent re-opens /proc/self/fd/N.
 *  - The parent keeps that description until the child is reaped. So a child
 *    that closes all its fds, or execs, stays armed.
 *  - With both pipe ends in the parent the order of release at exit counts:
 *    Linux (5.10 to 7.3, measured) releases the highest fd first, and a read
 *    end released before the last writer hears nothing. So the write end
 *    always has a higher number than every read end.
 *  - A forked child has a copy of the write end. One such copy keeps all its
 *    siblings alive, so the at-fork handler closes it in *every* forked child,
 *    also in those that C libraries fork. After vfork, posix_spawn and clone
 *    no handler runs; there close-on-exec does it.
 *  - An event before the arming is not signalled again: look for POLLHUP once
 *    afterwards.
 *
 * What defeats it: docs/design.md, "What defeats a lifeline". */

#include "shim.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* The write end's first place: above what most programs use, and below 256. Each
 * fork and each vfork copies the table of fds up to the highest; with one at 1002
 * that took 2 % of a Popen("true"), with one at 250 0.5 % (measured). */
#define WRITER_FLOOR 250
/* The read ends' first place. The standard library's child, between fork and exec,
 * has copies of all. If the parent dies just then, the child's write end must go
 * before its read ends, the last that others have: it does when close_range()
 * closes them together, and that is what is above the fds which it keeps. */
#define READER_FLOOR 200

/* Children on one pipe. Once the last writer is gone, the kernel's pipe_release()
 * signals everybody left on the pipe anew for each description that is
 * released: n * n / 2 signals, under the pipe's mutex (measured: 155 ms for
 * 1,000 on one pipe, 619 ms for 2,000). With this many it is linear, and the
 * price is one more fd for each so many children. */
#define PER_PIPE 64

struct strand {
    struct pipe_end writer;
    int used;  /* descriptions that are open for children */
    bool solo; /* for one child, and closed after it: the pipe can't be re-opened */
};

/* Held across fork(), so that no child is born between pipe2() and the moment
 * at which the handlers below know of the write end. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The lifeline's pipes: one, and more of them with many children. The first is
 * never closed, since children that armed themselves may be on it. */
static struct strand *strands;
static size_t strand_count, strand_room;
static struct pipe_end reader = {.fd = -1}; /* of strands[0], for forked children to inherit; not needed here */
/* A description whose child has been reaped, loaded, for the next one: to open
 * and to load another takes as long as the rest of the arming. */
static struct pipe_end spare = {.fd = -1};

/* The descriptions of all children, and the spare. A forked child closes its copies: with one, it could be the last to
 * have that description in the middle of the parent's end (which drops them one by one, and the write ends with the last
 * of its own files), and if it ends just then, killed together with the parent say, nobody would be signalled. */
static struct description {
    struct pipe_end end;
    bool for_hook; /* its child is forked by somebody else, and looks for it by its number; then it has an owner */
    bool armed;    /* an owner has been seen */
    bool revoked;  /* who is not its owner yet can't become it */
    bool given_back;
} *descriptions;
static size_t description_count, description_room;
static bool some_given_back;

/* Write ends of data pipes that a forked child must not keep either: somebody waits for their end of file. Entries
 * whose pipe has been closed go when the next one comes. */
static struct pipe_end *kept_from_forks;
static size_t kept_count, kept_room;

/* Where 0, 1 or 2 is closed, the next fd gets that number: then a print() would write to a lifeline, which kills, or
 * a child's stdin be a pidfd. -1 with errno: no number is free above, and `fd` is closed. */
int og_above_stdio(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int code = errno;
    close(fd);
    errno = code;
    return moved;
}

bool og_identify(struct pipe_end *end, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return false;
    *end = (struct pipe_end){.fd = fd, .dev = st.st_dev, .ino = st.st_ino};
    return true;
}

int og_still_ours(const struct pipe_end *end)
{
    struct pipe_end now;
    return end->fd >= 0 && og_identify(&now, end->fd) && now.dev == end->dev && now.ino == end->ino;
}

void og_close_if_ours(struct pipe_end *end)
{
    if (og_still_ours(end))
        close(end->fd);
    *end = OG_NO_PIPE;
}

/* Moves a write end above `above`, far if it can. The copy is made before the
 * old number is closed, so the pipe never is without a writer. -1, and nothing
 * changed, when no number up there is free. */
static int raise_above(struct pipe_end *end, int above)
{
    struct rlimit limit = {.rlim_cur = 0};
    int moved = -1, soft = above;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > (rlim_t)above)
        soft = limit.rlim_cur < INT_MAX ? (int)limit.rlim_cur : INT_MAX;
    int wish[] = {above < WRITER_FLOOR ? WRITER_FLOOR : 2 * above, above + (soft - above) / 2, above + 1};
    for (size_t i = 0; i < sizeof wish / sizeof *wish && moved < 0; i++)
        if (wish[i] > above)
            moved = fcntl(end->fd, F_DUPFD_CLOEXEC, wish[i]);
    if (moved < 0)
        return -1;
    close(end->fd);
    end->fd = moved;
    return 0;
}

/* For what is to be read: high, so that see READER_FLOOR; where the numbers are
 * used up, anywhere above stdio. */
static int high(int fd)
{
    if (fd < 0 || fd >= READER_FLOOR)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, READER_FLOOR);
    if (moved < 0)
        return og_above_stdio(fd);
    close(fd);
    return moved;
}

static int make_pipe(struct pipe_end *r, struct pipe_end *w, int flags, struct og_error *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | flags) < 0)
        return og_fail(err, errno, "pipe2");
    for (int i = 0; i < 2; i++) {
        fds[i] = flags & O_NONBLOCK ? high(fds[i]) : og_above_stdio(fds[i]);
        if (!og_identify(i ? w : r, fds[i])) {
            int code = errno == EBADF ? EMFILE : errno;
            if (fds[i] >= 0)
                close(fds[i]);
            close(fds[!i]);
            *r = *w = OG_NO_PIPE;
            return og_fail(err, code, "pipe2");
        }
    }
    return 0;
}

/* A pipe of blocking ends. With `keep_from_forks`, no forked child keeps its write end:
 * an unguarded one would hide from the reader that this process is gone. */
int og_pipe(struct pipe_end *reader_end, struct pipe_end *writer_end, int keep_from_forks)
{
    struct og_error err;
    pthread_mutex_lock(&lock);
    if (keep_from_forks) {
        size_t left = 0;
        for (size_t i = 0; i < kept_count; i++)
            if (og_still_ours(&kept_from_forks[i]))
                kept_from_forks[left++] = kept_from_forks[i];
        kept_count = left;
        if (kept_count == kept_room) {
            size_t room = kept_room + 8;
            struct pipe_end *grown = realloc(kept_from_forks, room * sizeof *grown);
            if (!grown) {
                pthread_mutex_unlock(&lock);
                return og_report(&(struct og_error){ENOMEM, "realloc"});
            }
            kept_from_forks = grown;
            kept_room = room;
        }
    }
    int made = make_pipe(reader_end, writer_end, 0, &err);
    if (made == 0 && keep_from_forks)
        kept_from_forks[kept_count++] = *writer_end;
    pthread_mutex_unlock(&lock);
    return made < 0 ? og_report(&err) : 0;
}

int og_duplicate(struct pipe_end *copy, int fd)
{
    int made = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (made < 0)
        return og_report(&(struct og_error){errno, "fcntl(F_DUPFD_CLOEXEC)"});
    (void)og_identify(copy, made);
    return 0;
}

/* Makes the pipe of strands[at], and leaves its read end open in *r. */
static struct strand *make_strand(size_t at, struct pipe_end *r, struct og_error *err)
{
    if (at == strand_room) {
        size_t room = strand_room ? 2 * strand_room : 4;
        struct strand *grown = realloc(strands, room * sizeof *grown);
        if (!grown) {
            og_fail(err, ENOMEM, "realloc");
            return NULL;
        }
        strands = grown;
        strand_room = room;
    }
    struct pipe_end w;
    if (make_pipe(r, &w, O_NONBLOCK, err) < 0)
        return NULL;
    (void)raise_above(&w, w.fd > r->fd ? w.fd : r->fd); /* a wish; whoever must have it looks */
    strands[at] = (struct strand){.writer = w};
    if (at == strand_count)
        strand_count++;
    return &strands[at];
}

static struct strand *first_strand(struct og_error *err)
{
    if (strand_count && og_still_ours(&strands[0].writer))
        return &strands[0];
    /* Not made yet, or closed behind our back: then its children are gone
     * already (forked ones) or have lost it (exec'd ones). */
    struct pipe_end r;
    struct strand *first = make_strand(0, &r, err);
    if (first) {
        og_close_if_ours(&reader);
        reader = r;
    }
    return first;
}

static struct strand *strand_with_room(struct og_error *err)
{
    if (!first_strand(err))
        return NULL;
    for (size_t i = 0; i < strand_count; i++)
        if (!strands[i].solo && strands[i].used < PER_PIPE && og_still_ours(&strands[i].writer))
            return &strands[i];
    struct pipe_end r;
    struct strand *made = make_strand(strand_count, &r, err);
    if (made)
        close(r.fd); /* children re-open the pipe through its write end */
    return made;
}

static bool out_of_resources(int code)
{
    return code == EMFILE || code == ENFILE || code == ENOMEM || code == EINTR;
}

/* A description of the read end that nobody else has, numbered below the
 * write end. */
static int reopen(struct strand *strand, struct og_error *err)
{
    struct pipe_end *writer = &strand->writer;
    char path[32];
    /* Other threads open and close fds meanwhile, hence the loop. */
    for (int tries = 0; tries < 16; tries++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", writer->fd);
        int fd = high(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
        if (fd < 0)
            return og_fail(err, errno, "open(/proc/self/fd)");
        struct pipe_end end;
        if (!og_identify(&end, fd) || end.ino != writer->ino || end.dev != writer->dev) {
            close(fd); /* something else is mounted at /proc */
            return og_fail(err, ENOENT, "open(/proc/self/fd)");
        }
        if (fd < writer->fd || raise_above(writer, fd) == 0) {
            strand->used++;
            return fd;
        }
        /* Every number above is taken or forbidden. Give ours up, move the
         * write end onto it, and open again: below it. */
        close(fd);
        (void)raise_above(writer, writer->fd);
    }
    return og_fail(err, EMFILE, "open(/proc/self/fd)");
}

/* A pipe for one child, where none can be re-opened: no /proc, or a pipe made
 * under another uid. It costs one fd more. */
static int open_solo(struct og_error *err)
{
    struct pipe_end r;
    struct strand *strand = make_strand(strand_count, &r, err);
    if (!strand)
        return -1;
    if (strand->writer.fd < r.fd && raise_above(&strand->writer, r.fd) < 0) {
        close(r.fd);
        og_close_if_ours(&strand->writer);
        strand_count--;
        return og_fail(err, EMFILE, "fcntl(F_DUPFD_CLOEXEC)");
    }
    strand->solo = true;
    strand->used = 1;
    return r.fd;
}

static struct description *description_of(int fd)
{
    for (size_t i = description_count; i-- > 0;)
        if (descriptions[i].end.fd == fd)
            return &descriptions[i];
    return NULL;
}

static int remember(int fd, struct og_error *err)
{
    struct description *known = description_of(fd); /* the spare; or one that was closed behind our back */
    if (!known && description_count == description_room) {
        size_t room = description_room ? 2 * description_room : 8;
        struct description *grown = realloc(descriptions, room * sizeof *grown);
        if (!grown)
            return og_fail(err, ENOMEM, "realloc");
        descriptions = grown;
        description_room = room;
    }
    if (!known)
        known = &descriptions[description_count++];
    *known = (struct description){.end = OG_NO_PIPE};
    return og_identify(&known->end, fd) ? 0 : og_fail(err, errno, "fstat");
}

static void forget(int fd)
{
    struct description *known = description_of(fd);
    if (known)
        *known = descriptions[--description_count];
}

static struct strand *strand_of(const struct pipe_end *end)
{
    for (size_t i = 0; i < strand_count; i++)
        if (strands[i].writer.ino == end->ino && strands[i].writer.dev == end->dev)
            return &strands[i];
    return NULL;
}

/* Who is armed on it. Before Linux 5.12 one that has been reaped is still named. */
static int owner_of(int fd)
{
    int owner = fcntl(fd, F_GETOWN);
    return owner > 0 && (kill(owner, 0) == 0 || errno != ESRCH) ? owner : 0;
}

/* Whether nobody is armed on it, and nobody will be. Where no owner has been seen,
 * a child that is slow may be about to become it: one of a fork server that is
 * gone, one whose start was interrupted. It shares this description, so it is
 * told there. It looks for that after it has become the owner (og_make_mine), and
 * here the owner is looked for afterwards: one of the two sees the other. */
static bool is_over(struct description *known)
{
    int fd = known->end.fd;
    if (!known->armed && !known->revoked && !owner_of(fd)) {
        if (fcntl(fd, F_SETFL, OG_REVOKED | O_ASYNC | O_NONBLOCK) < 0)
            return false;
        known->revoked = true;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    if (!owner_of(fd))
        return true;
    known->armed = true;
    return false;
}

/* As long as its owner lives it is neither closed, since it may be the last that
 * he has of it, nor another's: sweep() does that later. Whoever gives it back
 * needs to know nothing of the child. */
static void give_back(int fd)
{
    struct pipe_end end;
    if (!og_identify(&end, fd))
        return;
    struct strand *strand = strand_of(&end);
    if (!strand)
        return; /* closed behind our back: somebody else's by now */
    struct description *known = description_of(fd);
    if (known && !is_over(known)) {
        known->given_back = some_given_back = true;
        return;
    }
    /* Only one that had an owner: else a child may be on its way to it. And not a supervisor's: it sends SIGCONT now. */
    if (known && known->armed && !known->revoked && !strand->solo && fcntl(fd, F_GETSIG) == SIGKILL &&
        !og_still_ours(&spare)) {
        known->given_back = false;
        spare = end;
        return;
    }
    forget(fd);
    /* The read end first: closing the last writer would signal its owner. */
    close(fd);
    strand->used--;
    if (strand->solo) {
        og_close_if_ours(&strand->writer);
        *strand = strands[--strand_count];
    }
}

/* Those that were given back while their owners were alive. */
static void sweep(void)
{
    if (!some_given_back)
        return;
    some_given_back = false;
    for (size_t i = description_count; i-- > 0;) {
        if (!descriptions[i].given_back)
            continue;
        if (og_still_ours(&descriptions[i].end))
            give_back(descriptions[i].end.fd);
        else
            descriptions[i] = descriptions[--description_count];
    }
}

/* Everything but the owner is set here, in the parent: the child has one call
 * less to make, and what a seccomp filter refuses is refused before there is a
 * child. Without an owner the kernel sends nothing. */
int og_load(int fd, int sig, struct og_error *err)
{
    if (fcntl(fd, F_SETSIG, sig) < 0)
        return og_fail(err, errno, "fcntl(F_SETSIG)");
    if (fcntl(fd, F_SETOWN, 0) < 0)
        return og_fail(err, errno, "fcntl(F_SETOWN)");
    if (fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK) < 0)
        return og_fail(err, errno, "fcntl(F_SETFL, O_ASYNC)");
    return 0;
}

/* -1 without an error if there is none. Its former owner goes here, so that a
 * filter which refuses F_SETOWN is met before there is a child. */
static int take_spare(struct og_error *err)
{
    struct pipe_end taken = spare;
    /* Forgotten even if it was closed behind our back: or its number, once it is
     * a living child's description of the same pipe, would look like it. */
    spare = OG_NO_PIPE;
    struct strand *strand = og_still_ours(&taken) ? strand_of(&taken) : NULL;
    if (!strand || !og_still_ours(&strand->writer))
        return -1;
    description_of(taken.fd)->armed = false;
    if (fcntl(taken.fd, F_SETOWN, 0) < 0) {
        int code = errno;
        give_back(taken.fd);
        return og_fail(err, code, "fcntl(F_SETOWN)");
    }
    return taken.fd;
}

static int open_new(int sig, bool solo, struct og_error *err)
{
    int fd = -1;
    struct strand *strand = strand_with_room(err);
    if (!strand)
        return -1;
    if (!solo) {
        fd = reopen(strand, err);
        solo = fd < 0 && !out_of_resources(err->code);
    }
    if (solo)
        fd = open_solo(err);
    if (fd >= 0 && (remember(fd, err) < 0 || og_load(fd, sig, err) < 0)) {
        give_back(fd);
        return -1;
    }
    return fd;
}

/* A description for one child to be armed on. It stays open in this process
 * until it is given back, which is for after the child has been reaped.
 * `sig`: what the child is sent. `pdeathsig`: it will want that layer too, if
 * this is the main thread. `for_hook`: see struct description. */
int og_lifeline_open(struct og_child *child, int sig, int pdeathsig, int for_hook)
{
    int fd = -1;
    struct og_error why = {0, NULL};
    int code = pdeathsig && og_is_main_thread() ? og_rehearse_pdeathsig() : 0;
    if (code < 0)
        return code;
    pthread_mutex_lock(&lock);
    sweep();
    /* Those on one pipe may be signalled more than once (PER_PIPE): nothing to
     * SIGKILL, but a handler of another signal would run again. */
    bool solo = sig != SIGKILL;
    if (!solo)
        fd = take_spare(&why);
    if (fd < 0 && !why.call)
        fd = open_new(sig, solo, &why);
    if (fd >= 0) {
        description_of(fd)->for_hook = for_hook;
        child->lifeline = fd;
        child->parent = getpid();
    }
    pthread_mutex_unlock(&lock);
    return fd >= 0 ? fd : og_report(&why);
}

/* `armed`: the caller has seen an owner. Gives it back and says so in one go, at which no signal handler of Python's can
 * interrupt: else it would be given back never, or twice, when its number may be another child's. In a forked child
 * nothing happens: there the number is none of ours. */
void og_give_back(struct og_child *child, bool armed)
{
    pthread_mutex_lock(&lock);
    struct description *known = child->lifeline >= 0 && child->parent == getpid() ? description_of(child->lifeline) : NULL;
    if (known) {
        known->armed |= armed;
        give_back(child->lifeline);
    }
    child->lifeline = -1;
    pthread_mutex_unlock(&lock);
}

/* At any time, also while the child lives, or before it has armed itself. */
void og_lifeline_give_back(struct og_child *child)
{
    og_give_back(child, false);
}

/* The pid that is armed on this description; 0 when nobody is yet, and again
 * once that process has been reaped (the kernel holds a struct pid, not a
 * number, so a recycled pid never shows here). */
int og_lifeline_owner(int fd)
{
    int owner = owner_of(fd);
    pthread_mutex_lock(&lock);
    struct description *known = owner ? description_of(fd) : NULL;
    if (known)
        known->armed = true;
    pthread_mutex_unlock(&lock);
    return owner;
}

/* Whether `fd` is a write end. A program that passes on a number which it has
 * closed, and which is ours by now, would keep all that hang on it alive. */
bool og_is_writer(int fd)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < strand_count && !found; i++)
        found = strands[i].writer.fd == fd && og_still_ours(&strands[i].writer);
    pthread_mutex_unlock(&lock);
    return found;
}

/* Whether there is one at or below `top`, of which a child that copies so many fds
 * would have a copy. */
bool og_writers_below(int top)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < strand_count && !found; i++)
        found = strands[i].writer.fd <= top;
    pthread_mutex_unlock(&lock);
    return found;
}

/* Around a fork: no child is born between pipe2() and the moment at which its
 * write end is known here. Makes the first pipe as well, so that a child forked
 * by whatever means can still arm itself, with die_with_parent(); without free
 * fds it just can't. */
void og_lifelines_lock(void)
{
    pthread_mutex_lock(&lock);
    (void)first_strand(NULL);
}

void og_lifelines_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

/* In a child, which must not keep its siblings alive nor anybody waiting: closes
 * its copies of the parent's write ends, all but the one that it has a use for
 * itself. Changes no memory, since that is the parent's in a child of
 * clone(CLONE_VM). */
void og_lifelines_close_copies(int used)
{
    for (size_t i = 0; i < strand_count; i++)
        if (og_still_ours(&strands[i].writer))
            close(strands[i].writer.fd);
    for (size_t i = 0; i < kept_count; i++)
        if (kept_from_forks[i].fd != used && og_still_ours(&kept_from_forks[i]))
            close(kept_from_forks[i].fd);
}

/* In a forked child: closes those copies, then its siblings' descriptions, all but
 * its `own`. Returns the read end that is left of the parent's first pipe. */
struct pipe_end og_lifelines_leave(int own)
{
    struct pipe_end left = reader;
    og_lifelines_close_copies(-1);
    for (size_t i = 0; i < description_count; i++)
        if (descriptions[i].end.fd != own && (!descriptions[i].for_hook || owner_of(descriptions[i].end.fd)))
            og_close_if_ours(&descriptions[i].end);
    strand_count = kept_count = description_count = 0;
    some_given_back = false;
    spare = reader = OG_NO_PIPE;
    return left;
}
