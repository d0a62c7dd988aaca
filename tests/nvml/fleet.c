/* A fleet of GPUs that is not there: libnvidia-ml.so.1 as a script says it behaves.
 *
 * Everything is a function of CLOCK_BOOTTIME since the script's start, so any number of processes that load this library
 * see the same boards at the same time. What a board really draws is its load; what it shows is a sensor's view of that:
 * the mean over a window, refreshed every period, times a gain. tests/nvml/fleet.py writes the script and knows the truth.
 *
 * Compiled with -DSEVEN it has the seven symbols alone that field values need, as a very old driver would.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, SHORT = 7, LOST = 15 };
enum { MAX_GPUS = 16, MAX_LEVELS = 256, MAX_EVENTS = 64, MAX_PROCESSES = 64, MAX_WORKS = 64 };
enum { DOUBLE, UINT, ULONG, ULLONG };

typedef struct { unsigned fieldId, scopeId; int64_t timestamp, latencyUsec; unsigned valueType; int result;
                 union { double d; unsigned u; unsigned long ul; unsigned long long ull; } value; } Field;
typedef struct { double at_ms, mw; } Level;
typedef struct { char kind[16]; int gpu; double at_ms, ms, amount; } Event;
typedef struct { unsigned pid; unsigned long long memory; unsigned percent; double from_ms, until_ms; } Process;
typedef struct { int at; double percent, from_ms, until_ms; } Work;

typedef struct {
  char uuid[96], name[96];
  unsigned limit_mw, mig;
  double period_ms, window_ms, gain, offset_mw, latency_us;
  int counter, average, scope;
  double square_period_ms, square_on_ms;   /* 0: the levels alone; else between the first two levels */
  int levels; Level level[MAX_LEVELS];
  int processes; Process process[MAX_PROCESSES];
  int parts; double busy[7];               /* MIG devices, and percent of the time that each is used */
  int gpm;                                 /* whether the board tells that percent */
  int works; Work work[MAX_WORKS];         /* further use of MIG devices, from a time to a time */
} Gpu;

typedef struct { int gpu, at; } Part;
static Part parts[MAX_GPUS][7];

static Gpu gpus[MAX_GPUS];
static Event events[MAX_EVENTS];
static int gpu_count, event_count;
static int64_t start_ns;
static double session_ms = -1; /* when nvmlInit was called; -1: not */

