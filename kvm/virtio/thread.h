/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's thread: epoll over kick eventfds and the backend's descriptors until it is told to stop.
 *
 *        ┌─▶ wait ─▶ on_event() for each ready descriptor ─▶ on_round() ─┐
 *        └────────────────────────────────────────────────────────────────┘
 *
 * on_round() is where a device gives back what it has collected in this round and raises one interrupt for all of it. It also
 * runs once before the first wait, since a ring may hold chains from before the thread existed. All signals are blocked in the
 * thread. A loop that the guest can keep alive (pop until empty) must ask virtio_thread_is_stopping() now and then, or a
 * guest that refills as fast as we drain could hold up reset and shutdown for ever.
 */
#ifndef KVM_VIRTIO_THREAD_H
#define KVM_VIRTIO_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

struct virtq;

struct virtio_thread_ops {
	/* @tag as given when the descriptor was added; @events: EPOLL* */
	void (*on_event)(void *arg, uint64_t tag, uint32_t events);
	/* Return: how long to wait for the next event at most, in ms; 0: only look, -1: for ever. NULL: for ever. */
	int (*on_round)(void *arg);
};

struct virtio_thread {
	const struct virtio_thread_ops *ops; /* borrowed */
	void *arg;			     /* for ops */
	char name[16];			     /* as the kernel shows it */
	pthread_t tid;
	int epoll_fd, stop_fd; /* owned while running */
	bool running;	       /* between start and stop */
	bool stopping;	       /* atomic */
};

/**
 * virtio_thread_start() - Start a thread
 * @t:		Zero-initialised, or stopped
 * @name:	As shown by ps -L; cut to 15 characters
 *
 * Return: 0, or -errno with @err filled and nothing left over
 */
int virtio_thread_start(struct virtio_thread *t, const char *name,
			const struct virtio_thread_ops *ops, void *arg, struct err *err);

/** virtio_thread_stop() - Tell the thread to end, wait for it, close; idempotent; not from the thread itself */
void virtio_thread_stop(struct virtio_thread *t);

/**
 * virtio_thread_watch() - Report @events (EPOLL*) of @fd with @tag; any thread
 * @tag:	Any value but UINT64_MAX
 * Return: 0 or -errno
 */
int virtio_thread_watch(struct virtio_thread *t, int fd, uint32_t events, uint64_t tag);

/** virtio_thread_unwatch() - Forget @fd; an event of it that was already fetched in this round is still reported */
void virtio_thread_unwatch(struct virtio_thread *t, int fd);

/**
 * virtio_thread_watch_kicks() - Report each kick of @q with @tag, EPOLLET: the eventfd need not be read
 * Return: 0 or -errno
 */
int virtio_thread_watch_kicks(struct virtio_thread *t, const struct virtq *q, uint64_t tag);

/** virtio_thread_is_stopping() - Has virtio_thread_stop() been called? Any thread */
static inline bool virtio_thread_is_stopping(const struct virtio_thread *t)
{
	return __atomic_load_n(&t->stopping, __ATOMIC_RELAXED);
}

#endif
