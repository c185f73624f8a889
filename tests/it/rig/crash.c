/* Runs a program and ends it at its Nth call that leaves a trace: a write, a flush, a change of names, a send.
 *
 *   crash LOG MODE NTH MATCHING PROGRAM [ARGUMENT...]
 *
 * Calls are counted over all threads together, in the order in which the kernel sees them. LOG gets a line for each: its number, its
 * class, its name, what it is about, and how many bytes. Only calls whose line contains a match of the shell pattern MATCHING are counted; an empty one matches all.
 *
 *   MODE  before  SIGKILL instead of the call
 *         half    SIGKILL after the first half of its bytes (writes and sends; others as before)
 *         after   SIGKILL after the call, before the program hears of it
 *         term    SIGTERM before the call, which goes on
 *         count   nothing: NTH is ignored
 *
 * Ends with the program's own status, or 137 when the program was killed here.
 *
 * A seccomp filter stops the traced calls alone, whoever makes them: libc, a library that asks the kernel itself, any thread.
 * Not seen: pages written through a mapping (SQLite's -shm, which is rebuilt after a crash), calls through io_uring (nobody makes any).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of glibc, <sys/ptrace.h> and <linux/ptrace.h> cannot be included together everywhere. */
long ptrace(int request, ...);

enum { PLAIN, VECTOR, MESSAGE, FLUSH, LENGTH, NAMES, CONNECT, CREATE };

/* Which argument of a change of names holds the path that is told, and which the second one. */
static const struct known {
    long number;
    const char *name;
    int shape;
    int first, second;
} KNOWN[] = {
    {SYS_write, "write", PLAIN, 0, 0},
    {SYS_pwrite64, "pwrite64", PLAIN, 0, 0},
    {SYS_writev, "writev", VECTOR, 0, 0},
    {SYS_pwritev, "pwritev", VECTOR, 0, 0},
    {SYS_pwritev2, "pwritev2", VECTOR, 0, 0},
    {SYS_sendfile, "sendfile", LENGTH, 0, 0},
    {SYS_copy_file_range, "copy_file_range", FLUSH, 2, 0},
    {SYS_sendto, "sendto", PLAIN, 0, 0},
    {SYS_sendmsg, "sendmsg", MESSAGE, 0, 0},
    {SYS_sendmmsg, "sendmmsg", MESSAGE, 0, 0},
    {SYS_connect, "connect", CONNECT, 0, 0},
    {SYS_fsync, "fsync", FLUSH, 0, 0},
    {SYS_fdatasync, "fdatasync", FLUSH, 0, 0},
    {SYS_sync_file_range, "sync_file_range", FLUSH, 0, 0},
    {SYS_ftruncate, "ftruncate", LENGTH, 0, 0},
    {SYS_fallocate, "fallocate", LENGTH, 0, 0},
    {SYS_renameat, "renameat", NAMES, 1, 3},
    {SYS_renameat2, "renameat2", NAMES, 1, 3},
    {SYS_linkat, "linkat", NAMES, 1, 3},
    {SYS_unlinkat, "unlinkat", NAMES, 1, 1},
    {SYS_mkdirat, "mkdirat", NAMES, 1, 1},
    {SYS_openat, "openat", CREATE, 1, 2},
#ifdef SYS_rename
    {SYS_rename, "rename", NAMES, 0, 1},
    {SYS_link, "link", NAMES, 0, 1},
    {SYS_unlink, "unlink", NAMES, 0, 0},
    {SYS_mkdir, "mkdir", NAMES, 0, 0},
    {SYS_rmdir, "rmdir", NAMES, 0, 0},
    {SYS_open, "open", CREATE, 0, 1},
#endif
};
#define KNOWN_COUNT (sizeof KNOWN / sizeof *KNOWN)

struct call {
    const char *class;
    char line[1024];
    int fd;        /* of a call that can be done by half, or -1 */
    uint64_t bytes;
    uint64_t address; /* of those bytes, or 0 */
    int64_t offset;   /* of a positioned write, or -1 */
};

static void die(const char *what) {
    fprintf(stderr, "crash: %s: %s\n", what, strerror(errno));
    exit(125);
}

static size_t copy_in(pid_t thread, uint64_t from, void *to, size_t count) {
    struct iovec here = {to, count}, there = {(void *)(uintptr_t)from, count};
    ssize_t got = process_vm_readv(thread, &here, 1, &there, 1, 0);
    return got < 0 ? 0 : (size_t)got;
}

