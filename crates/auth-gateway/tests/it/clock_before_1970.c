/* Preloaded into a gateway: whoever asks first after the file named by CLOCK_BEFORE_1970 was made is told a day before
 * the epoch, and the file is gone. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
    const char *file = getenv("CLOCK_BEFORE_1970");
    if (clock == CLOCK_REALTIME && file && unlink(file) == 0) {
        time->tv_sec = -86400;
        time->tv_nsec = 0;
        return 0;
    }
    return (int)syscall(SYS_clock_gettime, clock, time);
}
