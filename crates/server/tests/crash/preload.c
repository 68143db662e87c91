/*
 * Counts what a process changes outside itself, and ends it or fails one call at a chosen number.
 *
 * The library is loaded with LD_PRELOAD and stands before the C library's calls that make, write, sync, rename or
 * remove files, and those that send to sockets. It is steered through a file that both sides map (CRASH_PAGE): the
 * test writes the orders, the library counts and says where it struck. `control.rs` knows the same layout.
 *
 * Only regular files, directories and sockets count. What the runtime writes to its own event descriptors and pipes
 * stays in the process, and the standard streams are logs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

enum mode { KILL_BEFORE = 0, KILL_AFTER = 1, FAIL = 2 };

struct page {
    _Atomic uint32_t armed;       /*   0: 1 counts, 0 lets everything pass */
    uint32_t mode;                /*   4: enum mode */
    uint32_t error;               /*   8: the errno of a failure */
    uint32_t files_only;          /*  12: 1 counts towards the target only what is done to files */
    uint64_t target;              /*  16: the number that is struck; 0 is none */
    _Atomic uint64_t all;         /*  24: calls so far */
    _Atomic uint64_t files;       /*  32: those of them that were about files */
    _Atomic uint32_t fired;       /*  40: 1 once it struck; the rest is valid then */
    uint32_t unused;              /*  44 */
    char call[48];                /*  48: the name of the call */
    char path[416];               /*  96: what it was about */
};

_Static_assert(sizeof(struct page) == 512, "control.rs knows this layout");

static struct page *page;

__attribute__((constructor)) static void map_page(void) {
    const char *name = getenv("CRASH_PAGE");
    if (!name) return;
    int fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0) _exit(120);
    void *mapped = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) _exit(121);
    close(fd);
    page = mapped;
}

/* What is to happen with the call that asks. */
enum verdict { PASS, DIE_AFTER, REFUSE };

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* The path of a name below a directory descriptor, for people who read a failure. */
static void describe(int dir, const char *name) {
    char link[64], base[256];
    ssize_t length = 0;
    if (dir >= 0 && (!name || name[0] != '/')) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        length = readlink(link, base, sizeof base - 1);
    }
    base[length > 0 ? length : 0] = 0;
    snprintf(page->path, sizeof page->path, "%s%s%s", base, length > 0 && name ? "/" : "", name ? name : "");
}

static enum verdict judge(const char *call, int is_file, int dir, const char *name) {
    int saved = errno;
    uint64_t all = atomic_fetch_add(&page->all, 1) + 1;
    uint64_t files = is_file ? atomic_fetch_add(&page->files, 1) + 1 : 0;
    uint64_t number = page->files_only ? files : all;
    if (number == 0 || number != page->target) return PASS;
    snprintf(page->call, sizeof page->call, "%s", call);
    describe(dir, name);
    atomic_store(&page->fired, 1);
    if (page->mode == KILL_BEFORE) die();
    errno = saved;
    return page->mode == KILL_AFTER ? DIE_AFTER : REFUSE;
}

static int is_armed(void) {
    return page && atomic_load(&page->armed);
}

static enum verdict about_fd(const char *call, int fd) {
    if (!is_armed() || fd == 1 || fd == 2) return PASS;
    int saved = errno;
    struct stat stat;
    int failed = fstat(fd, &stat);
    errno = saved;
    if (failed) return PASS;
    if (S_ISSOCK(stat.st_mode)) return judge(call, 0, fd, NULL);
    if (S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode)) return judge(call, 1, fd, NULL);
    return PASS;
}

static enum verdict about_name(const char *call, int dir, const char *name) {
    return is_armed() ? judge(call, 1, dir, name) : PASS;
}

/* The next definition of a call, that of the C library. */
static void *next_of(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) _exit(122);
    return found;
}

