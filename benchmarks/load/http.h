/* POST requests over connections that stay open. */

#ifndef HTTP_H
#define HTTP_H

/* Send one request over the connection kept for this, and wait for the answer. */
void post_once(const char *path, const char *body);

/* Send `count` requests over `connections` at once; each waits for its answer. In a
 * body, %c stands for the number of the request, in three digits. Clients are served
 * meanwhile. */
void post_many(long count, int connections, const char *path, const char *body);

#endif
