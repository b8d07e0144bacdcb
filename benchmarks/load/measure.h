/* What is measured of the server, from outside. */

#ifndef MEASURE_H
#define MEASURE_H

/* Seconds of a clock that never goes back. */
double now(void);

/* Seconds of CPU that the main thread of a process has used (schedstat). */
double cpu_seconds(int pid);

/* The same, once it does nothing any more. */
double idle_cpu_seconds(int pid, void (*wait_for_events)(int milliseconds));

/* Bytes of memory that a process has resident. */
long resident_bytes(int pid);

/* Print what happened, and end. */
void die(const char *what) __attribute__((noreturn));

#endif
