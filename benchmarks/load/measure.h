/* Time, and the CPU time and memory of the server. */

#ifndef MEASURE_H
#define MEASURE_H

/* Seconds since some moment. */
double now(void);

/* Choose the processes of the server: their ids, with commas between. */
void measure_processes(const char *pids);

/* Seconds of CPU that the server has used so far, in all threads. */
double cpu_seconds(void);

/* The same once the server has nothing to do for a while. */
double idle_cpu_seconds(void (*wait_for_events)(int milliseconds));

/* The server's memory; processes that share a page count it in equal parts. */
long resident_bytes(void);

/* Print the message of errno and exit. */
void die(const char *what) __attribute__((noreturn));

#endif
