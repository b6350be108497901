/* Preloaded into a process, it puts it on a wall clock that is off by what a file says; all other clocks stay true.
 *
 * libfaketime 0.9.10 cannot: redis-server hangs in it (jemalloc asks for the time before the library is ready), and
 * with monotonic clocks left alone it lets the sleep of Python 3.11 fail.
 *
 * CLOCK_FILE    8 bytes, the seconds to add; read anew for each look at the clock
 * CLOCK_ONLY    the one program that is on this clock
 * CLOCK_EXCEPT  the one program that is not
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t *offset_s;

__attribute__((constructor)) static void read_settings(void) {
    const char *only = getenv("CLOCK_ONLY"), *except = getenv("CLOCK_EXCEPT");
    const char *mine = program_invocation_short_name;
    if ((only && strcmp(only, mine)) || (except && !strcmp(except, mine)))
        return;
    int file = open(getenv("CLOCK_FILE"), O_RDONLY | O_CLOEXEC);
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset_s, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED)
        abort(); /* a process on the true clock would prove nothing */
    close(file);
    offset_s = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && offset_s && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += __atomic_load_n(offset_s, __ATOMIC_RELAXED);
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *also) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (also)
        *also = now.tv_sec;
    return now.tv_sec;
}

/* "Touched now": the kernel's now is not this process's. */
int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
    struct timespec now[2];
    if (!times) {
        clock_gettime(CLOCK_REALTIME, &now[0]);
        now[1] = now[0];
        times = now;
    }
    return (int)syscall(SYS_utimensat, folder, path, times, flags);
}
