/* What writes to files below a folder, counted, recorded, and made to fail at one call.
 *
 * Preloaded, so that SQLite, Arrow and torch are met as Python is. Idle until `faults_arm`.
 * A record is a line "number TAB call TAB kind of file TAB library+offset TAB outcome", Python's
 * stack below it, and an empty line.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PASS = 0, DEATH = -1, SHORT = -2 };

static struct {
    char folder[PATH_MAX], call[32], kind[PATH_MAX]; /* empty: any */
    size_t length;
    long at; /* 0: none */
    int action, stays, struck, record, log;
    long seen, matched;
} plan = {.log = -1};
static volatile int armed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread int inside; /* what the shim itself writes is nobody's */

typedef void (*dump_t)(int, void *);
typedef void *(*state_t)(void);
static dump_t dump;
static state_t state;

#define REAL(result, name, ...)                                                                    \
    static result (*real)(__VA_ARGS__);                                                            \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

void faults_arm(int log, const char *folder, const char *call, const char *kind, long at,
                int action, int stays, int record) {
    dump = (dump_t)dlsym(RTLD_DEFAULT, "_Py_DumpTraceback");
    state = (state_t)dlsym(RTLD_DEFAULT, "PyGILState_GetThisThreadState");
    snprintf(plan.folder, sizeof plan.folder, "%s", folder);
    snprintf(plan.call, sizeof plan.call, "%s", call);
    snprintf(plan.kind, sizeof plan.kind, "%s", kind);
    plan.length = strlen(folder);
    plan.at = at, plan.action = action, plan.stays = stays, plan.record = record, plan.log = log;
    plan.seen = plan.matched = plan.struck = 0;
    armed = 1;
}

/* Whether eight letters that `tempfile` drew begin at p. */
static int drawn(const char *path, const char *p) {
    if (strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789_") != 8 || (p[8] && p[8] != '/')) return 0;
    long before = p - path;
    return (before >= 3 && !strncmp(p - 3, "tmp", 3)) || (before >= 5 && !strncmp(p - 5, "/tmp/", 5)) ||
           (before >= 10 && !strncmp(p - 10, "uploading.", 10));
}

/* A path with what differs from run to run made alike: numbers N, hashes H, drawn letters R. */
static void kind_of(const char *path, char *kind, size_t room) {
    size_t used = 0;
    for (const char *p = path; *p && used + 2 < room;) {
        if (drawn(path, p)) {
            kind[used++] = 'R', p += 8;
            continue;
        }
        size_t digits = strspn(p, "0123456789"), hex = strspn(p, "0123456789abcdef-");
        if (hex >= 8 && strcspn(p, "0123456789") < hex) kind[used++] = 'H', p += hex;
        else if (digits) kind[used++] = 'N', p += digits;
        else kind[used++] = *p++;
    }
    kind[used] = 0;
}

/* Absolute path of a name as a call gave it. */
static void whole_path(int folder, const char *name, char *path) {
    char base[PATH_MAX] = "", link[64];
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return;
    }
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) base[0] = 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t n = readlink(link, base, sizeof base - 1);
        base[n < 0 ? 0 : n] = 0;
    }
    if (strlen(base) + strlen(name) + 2 > PATH_MAX) name = "";
    strcpy(path, base);
    strcat(path, "/");
    strcat(path, name);
}

static void record(const char *call, const char *kind, void *site, const char *outcome) {
    Dl_info found;
    char line[PATH_MAX + 300];
    const char *library = "?";
    long offset = 0;
    if (dladdr(site, &found) && found.dli_fname) {
        const char *slash = strrchr(found.dli_fname, '/');
        library = slash ? slash + 1 : found.dli_fname;
        offset = (char *)site - (char *)found.dli_fbase;
    }
    int n = snprintf(line, sizeof line, "%ld\t%s\t%s\t%s+%lx\t%s\n", plan.seen, call, kind, library,
                     offset, outcome);
    ssize_t done = write(plan.log, line, n < (int)sizeof line ? n : (int)sizeof line - 1);
    void *thread = dump && state ? state() : NULL;
    if (thread) dump(plan.log, thread); /* safe without the GIL: this thread stands still */
    done = write(plan.log, "\n", 1);
    (void)done;
}

