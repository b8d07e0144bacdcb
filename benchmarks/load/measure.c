#define _GNU_SOURCE
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A server that has used less than LITTLE seconds of CPU within QUIET is done. Pings
 * go on, so it is never quite still. */
#define QUIET 0.03
#define LITTLE 0.001

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

double cpu_seconds(int pid)
{
    char path[64];
    unsigned long long nanoseconds = 0;
    snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%llu", &nanoseconds) != 1)
        die(path);
    fclose(file);
    return nanoseconds * 1e-9;
}

double idle_cpu_seconds(int pid, void (*wait_for_events)(int milliseconds))
{
    double used = cpu_seconds(pid), latest = used, since = now();
    while (now() - since < QUIET) {
        wait_for_events(5);
        latest = cpu_seconds(pid);
        if (latest - used > LITTLE) {
            used = latest;
            since = now();
        }
    }
    return latest;
}

long resident_bytes(int pid)
{
    char path[64], line[256];
    long kilobytes = -1;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        die(path);
    while (kilobytes < 0 && fgets(line, sizeof line, file))
        sscanf(line, "VmRSS: %ld", &kilobytes);
    fclose(file);
    return kilobytes * 1024;
}

void die(const char *what)
{
    perror(what);
    exit(1);
}
