#define _GNU_SOURCE
#include "websocket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

#define TEXT 1

struct tally tally;
int server_port;
enum kind client_kind = WEBSOCKET;
const char *client_path = "/connection/websocket";
const char *client_body = "";
void (*on_open)(struct client *client);
void (*on_message)(struct client *client);

static const char mask[4] = {7, 9, 11, 13};
static int poller = -1;

int connecting_socket(void)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(server_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (void *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        die("connect");
    return fd;
}

static void watch(struct client *client, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(poller, operation, client->fd, &event) < 0)
        die("epoll_ctl");
}

void client_start(struct client *client, int index)
{
    if (poller < 0 && (poller = epoll_create1(0)) < 0)
        die("epoll_create1");
    memset(client, 0, sizeof *client);
    client->kind = client_kind;
    client->index = index;
    client->fd = connecting_socket();
    watch(client, EPOLL_CTL_ADD, EPOLLOUT);
}

void client_send(struct client *client, const char *text, size_t size, int times)
{
    static char frames[1 << 16];
    size_t at = 0;
    if (times * (size + 8) > sizeof frames) {
        errno = EMSGSIZE;
        die("client_send");
    }
    for (int i = 0; i < times; i++) {
        frames[at++] = (char)(0x80 | TEXT);
        if (size < 126) {
            frames[at++] = (char)(0x80 | size);
        } else {
            frames[at++] = (char)(0x80 | 126);
            frames[at++] = (char)(size >> 8);
            frames[at++] = (char)size;
        }
        memcpy(frames + at, mask, 4);
        at += 4;
        for (size_t j = 0; j < size; j++)
            frames[at++] = text[j] ^ mask[j & 3];
    }
    if (send(client->fd, frames, at, MSG_NOSIGNAL) != (ssize_t)at)
        die("send");
}

void client_reset(struct client *client)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (client->state == CLOSED)
        return;
    if (client->state == OPEN)
        tally.open--;
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(client->fd);
    client->state = CLOSED;
}

static void shake_hands(struct client *client)
{
    char request[1024];
    int size;
    if (client->kind == STREAM)
        size = snprintf(request, sizeof request,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                        "Content-Length: %zu\r\n\r\n%s",
                        client_path, server_port, strlen(client_body), client_body);
    else
        size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                        "Sec-WebSocket-Version: 13\r\nUser-Agent: load\r\n"
                        "Origin: http://127.0.0.1:%d\r\n\r\n",
                        client_path, server_port, server_port);
    if (send(client->fd, request, size, MSG_NOSIGNAL) != size)
        die("send");
    client->state = SHAKING_HANDS;
    watch(client, EPOLL_CTL_MOD, EPOLLIN);
}

static void count_message(struct client *client)
{
    tally.messages++;
    client->messages++;
    if (on_message)
        on_message(client);
}

static void message_received(struct client *client)
{
    if (client->size == 2 && !memcmp(client->start, "{}", 2)) {
        client_send(client, "{}", 2, 1); /* ping and pong of the client protocol */
        return;
    }
    tally.bytes += client->size;
    count_message(client);
}

/* Count the lines that end objects, but not pings, which are empty objects. */
static void read_lines(struct client *client, const char *data, size_t length)
{
    tally.bytes += length;
    for (size_t i = 0; i < length && client->state == OPEN; i++) {
        if (data[i] == '\n' && client->start[1] == '}' && client->start[0] != '{')
            count_message(client);
        client->start[0] = client->start[1];
        client->start[1] = data[i];
    }
}

/* Return the bytes of the head that begins as `client->head` does. */
static int head_size(const struct client *client)
{
    if (client->head_length < 2)
        return 2;
    int size = client->head[1] & 127;
    return size < 126 ? 2 : size == 126 ? 4 : 10;
}

static void read_head(struct client *client, uint8_t byte)
{
    client->head[client->head_length++] = byte;
    int size = head_size(client);
    if (client->head_length < size)
        return;
    client->size = client->head[1] & 127;
    if (size > 2) {
        client->size = 0;
        for (int i = 2; i < size; i++)
            client->size = client->size << 8 | client->head[i];
    }
    client->missing = client->size;
    client->head_length = 0;
    if (!client->size)
        message_received(client);
}

static void read_frames(struct client *client, const char *data, size_t length)
{
    while (length && client->state == OPEN) {
        if (!client->missing) {
            read_head(client, (uint8_t)*data++);
            length--;
            continue;
        }
        uint64_t got = client->missing < length ? client->missing : length;
        for (uint64_t i = 0; i < got && client->size - client->missing + i < 2; i++)
            client->start[client->size - client->missing + i] = data[i];
        client->missing -= got;
        data += got;
        length -= got;
        if (!client->missing)
            message_received(client);
    }
}

static void read_on(struct client *client, const char *data, size_t length)
{
    if (client->kind == STREAM)
        read_lines(client, data, length);
    else
        read_frames(client, data, length);
}

static void readable(struct client *client)
{
    static char data[1 << 18];
    ssize_t length = recv(client->fd, data, sizeof data - 1, 0);
    if (length < 0 && errno == EAGAIN)
        return;
    if (length <= 0) {
        tally.failed++;
        client_reset(client);
        return;
    }
    if (client->state == OPEN) {
        read_on(client, data, length);
        return;
    }
    data[length] = 0;
    char *end = strstr(data, "\r\n\r\n");
    const char *status = client->kind == STREAM ? "HTTP/1.1 200" : "HTTP/1.1 101";
    if (!end || strncmp(data, status, 12)) {
        fprintf(stderr, "no handshake: %.80s\n", data);
        exit(1);
    }
    client->state = OPEN;
    tally.open++;
    if (on_open)
        on_open(client);
    end += 4;
    read_on(client, end, data + length - end);
}

void pump(int milliseconds)
{
    static struct epoll_event events[1024];
    if (poller < 0)
        return;
    int count = epoll_wait(poller, events, 1024, milliseconds);
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        if (client->state == CLOSED)
            continue;
        if (client->state == CONNECTING)
            shake_hands(client);
        else
            readable(client);
    }
}