/* A path may end just before a page that is not there, so it is read in pieces that cross no page. */
static void copy_path(pid_t thread, uint64_t from, char *to, size_t room) {
    size_t done = 0;
    while (done + 1 < room) {
        size_t piece = 4096 - (from + done) % 4096;
        if (piece > room - 1 - done) piece = room - 1 - done;
        size_t got = copy_in(thread, from + done, to + done, piece);
        char *end = memchr(to + done, 0, got);
        if (end) return;
        done += got;
        if (got < piece) break;
    }
    to[done] = 0;
}

static void add(struct call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct call *call, const char *format, ...) {
    size_t used = strlen(call->line);
    va_list values;
    va_start(values, format);
    vsnprintf(call->line + used, sizeof call->line - used, format, values);
    va_end(values);
}

static int same_descriptor(pid_t group, int fd) {
    int pidfd = (int)syscall(SYS_pidfd_open, group, 0);
    if (pidfd < 0) return -1;
    int same = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
    close(pidfd);
    return same;
}

/* The first words of what is sent, where they can be read by people. */
static void add_words(struct call *call, pid_t thread) {
    char words[49] = {0};
    size_t got = copy_in(thread, call->address, words, call->bytes < 48 ? call->bytes : 48);
    size_t end = 0;
    while (end < got && words[end] >= ' ' && words[end] < 127) end++;
    words[end] = 0;
    if (end >= 4) add(call, " '%s'", words);
}

/* What a descriptor is, told from its link in /proc. False when nobody but the program itself can notice a write to it. */
static int describe(struct call *call, pid_t group, pid_t thread, int fd, int flush) {
    char link[64], target[512];
    snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)thread, fd);
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length <= 0) return 0;
    target[length] = 0;
    if (strncmp(target, "socket:", 7) == 0) {
        call->class = "send";
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        int same = same_descriptor(group, fd);
        int known = same >= 0 && getpeername(same, (struct sockaddr *)&peer, &size) == 0;
        if (same >= 0) close(same);
        if (known && peer.ss_family == AF_UNIX) return 0;
        add(call, "port:%d", known && peer.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)&peer)->sin_port) : 0);
        if (call->address) add_words(call, thread);
        return 1;
    }
    if (target[0] != '/' || strncmp(target, "/dev/", 5) == 0) return 0;
    call->class = flush ? "flush" : "write";
    add(call, "%s", target);
    return 1;
}

/* Takes a stopped call apart. False when it leaves no trace. */
static int examine(pid_t group, pid_t thread, const struct ptrace_syscall_info *info, struct call *call) {
    const struct known *known = NULL;
    for (size_t i = 0; i < KNOWN_COUNT; i++)
        if ((uint64_t)KNOWN[i].number == info->seccomp.nr) known = &KNOWN[i];
    if (!known) return 0;
    const uint64_t *args = (const uint64_t *)info->seccomp.args;
    memset(call, 0, sizeof *call);
    call->fd = -1;
    call->offset = -1;
    add(call, "%s ", known->name);
    char path[512];
    switch (known->shape) {
    case PLAIN:
        call->address = args[1];
        call->bytes = args[2];
        call->fd = (int)args[0];
        if (known->number == SYS_pwrite64) call->offset = (int64_t)args[3];
        if (!describe(call, group, thread, (int)args[0], 0)) return 0;
        add(call, " %llu", (unsigned long long)call->bytes);
        return 1;
    case VECTOR: {
        struct iovec first = {0};
        copy_in(thread, args[1], &first, sizeof first);
        call->address = (uint64_t)(uintptr_t)first.iov_base;
        call->bytes = first.iov_len;
        /* By half: of its first piece alone. */
        call->fd = known->number == SYS_writev ? (int)args[0] : -1;
        return describe(call, group, thread, (int)args[0], 0);
    }
    case MESSAGE:
    case LENGTH:
        return describe(call, group, thread, (int)args[0], 0);
    case FLUSH:
        return describe(call, group, thread, (int)args[known->first], 1);
    case CONNECT: {
        struct sockaddr_in peer = {0};
        copy_in(thread, args[1], &peer, args[2] < sizeof peer ? args[2] : sizeof peer);
        call->class = "send";
        add(call, "port:%d", ntohs(peer.sin_port));
        return peer.sin_family == AF_INET && peer.sin_port != 0;
    }
    case CREATE:
        if (!(args[known->second] & O_CREAT) && (args[known->second] & O_TMPFILE) != O_TMPFILE) return 0;
        copy_path(thread, args[known->first], path, sizeof path);
        if (strncmp(path, "/dev/", 5) == 0) return 0;
        call->class = "name";
        add(call, "%s", path);
        return 1;
    default:
        call->class = "name";
        copy_path(thread, args[known->first], path, sizeof path);
        add(call, "%s", path);
        if (known->second != known->first) {
            copy_path(thread, args[known->second], path, sizeof path);
            add(call, " -> %s", path);
        }
        return 1;
    }
}