/* Defines the call `name` that does as the verdict says with the one behind it. */
#define STAND_BEFORE(type, name, parameters, arguments, judged)  \
    type name parameters {                                       \
        static type(*next) parameters;                           \
        if (!next) next = (type(*) parameters)next_of(#name);    \
        enum verdict given = (judged);                           \
        if (given == REFUSE) {                                   \
            errno = (int)page->error;                            \
            return -1;                                           \
        }                                                        \
        type result = next arguments;                            \
        if (given == DIE_AFTER) die();                           \
        return result;                                           \
    }

#define ON_FD(type, name, parameters, arguments, fd) STAND_BEFORE(type, name, parameters, arguments, about_fd(#name, fd))
#define ON_NAME(type, name, parameters, arguments, dir, path) \
    STAND_BEFORE(type, name, parameters, arguments, about_name(#name, dir, path))

/* Writing. */
ON_FD(ssize_t, write, (int fd, const void *bytes, size_t size), (fd, bytes, size), fd)
ON_FD(ssize_t, pwrite, (int fd, const void *bytes, size_t size, off_t at), (fd, bytes, size, at), fd)
ON_FD(ssize_t, pwrite64, (int fd, const void *bytes, size_t size, off64_t at), (fd, bytes, size, at), fd)
ON_FD(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), fd)
ON_FD(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at), fd)
ON_FD(ssize_t, sendfile, (int to, int from, off_t *at, size_t size), (to, from, at, size), to)
ON_FD(ssize_t, sendfile64, (int to, int from, off64_t *at, size_t size), (to, from, at, size), to)
ON_FD(ssize_t, copy_file_range, (int from, off64_t *from_at, int to, off64_t *to_at, size_t size, unsigned flags),
      (from, from_at, to, to_at, size, flags), to)
ON_FD(int, ftruncate, (int fd, off_t size), (fd, size), fd)
ON_FD(int, ftruncate64, (int fd, off64_t size), (fd, size), fd)
ON_FD(int, fsetxattr, (int fd, const char *name, const void *value, size_t size, int flags),
      (fd, name, value, size, flags), fd)

/* Making it last. */
ON_FD(int, fsync, (int fd), (fd), fd)
ON_FD(int, fdatasync, (int fd), (fd), fd)
ON_FD(int, sync_file_range, (int fd, off64_t at, off64_t size, unsigned flags), (fd, at, size, flags), fd)

/* Names. */
ON_NAME(int, rename, (const char *from, const char *to), (from, to), AT_FDCWD, to)
ON_NAME(int, renameat, (int from_dir, const char *from, int to_dir, const char *to), (from_dir, from, to_dir, to),
        to_dir, to)
ON_NAME(int, renameat2, (int from_dir, const char *from, int to_dir, const char *to, unsigned flags),
        (from_dir, from, to_dir, to, flags), to_dir, to)
ON_NAME(int, link, (const char *from, const char *to), (from, to), AT_FDCWD, to)
ON_NAME(int, linkat, (int from_dir, const char *from, int to_dir, const char *to, int flags),
        (from_dir, from, to_dir, to, flags), to_dir, to)
ON_NAME(int, unlink, (const char *path), (path), AT_FDCWD, path)
ON_NAME(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags), dir, path)
ON_NAME(int, mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ON_NAME(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode), dir, path)
ON_NAME(int, rmdir, (const char *path), (path), AT_FDCWD, path)
ON_NAME(int, creat, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ON_NAME(int, creat64, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)

/* The network. */
ON_FD(int, connect, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), fd)
ON_FD(ssize_t, send, (int fd, const void *bytes, size_t size, int flags), (fd, bytes, size, flags), fd)
ON_FD(ssize_t, sendto,
      (int fd, const void *bytes, size_t size, int flags, const struct sockaddr *address, socklen_t address_size),
      (fd, bytes, size, flags, address, address_size), fd)
ON_FD(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), fd)

/* Opening counts where it may make a file. The mode is there only then. */
#define OPENS(name, parameters, arguments, dir)                                                  \
    int name parameters {                                                                        \
        static int(*next) parameters;                                                            \
        if (!next) next = (int(*) parameters)next_of(#name);                                     \
        mode_t mode = 0;                                                                         \
        if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {                                                     \
            va_list rest;                                                                        \
            va_start(rest, flags);                                                               \
            mode = va_arg(rest, mode_t);                                                         \
            va_end(rest);                                                                        \
        }                                                                                        \
        enum verdict given = flags & O_CREAT ? about_name(#name, dir, path) : PASS;              \
        if (given == REFUSE) {                                                                   \
            errno = (int)page->error;                                                            \
            return -1;                                                                           \
        }                                                                                        \
        int result = next arguments;                                                             \
        if (given == DIE_AFTER) die();                                                           \
        return result;                                                                           \
    }

OPENS(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENS(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir)
OPENS(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), dir)
