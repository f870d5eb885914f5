/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: see lib/loop.h. One thread, level-triggered epoll(7) (a source may add EPOLLET for itself).
 *
 *   loop->polled   sources that epoll watches
 *   loop->ready    sources that epoll refuses (regular files, /dev/null): served in each step, as long as they ask for
 *                  EPOLLIN or EPOLLOUT, after a poll that does not wait
 *
 * One step fetches a batch of events and serves it in order. A callback may delete any source, free its memory or even step
 * the loop again: loop_del() therefore strikes the source out of all batches under way (they are chained from the
 * loop), so no event reaches a source after its deletion. What was struck or left over (after loop_quit()) is not
 * lost for others: level-triggered events come again.
 *
 * A descriptor must leave the loop before it is closed: epoll watches the open file description, and if another
 * process or a dup() keeps that alive its events would name a source that is gone.
 */
#include "lib/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define BATCH_POLLED 64u /* events fetched from epoll at once */
#define BATCH_READY 16u	 /* always-ready sources served per step, in turn */

struct batch {
	struct epoll_event events[BATCH_POLLED + BATCH_READY];
	size_t n;
	struct batch *outer; /* the step from within which this one was made */
};

struct loop {
	int epoll;
	bool quitting;
	int code;
	struct loop_source polled, ready; /* heads of circular lists */
	struct batch *batch; /* innermost step under way, borrowed from its stack frame */
};

static void list_init(struct loop_source *head)
{
	head->next = head;
	head->prev = head;
}

static void list_append(struct loop_source *head, struct loop_source *source)
{
	source->prev = head->prev;
	source->next = head;
	head->prev->next = source;
	head->prev = source;
}

static void list_remove(struct loop_source *source)
{
	source->prev->next = source->next;
	source->next->prev = source->prev;
	source->next = NULL;
	source->prev = NULL;
}

struct loop *loop_new(struct err *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop) {
		(void)err_sys(err, ENOMEM, "cannot make an event loop");
		return NULL;
	}
	list_init(&loop->polled);
	list_init(&loop->ready);
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0) {
		(void)err_sys(err, errno, "cannot make an event loop");
		free(loop);
		return NULL;
	}
	return loop;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	while (loop->polled.next != &loop->polled)
		loop_del(loop->polled.next);
	while (loop->ready.next != &loop->ready)
		loop_del(loop->ready.next);
	(void)close(loop->epoll);
	free(loop);
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events, struct err *err)
{
	struct epoll_event ev = {.events = events, .data.ptr = source};
	bool refused;

	if (source->loop)
		return err_set(err, EEXIST, "descriptor %d is in an event loop already",
			       source->fd);
	refused = epoll_ctl(loop->epoll, EPOLL_CTL_ADD, source->fd, &ev) < 0;
	if (refused && errno != EPERM)
		return err_sys(err, errno, "cannot watch descriptor %d", source->fd);
	source->loop = loop;
	source->events = events;
	source->always_ready = refused;
	list_append(refused ? &loop->ready : &loop->polled, source);
	return 0;
}

void loop_mod(struct loop_source *source, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = source};

	if (!source->loop || source->events == events)
		return;
	source->events = events;
	/* Cannot fail for a registered descriptor; if the owner closed it early there is nothing to watch any more */
	if (!source->always_ready)
		(void)epoll_ctl(source->loop->epoll, EPOLL_CTL_MOD, source->fd, &ev);
}

