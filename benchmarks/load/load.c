/* A load client: load PORT PIDS [API_PORT [tls | resume]]
 *
 * It obeys one command a line on standard input, and answers each with one line of
 * JSON. In a text, \n stands for a newline, \xHH for a byte (not 0) and %d for the
 * number of the client.
 *
 *   transport KIND PATH          how the clients come that are opened from now on: by
 *                                "websocket", or by "stream", as whose body TEXT goes
 *   open COUNT REPLIES TEXT      keep so many clients; each sends TEXT (unless it is -)
 *                                and waits for so many messages; 64 come at a time
 *   together COUNT REPLIES TEXT  the same, and all come at once
 *   close                        end them
 *   fanout ws TEXT               send TEXT with the first client, and wait until all
 *                                clients have got one message
 *   fanout http PATH BODY        post BODY instead
 *   burst COUNT CONNECTIONS PATH BODY  post BODY so many times, at so many connections,
 *                                and wait until all clients have got as many messages
 *   inbound TIMES TEXT           send TEXT with all clients, so many times in one
 *                                segment, and wait for as many messages
 *   sequence COUNT TIMES TEXT    send TEXT with the first client, so many times in one
 *                                segment, wait for as many messages, and go on until
 *                                COUNT have come; %d is the number of the TEXT
 *   pace COUNT MILLISECONDS TEXT send TEXT with the first client, once in so many
 *                                milliseconds, and wait for as many messages
 *   connect COUNT REPLIES TEXT   open clients and reset them when they got so many
 *                                messages, 64 at a time
 *   post COUNT CONNECTIONS PATH BODY   post BODY so many times; %c in it is a number
 *   idle SECONDS                 answer pings
 *
 * PIDS are the processes of the server, with commas between. CPU is theirs, in seconds.
 * With "tls" the clients use TLS, with "resume" they also resume a session of it.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "http.h"
#include "measure.h"
#include "tls.h"
#include "websocket.h"

#define IN_FLIGHT 64
#define MOST_LATENCIES 100000
#define LONGEST (1 << 16)
#define PATIENCE 60.0

static struct client *clients;
static int count;   /* of clients */
static int started; /* of these */
static int settled; /* clients that have got all they wait for, or were closed */
static int replies;
static char text[LONGEST];
static int in_flight = IN_FLIGHT;
static int resets; /* whether a client that is settled is closed */

static void check_time(double began)
{
    if (now() - began > PATIENCE) {
        errno = ETIMEDOUT;
        die("the server is too slow");
    }
}

/* Return the text with a number in it, and its size. */
static const char *numbered(int number, size_t *size)
{
    static char made[LONGEST];
    char *out = made;
    for (const char *in = text; *in; in++) {
        if (in[0] == '%' && in[1] == 'd') {
            out += sprintf(out, "%d", number);
            in++;
        } else {
            *out++ = *in;
        }
    }
    *size = out - made;
    return made;
}

static void say(struct client *client, int times)
{
    size_t size;
    const char *made = numbered(client->index, &size);
    client_send(client, made, size, times);
}

static void settle(struct client *client)
{
    settled++;
    if (resets)
        client_reset(client);
}

static void greet(struct client *client)
{
    if (strcmp(text, "-") && client->kind == WEBSOCKET)
        say(client, 1);
    if (!replies)
        settle(client);
}

static void count_reply(struct client *client)
{
    if (client->messages == replies)
        settle(client);
}

/* Start the clients, so many at a time, and wait until all have settled. */
static void start_all(void)
{
    double began = now();
    clients = calloc(count, sizeof *clients);
    started = settled = 0;
    on_open = greet;
    on_message = count_reply;
    while (settled < count) {
        for (; started < count && started - settled < in_flight; started++) {
            client_start(&clients[started], started);
            if (started % 256 == 255)
                pump(0);
        }
        pump(100);
        check_time(began);
        if (tally.failed) {
            errno = ECONNRESET;
            die("a client was closed");
        }
    }
    on_open = NULL;
    on_message = NULL;
}

static void end_all(void)
{
    for (int i = 0; i < count; i++)
        client_reset(&clients[i]);
    free(clients);
    clients = NULL;
    count = 0;
}

static void open_clients(void)
{
    long memory = resident_bytes(), bytes = tally.bytes;
    double used = cpu_seconds(), began = now();
    resets = 0;
    start_all();
    double seconds = now() - began;
    used = idle_cpu_seconds(pump) - used;
    printf("{\"memory\": %ld, \"seconds\": %.6f, \"cpu\": %.6f, \"bytes\": %ld}\n",
           resident_bytes() - memory, seconds, used, tally.bytes - bytes);
}

