#define _GNU_SOURCE
#include "tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int tls_used;
int tls_resumes;

#ifdef WITH_TLS

#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *context;
static SSL_SESSION *session;

/* Keep the first session, for all who come later. */
static int keep_session(SSL *ssl, SSL_SESSION *new_session)
{
    (void)ssl;
    if (session)
        return 0;
    session = new_session;
    return 1;
}

static void set_up(void)
{
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(
        context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_session);
}

struct tls *tls_begin(int fd)
{
    if (!context)
        set_up();
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    SSL_set_connect_state(ssl);
    if (tls_resumes && session)
        SSL_set_session(ssl, session);
    return (struct tls *)ssl;
}

static int outcome(SSL *ssl, int result)
{
    int error = SSL_get_error(ssl, result);
    if (error == SSL_ERROR_WANT_READ)
        return 0;
    if (error == SSL_ERROR_WANT_WRITE)
        return -1;
    if (error != SSL_ERROR_ZERO_RETURN)
        ERR_print_errors_fp(stderr);
    return -2;
}

int tls_shake_hands(struct tls *tls)
{
    int result = SSL_do_handshake((SSL *)tls);
    if (result == 1)
        return 1;
    result = outcome((SSL *)tls, result);
    if (result < -1) {
        fputs("the TLS handshake failed\n", stderr);
        exit(1);
    }
    return result;
}

ssize_t tls_receive(struct tls *tls, void *data, size_t size)
{
    int result = SSL_read((SSL *)tls, data, (int)size);
    if (result > 0)
        return result;
    errno = outcome((SSL *)tls, result) == -2 ? ECONNRESET : EAGAIN;
    return errno == EAGAIN ? -1 : 0;
}

ssize_t tls_send(struct tls *tls, const void *data, size_t size)
{
    return SSL_write((SSL *)tls, data, (int)size);
}

void tls_end(struct tls *tls)
{
    /* As if both sides had said goodbye: else the session is not resumed any more. */
    SSL_set_shutdown((SSL *)tls, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free((SSL *)tls);
}

#else

static void refuse(void)
{
    fputs("the load client was compiled without OpenSSL\n", stderr);
    exit(1);
}

struct tls *tls_begin(int fd)
{
    (void)fd;
    refuse();
    return NULL;
}

int tls_shake_hands(struct tls *tls)
{
    (void)tls;
    return 1;
}

ssize_t tls_receive(struct tls *tls, void *data, size_t size)
{
    (void)tls, (void)data, (void)size;
    return 0;
}

ssize_t tls_send(struct tls *tls, const void *data, size_t size)
{
    (void)tls, (void)data, (void)size;
    return 0;
}

void tls_end(struct tls *tls)
{
    (void)tls;
}

#endif