/* PASS, an errno, SHORT (half of it, the disk is full after) or DEATH. `grows`: takes room. */
static int judge(const char *call, const char *path, int grows, void *site) {
    if (!armed || inside || strncmp(path, plan.folder, plan.length) ||
        (path[plan.length] && path[plan.length] != '/'))
        return PASS;
    char kind[PATH_MAX];
    int verdict = PASS, saved = errno;
    inside = 1;
    pthread_mutex_lock(&lock);
    kind_of(path + plan.length, kind, sizeof kind);
    plan.seen++;
    if (plan.struck && plan.stays && grows) verdict = plan.action;
    if (!plan.struck && plan.at && (!plan.call[0] || !strcmp(plan.call, call)) &&
        (!plan.kind[0] || !fnmatch(plan.kind, kind, 0)) && ++plan.matched == plan.at) {
        verdict = plan.action;
        plan.struck = 1;
        record(call, kind, site, "struck");
        if (plan.stays && strstr(call, "write") && verdict == ENOSPC) verdict = SHORT;
    } else if (plan.record) {
        record(call, kind, site, "passed");
    }
    pthread_mutex_unlock(&lock);
    inside = 0;
    errno = saved;
    return verdict;
}

static int judge_fd(const char *call, int fd, int grows, void *site) {
    if (!armed || inside) return PASS;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return PASS;
    path[n] = 0;
    return judge(call, path, grows, site);
}