static int64_t clock_ns(clockid_t id) { struct timespec t; clock_gettime(id, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
static double now_ms(void) { return (clock_ns(CLOCK_BOOTTIME) - start_ns) / 1e6; }

static void load_script(void) {
  static int loaded;
  if (loaded) return;
  loaded = 1;
  const char *path = getenv("FLEET_SCRIPT");
  FILE *file = path ? fopen(path, "r") : NULL;
  if (!file) return;
  char line[512];
  while (fgets(line, sizeof line, file)) {
    Gpu *g = gpu_count ? &gpus[gpu_count - 1] : NULL;
    Event e; Level l; Process p; Work w; long long at;
    if (sscanf(line, "start %lld", &at) == 1) start_ns = at;
    else if (!strncmp(line, "gpu ", 4) && gpu_count < MAX_GPUS) {
      g = &gpus[gpu_count++];
      sscanf(line, "gpu %95s %u %lf %lf %lf %lf %d %d %d %u %lf %95[^\n]", g->uuid, &g->limit_mw, &g->period_ms,
             &g->window_ms, &g->gain, &g->offset_mw, &g->counter, &g->average, &g->scope, &g->mig, &g->latency_us, g->name);
    } else if (g && sscanf(line, "level %lf %lf", &l.at_ms, &l.mw) == 2 && g->levels < MAX_LEVELS) g->level[g->levels++] = l;
    else if (g && sscanf(line, "parts %d", &g->parts) == 1) continue;
    else if (g && sscanf(line, "gpm %d", &g->gpm) == 1) continue;
    else if (g && sscanf(line, "busy %d %lf", &e.gpu, &e.at_ms) == 2) { if (e.gpu < 7) g->busy[e.gpu] = e.at_ms; }
    else if (g && sscanf(line, "square %lf %lf", &g->square_period_ms, &g->square_on_ms) == 2) continue;
    else if (g && sscanf(line, "work %d %lf %lf %lf", &w.at, &w.percent, &w.from_ms, &w.until_ms) == 4 && g->works < MAX_WORKS)
      g->work[g->works++] = w;
    else if (g && sscanf(line, "process %u %llu %u %lf %lf", &p.pid, &p.memory, &p.percent, &p.from_ms, &p.until_ms) == 5 && g->processes < MAX_PROCESSES)
      g->process[g->processes++] = p;
    else if (sscanf(line, "event %15s %d %lf %lf %lf", e.kind, &e.gpu, &e.at_ms, &e.ms, &e.amount) == 5 && event_count < MAX_EVENTS)
      events[event_count++] = e;
  }
  fclose(file);
  if (!start_ns) start_ns = clock_ns(CLOCK_BOOTTIME);
}

/* -- what is drawn and what is shown ---------------------------------------------------------------------------------- */

static double drawn_uj(const Gpu *g, double ms) { /* energy from 0 to ms; mW x ms = uJ */
  if (ms <= 0 || !g->levels) return ms * (g->levels ? g->level[0].mw : 0);
  if (g->square_period_ms > 0) {
    double rounds = (double)(int64_t)(ms / g->square_period_ms), rest = ms - rounds * g->square_period_ms;
    double high = g->level[1].mw, low = g->level[0].mw, on = g->square_on_ms;
    double whole = high * on + low * (g->square_period_ms - on);
    return rounds * whole + (rest < on ? high * rest : high * on + low * (rest - on));
  }
  double sum = 0;
  for (int i = 0; i < g->levels; i++) {
    double from = i ? g->level[i].at_ms : 0, to = i + 1 < g->levels ? g->level[i + 1].at_ms : ms;
    if (from < ms) sum += g->level[i].mw * ((to < ms ? to : ms) - from);
  }
  return sum;
}

static double mean_mw(const Gpu *g, double end_ms, double window_ms) {
  return g->gain * (drawn_uj(g, end_ms) - drawn_uj(g, end_ms - window_ms)) / window_ms + g->offset_mw;
}

static int inside(const char *kind, int gpu, double ms, double *amount) {
  for (int i = 0; i < event_count; i++) {
    Event *e = &events[i];
    if (!strcmp(e->kind, kind) && (e->gpu == gpu || e->gpu < 0) && ms >= e->at_ms && ms < e->at_ms + e->ms) {
      if (amount) *amount = e->at_ms + e->ms;
      return 1;
    }
  }
  return 0;
}

static double refreshed_ms(const Gpu *g, double ms) { return (double)(int64_t)(ms / g->period_ms) * g->period_ms; }

static double last_event(const char *kind, int gpu, double ms) { /* when the last one ended before ms; -1: none did */
  double last = -1;
  for (int i = 0; i < event_count; i++) {
    Event *e = &events[i];
    double end = e->at_ms + e->ms;
    if (!strcmp(e->kind, kind) && (e->gpu == gpu || e->gpu < 0) && end <= ms && end > last) last = end;
  }
  return last;
}

static unsigned long long counter_mj(int index, double ms) {
  const Gpu *g = &gpus[index];
  double from = last_event("reset", index, ms), reload = last_event("reload", index, ms), sum;
  if (reload > from) from = reload;
  int restarted = from >= 0;
  if (!restarted) from = 0;
  static struct { double from, at, sum; } kept[MAX_GPUS]; /* so that a read costs what has passed since the last one */
  if (kept[index].at == 0 || kept[index].from != from) {
    kept[index].from = from;
    kept[index].at = refreshed_ms(g, from) + g->period_ms;
    kept[index].sum = 0;
  }
  for (; kept[index].at <= ms; kept[index].at += g->period_ms)
    if (!inside("stuck", index, kept[index].at, NULL)) kept[index].sum += mean_mw(g, kept[index].at, g->window_ms) * g->period_ms;
  sum = kept[index].sum;
  for (int i = 0; i < event_count; i++)
    if (!strcmp(events[i].kind, "jump") && events[i].gpu == index && events[i].at_ms <= ms && events[i].at_ms >= from)
      sum += events[i].amount * 1000;
  return (restarted ? 0 : 5000000ULL) + (unsigned long long)(sum / 1000);
}

/* -- the library ------------------------------------------------------------------------------------------------------- */

static int check(void *device, int *index) {
  if (session_ms < 0 || inside("reload", -1, now_ms(), NULL) || last_event("reload", -1, now_ms()) > session_ms) return UNINITIALIZED;
  *index = (int)((Gpu *)device - gpus);
  if (*index < 0 || *index >= gpu_count) return INVALID;
  return inside("lost", *index, now_ms(), NULL) ? LOST : SUCCESS;
}

#define CHECKED int index, result = check(device, &index); if (result) return result; Gpu *g = &gpus[index]; (void)g

static Part *part_of(void *device) {
  Part *p = device;
  return p >= &parts[0][0] && p < &parts[MAX_GPUS][0] ? p : NULL;
}

static int copy(char *to, unsigned length, const char *text) {
  if (strlen(text) >= length) return SHORT;
  strcpy(to, text);
  return SUCCESS;
}

int nvmlInitWithFlags(unsigned flags) {
  (void)flags;
  load_script();
  if (inside("reload", -1, now_ms(), NULL)) return 9; /* driver not loaded */
  session_ms = now_ms();
  return SUCCESS;
}
int nvmlShutdown(void) { session_ms = -1; return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) {
  if (session_ms < 0) return UNINITIALIZED;
  *count = gpu_count;
  return SUCCESS;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  if (session_ms < 0) return UNINITIALIZED;
  if ((int)index >= gpu_count) return INVALID;
  *device = &gpus[index];
  return inside("lost", index, now_ms(), NULL) ? LOST : SUCCESS;
}
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
  Part *p = part_of(device);
  if (p) {
    char text[64];
    snprintf(text, sizeof text, "MIG-%08d-%04d-0000-0000-000000000000", p->gpu, p->at);
    return copy(uuid, length, text);
  }
  CHECKED;
  return copy(uuid, length, g->uuid);
}
int nvmlDeviceGetName(void *device, char *name, unsigned length) { CHECKED; return copy(name, length, g->name); }

static int field(int index, Field *f, double ms) {
  const Gpu *g = &gpus[index];
  double at = refreshed_ms(g, ms);
  int power = f->fieldId == 185 || f->fieldId == 186, averaged = f->fieldId == 185;
  f->timestamp = clock_ns(CLOCK_REALTIME) / 1000;
  f->latencyUsec = (int64_t)g->latency_us;
  f->valueType = UINT;
  if (f->fieldId == 83 && g->counter) {
    f->valueType = ULLONG;
    f->value.ull = counter_mj(index, ms);
  } else if (power && (int)f->scopeId == g->scope && (!averaged || g->average)) {
    f->value.u = (unsigned)mean_mw(g, at, averaged ? 1000 : g->window_ms);
  } else return NOT_SUPPORTED;
  return SUCCESS;
}

int nvmlDeviceGetFieldValues(void *device, int count, Field *values) {
  CHECKED;
  double until;
  if (inside("hang", index, now_ms(), &until)) {
    int64_t ns = start_ns + (int64_t)(until * 1e6) - clock_ns(CLOCK_BOOTTIME);
    struct timespec wait = {ns / 1000000000, ns % 1000000000};
    nanosleep(&wait, NULL);
  }
  double ms = now_ms();
  for (int i = 0; i < count; i++) values[i].result = field(index, &values[i], ms);
  return SUCCESS;
}

#ifndef SEVEN
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
const char *nvmlErrorString(int code) { return code == LOST ? "GPU is lost" : code == UNINITIALIZED ? "Uninitialized" : "Error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { return copy(text, length, "575.57.08"); }
int nvmlSystemGetNVMLVersion(char *text, unsigned length) { return copy(text, length, "12.575.57.08"); }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12090; return SUCCESS; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
  for (int i = 0; i < gpu_count; i++)
    if (!strcmp(gpus[i].uuid, uuid)) return nvmlDeviceGetHandleByIndex_v2(i, device);
  return NOT_FOUND;
}
int nvmlDeviceGetIndex(void *device, unsigned *at) { CHECKED; *at = index; return SUCCESS; }
int nvmlDeviceGetMinorNumber(void *device, unsigned *at) { CHECKED; *at = index; return SUCCESS; }
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *mw) { CHECKED; *mw = g->limit_mw; return g->limit_mw ? SUCCESS : NOT_SUPPORTED; }
int nvmlDeviceGetPowerManagementLimit(void *device, unsigned *mw) { return nvmlDeviceGetEnforcedPowerLimit(device, mw); }
int nvmlDeviceGetPowerManagementDefaultLimit(void *device, unsigned *mw) { return nvmlDeviceGetEnforcedPowerLimit(device, mw); }
int nvmlDeviceGetPowerManagementLimitConstraints(void *device, unsigned *low, unsigned *high) {
  CHECKED; *low = g->limit_mw / 2; *high = g->limit_mw; return SUCCESS;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj) {
  CHECKED;
  if (!g->counter) return NOT_SUPPORTED;
  *mj = counter_mj(index, now_ms());
  return SUCCESS;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned *mw) {
  CHECKED;
  if (g->scope > 1) return NOT_SUPPORTED; /* as many virtual GPUs */
  *mw = (unsigned)mean_mw(g, refreshed_ms(g, now_ms()), g->average ? 1000 : g->window_ms);
  return SUCCESS;
}
int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *later) { CHECKED; *now = *later = g->mig > 0; return SUCCESS; }
int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) { CHECKED; *count = g->mig ? 7 : 0; return SUCCESS; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned at, void **mig) {
  CHECKED;
  if ((int)at >= g->parts) return NOT_FOUND;
  parts[index][at] = (Part){index, (int)at};
  *mig = &parts[index][at];
  return SUCCESS;
}
int nvmlDeviceGetGpuInstanceId(void *device, unsigned *id) {
  Part *p = part_of(device);
  if (!p) return INVALID;
  *id = p->at + 1;
  return SUCCESS;
}
typedef struct { unsigned processors, copy, decoder, encoder, jpeg, ofa, slices, computes; unsigned long long memory; } Attributes;
int nvmlDeviceGetAttributes_v2(void *device, Attributes *attributes) {
  if (!part_of(device)) return INVALID;
  *attributes = (Attributes){.processors = 14, .slices = 1, .computes = 1, .memory = 5120};
  return SUCCESS;
}
typedef struct { unsigned version, supported; } GpmSupport;
typedef struct { Gpu *gpu; int at; double ms; } GpmSample;
typedef struct { unsigned id; int result; double value; const char *names[3]; } GpmMetric;
typedef struct { unsigned version, count; GpmSample *first, *second; GpmMetric metrics[]; } GpmQuestion;
int nvmlGpmQueryDeviceSupport(void *device, GpmSupport *support) { CHECKED; support->supported = g->gpm; return SUCCESS; }
int nvmlGpmSampleAlloc(GpmSample **sample) { *sample = calloc(1, sizeof **sample); return SUCCESS; }
int nvmlGpmSampleFree(GpmSample *sample) { free(sample); return SUCCESS; }
int nvmlGpmMigSampleGet(void *device, unsigned instance, GpmSample *sample) {
  CHECKED;
  if (!g->gpm) return NOT_SUPPORTED;
  if (instance < 1 || (int)instance > g->parts) return INVALID;
  *sample = (GpmSample){g, (int)instance - 1, now_ms()};
  return SUCCESS;
}
static double worked(const Gpu *g, int at, double ms) { /* percent x ms since the start */
  double sum = g->busy[at] * ms;
  for (int i = 0; i < g->works; i++) {
    const Work *w = &g->work[i];
    double until = ms < w->until_ms ? ms : w->until_ms;
    if (w->at == at && until > w->from_ms) sum += w->percent * (until - w->from_ms);
  }
  return sum;
}
int nvmlGpmMetricsGet(GpmQuestion *question) {
  GpmSample *a = question->first, *b = question->second;
  if (question->version != 1 || a->gpu != b->gpu || a->at != b->at || a->ms >= b->ms) return INVALID;
  for (unsigned i = 0; i < question->count; i++) {
    GpmMetric *m = &question->metrics[i];
    m->result = m->id == 1 ? SUCCESS : NOT_SUPPORTED; /* percent of the time that something ran */
    m->value = (worked(b->gpu, b->at, b->ms) - worked(a->gpu, a->at, a->ms)) / (b->ms - a->ms);
  }
  return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory) {
  CHECKED; memory[0] = 40ULL << 30; memory[2] = 1ULL << 30; memory[1] = memory[0] - memory[2]; return SUCCESS;
}
int nvmlDeviceGetMemoryInfo_v2(void *device, unsigned long long *memory) { /* version, total, reserved, free, used */
  CHECKED; memory[1] = 40ULL << 30; memory[2] = 0; memory[4] = 1ULL << 30; memory[3] = memory[1] - memory[4]; return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates) {
  CHECKED;
  double busy = 0;
  for (int i = 0; i < g->processes; i++) busy += g->process[i].percent;
  rates[0] = busy > 100 ? 100 : (unsigned)busy;
  rates[1] = rates[0] / 2;
  return SUCCESS;
}
int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *celsius) { CHECKED; (void)sensor; *celsius = 45; return SUCCESS; }
int nvmlDeviceGetPerformanceState(void *device, unsigned *state) { CHECKED; *state = 0; return SUCCESS; }
int nvmlDeviceGetComputeMode(void *device, unsigned *mode) { CHECKED; *mode = 0; return SUCCESS; }
int nvmlDeviceGetPersistenceMode(void *device, unsigned *mode) { CHECKED; *mode = 1; return SUCCESS; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) { CHECKED; *major = 8; *minor = 0; return SUCCESS; }
int nvmlDeviceGetArchitecture(void *device, unsigned *architecture) { CHECKED; *architecture = 7; return SUCCESS; }
int nvmlDeviceGetPciInfo_v3(void *device, void *info) {
  CHECKED;
  memset(info, 0, 68);
  snprintf((char *)info, 16, "0000:%02X:00.0", index + 1);
  return SUCCESS;
}
typedef struct { unsigned pid; unsigned long long memory; unsigned instance, compute; } ProcessInfo;
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, ProcessInfo *infos) {
  CHECKED;
  unsigned room = *count;
  *count = g->processes;
  if (room < (unsigned)g->processes) return SHORT;
  for (int i = 0; i < g->processes; i++) infos[i] = (ProcessInfo){g->process[i].pid, g->process[i].memory, ~0u, ~0u};
  return SUCCESS;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned *count, ProcessInfo *infos) { CHECKED; (void)infos; *count = 0; return SUCCESS; }
typedef struct { unsigned pid; unsigned long long timestamp; unsigned sm, memory, encoder, decoder; } Sample;
int nvmlDeviceGetProcessUtilization(void *device, Sample *samples, unsigned *count, unsigned long long since) {
  CHECKED;
  (void)since;
  if (g->mig) return NOT_SUPPORTED;
  unsigned room = *count, there = 0;
  double ms = now_ms();
  for (int i = 0; i < g->processes; i++) {
    const Process *p = &g->process[i];
    if (ms < p->from_ms || ms >= p->until_ms) continue;
    if (samples && there < room) samples[there] = (Sample){p->pid, clock_ns(CLOCK_REALTIME) / 1000, p->percent, p->percent / 2, 0, 0};
    there++;
  }
  *count = there;
  if (!there) return NOT_FOUND;
  if (!samples || room < there) return SHORT;
  return SUCCESS;
}
#endif
