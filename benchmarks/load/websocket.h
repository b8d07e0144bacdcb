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
    enum { CONNECTING, SECURING, SHAKING_HANDS, OPEN, CLOSED } state;
    struct tls *tls;  /* or NULL */
    uint8_t head[10]; /* of the frame that is being read */
    int head_length;
    uint64_t size;    /* bytes of its payload */
    uint64_t missing; /* those not yet read */
    int opcode;       /* of the frame that is being read */
    char last[2];     /* the last bytes read of a line */
    int messages;     /* received so far */
};

struct tally {
    long open;     /* clients whose handshake is done */
    long failed;   /* clients that the other side has closed */
    long messages; /* received by all, without pings; a frame may hold several */
    long bytes;    /* of their payloads */
};

extern struct tally tally;

/* The server: ports of this machine for clients and for the API; and how clients come: over what, on which path,
 * and with which body if it is a stream. */
extern int server_port;
extern int api_port;
extern enum kind client_kind;
extern const char *client_path;
extern const char *client_body;

/* What follows when a client has opened, and when it got a message. */
extern void (*on_open)(struct client *client);
extern void (*on_message)(struct client *client);

/* Return a socket that is being connected to that port of the server. */
int connecting_socket(int port);

/* Begin to connect. */
void client_start(struct client *client, int index);

/* Add a text message to those that the next client_send will send, too. */
void client_compose(const char *text, size_t size);

/* Send one text message some times over, in one segment. */
void client_send(struct client *client, const char *text, size_t size, int times);

/* Close with a reset, so that no port is kept waiting. */
void client_reset(struct client *client);

/* Return a descriptor that is readable if something happens; -1 without clients. */
int client_poller(void);

/* Handle what happens within some milliseconds. */
void pump(int milliseconds);

#endif
