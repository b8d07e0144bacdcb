/* A fan-out server that does nothing else: sendloop PORT
 *
 * It opens WebSockets without looking at the request. A text message "N" makes it
 * send a text of N bytes to all of them, one after the other: one send() for each
 * subscriber of each publication is what a server on sockets cannot do without.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_FILES 65536

static const char accepted[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static int subscribers[MOST_FILES], count;
static char is_open[MOST_FILES];

static int listener(int port)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (void *)&address, sizeof address) < 0 || listen(fd, 4096) < 0) {
        perror("listen");
        exit(1);
    }
    return fd;
}

static void accept_all(int poller, int from)
{
    int fd, on = 1;
    while ((fd = accept4(from, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        is_open[fd] = 0;
    }
}

static void fan_out(size_t size)
{
    static char frame[4 + 65535];
    size_t head = size < 126 ? 2 : 4;
    frame[0] = (char)0x81;
    frame[1] = (char)(size < 126 ? size : 126);
    if (head == 4) {
        frame[2] = (char)(size >> 8);
        frame[3] = (char)size;
    }
    memset(frame + head, 'x', size);
    for (int i = 0; i < count; i++)
        if (send(subscribers[i], frame, head + size, MSG_NOSIGNAL) !=
            (ssize_t)(head + size))
            perror("send");
}

static void forget(int fd)
{
    close(fd);
    for (int i = 0; i < count; i++)
        if (subscribers[i] == fd)
            subscribers[i] = subscribers[--count];
}

static void readable(int fd)
{
    char data[4096];
    ssize_t length = recv(fd, data, sizeof data - 1, 0);
    if (length <= 0) {
        forget(fd);
    } else if (!is_open[fd]) {
        send(fd, accepted, sizeof accepted - 1, MSG_NOSIGNAL);
        is_open[fd] = 1;
        subscribers[count++] = fd;
    } else {
        int size = data[1] & 127;
        for (int i = 0; i < size; i++)
            data[6 + i] ^= data[2 + (i & 3)];
        data[6 + size] = 0;
        fan_out(atoi(data + 6));
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[512];
    struct rlimit files;
    int poller = epoll_create1(0), door = listener(argc > 1 ? atoi(argv[1]) : 0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = door};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < MOST_FILES ? files.rlim_max : MOST_FILES;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll_ctl(poller, EPOLL_CTL_ADD, door, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, 512, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == door)
                accept_all(poller, door);
            else
                readable(events[i].data.fd);
        }
    }
}
