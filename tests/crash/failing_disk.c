/*
 * Preloaded into kstream: the n-th operation on a file below a directory fails, once or from then on.
 *
 *   FAILING_DISK_UNDER   the directory, with a slash at its end; what is elsewhere, or begins with `.tmp` in it, is passed
 *                        through and not counted
 *   FAILING_DISK_AT      n, from 1
 *   FAILING_DISK_HOW     once: the operation fails with EIO
 *                        full: a write takes half of its bytes; it, if it is no write, and all after it fail with ENOSPC
 *                        read: as once, and reads are what is counted
 *                        bad: as read, and from then on no read of that file goes well: a bad block
 *   FAILING_DISK_REPORT  written to from the failure on: an operation and its path a line
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum how { ONCE, FULL, READ, BAD };
enum verdict { PASS, FAIL, HALVE };

static const char *under, *report;
static long at;
static enum how how;
static atomic_long seen;
static char failed[PATH_MAX];

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("FAILING_DISK_HOW");
    under = getenv("FAILING_DISK_UNDER");
    report = getenv("FAILING_DISK_REPORT");
    at = atol(getenv("FAILING_DISK_AT") ? getenv("FAILING_DISK_AT") : "0");
    how = !text || !strcmp(text, "once") ? ONCE : !strcmp(text, "full") ? FULL : !strcmp(text, "read") ? READ : BAD;
}

static int is_counted(const char *path) {
    size_t length = under ? strlen(under) : 0;
    return length && report && !strncmp(path, under, length) && strncmp(path + length, ".tmp", 4) && strcmp(path, report);
}

/* By system calls, which nobody has preloaded. */
static void tell(const char *operation, const char *path) {
    char line[PATH_MAX + 32];
    int length = snprintf(line, sizeof line, "%s %s\n", operation, path);
    int saved = errno;
    long file = syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file >= 0) {
        syscall(SYS_write, file, line, length);
        syscall(SYS_close, file);
    }
    errno = saved;
}

static enum verdict judge(const char *operation, const char *path, int is_read, int is_write) {
    if (is_read != (how == READ || how == BAD) || !is_counted(path)) return PASS;
    long nth = atomic_fetch_add(&seen, 1) + 1;
    if (nth >= at) tell(operation, path);
    if (nth == at) snprintf(failed, sizeof failed, "%s", path);
    if (nth < at || (nth > at && (how == ONCE || how == READ)) || (nth > at && how == BAD && strcmp(path, failed))) return PASS;
    errno = how == FULL ? ENOSPC : EIO;
    return how == FULL && is_write && nth == at ? HALVE : FAIL;
}

static enum verdict judge_file(const char *operation, int file, int is_read, int is_write) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    int saved = errno;
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (length < 0) return PASS;
    path[length] = 0;
    return judge(operation, path, is_read, is_write);
}

static int fails_name(const char *operation, int dir, const char *name) {
    char link[64], base[PATH_MAX] = "", path[2 * PATH_MAX];
    if (name[0] != '/') {
        if (dir == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
            ssize_t length = readlink(link, base, sizeof base - 1);
            if (length < 0) return 0;
            base[length] = 0;
        }
    }
    snprintf(path, sizeof path, "%s%s%s", base, base[0] ? "/" : "", name);
    return judge(operation, path, 0, 0) == FAIL;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                          \
    int name(const char *path, int flags, ...) {                            \
        va_list more;                                                       \
        va_start(more, flags);                                              \
        mode_t mode = va_arg(more, mode_t);                                 \
        va_end(more);                                                       \
        int writes = flags & (O_CREAT | O_TRUNC);                           \
        if (writes && fails_name("open", AT_FDCWD, path)) return -1;        \
        return NEXT(name)(path, flags, mode);                               \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                        \
    int name(int dir, const char *path, int flags, ...) {                   \
        va_list more;                                                       \
        va_start(more, flags);                                              \
        mode_t mode = va_arg(more, mode_t);                                 \
        va_end(more);                                                       \
        int writes = flags & (O_CREAT | O_TRUNC);                           \
        if (writes && fails_name("open", dir, path)) return -1;             \
        return NEXT(name)(dir, path, flags, mode);                          \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *bytes, size_t count) {
    enum verdict verdict = judge_file("write", file, 0, count > 1);
    return verdict == FAIL ? -1 : NEXT(write)(file, bytes, verdict == HALVE ? count / 2 : count);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    return judge_file("write", file, 0, 0) == FAIL ? -1 : NEXT(writev)(file, parts, count);
}

#define PWRITE(name, offset_type)                                                           \
    ssize_t name(int file, const void *bytes, size_t count, offset_type offset) {           \
        enum verdict verdict = judge_file("write", file, 0, count > 1);                     \
        return verdict == FAIL ? -1 : NEXT(name)(file, bytes, verdict == HALVE ? count / 2 : count, offset); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t read(int file, void *bytes, size_t count) {
    return judge_file("read", file, 1, 0) == FAIL ? -1 : NEXT(read)(file, bytes, count);
}

#define PREAD(name, offset_type)                                                            \
    ssize_t name(int file, void *bytes, size_t count, offset_type offset) {                 \
        return judge_file("read", file, 1, 0) == FAIL ? -1 : NEXT(name)(file, bytes, count, offset); \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

#define ON_FILE(name, told)                                                                 \
    int name(int file) { return judge_file(told, file, 0, 0) == FAIL ? -1 : NEXT(name)(file); }
ON_FILE(fsync, "sync")
ON_FILE(fdatasync, "sync")

#define TRUNCATE(name, offset_type)                                                         \
    int name(int file, offset_type length) {                                                \
        return judge_file("truncate", file, 0, 0) == FAIL ? -1 : NEXT(name)(file, length);  \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int posix_fallocate(int file, off_t offset, off_t length) {
    return judge_file("allocate", file, 0, 0) == FAIL ? errno : NEXT(posix_fallocate)(file, offset, length);
}

int rename(const char *from, const char *to) {
    return fails_name("rename", AT_FDCWD, to) ? -1 : NEXT(rename)(from, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    return fails_name("rename", to_dir, to) ? -1 : NEXT(renameat2)(from_dir, from, to_dir, to, flags);
}

int unlink(const char *path) { return fails_name("unlink", AT_FDCWD, path) ? -1 : NEXT(unlink)(path); }

int unlinkat(int dir, const char *path, int flags) {
    return fails_name("unlink", dir, path) ? -1 : NEXT(unlinkat)(dir, path, flags);
}

int rmdir(const char *path) { return fails_name("rmdir", AT_FDCWD, path) ? -1 : NEXT(rmdir)(path); }

int mkdir(const char *path, mode_t mode) {
    return fails_name("mkdir", AT_FDCWD, path) ? -1 : NEXT(mkdir)(path, mode);
}

int link(const char *from, const char *to) { return fails_name("link", AT_FDCWD, to) ? -1 : NEXT(link)(from, to); }

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    return fails_name("link", to_dir, to) ? -1 : NEXT(linkat)(from_dir, from, to_dir, to, flags);
}
