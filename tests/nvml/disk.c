/* A disk that refuses: loaded before a program, it answers writes under DISK_FOLDER as the file DISK_SAYS tells.
 *
 * The file holds the number of an error (ENOSPC, EIO, EROFS), or nothing where all is well. Opening for writing, writing,
 * fsync, rename and unlink are refused; reading goes on, as on a file system that became read-only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int refused(const char *path) { /* the error that a change of this path meets now; 0: none */
  const char *folder = getenv("DISK_FOLDER"), *says = getenv("DISK_SAYS");
  if (!folder || !says || !path || strncmp(path, folder, strlen(folder))) return 0;
  char text[16] = "";
  int file = NEXT(open)(says, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  return length > 0 ? atoi(text) : 0;
}

static int refused_file(int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return refused(path);
}

#define REFUSE(test) do { int code = test; if (code) { errno = code; return -1; } } while (0)

static int opened(const char *name, const char *path, int flags, va_list rest) {
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
  if (flags & (O_WRONLY | O_RDWR | O_CREAT)) REFUSE(refused(path));
  return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name))(path, flags, mode);
}

int open(const char *path, int flags, ...) { va_list rest; va_start(rest, flags); int file = opened("open", path, flags, rest); va_end(rest); return file; }
int open64(const char *path, int flags, ...) { va_list rest; va_start(rest, flags); int file = opened("open64", path, flags, rest); va_end(rest); return file; }
ssize_t write(int file, const void *data, size_t size) { if (file > 2) REFUSE(refused_file(file)); return NEXT(write)(file, data, size); }
int fsync(int file) { REFUSE(refused_file(file)); return NEXT(fsync)(file); }
int rename(const char *from, const char *to) { REFUSE(refused(to)); return NEXT(rename)(from, to); }
int unlink(const char *path) { REFUSE(refused(path)); return NEXT(unlink)(path); }
