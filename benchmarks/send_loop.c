/* The limit: a WebSocket server that does nothing but send() in a loop.
 *
 * send_loop PORT SIZE: accepts any upgrade; whatever a client says afterwards makes
 * it send one frame of SIZE payload bytes to every client.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 65536 };

static char open_already[MOST];
static int clients[MOST], count;
static const char answer[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static int listen_on(int port) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 4096)) {
        perror("listen");
        exit(1);
    }
    return fd;
}

static void broadcast(const unsigned char *frame, int size) {
    for (int i = 0; i < count; i++)
        if (send(clients[i], frame, size, MSG_NOSIGNAL | MSG_DONTWAIT) != size)
            fprintf(stderr, "short send: %s\n", strerror(errno));
}

static void forget(int fd) {
    for (int i = 0; i < count; i++)
        if (clients[i] == fd) clients[i--] = clients[--count];
    open_already[fd] = 0;
    close(fd);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int payload = atoi(argv[2]), size = payload + (payload < 126 ? 2 : 4);
    unsigned char *frame = malloc(size);
    memset(frame, 'x', size);
    frame[0] = 0x81;
    if (payload < 126) {
        frame[1] = payload;
    } else {
        frame[1] = 126;
        frame[2] = payload >> 8;
        frame[3] = payload & 255;
    }
    int door = listen_on(atoi(argv[1])), poller = epoll_create1(0), one = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = door}, ready[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, door, &event);
    for (;;) {
        int n = epoll_wait(poller, ready, 512, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            char data[4096];
            if (fd == door) {
                fd = accept(door, NULL, NULL);
                if (fd < 0 || fd >= MOST) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                event.data.fd = fd;
                epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
            } else if (recv(fd, data, sizeof data, 0) <= 0) {
                forget(fd);
            } else if (open_already[fd]) {
                broadcast(frame, size);
            } else {
                open_already[fd] = 1;
                clients[count++] = fd;
                send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
            }
        }
    }
}
