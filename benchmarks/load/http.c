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
    char answer[4096];
    size_t length;
};

static char request[8192];
static size_t request_size;

static void compose(const char *path, const char *body)
{
    request_size = snprintf(request, sizeof request,
                            "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                            "Content-Type: application/json\r\n"
                            "X-API-Key: key\r\nContent-Length: %zu\r\n\r\n%s",
                            path, strlen(body), body);
}

static void send_request(struct caller *caller)
{
    caller->length = 0;
    if (send(caller->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size)
        die("send");
}

/* Read; return whether the answer is whole. It must be a 200 without an error. */
static int answered(struct caller *caller)
{
    ssize_t got = recv(caller->fd, caller->answer + caller->length,
                       sizeof caller->answer - 1 - caller->length, 0);
    if (got <= 0)
        die("recv");
    caller->length += got;
    caller->answer[caller->length] = 0;
    char *body = strstr(caller->answer, "\r\n\r\n");
    char *size = strcasestr(caller->answer, "content-length:");
    if (!body || !size)
        return 0;
    body += 4;
    if (body - caller->answer + atol(size + 15) > (long)caller->length)
        return 0;
    if (strncmp(caller->answer, "HTTP/1.1 200", 12) || strstr(body, "\"error\"")) {
        fprintf(stderr, "refused: %s\n", caller->answer);
        exit(1);
    }
    return 1;
}

static void open_caller(struct caller *caller)
{
    struct pollfd writable = {.events = POLLOUT};
    caller->fd = writable.fd = connecting_socket();
    if (poll(&writable, 1, 5000) != 1)
        die("poll");
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
    do
        pump(0); /* the clients must not wait for this answer */
    while (poll(&readable, 1, 0) < 1 || !answered(&caller));
}

void post_many(long count, int connections, const char *path, const char *body)
{
    static struct caller callers[MOST_CONNECTIONS];
    struct epoll_event events[MOST_CONNECTIONS];
    int poller = epoll_create1(0);
    long sent = 0, done = 0;
    if (poller < 0 || connections > MOST_CONNECTIONS)
        die("post_many");
    compose(path, body);
    for (int i = 0; i < connections; i++, sent++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &callers[i]};
        open_caller(&callers[i]);
        epoll_ctl(poller, EPOLL_CTL_ADD, callers[i].fd, &event);
        send_request(&callers[i]);
    }
    while (done < count) {
        int ready = epoll_wait(poller, events, MOST_CONNECTIONS, 5000);
        if (ready < 1)
            die("no answer");
        for (int i = 0; i < ready; i++) {
            if (!answered(events[i].data.ptr))
                continue;
            done++;
            if (sent < count) {
                sent++;
                send_request(events[i].data.ptr);
            }
        }
    }
    for (int i = 0; i < connections; i++)
        close(callers[i].fd);
    close(poller);
}