static int judge_at(const char *call, int folder, const char *name, int grows, void *site) {
    if (!armed || inside) return PASS;
    char path[PATH_MAX];
    whole_path(folder, name, path);
    return judge(call, path, grows, site);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define SITE __builtin_return_address(0)
#define FAILS(verdict)                                                                             \
    do {                                                                                           \
        int v = (verdict);                                                                         \
        if (v == DEATH) die();                                                                     \
        if (v > 0) {                                                                               \
            errno = v;                                                                             \
            return -1;                                                                             \
        }                                                                                          \
    } while (0)

/* Death comes in the middle of a write. */
#define WRITES(verdict, n, half)                                                                   \
    do {                                                                                           \
        int v = (verdict);                                                                         \
        if ((v == DEATH || v == SHORT) && (n) > 1) {                                               \
            ssize_t done = half;                                                                   \
            if (v == SHORT) return done;                                                           \
        }                                                                                          \
        if (v == DEATH) die();                                                                     \
        if (v) {                                                                                   \
            errno = v == SHORT ? ENOSPC : v;                                                       \
            return -1;                                                                             \
        }                                                                                          \
    } while (0)

ssize_t write(int fd, const void *buffer, size_t n) {
    REAL(ssize_t, write, int, const void *, size_t);
    WRITES(judge_fd("write", fd, 1, SITE), n, real(fd, buffer, n / 2));
    return real(fd, buffer, n);
}

#define PWRITE(name, offset_t)                                                                     \
    ssize_t name(int fd, const void *buffer, size_t n, offset_t at) {                              \
        REAL(ssize_t, name, int, const void *, size_t, offset_t);                                  \
        WRITES(judge_fd("pwrite", fd, 1, SITE), n, real(fd, buffer, n / 2, at));                   \
        return real(fd, buffer, n, at);                                                            \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    WRITES(judge_fd("writev", fd, 1, SITE), n, real(fd, parts, n / 2));
    return real(fd, parts, n);
}

#define PWRITEV(name, offset_t)                                                                    \
    ssize_t name(int fd, const struct iovec *parts, int n, offset_t at) {                          \
        REAL(ssize_t, name, int, const struct iovec *, int, offset_t);                             \
        WRITES(judge_fd("pwritev", fd, 1, SITE), n, real(fd, parts, n / 2, at));                   \
        return real(fd, parts, n, at);                                                             \
    }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define SENDFILE(name, offset_t)                                                                   \
    ssize_t name(int to, int from, offset_t *at, size_t n) {                                       \
        REAL(ssize_t, name, int, int, offset_t *, size_t);                                         \
        WRITES(judge_fd("sendfile-write", to, 1, SITE), n, real(to, from, at, n / 2));             \
        return real(to, from, at, n);                                                              \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

/* Reading is not what is tried: only opening to write. */
#define WRITING(flags) (((flags)&O_ACCMODE) != O_RDONLY || ((flags)&O_CREAT))
#define MODE(flags)                                                                                \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                         \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

static int open_judged(int folder, const char *name, int flags, void *site) {
    return WRITING(flags) ? judge_at("open", folder, name, !!(flags & O_CREAT), site) : PASS;
}

#define OPEN(function)                                                                             \
    int function(const char *name, int flags, ...) {                                               \
        REAL(int, function, const char *, int, ...);                                               \
        MODE(flags);                                                                               \
        FAILS(open_judged(AT_FDCWD, name, flags, SITE));                                           \
        return real(name, flags, mode);                                                            \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(function)                                                                           \
    int function(int folder, const char *name, int flags, ...) {                                   \
        REAL(int, function, int, const char *, int, ...);                                          \
        MODE(flags);                                                                               \
        FAILS(open_judged(folder, name, flags, SITE));                                             \
        return real(folder, name, flags, mode);                                                    \
    }
OPENAT(openat)
OPENAT(openat64)

#define CREAT(function)                                                                            \
    int function(const char *name, mode_t mode) {                                                  \
        REAL(int, function, const char *, mode_t);                                                 \
        FAILS(judge_at("open", AT_FDCWD, name, 1, SITE));                                          \
        return real(name, mode);                                                                   \
    }
CREAT(creat)
CREAT(creat64)

/* The library's own stdio opens files past these doors. */
#define FOPEN(function)                                                                            \
    FILE *function(const char *name, const char *mode) {                                           \
        REAL(FILE *, function, const char *, const char *);                                        \
        int v = strpbrk(mode, "wa+") ? judge_at("open", AT_FDCWD, name, 1, SITE) : PASS;           \
        if (v == DEATH) die();                                                                     \
        if (v) {                                                                                   \
            errno = v;                                                                             \
            return NULL;                                                                           \
        }                                                                                          \
        return real(name, mode);                                                                   \
    }
FOPEN(fopen)
FOPEN(fopen64)

#define ON_FD(result, function, call)                                                              \
    result function(int fd) {                                                                      \
        REAL(result, function, int);                                                               \
        FAILS(judge_fd(call, fd, 0, SITE));                                                        \
        return real(fd);                                                                           \
    }
ON_FD(int, fsync, "fsync")
ON_FD(int, fdatasync, "fsync")

#define FTRUNCATE(function, offset_t)                                                              \
    int function(int fd, offset_t length) {                                                        \
        REAL(int, function, int, offset_t);                                                        \
        FAILS(judge_fd("ftruncate", fd, length > 0, SITE));                                        \
        return real(fd, length);                                                                   \
    }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

#define FALLOCATE(function, offset_t)                                                              \
    int function(int fd, offset_t at, offset_t length) {                                           \
        REAL(int, function, int, offset_t, offset_t);                                              \
        int v = judge_fd("fallocate", fd, 1, SITE);                                                \
        if (v == DEATH) die();                                                                     \
        return v ? v : real(fd, at, length); /* it returns the error */                            \
    }
FALLOCATE(posix_fallocate, off_t)
FALLOCATE(posix_fallocate64, off64_t)

#define ON_NAME(function, call, grows)                                                             \
    int function(const char *name) {                                                               \
        REAL(int, function, const char *);                                                         \
        FAILS(judge_at(call, AT_FDCWD, name, grows, SITE));                                        \
        return real(name);                                                                         \
    }
ON_NAME(unlink, "unlink", 0)
ON_NAME(rmdir, "unlink", 0)
ON_NAME(remove, "unlink", 0)

int unlinkat(int folder, const char *name, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    FAILS(judge_at("unlink", folder, name, 0, SITE));
    return real(folder, name, flags);
}

int mkdir(const char *name, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    FAILS(judge_at("mkdir", AT_FDCWD, name, 1, SITE));
    return real(name, mode);
}

int mkdirat(int folder, const char *name, mode_t mode) {
    REAL(int, mkdirat, int, const char *, mode_t);
    FAILS(judge_at("mkdir", folder, name, 1, SITE));
    return real(folder, name, mode);
}

/* Of two names the new one is looked at. */
#define ON_TWO(function, call, grows)                                                              \
    int function(const char *old, const char *name) {                                              \
        REAL(int, function, const char *, const char *);                                           \
        FAILS(judge_at(call, AT_FDCWD, name, grows, SITE));                                        \
        return real(old, name);                                                                    \
    }
ON_TWO(rename, "rename", 0)
ON_TWO(link, "link", 1)
ON_TWO(symlink, "link", 1)

int renameat(int from, const char *old, int folder, const char *name) {
    REAL(int, renameat, int, const char *, int, const char *);
    FAILS(judge_at("rename", folder, name, 0, SITE));
    return real(from, old, folder, name);
}

int renameat2(int from, const char *old, int folder, const char *name, unsigned flags) {
    REAL(int, renameat2, int, const char *, int, const char *, unsigned);
    FAILS(judge_at("rename", folder, name, 0, SITE));
    return real(from, old, folder, name, flags);
}

int linkat(int from, const char *old, int folder, const char *name, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    FAILS(judge_at("link", folder, name, 1, SITE));
    return real(from, old, folder, name, flags);
}

int symlinkat(const char *old, int folder, const char *name) {
    REAL(int, symlinkat, const char *, int, const char *);
    FAILS(judge_at("link", folder, name, 1, SITE));
    return real(old, folder, name);
}
