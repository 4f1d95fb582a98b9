/* Stands before the C library in a worker: counts calls that change or open something, and makes a
   chosen one fail or do less than it was asked. Only the main thread is counted, since only it
   writes. Switched on by tokengraft_shim() after a fork, so that nothing else is disturbed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { OFF, ONCE, FOREVER, SHORT, TORN };
static int mode, code;
static long at, count;
static char failed[128];

void tokengraft_shim(int new_mode, long new_at, int new_code) {
  mode = new_mode, at = new_at, code = new_code;
  if (mode != OFF) count = 0, failed[0] = 0;
}
long tokengraft_shim_count(void) { return count; }
const char *tokengraft_shim_failed(void) { return failed; }

/* 1: fail now. 2: do half of it now. 0: do as asked. */
static int now(const char *name, int writes) {
  if (mode == OFF || syscall(SYS_gettid) != getpid()) return 0;
  long number = ++count;
  if (mode == SHORT) return writes ? 2 : 0;
  if (mode == TORN) {
    if (number == at && writes) return 2;
    if (number <= at || !writes) return 0;
  } else if (number != at && !(mode == FOREVER && number > at)) {
    return 0;
  }
  if (!failed[0]) snprintf(failed, sizeof failed, "%s", name);
  errno = code;
  return 1;
}

static void *find(void **kept, const char *name) {
  if (!*kept) *kept = dlsym(RTLD_NEXT, name);
  return *kept;
}

#define REAL(type, name) ((type)find(&real_##name, #name))
#define STANDS_FOR(result, name, asked, given) \
  static void *real_##name;                    \
  result name asked {                          \
    if (now(#name, 0) == 1) return -1;         \
    return REAL(result(*) asked, name) given;  \
  }

STANDS_FOR(int, fsync, (int f), (f))
STANDS_FOR(int, fchmod, (int f, mode_t m), (f, m))
STANDS_FOR(int, flock, (int f, int how), (f, how))
STANDS_FOR(int, mkdirat, (int d, const char *p, mode_t m), (d, p, m))
STANDS_FOR(int, unlinkat, (int d, const char *p, int f), (d, p, f))
STANDS_FOR(int, linkat, (int a, const char *p, int b, const char *q, int f), (a, p, b, q, f))
STANDS_FOR(int, renameat, (int a, const char *p, int b, const char *q), (a, p, b, q))
STANDS_FOR(int, renameat2, (int a, const char *p, int b, const char *q, unsigned f), (a, p, b, q, f))

/* A close that fails has closed all the same. */
static void *real_close;
int close(int file) {
  int fails = now("close", 0), kept = errno;
  int done = REAL(int (*)(int), close)(file);
  if (fails) errno = kept;
  return fails ? -1 : done;
}

static void *real_write;
ssize_t write(int file, const void *data, size_t size) {
  int what = size > 1 || mode != SHORT ? now("write", size > 1) : 0;
  if (what == 1) return -1;
  if (what == 2) size = mode == SHORT ? (size < (size_t)code ? size : (size_t)code) : size / 2;
  return REAL(ssize_t(*)(int, const void *, size_t), write)(file, data, size);
}

static void *real_copy_file_range;
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
  int what = now("copy_file_range", size > 1);
  if (what == 1) return -1;
  if (what == 2) size = mode == SHORT ? (size < (size_t)code ? size : (size_t)code) : size / 2;
  return REAL(ssize_t(*)(int, off64_t *, int, off64_t *, size_t, unsigned), copy_file_range)(
      in, from, out, to, size, flags);
}

#define OPENS(name)                                                                        \
  static void *real_##name;                                                                \
  int name(int folder, const char *path, int flags, ...) {                                 \
    va_list rest;                                                                          \
    va_start(rest, flags);                                                                 \
    int bits = va_arg(rest, int);                                                          \
    va_end(rest);                                                                          \
    if (now("openat", 0)) return -1;                                                       \
    return REAL(int (*)(int, const char *, int, ...), name)(folder, path, flags, bits);    \
  }
OPENS(openat)
OPENS(openat64)
