/* Makes storage calls of a program fail, or flushes do nothing. Loaded with LD_PRELOAD.
 *
 *   STORAGE_FAULTS=FILE   while FILE is there: "KINDS ERRNO SKIP MATCHING". Calls of these kinds (s flush, w write, o create, i watch for
 *                         events) on paths that contain MATCHING fail with ERRNO, but for the first SKIP of them. FILE with the ending
 *                         .struck is made then.
 *   STORAGE_NO_FLUSH=1    flushes succeed without being made
 *
 * What the program asks the kernel without the C library (rustix) is not seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_uint seen;

static void path_of(int fd, char *path, size_t room) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, room - 1);
    path[length > 0 ? length : 0] = 0;
}

static void strike(const char *control) {
    char name[4096];
    snprintf(name, sizeof name, "%s.struck", control);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
}

/* The error that a call is to fail with, or 0. */
static int fault(char kind, int fd, const char *path) {
    const char *control = getenv("STORAGE_FAULTS");
    if (!control) return 0;
    int at = errno;
    int file = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) {
        errno = at;
        return 0;
    }
    char text[512] = {0}, kinds[8], matching[256] = "", found[4096];
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    errno = at;
    int number;
    unsigned skip;
    if (length <= 0 || sscanf(text, "%7s %d %u %255s", kinds, &number, &skip, matching) < 3 || !strchr(kinds, kind)) return 0;
    if (!path) {
        path_of(fd, found, sizeof found);
        errno = at;
        path = found;
        /* Sockets and pipes. */
        if (path[0] != '/') return 0;
    }
    if (strncmp(path, "/dev/", 5) == 0 || !strstr(path, matching)) return 0;
    if (atomic_fetch_add(&seen, 1) < skip) return 0;
    strike(control);
    return number;
}

static int flush(int fd, long call) {
    int number = fault('s', fd, NULL);
    if (number) {
        errno = number;
        return -1;
    }
    if (getenv("STORAGE_NO_FLUSH")) return 0;
    return (int)syscall(call, fd);
}

int fsync(int fd) { return flush(fd, SYS_fsync); }
int fdatasync(int fd) { return flush(fd, SYS_fdatasync); }

ssize_t write(int fd, const void *bytes, size_t count) {
    int number = fault('w', fd, NULL);
    if (number) {
        errno = number;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    int number = fault('w', fd, NULL);
    if (number) {
        errno = number;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, count, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return pwrite64(fd, bytes, count, offset); }

static int create(const char *path, int flags, mode_t mode) {
    int creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    int number = creates ? fault('o', -1, path) : 0;
    if (number) {
        errno = number;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int inotify_add_watch(int fd, const char *path, uint32_t events) {
    int number = fault('i', -1, path);
    if (number) {
        errno = number;
        return -1;
    }
    return (int)syscall(SYS_inotify_add_watch, fd, path, events);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return create(path, flags | O_LARGEFILE, mode);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return create(path, flags, mode);
}