static void half(pid_t group, pid_t thread, const struct call *call) {
    size_t count = call->bytes / 2;
    if (call->fd < 0 || count == 0) return;
    char *bytes = malloc(count);
    int same = same_descriptor(group, call->fd);
    if (!bytes || same < 0) die("half a write");
    count = copy_in(thread, call->address, bytes, count);
    ssize_t written = call->offset >= 0 ? pwrite(same, bytes, count, call->offset) : write(same, bytes, count);
    if (written != (ssize_t)count) die("half a write");
    close(same);
    free(bytes);
}

static void start(char **program) {
    struct sock_filter code[KNOWN_COUNT * 2 + 2];
    size_t length = 0;
    code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)KNOWN[i].number, 0, 1);
        code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    }
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {(unsigned short)length, code};
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) die("PTRACE_TRACEME");
    raise(SIGSTOP);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) die("no_new_privs");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) die("seccomp");
    execvp(program[0], program);
    die(program[0]);
}

/* SIGTERM and SIGINT are for the program. */
static volatile pid_t child;
static void pass_on(int signal) {
    if (child > 0) kill(child, signal);
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "crash LOG MODE NTH MATCHING PROGRAM [ARGUMENT...]\n");
        return 125;
    }
    FILE *log = fopen(argv[1], "we");
    if (!log) die(argv[1]);
    setvbuf(log, NULL, _IOLBF, 0);
    const char *mode = argv[2];
    char matching[512];
    snprintf(matching, sizeof matching, "*%s*", argv[4]);
    unsigned long nth = strcmp(mode, "count") == 0 ? 0 : strtoul(argv[3], NULL, 10), counted = 0;
    child = fork();
    if (child < 0) die("fork");
    if (child == 0) start(argv + 5);
    signal(SIGTERM, pass_on);
    signal(SIGINT, pass_on);

    int status, ended = 125;
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) die("the program does not start");
    long options = PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACESYSGOOD;
    if (ptrace(PTRACE_SETOPTIONS, child, 0, options) != 0) die("PTRACE_SETOPTIONS");
    ptrace(PTRACE_CONT, child, 0, 0);
    pid_t dies_after = 0;
    for (;;) {
        pid_t thread = waitpid(-1, &status, __WALL);
        if (thread < 0) {
            if (errno == EINTR) continue;
            break;
        }
        if (!WIFSTOPPED(status)) {
            if (thread == child) ended = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        int event = status >> 16, signal = WSTOPSIG(status), go_on = PTRACE_CONT;
        if (event == PTRACE_EVENT_SECCOMP) {
            struct ptrace_syscall_info info;
            struct call call;
            memset(&info, 0, sizeof info);
            if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) > 0 && info.op == PTRACE_SYSCALL_INFO_SECCOMP
                && examine(child, thread, &info, &call) && fnmatch(matching, call.line, 0) == 0) {
                counted++;
                fprintf(log, "%lu %s %s\n", counted, call.class, call.line);
                if (counted == nth && strcmp(mode, "term") == 0) {
                    kill(child, SIGTERM);
                } else if (counted == nth && strcmp(mode, "after") == 0) {
                    dies_after = thread;
                    go_on = PTRACE_SYSCALL;
                } else if (counted == nth) {
                    if (strcmp(mode, "half") == 0) half(child, thread, &call);
                    /* A call that is stopped here is skipped when its thread is killed. */
                    kill(child, SIGKILL);
                }
            }
            signal = 0;
        } else if (thread == dies_after && signal == (SIGTRAP | 0x80)) {
            kill(child, SIGKILL);
            signal = 0;
        } else if (event != 0 || signal == SIGTRAP || signal == SIGSTOP) {
            /* Births of threads, and their first stop. */
            signal = 0;
        }
        ptrace(go_on, thread, 0, (long)signal);
    }
    fclose(log);
    return ended;
}