static void connect_clients(void)
{
    double used = cpu_seconds(), began = now();
    resets = 1;
    start_all();
    double seconds = now() - began;
    used = idle_cpu_seconds(pump) - used;
    printf("{\"seconds\": %.6f, \"cpu\": %.6f}\n", seconds, used);
    end_all();
}

/* Wait until so many messages have come since there were `before`. */
static void await_messages(struct tally before, long expected)
{
    double began = now();
    while (tally.messages - before.messages < expected) {
        pump(50);
        check_time(began);
    }
}

static double latencies[MOST_LATENCIES];
static int latency_count;
static double sent_at;

static void note_latency(struct client *client)
{
    (void)client;
    if (latency_count < MOST_LATENCIES)
        latencies[latency_count++] = now() - sent_at;
}

static int compare(const void *one, const void *other)
{
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

/* Print the median and the 99th percentile, and forget the latencies. */
static void print_latencies(void)
{
    if (!latency_count)
        return;
    qsort(latencies, latency_count, sizeof *latencies, compare);
    printf(", \"p50\": %.6f, \"p99\": %.6f", latencies[latency_count / 2],
           latencies[(int)(latency_count * 0.99)]);
    latency_count = 0;
}

static void fan_out(char *trigger)
{
    struct tally before = tally;
    double used = cpu_seconds(), began = sent_at = now();
    on_message = note_latency;
    if (!strncmp(trigger, "http ", 5)) {
        char *body = strchr(trigger + 5, ' ');
        *body++ = 0;
        post_once(trigger + 5, body);
    } else {
        client_send(&clients[0], trigger + 3, strlen(trigger + 3), 1);
    }
    await_messages(before, count);
    double seconds = now() - began;
    on_message = NULL;
    used = idle_cpu_seconds(pump) - used;
    long messages = tally.messages - before.messages;
    printf("{\"seconds\": %.6f, \"cpu\": %.6f, \"messages\": %ld, \"bytes\": %ld",
           seconds, used, messages, (tally.bytes - before.bytes) / messages);
    print_latencies();
    puts("}");
}

static void burst(long posts, int connections, char *path)
{
    struct tally before = tally;
    char *body = strchr(path, ' ');
    *body++ = 0;
    double used = cpu_seconds(), began = now();
    post_many(posts, connections, path, body);
    await_messages(before, posts * count);
    double seconds = now() - began;
    used = idle_cpu_seconds(pump) - used;
    printf("{\"seconds\": %.6f, \"cpu\": %.6f, \"messages\": %ld}\n", seconds, used,
           tally.messages - before.messages);
}

/* Send with the first client; each segment waits for the replies to the last one. */
static void send_in_sequence(int commands, int times)
{
    static int number = 9; /* lower ones are those of other commands */
    double used = cpu_seconds(), began = now();
    for (int sent = 0; sent < commands; sent += times) {
        struct tally before = tally;
        sent_at = now();
        for (int i = 0; i < times; i++) {
            size_t size;
            const char *made = numbered(++number, &size);
            client_compose(made, size);
        }
        client_send(&clients[0], "", 0, 0);
        while (tally.messages - before.messages < times) {
            pump(1000);
            check_time(began);
        }
        note_latency(&clients[0]);
    }
    double seconds = now() - began;
    used = idle_cpu_seconds(pump) - used;
    printf("{\"seconds\": %.6f, \"cpu\": %.6f", seconds, used);
    print_latencies();
    puts("}");
}

static double due; /* when the command was due whose reply comes next */
static double interval;

static void note_delay(struct client *client)
{
    sent_at = due;
    note_latency(client);
    due += interval;
}

/* Send at fixed times, so that a server that stalls delays all replies of that time. */
static void send_at_pace(int commands, int milliseconds)
{
    double began = now();
    long before = tally.messages;
    int sent = 0;
    interval = milliseconds / 1000.0;
    due = began;
    on_message = note_delay;
    while (tally.messages - before < commands) {
        double wait = began + sent * interval - now();
        if (sent < commands && wait <= 0) {
            say(&clients[0], 1);
            sent++;
        } else {
            pump(sent < commands ? (int)(wait * 1000) + 1 : 100);
        }
        check_time(began);
    }
    on_message = NULL;
    printf("{\"seconds\": %.6f", now() - began);
    print_latencies();
    puts("}");
}

static void stay_idle(double seconds)
{
    double used = cpu_seconds(), began = now();
    while (now() - began < seconds)
        pump(10);
    printf("{\"seconds\": %.6f, \"cpu\": %.6f, \"failed\": %ld}\n", now() - began,
           cpu_seconds() - used, tally.failed);
}

static void send_inbound(int times)
{
    struct tally before = tally;
    double used = cpu_seconds(), began = now();
    for (int i = 0; i < count; i++) {
        say(&clients[i], times);
        if (i % 16 == 15)
            pump(0);
    }
    await_messages(before, (long)count * times);
    double seconds = now() - began;
    used = idle_cpu_seconds(pump) - used;
    printf("{\"seconds\": %.6f, \"cpu\": %.6f}\n", seconds, used);
}

static void post(long posts, int connections, char *path)
{
    char *body = strchr(path, ' ');
    *body++ = 0;
    double used = cpu_seconds(), began = now();
    post_many(posts, connections, path, body);
    double seconds = now() - began;
    used = idle_cpu_seconds(pump) - used;
    printf("{\"seconds\": %.6f, \"cpu\": %.6f}\n", seconds, used);
}

/* Keep the text of a command, with its newlines. */
static void keep_text(const char *given)
{
    char *out = text;
    for (; *given; given++) {
        if (given[0] == '\\' && given[1] == 'n') {
            *out++ = '\n';
            given++;
        } else if (given[0] == '\\' && given[1] == 'x') {
            unsigned int byte = 0;
            sscanf(given + 2, "%2x", &byte);
            *out++ = (char)byte;
            given += 3;
        } else {
            *out++ = *given;
        }
    }
    *out = 0;
}

static void choose_transport(const char *kind, const char *path)
{
    static char kept[256];
    client_kind = strcmp(kind, "stream") ? WEBSOCKET : STREAM;
    client_body = text;
    snprintf(kept, sizeof kept, "%s", path);
    client_path = kept;
    puts("{}");
}

static void obey(char *line)
{
    char kind[16], path[200];
    int number = 0, second = 0, at = 0;
    if (sscanf(line, "transport %15s %199s", kind, path) == 2) {
        choose_transport(kind, path);
    } else if (sscanf(line, "open %d %d %n", &number, &second, &at) == 2) {
        count = number, replies = second;
        keep_text(line + at);
        open_clients();
    } else if (sscanf(line, "together %d %d %n", &number, &second, &at) == 2) {
        count = in_flight = number, replies = second;
        keep_text(line + at);
        open_clients();
        in_flight = IN_FLIGHT;
    } else if (sscanf(line, "burst %d %d %n", &number, &second, &at) == 2) {
        burst(number, second, line + at);
    } else if (sscanf(line, "sequence %d %d %n", &number, &second, &at) == 2) {
        keep_text(line + at);
        send_in_sequence(number, second);
    } else if (sscanf(line, "pace %d %d %n", &number, &second, &at) == 2) {
        keep_text(line + at);
        send_at_pace(number, second);
    } else if (sscanf(line, "idle %d", &number) == 1) {
        stay_idle(number);
    } else if (sscanf(line, "connect %d %d %n", &number, &second, &at) == 2) {
        count = number, replies = second;
        keep_text(line + at);
        connect_clients();
    } else if (sscanf(line, "inbound %d %n", &number, &at) == 1) {
        keep_text(line + at);
        send_inbound(number);
    } else if (sscanf(line, "post %d %d %n", &number, &second, &at) == 2) {
        post(number, second, line + at);
    } else if (!strncmp(line, "fanout ", 7)) {
        fan_out(line + 7);
    } else if (!strcmp(line, "close")) {
        end_all();
        puts("{}");
    } else {
        fprintf(stderr, "unknown command: %s\n", line);
        exit(1);
    }
}

/* Answer pings until there is a command. */
static int await_command(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!poll(&input, 1, 10))
        pump(0);
    return 1;
}

int main(int argc, char **argv)
{
    static char line[LONGEST];
    struct rlimit files;
    if (argc < 3) {
        fprintf(stderr, "usage: load PORT PIDS [API_PORT [tls | resume]]\n");
        return 2;
    }
    server_port = api_port = atoi(argv[1]);
    measure_processes(argv[2]);
    if (argc > 3)
        api_port = atoi(argv[3]);
    tls_used = argc > 4;
    tls_resumes = argc > 4 && !strcmp(argv[4], "resume");
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    while (await_command() && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        obey(line);
        fflush(stdout);
    }
    return 0;
}
