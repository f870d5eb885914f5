/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound cleanup and explicit hand-over of ownership.
 *
 * `cleanup_free char *p = NULL;` and `cleanup_close int fd = -1;` free what they hold when the scope ends; the value is
 * handed over with take_ptr(&p) or take_fd(&fd), which leave NULL or -1 behind. CLEANUP(x) does the same for a type that
 * has `x_free(struct x *)`, declared once with DEFINE_CLEANUP(x). errno survives every one of them.
 */
#ifndef LIB_CLEANUP_H
#define LIB_CLEANUP_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_p(void *p)
{
	int saved = errno;

	free(*(void **)p);
	errno = saved;
}

static inline void cleanup_close_p(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	errno = saved;
}

#define cleanup_free __attribute__((cleanup(cleanup_free_p)))
#define cleanup_close __attribute__((cleanup(cleanup_close_p)))

/* DEFINE_CLEANUP(loop) in a header makes CLEANUP(loop) usable: `CLEANUP(loop) struct loop *l = NULL;` */
#define DEFINE_CLEANUP(x)                                \
	static inline void cleanup_##x##_p(struct x **p) \
	{                                                \
		int saved_errno = errno;                 \
		x##_free(*p);                            \
		errno = saved_errno;                     \
	}
#define CLEANUP(x) __attribute__((cleanup(cleanup_##x##_p)))

#define take_ptr(p)                                  \
	({                                           \
		__auto_type take_slot = (p);         \
		__auto_type take_value = *take_slot; \
		*take_slot = NULL;                   \
		take_value;                          \
	})

static inline int take_fd(int *fd)
{
	int value = *fd;

	*fd = -1;
	return value;
}

/** close_fd() - Close @fd if it is open and mark it closed; keeps errno */
static inline void close_fd(int *fd)
{
	cleanup_close_p(fd);
}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
