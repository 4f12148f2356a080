/* What of NVML the program asks for. GPU by GPU: one that worked within the last minute, one that worked before, a
   busier one without samples, one that is cut into parts (MIG), another pod's, and one that fell off its bus. */
#include <stdlib.h>
#include <time.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, IS_LOST = 15 };
enum gpu { WORKED, IDLES, WORKS, CUT, FOREIGN, LOST, COUNT };

typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned long long time; union { unsigned percent; unsigned long long word; } value; } sample;

int nvmlInit_v2(void) { const char *fails = getenv("FAILS"); return fails ? atoi(fails) : SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = COUNT; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    static char devices[COUNT];
    *device = &devices[index];
    devices[index] = (char)index;
    return index == FOREIGN ? NO_PERMISSION : index == LOST ? IS_LOST : SUCCESS;
}

int nvmlDeviceGetUtilizationRates(const char *device, utilization *rates) {
    rates->gpu = *device == WORKS ? 42 : 2;
    rates->memory = 99;
    return *device == CUT ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetSamples(const char *device, int kind, unsigned long long last_seen, int *type, unsigned *count,
                         sample *samples) {
    unsigned long long now = time(NULL) * 1000000ULL;
    sample all[] = {{now - 600000000, {100}}, {now - 9000000, {*device == WORKED ? 97 : 1}}, {now - 1000000, {1}}};
    unsigned room = *count;
    *type = 1;
    *count = 0;
    if (kind != 1 || *device == WORKS) return NOT_FOUND;
    for (int i = 0; i < 3; i++) {
        if (all[i].time <= last_seen) continue;
        if (samples && *count < room) samples[*count] = all[i];
        ++*count;
    }
    return samples ? SUCCESS : INSUFFICIENT_SIZE;
}
