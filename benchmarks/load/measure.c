#define _GNU_SOURCE
#include "measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A server that has used less than LITTLE seconds of CPU within QUIET is done. Pings
 * go on, so it is never quite still. */
#define QUIET 0.03
#define LITTLE 0.001
#define MOST_PROCESSES 64

static int pids[MOST_PROCESSES];
static int processes;

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

void measure_processes(const char *list)
{
    char *end = (char *)list;
    while (*end && processes < MOST_PROCESSES) {
        pids[processes++] = (int)strtol(end, &end, 10);
        if (*end)
            end++;
    }
}

double cpu_seconds(void)
{
    double seconds = 0;
    for (int i = 0; i < processes; i++) {
        struct timespec used;
        clockid_t clock;
        if ((errno = clock_getcpuclockid(pids[i], &clock)) ||
            clock_gettime(clock, &used))
            die("the CPU time of the server");
        seconds += used.tv_sec + used.tv_nsec * 1e-9;
    }
    return seconds;
}

double idle_cpu_seconds(void (*wait_for_events)(int milliseconds))
{
    double used = cpu_seconds(), latest = used, since = now();
    while (now() - since < QUIET) {
        wait_for_events(5);
        latest = cpu_seconds();
        if (latest - used > LITTLE) {
            used = latest;
            since = now();
        }
    }
    return latest;
}

long resident_bytes(void)
{
    long total = 0;
    for (int i = 0; i < processes; i++) {
        char path[64], line[256];
        long kilobytes = -1;
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pids[i]);
        FILE *file = fopen(path, "r");
        if (!file)
            die(path);
        while (kilobytes < 0 && fgets(line, sizeof line, file))
            sscanf(line, "Pss: %ld", &kilobytes);
        fclose(file);
        total += kilobytes * 1024;
    }
    return total;
}

void die(const char *what)
{
    perror(what);
    exit(1);
}
