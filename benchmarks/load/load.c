/* A load client: load PORT PID
 *
 * It obeys one command a line on standard input, and answers each with one line of
 * JSON. In a text, \n stands for a newline, \xHH for a byte (not 0) and %d for the
 * number of the client.
 *
 *   transport KIND PATH          how the clients come that are opened from now on: by
 *                                "websocket", or by "stream", as whose body TEXT goes
 *   open COUNT REPLIES TEXT      keep so many clients; each sends TEXT (unless it is -)
 *                                and waits for so many messages
 *   close                        end them
 *   fanout ws TEXT               send TEXT with the first client, and wait until all
 *                                clients have got one message
 *   fanout http PATH BODY        post BODY instead
 *   inbound TIMES TEXT           send TEXT with all clients, so many times in one
 *                                segment, and wait for as many messages
 *   connect COUNT REPLIES TEXT   open clients and reset them when they got so many
 *                                messages, 64 at a time
 *   post COUNT CONNECTIONS PATH BODY   post BODY so many times
 *
 * CPU is that of the process PID, in seconds.
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
#include "websocket.h"

#define IN_FLIGHT 64
#define PATIENCE 60.0

static int pid;
static struct client *clients;
static int count;   /* of clients */
static int started; /* of these */
static int settled; /* clients that have got all they wait for, or were closed */
static int replies;
static char text[8192];
static int resets; /* whether a client that is settled is closed */

static void check_time(double began)
{
    if (now() - began > PATIENCE) {
        errno = ETIMEDOUT;
        die("the server is too slow");
    }
}

/* Send the text, made for one client. */
static void say(struct client *client, int times)
{
    char made[8192], *out = made;
    for (const char *in = text; *in; in++) {
        if (in[0] == '%' && in[1] == 'd') {
            out += sprintf(out, "%d", client->index);
            in++;
        } else {
            *out++ = *in;
        }
    }
    client_send(client, made, out - made, times);
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
        for (; started < count && started - settled < IN_FLIGHT; started++)
            client_start(&clients[started], started);
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
    long before = resident_bytes(pid);
    resets = 0;
    start_all();
    idle_cpu_seconds(pid, pump);
    printf("{\"memory\": %ld}\n", resident_bytes(pid) - before);
}

static void connect_clients(void)
{
    double used = cpu_seconds(pid), began = now();
    resets = 1;
    start_all();
    double seconds = now() - began;
    used = idle_cpu_seconds(pid, pump) - used;
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

static void fan_out(char *trigger)
{
    struct tally before = tally;
    double used = cpu_seconds(pid), began = now();
    if (!strncmp(trigger, "http ", 5)) {
        char *body = strchr(trigger + 5, ' ');
        *body++ = 0;
        post_once(trigger + 5, body);
    } else {
        client_send(&clients[0], trigger + 3, strlen(trigger + 3), 1);
    }
    await_messages(before, count);
    double seconds = now() - began;
    used = idle_cpu_seconds(pid, pump) - used;
    long messages = tally.messages - before.messages;
    printf("{\"seconds\": %.6f, \"cpu\": %.6f, \"messages\": %ld, \"bytes\": %ld}\n",
           seconds, used, messages, (tally.bytes - before.bytes) / messages);
}

static void send_inbound(int times)
{
    struct tally before = tally;
    double used = cpu_seconds(pid), began = now();
    for (int i = 0; i < count; i++) {
        say(&clients[i], times);
        if (i % 16 == 15)
            pump(0);
    }
    await_messages(before, (long)count * times);
    double seconds = now() - began;
    used = idle_cpu_seconds(pid, pump) - used;
    printf("{\"seconds\": %.6f, \"cpu\": %.6f}\n", seconds, used);
}

static void post(long posts, int connections, char *path)
{
    char *body = strchr(path, ' ');
    *body++ = 0;
    double used = cpu_seconds(pid), began = now();
    post_many(posts, connections, path, body);
    double seconds = now() - began;
    used = idle_cpu_seconds(pid, pump) - used;
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
    static char line[8192];
    struct rlimit files;
    if (argc != 3) {
        fprintf(stderr, "usage: load PORT PID\n");
        return 2;
    }
    server_port = atoi(argv[1]);
    pid = atoi(argv[2]);
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
