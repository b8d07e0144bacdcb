/* TLS of the clients. Without OpenSSL's headers, asking for it ends the program. */

#ifndef TLS_H
#define TLS_H

#include <sys/types.h>

struct tls;

/* Whether clients use TLS, and whether they resume the session of the first one. */
extern int tls_used;
extern int tls_resumes;

/* Begin on a connected socket. */
struct tls *tls_begin(int fd);

/* Go on with the handshake: 1 if it is done, 0 if it needs to read, -1 to write. */
int tls_shake_hands(struct tls *tls);

/* As recv and send; errno is EAGAIN if nothing can be read now. */
ssize_t tls_receive(struct tls *tls, void *data, size_t size);
ssize_t tls_send(struct tls *tls, const void *data, size_t size);

void tls_end(struct tls *tls);

#endif
