/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's thread; see thread.h for the loop.
 *
 * Started on a vCPU thread (activate() under the transport's lock), joined there too (reset()). The stop flag is what long
 * loops look at, the stop eventfd is what wakes epoll_wait(); the flag is set first. The stack is small: there may be several
 * threads per guest and hundreds of guests per host. Device code keeps its big structures (struct virtq_chain) in the heap.
 */
#include "kvm/virtio/thread.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kvm/virtio/virtq.h"
#include "lib/cleanup.h"

#define THREAD_TAG_STOP UINT64_MAX
#define THREAD_EVENTS 64

/* The sanitizers' frames are several times larger; gcc defines a macro, clang a feature */
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define THREAD_STACK_BYTES (1u << 20)
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define THREAD_STACK_BYTES (1u << 20)
#endif
#ifndef THREAD_STACK_BYTES
#define THREAD_STACK_BYTES (128u << 10)
#endif

static void *thread_main(void *arg)
{
	struct virtio_thread *t = arg;
	struct epoll_event events[THREAD_EVENTS];
	int n, i, timeout_ms;

	(void)pthread_setname_np(pthread_self(), t->name);
	while (!virtio_thread_is_stopping(t)) {
		timeout_ms = t->ops->on_round ? t->ops->on_round(t->arg) : -1;
		n = epoll_wait(t->epoll_fd, events, THREAD_EVENTS, timeout_ms);
		if (n < 0 && errno != EINTR)
			break; /* cannot happen with a valid descriptor */
		for (i = 0; i < n; i++) {
			if (events[i].data.u64 != THREAD_TAG_STOP)
				t->ops->on_event(t->arg, events[i].data.u64, events[i].events);
		}
	}
	return NULL;
}

static int spawn(struct virtio_thread *t)
{
	size_t stack = THREAD_STACK_BYTES;
	sigset_t all, old;
	pthread_attr_t attr;
	int r;

	if (stack < (size_t)PTHREAD_STACK_MIN)
		stack = (size_t)PTHREAD_STACK_MIN;
	r = pthread_attr_init(&attr);
	if (r)
		return -r;
	r = pthread_attr_setstacksize(&attr, stack);
	if (!r) {
		/* The new thread inherits the mask: no moment in which a signal could reach it */
		(void)sigfillset(&all);
		(void)pthread_sigmask(SIG_SETMASK, &all, &old);
		r = pthread_create(&t->tid, &attr, thread_main, t);
		(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	(void)pthread_attr_destroy(&attr);
	return -r;
}

int virtio_thread_start(struct virtio_thread *t, const char *name,
			const struct virtio_thread_ops *ops, void *arg, struct err *err)
{
	cleanup_close int epoll_fd = -1, stop_fd = -1;
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = THREAD_TAG_STOP};
	int r;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		return err_sys(err, errno, "%s: cannot create an epoll descriptor", name);
	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stop_fd < 0)
		return err_sys(err, errno, "%s: cannot create an event descriptor", name);
	r = epoll_ctl(epoll_fd, EPOLL_CTL_ADD, stop_fd, &ev);
	if (r < 0)
		return err_sys(err, errno, "%s: cannot watch an event descriptor", name);
	*t = (struct virtio_thread){
		.ops = ops, .arg = arg, .epoll_fd = epoll_fd, .stop_fd = stop_fd};
	(void)snprintf(t->name, sizeof(t->name), "%.15s", name);
	r = spawn(t);
	if (r < 0)
		return err_sys(err, -r, "%s: cannot start a thread", name);
	t->running = true;
	(void)take_fd(&epoll_fd);
	(void)take_fd(&stop_fd);
	return 0;
}

void virtio_thread_stop(struct virtio_thread *t)
{
	if (!t->running)
		return;
	__atomic_store_n(&t->stopping, true, __ATOMIC_RELAXED);
	(void)eventfd_write(t->stop_fd, 1);
	(void)pthread_join(t->tid, NULL);
	t->running = false;
	close_fd(&t->epoll_fd);
	close_fd(&t->stop_fd);
}

int virtio_thread_watch(struct virtio_thread *t, int fd, uint32_t events, uint64_t tag)
{
	struct epoll_event ev = {.events = events, .data.u64 = tag};

	return epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

void virtio_thread_unwatch(struct virtio_thread *t, int fd)
{
	(void)epoll_ctl(t->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

int virtio_thread_watch_kicks(struct virtio_thread *t, const struct virtq *q, uint64_t tag)
{
	/* Each write to an eventfd is an edge, also when it was not read since the last one */
	return virtio_thread_watch(t, q->kick_fd, EPOLLIN | EPOLLET, tag);
}
