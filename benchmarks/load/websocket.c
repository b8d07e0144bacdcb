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
#include "tls.h"

#define TEXT 1
#define FIRST_CONTROL 8

struct tally tally;
int server_port;
int api_port;
enum kind client_kind = WEBSOCKET;
const char *client_path = "/connection/websocket";
const char *client_body = "";
void (*on_open)(struct client *client);
void (*on_message)(struct client *client);

static const char mask[4] = {7, 9, 11, 13};
static int poller = -1;

int connecting_socket(int port)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
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
    client->fd = connecting_socket(server_port);
    watch(client, EPOLL_CTL_ADD, EPOLLOUT);
}

static ssize_t receive(struct client *client, char *data, size_t size)
{
    if (client->tls)
        return tls_receive(client->tls, data, size);
    return recv(client->fd, data, size, 0);
}

static void transmit(struct client *client, const char *data, size_t size)
{
    ssize_t sent = client->tls ? tls_send(client->tls, data, size)
                               : send(client->fd, data, size, MSG_NOSIGNAL);
    if (sent != (ssize_t)size)
        die("send");
}

static char frames[1 << 16];
static size_t composed;

void client_compose(const char *text, size_t size)
{
    if (composed + size + 8 > sizeof frames) {
        errno = EMSGSIZE;
        die("client_compose");
    }
    frames[composed++] = (char)(0x80 | TEXT);
    if (size < 126) {
        frames[composed++] = (char)(0x80 | size);
    } else {
        frames[composed++] = (char)(0x80 | 126);
        frames[composed++] = (char)(size >> 8);
        frames[composed++] = (char)size;
    }
    memcpy(frames + composed, mask, 4);
    composed += 4;
    for (size_t i = 0; i < size; i++)
        frames[composed++] = text[i] ^ mask[i & 3];
}

void client_send(struct client *client, const char *text, size_t size, int times)
{
    for (int i = 0; i < times; i++)
        client_compose(text, size);
    transmit(client, frames, composed);
    composed = 0;
}

void client_reset(struct client *client)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (client->state == CLOSED)
        return;
    if (client->state == OPEN)
        tally.open--;
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (client->tls)
        tls_end(client->tls);
    client->tls = NULL;
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
    transmit(client, request, size);
    client->state = SHAKING_HANDS;
    watch(client, EPOLL_CTL_MOD, EPOLLIN);
}

/* Go on with the TLS handshake, then with that of WebSocket. */
static void secure(struct client *client)
{
    if (!client->tls)
        client->tls = tls_begin(client->fd);
    client->state = SECURING;
    int result = tls_shake_hands(client->tls);
    if (result > 0)
        shake_hands(client);
    else
        watch(client, EPOLL_CTL_MOD, result ? EPOLLOUT : EPOLLIN);
}

static void count_message(struct client *client)
{
    tally.messages++;
    client->messages++;
    if (on_message)
        on_message(client);
}

/* Remember the last bytes of a line. */
static void remember(struct client *client, const char *data, size_t length)
{
    if (length > 1)
        client->last[0] = data[length - 2];
    else if (length)
        client->last[0] = client->last[1];
    if (length)
        client->last[1] = data[length - 1];
}

static void end_line(struct client *client)
{
    int is_ping = !memcmp(client->last, "{}", 2), is_empty = !client->last[1];
    client->last[0] = client->last[1] = 0;
    if (is_ping)
        client_send(client, "{}", 2, 1); /* ping and pong of the client protocol */
    else if (!is_empty)
        count_message(client);
}

/* Read a part of a text frame, which is a line or several. */
static void read_text(struct client *client, const char *data, size_t length)
{
    const char *end;
    while (client->state == OPEN && (end = memchr(data, '\n', length))) {
        remember(client, data, end - data);
        end_line(client);
        length -= end + 1 - data;
        data = end + 1;
    }
    remember(client, data, length);
}

static void end_frame(struct client *client)
{
    if (client->opcode >= FIRST_CONTROL)
        return;
    tally.bytes += client->size;
    if (client->opcode == TEXT)
        end_line(client);
    else
        count_message(client);
}

/* Count the lines that end objects, but not pings, which are empty objects. */
static void read_lines(struct client *client, const char *data, size_t length)
{
    tally.bytes += length;
    for (size_t i = 0; i < length && client->state == OPEN; i++) {
        if (data[i] == '\n' && client->last[1] == '}' && client->last[0] != '{')
            count_message(client);
        client->last[0] = client->last[1];
        client->last[1] = data[i];
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
    client->opcode = client->head[0] & 15;
    client->missing = client->size;
    client->head_length = 0;
    if (!client->size)
        end_frame(client);
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
        client->missing -= got;
        if (client->opcode == TEXT)
            read_text(client, data, got);
        data += got;
        length -= got;
        if (!client->missing && client->state == OPEN)
            end_frame(client);
    }
}

static void read_on(struct client *client, const char *data, size_t length)
{
    if (client->kind == STREAM)
        read_lines(client, data, length);
    else
        read_frames(client, data, length);
}

static void await_answer(struct client *client, char *data, ssize_t length)
{
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

static void readable(struct client *client)
{
    static char data[1 << 18];
    do {
        ssize_t length = receive(client, data, sizeof data - 1);
        if (length < 0 && errno == EAGAIN)
            return;
        if (length <= 0) {
            tally.failed++;
            client_reset(client);
        } else if (client->state == OPEN) {
            read_on(client, data, length);
        } else {
            await_answer(client, data, length);
        }
    } while (client->tls); /* which may keep more than the socket has */
}

int client_poller(void)
{
    return poller;
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
        if (client->state == SECURING || (client->state == CONNECTING && tls_used))
            secure(client);
        else if (client->state == CONNECTING)
            shake_hands(client);
        else
            readable(client);
    }
}
