/* Many clients in one epoll loop, over WebSocket or over streamed answers. */

#ifndef WEBSOCKET_H
#define WEBSOCKET_H

#include <stddef.h>
#include <stdint.h>

/* A stream is a POST request whose answer brings a line of JSON per message. */
enum kind { WEBSOCKET, STREAM };

struct client {
    enum kind kind;
    int fd;
    int index;
    enum { CONNECTING, SHAKING_HANDS, OPEN, CLOSED } state;
    uint8_t head[10]; /* of the frame that is being read */
    int head_length;
    uint64_t size;    /* bytes of its payload */
    uint64_t missing; /* those not yet read */
    char start[2];    /* of the payload; of a stream: the last bytes read */
    int messages;     /* received so far */
};

struct tally {
    long open;     /* clients whose handshake is done */
    long failed;   /* clients that the other side has closed */
    long messages; /* received by all, without pings */
    long bytes;    /* of their payloads */
};

extern struct tally tally;

/* The server: a port of this machine; and how clients come: over what, on which path,
 * and with which body if it is a stream. */
extern int server_port;
extern enum kind client_kind;
extern const char *client_path;
extern const char *client_body;

/* What follows when a client has opened, and when it got a message. */
extern void (*on_open)(struct client *client);
extern void (*on_message)(struct client *client);

/* Return a socket that is being connected to the server. */
int connecting_socket(void);

/* Begin to connect. */
void client_start(struct client *client, int index);

/* Send one text message some times over, in one segment. */
void client_send(struct client *client, const char *text, size_t size, int times);

/* Close with a reset, so that no port is kept waiting. */
void client_reset(struct client *client);

/* Handle what happens within some milliseconds. */
void pump(int milliseconds);

#endif
