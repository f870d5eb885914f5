/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounded writer of lib/buf.h (the reader is inline).
 *
 * Growth doubles, so appending n bytes costs O(n); the capacity never exceeds @max, which the owner sets once and which is
 * what keeps a peer from filling our memory. Arithmetic is done on what is still free, so that no sum can overflow. On any
 * failure the content is as it was before.
 */
#include "lib/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST 256u /* bytes of the first allocation */

/* Makes room for @len more bytes */
static int reserve(struct buf *b, size_t len)
{
	size_t cap = b->cap ? b->cap : BUF_FIRST;
	uint8_t *data;

	if (b->len > b->max || len > b->max - b->len)
		return -EMSGSIZE;
	if (len <= b->cap - b->len)
		return 0;
	while (cap < b->len + len)
		cap = cap > b->max / 2 ? b->max : cap * 2;
	if (cap > b->max)
		cap = b->max;
	data = realloc(b->data, cap);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
	int r;

	if (len == 0)
		return 0;
	r = reserve(b, len);
	if (r < 0)
		return r;
	memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n, r;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	r = buf_append(b, text, (size_t)n);
	free(text);
	return r;
}

void buf_consume(struct buf *b, size_t len)
{
	if (len > b->len)
		len = b->len;
	if (len == 0)
		return;
	b->len -= len;
	memmove(b->data, b->data + len, b->len);
}

void buf_release(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->len = 0;
	b->cap = 0;
}
