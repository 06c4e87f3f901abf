// Preloaded before the C library: the n-th call that changes a file below a folder fails, as a full or broken disk would.
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static long calls = 0, fails_at = -1;
static int error_number = EIO;
static bool lasts = false;
static char folder[PATH_MAX] = "";
static bool vanishes = false;
static useconds_t delay = 0;

extern "C" {
// Counting begins at 0; `forever` lets all later calls fail too.
void faults_arm(const char *below, long n, int error, int forever) {
    strncpy(folder, below, sizeof folder - 1);
    calls = 0;
    fails_at = n;
    error_number = error;
    lasts = forever;
}
// The n-th file that is opened to be read is removed just before.
void faults_vanish(const char *below, long n) {
    faults_arm(below, n, 0, false);
    vanishes = true;
}
// Every call takes so many microseconds more.
void faults_slow(const char *below, unsigned microseconds) {
    faults_arm(below, -1, 0, false);
    delay = microseconds;
}
long faults_disarm() {
    folder[0] = 0;
    vanishes = false;
    delay = 0;
    return calls;
}
}

static bool fails(const char *path) {
    if (!folder[0] || vanishes || strncmp(path, folder, strlen(folder)) != 0) return false;
    if (delay) usleep(delay);
    long call = calls++;
    if (fails_at < 0 || call < fails_at || (call > fails_at && !lasts)) return false;
    errno = error_number;
    return true;
}

static bool fails_fd(int file) {
    if (!folder[0]) return false;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return false;
    path[length] = 0;
    return fails(path);
}

static bool is_read(const char *path, int flags) {
    return folder[0] && vanishes && !(flags & (O_WRONLY | O_RDWR | O_CREAT | O_DIRECTORY)) &&
           strncmp(path, folder, strlen(folder)) == 0;
}

#define REAL(name) static auto real = reinterpret_cast<decltype(&name)>(dlsym(RTLD_NEXT, #name))

extern "C" {
ssize_t write(int file, const void *content, size_t count) {
    REAL(write);
    return fails_fd(file) ? -1 : real(file, content, count);
}
ssize_t pwrite64(int file, const void *content, size_t count, off64_t place) {
    REAL(pwrite64);
    return fails_fd(file) ? -1 : real(file, content, count, place);
}
int fsync(int file) {
    REAL(fsync);
    return fails_fd(file) ? -1 : real(file);
}
int ftruncate64(int file, off64_t size) noexcept {
    REAL(ftruncate64);
    return fails_fd(file) ? -1 : real(file, size);
}
int rename(const char *from, const char *to) noexcept {
    REAL(rename);
    return fails(to) ? -1 : real(from, to);
}
int mkdir(const char *path, mode_t mode) noexcept {
    REAL(mkdir);
    return fails(path) ? -1 : real(path, mode);
}
int unlink(const char *path) noexcept {
    REAL(unlink);
    return fails(path) ? -1 : real(path);
}
int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (is_read(path, flags) && calls++ == fails_at) unlink(path);
    return flags & (O_WRONLY | O_RDWR | O_CREAT) && fails(path) ? -1 : real(path, flags, mode);
}
int open(const char *path, int flags, ...) {
    REAL(open);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (is_read(path, flags) && calls++ == fails_at) unlink(path);
    return flags & (O_WRONLY | O_RDWR | O_CREAT) && fails(path) ? -1 : real(path, flags, mode);
}
}
