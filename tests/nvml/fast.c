/* Time that runs faster: loaded before a program, it stretches the two clocks that dates and durations are made of.
 *
 * CLOCK_BOOTTIME and CLOCK_REALTIME go FAST_FACTOR times as fast from the instant FAST_FROM_NS of CLOCK_BOOTTIME on, and
 * that instant has the date FAST_DATE_NS; until then they go as ever, so that a program can start. CLOCK_MONOTONIC, by which programs wait, is left alone: an unchanged program
 * sees few, long seconds. tests/nvml/fast.py says what the time is there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static int64_t number(const char *name) { const char *text = getenv(name); return text ? atoll(text) : 0; }

int clock_gettime(clockid_t id, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  static int64_t factor, from, date;
  if (!real) {
    factor = number("FAST_FACTOR"), from = number("FAST_FROM_NS"), date = number("FAST_DATE_NS");
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  }
  if (!factor || (id != CLOCK_BOOTTIME && id != CLOCK_REALTIME)) return real(id, now);
  int result = real(CLOCK_BOOTTIME, now);
  int64_t past = now->tv_sec * 1000000000LL + now->tv_nsec - from;
  if (past > 0) past *= factor;
  int64_t at = (id == CLOCK_BOOTTIME ? from : date) + past;
  now->tv_sec = at / 1000000000LL, now->tv_nsec = at % 1000000000LL;
  return result;
}
