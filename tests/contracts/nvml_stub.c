/* A stand-in for NVIDIA's driver library, as far as this project asks it. What it tells stands in the file that
 * NVML_STUB names: a line for each process, "DEVICE PID KIND MIB", KIND being C (computes), G (draws) or H (hidden:
 * its memory counts, it is not listed). Without the file there is no driver; devices are 0 and 1. */
#include <stdio.h>
#include <stdlib.h>

enum { OK = 0, INVALID = 2, SMALL = 7, NO_DRIVER = 9, MIB = 1 << 20 };
typedef struct { unsigned pid; unsigned long long memory; unsigned gpu, compute; } Process;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory;

static FILE *state(void) { return getenv("NVML_STUB") ? fopen(getenv("NVML_STUB"), "r") : NULL; }

static unsigned long long list(void *handle, const char *kinds, unsigned *count, unsigned room, Process *found) {
    FILE *file = state();
    int device, pid, mib;
    char kind;
    unsigned long long held = 0;
    *count = 0;
    while (file && fscanf(file, "%d %d %c %d", &device, &pid, &kind, &mib) == 4) {
        const char *each = kinds;
        while (*each && *each != kind) each++;
        if (device != (int)(long)handle - 1 || !*each) continue;
        if (*count < room) found[*count] = (Process){.pid = pid, .memory = (unsigned long long)mib * MIB};
        ++*count;
        held += (unsigned long long)mib * MIB;
    }
    if (file) fclose(file);
    return held;
}

static int running(void *handle, const char *kinds, unsigned *count, Process *found) {
    unsigned room = found ? *count : 0;
    list(handle, kinds, count, room, found);
    return *count > room ? SMALL : OK;
}

int nvmlInitWithFlags(unsigned flags) {
    FILE *file = state();
    if (file) fclose(file);
    return flags == 0 && file ? OK : NO_DRIVER;
}
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int error) { return error == NO_DRIVER ? "Driver Not Loaded" : "Invalid Argument"; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(long)(index + 1);
    return index < 2 ? OK : INVALID;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, Process *found) {
    return running(handle, "C", count, found);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count, Process *found) {
    return running(handle, "G", count, found);
}
int nvmlDeviceGetMemoryInfo_v2(void *handle, Memory *memory) {
    unsigned count;
    memory->used = list(handle, "CGH", &count, 0, NULL);
    return OK;
}