void loop_del(struct loop_source *source)
{
	struct loop *loop = source->loop;

	if (!loop)
		return;
	if (!source->always_ready)
		(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
	list_remove(source);
	source->loop = NULL;
	for (struct batch *b = loop->batch; b; b = b->outer) {
		for (size_t i = 0; i < b->n; i++) {
			if (b->events[i].data.ptr == source)
				b->events[i].data.ptr = NULL;
		}
	}
}

static bool wants_service(const struct loop_source *source)
{
	return (source->events & (EPOLLIN | EPOLLOUT)) != 0;
}

static bool has_ready(const struct loop *loop)
{
	for (const struct loop_source *s = loop->ready.next; s != &loop->ready; s = s->next) {
		if (wants_service(s))
			return true;
	}
	return false;
}

/* Adds always-ready sources to the batch; those taken move to the end, so that all get their turn */
static void take_ready(struct loop *loop, struct batch *b)
{
	struct loop_source *last = loop->ready.prev, *s = loop->ready.next, *next;
	size_t taken = 0;

	for (bool more = s != &loop->ready; more && taken < BATCH_READY; s = next) {
		next = s->next;
		more = s != last;
		if (!wants_service(s))
			continue;
		b->events[b->n].events = s->events & (EPOLLIN | EPOLLOUT);
		b->events[b->n].data.ptr = s;
		b->n++;
		taken++;
		list_remove(s);
		list_append(&loop->ready, s);
	}
}

static int serve(struct loop *loop, struct batch *b)
{
	bool was_quitting = loop->quitting;
	int served = 0;

	for (size_t i = 0; i < b->n; i++) {
		struct loop_source *source = b->events[i].data.ptr;

		if (!source)
			continue;
		served++;
		source->on_event(source, b->events[i].events);
		if (loop->quitting && !was_quitting)
			break;
	}
	return served;
}

int loop_step(struct loop *loop, int timeout_ms)
{
	struct batch b;
	int n, served;

	n = epoll_wait(loop->epoll, b.events, BATCH_POLLED, has_ready(loop) ? 0 : timeout_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	b.n = (size_t)n;
	b.outer = loop->batch;
	take_ready(loop, &b);
	loop->batch = &b;
	served = serve(loop, &b);
	loop->batch = b.outer;
	return served;
}

int loop_run(struct loop *loop)
{
	while (!loop->quitting) {
		int r = loop_step(loop, -1);

		if (r < 0)
			return r;
	}
	return loop->code;
}

void loop_quit(struct loop *loop, int code)
{
	loop->quitting = true;
	loop->code = code;
}

bool loop_is_quitting(const struct loop *loop)
{
	return loop->quitting;
}

int loop_fd(const struct loop *loop)
{
	return loop->epoll;
}

/* ---- timers ---- */

static void on_timer(struct loop_source *source, uint32_t events)
{
	struct loop_timer *timer = container_of(source, struct loop_timer, source);
	uint64_t expirations;

	(void)events;
	/* Nothing to read: it was armed anew or disarmed after this event had been fetched */
	if (read(source->fd, &expirations, sizeof(expirations)) != sizeof(expirations))
		return;
	timer->on_expire(timer);
}

static int timer_init(struct loop *loop, struct loop_timer *timer)
{
	cleanup_close int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	timer->source = (struct loop_source){.fd = fd, .on_event = on_timer};
	r = loop_add(loop, &timer->source, EPOLLIN, NULL);
	if (r < 0)
		return r;
	(void)take_fd(&fd);
	timer->initialised = true;
	return 0;
}

int loop_timer_arm(struct loop *loop, struct loop_timer *timer, uint64_t timeout_ms)
{
	struct itimerspec spec = {0};
	int r;

	if (!timer->initialised) {
		if (timeout_ms == 0)
			return 0;
		r = timer_init(loop, timer);
		if (r < 0)
			return r;
	}
	if (timeout_ms / 1000 > INT32_MAX)
		timeout_ms = (uint64_t)INT32_MAX * 1000;
	spec.it_value.tv_sec = (time_t)(timeout_ms / 1000);
	spec.it_value.tv_nsec = (long)(timeout_ms % 1000) * 1000000;
	if (timerfd_settime(timer->source.fd, 0, &spec, NULL) < 0)
		return -errno;
	return 0;
}

void loop_timer_release(struct loop_timer *timer)
{
	if (!timer->initialised)
		return;
	loop_del(&timer->source);
	close_fd(&timer->source.fd);
	timer->initialised = false;
}

/* ---- signals ---- */

static void on_signalfd(struct loop_source *source, uint32_t events)
{
	struct loop_signals *signals = container_of(source, struct loop_signals, source);
	struct signalfd_siginfo info;

	(void)events;
	/* One at a time: the callback may release the source; what is left is reported again */
	if (read(source->fd, &info, sizeof(info)) != sizeof(info))
		return;
	signals->on_signal(signals, (int)info.ssi_signo, (pid_t)info.ssi_pid);
}

int loop_signals_init(struct loop *loop, struct loop_signals *signals, const sigset_t *mask,
		      struct err *err)
{
	cleanup_close int fd = -1;
	int r;

	r = pthread_sigmask(SIG_BLOCK, mask, NULL);
	if (r != 0)
		return err_sys(err, r, "cannot block signals");
	fd = signalfd(-1, mask, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "cannot receive signals");
	signals->source = (struct loop_source){.fd = fd, .on_event = on_signalfd};
	r = loop_add(loop, &signals->source, EPOLLIN, err);
	if (r < 0)
		return r;
	(void)take_fd(&fd);
	signals->initialised = true;
	return 0;
}

/* The signals stay blocked: one that is pending must not kill the process that is just cleaning up */
void loop_signals_release(struct loop_signals *signals)
{
	if (!signals->initialised)
		return;
	loop_del(&signals->source);
	close_fd(&signals->source.fd);
	signals->initialised = false;
}
