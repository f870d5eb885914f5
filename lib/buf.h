/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checked reader and a bounded, growing writer: the door for foreign bytes.
 *
 * A reader never passes its end: the first failed read makes all later ones fail too, so that a decoder may read a whole
 * structure and test buf_reader_ok() once.
 */
#ifndef LIB_BUF_H
#define LIB_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf_reader {
	const uint8_t *data; /* borrowed */
	size_t len, pos;
	bool failed;
};

static inline struct buf_reader buf_reader_of(const void *data, size_t len)
{
	return (struct buf_reader){.data = data, .len = len};
}

/** buf_take() - The next @len bytes, or NULL (and the reader fails) when fewer are left */
static inline const void *buf_take(struct buf_reader *r, size_t len)
{
	const void *p;

	if (r->failed || len > r->len - r->pos) {
		r->failed = true;
		return NULL;
	}
	p = r->data + r->pos;
	r->pos += len;
	return p;
}

/** buf_copy() - Copy the next @len bytes out, once; false when fewer are left */
static inline bool buf_copy(struct buf_reader *r, void *out, size_t len)
{
	const void *p = buf_take(r, len);

	if (!p)
		return false;
	memcpy(out, p, len);
	return true;
}

static inline bool buf_reader_ok(const struct buf_reader *r)
{
	return !r->failed;
}

static inline size_t buf_left(const struct buf_reader *r)
{
	return r->failed ? 0 : r->len - r->pos;
}

/* A writer that grows up to @max bytes. Zero-initialise, set max; release with buf_release(). */
struct buf {
	uint8_t *data; /* owned */
	size_t len, cap, max;
};

/** buf_append() - Return: 0, -ENOMEM, or -EMSGSIZE above @b->max; the content is unchanged on failure */
int buf_append(struct buf *b, const void *data, size_t len);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** buf_consume() - Drop the first @len (<= b->len) bytes */
void buf_consume(struct buf *b, size_t len);
void buf_release(struct buf *b);

#endif
