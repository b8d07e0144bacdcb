#define _GNU_SOURCE
#include "http.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"
#include "websocket.h"

#define MOST_CONNECTIONS 256

struct caller {
    int fd;
    int is_closed; /* by the server, instead of an answer */
    char answer[1 << 16];
    size_t length;
};

static char request[1 << 16];
static size_t request_size;

static void compose(const char *path, const char *body)
{
    request_size = snprintf(request, sizeof request,
                            "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                            "Content-Type: application/json\r\n"
                            "X-API-Key: key\r\nContent-Length: %zu\r\n\r\n%s",
                            path, strlen(body), body);
}

/* Write the number of the request where the body has %c. */
static void number(char *place, long sent)
{
    char digits[24];
    if (!place)
        return;
    snprintf(digits, sizeof digits, "%03ld", sent % 1000);
    memcpy(place, digits, 3);
}

static void send_request(struct caller *caller)
{
    caller->length = 0;
    if (send(caller->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size)
        die("send");
}

static void open_caller(struct caller *caller)
{
    struct pollfd writable = {.events = POLLOUT};
    caller->fd = writable.fd = connecting_socket(api_port);
    if (poll(&writable, 1, 5000) != 1)
        die("poll");
}

/* Read; return whether the answer is whole. It must be a 200 without an error. */
static int answered(struct caller *caller)
{
    ssize_t got = recv(caller->fd, caller->answer + caller->length,
                       sizeof caller->answer - 1 - caller->length, 0);
    if (got < 0 || (!got && caller->length))
        die("recv");
    if (!got) {
        caller->is_closed = 1;
        return 0;
    }
    caller->length += got;
    caller->answer[caller->length] = 0;
    char *body = strstr(caller->answer, "\r\n\r\n");
    char *size = strcasestr(caller->answer, "content-length:");
    if (!body)
        return 0;
    body += 4;
    if (size && size < body) {
        if (body - caller->answer + atol(size + 15) > (long)caller->length)
            return 0;
    } else if (!strstr(body, "0\r\n\r\n")) { /* the last of its chunks */
        return 0;
    }
    if (strncmp(caller->answer, "HTTP/1.1 200", 12) || strstr(body, "\"error\"")) {
        fprintf(stderr, "refused: %s\n", caller->answer);
        exit(1);
    }
    return 1;
}

static void watch(int poller, struct caller *caller)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = caller};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, caller->fd, &event) < 0)
        die("epoll_ctl");
}

/* Send the request again, on another connection. A server that is overloaded for many
 * seconds closes connections whose request it has not yet read. */
static void repeat(int poller, struct caller *caller)
{
    close(caller->fd);
    caller->is_closed = 0;
    open_caller(caller);
    watch(poller, caller);
    send_request(caller);
}

void post_once(const char *path, const char *body)
{
    static struct caller caller = {.fd = -1};
    struct pollfd readable = {.fd = caller.fd, .events = POLLIN};
    if (caller.fd >= 0 && poll(&readable, 1, 0)) { /* closed, having been idle */
        close(caller.fd);
        caller.fd = -1;
    }
    if (caller.fd < 0)
        open_caller(&caller);
    readable.fd = caller.fd;
    compose(path, body);
    send_request(&caller);
    do {
        pump(0); /* the clients must not wait for this answer */
        if (caller.is_closed)
            die("post_once");
    } while (poll(&readable, 1, 0) < 1 || !answered(&caller));
}

void post_many(long count, int connections, const char *path, const char *given)
{
    static struct caller callers[MOST_CONNECTIONS];
    static char body[1 << 16];
    struct epoll_event events[MOST_CONNECTIONS];
    int poller = epoll_create1(0);
    long sent = 0, done = 0;
    if (poller < 0 || connections > MOST_CONNECTIONS)
        die("post_many");
    snprintf(body, sizeof body, "%s", given);
    char *place = strstr(body, "%c");
    if (place) { /* make room for a third digit */
        memmove(place + 3, place + 2, strlen(place + 2) + 1);
        memcpy(place, "000", 3);
    }
    compose(path, body);
    if (place)
        place = request + request_size - strlen(place);
    for (int i = 0; i < connections && sent < count; i++, sent++) {
        open_caller(&callers[i]);
        watch(poller, &callers[i]);
        number(place, sent);
        send_request(&callers[i]);
    }
    double began = now();
    while (done < count) {
        struct pollfd both[] = {{.fd = poller, .events = POLLIN},
                                {.fd = client_poller(), .events = POLLIN}};
        poll(both, 2, 100);
        pump(0);
        int ready = epoll_wait(poller, events, MOST_CONNECTIONS, 0);
        if (now() - began > 60) {
            errno = ETIMEDOUT;
            die("no answer");
        }
        for (int i = 0; i < ready; i++) {
            struct caller *caller = events[i].data.ptr;
            if (!answered(caller)) {
                if (caller->is_closed)
                    repeat(poller, caller);
                continue;
            }
            done++;
            if (sent < count) {
                number(place, sent++);
                send_request(caller);
            } else { /* before the server closes it, because it is idle */
                close(caller->fd);
            }
        }
    }
    close(poller);
}
