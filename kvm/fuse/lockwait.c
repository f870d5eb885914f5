/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocked lock requests: a bounded table, never a thread each.
 *
 * A waiter is tried again at once when a lock of this guest on the same inode ends, and by one poller thread with growing
 * pauses (10 to 200 ms) for locks that the host or another guest holds. While nothing waits the poller sleeps for good.
 *
 * virtio-fs cannot interrupt a request: a guest thread that gets a signal while it waits sits until it is answered. So the agent
 * is told who waits (control.c) and cancels the waiters that have been interrupted; they are answered EINTR, which the guest's
 * kernel turns into what a local file system does: an end, a handler, or a restart of the call.
 *
 * The table is smaller than the virtqueue, so that the request that unlocks always finds room.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "kvm/fuse/internal.h"

#define DELAY_FIRST_MS 10u
#define DELAY_MAX_MS 200u

uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- the table; locks.mutex held ---- */

int waiters_add(struct fuse_server *server, const struct lock_waiter *lock)
{
	struct lock_waiter *w, **end = &server->locks.waiters;
	int r;

	if (server->locks.nwaiters >= SERVER_WAITERS_MAX)
		return -ENOLCK;
	w = malloc(sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = *lock;
	w->next = NULL;
	w->result = 0;
	w->delay_ms = DELAY_FIRST_MS;
	w->since_ms = now_ms();
	w->next_ms = w->since_ms + w->delay_ms;
	r = waiters_wake(server);
	if (r < 0) {
		free(w);
		return -ENOLCK;
	}
	node_hold(server, w->node);
	while (*end)
		end = &(*end)->next;
	*end = w;
	server->locks.nwaiters++;
	return 0;
}

static struct lock_waiter *take(struct fuse_server *server, struct lock_waiter **slot)
{
	struct lock_waiter *w = *slot;

	*slot = w->next;
	w->next = NULL;
	server->locks.nwaiters--;
	return w;
}

struct lock_waiter *waiters_take(struct fuse_server *server, const struct root *root)
{
	struct lock_waiter *taken = NULL, **end = &taken;

	for (struct lock_waiter **slot = &server->locks.waiters; *slot;) {
		if (root && (*slot)->node->root != root) {
			slot = &(*slot)->next;
			continue;
		}
		*end = take(server, slot);
		end = &(*end)->next;
	}
	return taken;
}

/* Tries the waiters of @node (all nodes if NULL) that are due at @now; returns those that are answered */
static struct lock_waiter *retry(struct fuse_server *server, const struct node *node, uint64_t now)
{
	struct lock_waiter *done = NULL, **end = &done;

	for (struct lock_waiter **slot = &server->locks.waiters; *slot;) {
		struct lock_waiter *w = *slot;

		if ((node && w->node != node) || w->next_ms > now) {
			slot = &w->next;
			continue;
		}
		w->result = lock_try(server, w);
		if (w->result == -EAGAIN) {
			if (!node) {
				w->delay_ms = w->delay_ms * 2 < DELAY_MAX_MS ? w->delay_ms * 2
									     : DELAY_MAX_MS;
				w->next_ms = now + w->delay_ms;
			}
			slot = &w->next;
			continue;
		}
		*end = take(server, slot);
		end = &(*end)->next;
	}
	return done;
}

struct lock_waiter *waiters_retry(struct fuse_server *server, const struct node *node)
{
	return server->locks.waiters ? retry(server, node, UINT64_MAX) : NULL;
}

void waiters_finish(struct fuse_server *server, struct lock_waiter *list)
{
	while (list) {
		struct lock_waiter *w = list;

		list = w->next;
		node_unhold(server, w->node);
		request_finish(w->request, w->unique, w->result, NULL, 0);
		free(w);
	}
}

int waiters_cancel(struct fuse_server *server, uint64_t unique)
{
	struct lock_waiter *found = NULL;

	pthread_mutex_lock(&server->locks.mutex);
	for (struct lock_waiter **slot = &server->locks.waiters; *slot; slot = &(*slot)->next) {
		if ((*slot)->unique == unique) {
			found = take(server, slot);
			found->result = -EINTR;
			break;
		}
	}
	pthread_mutex_unlock(&server->locks.mutex);
	waiters_finish(server, found);
	return found ? 0 : -ENOENT;
}

/* ---- the poller ---- */

static uint64_t next_event(const struct fuse_server *server)
{
	uint64_t next = control_due(server);

	for (const struct lock_waiter *w = server->locks.waiters; w; w = w->next)
		next = w->next_ms < next ? w->next_ms : next;
	return next;
}

static void sleep_until(struct fuse_server *server, uint64_t when_ms)
{
	struct timespec ts = {.tv_sec = (time_t)(when_ms / 1000),
			      .tv_nsec = (long)(when_ms % 1000) * 1000000};

	if (when_ms == UINT64_MAX)
		pthread_cond_wait(&server->locks.wake, &server->locks.mutex);
	else
		(void)pthread_cond_timedwait(&server->locks.wake, &server->locks.mutex, &ts);
}

static void *poller_main(void *arg)
{
	struct fuse_server *server = arg;
	struct control_report *report = calloc(
		1, sizeof(*report)); /* without it nobody is told, and waiting still works */

	pthread_mutex_lock(&server->locks.mutex);
	while (!server->locks.stop) {
		uint64_t now = now_ms(), next = next_event(server);
		struct lock_waiter *done;

		if (next > now) {
			sleep_until(server, next);
			continue;
		}
		done = retry(server, NULL, now);
		if (report)
			control_take(server, now, report);
		server->locks.delivering = true;
		pthread_mutex_unlock(&server->locks.mutex);
		waiters_finish(server, done);
		if (report && report->request)
			request_finish(report->request, report->unique, 0, report->waiters,
				       report->count * sizeof(report->waiters[0]));
		pthread_mutex_lock(&server->locks.mutex);
		server->locks.delivering = false;
		pthread_cond_broadcast(&server->locks.delivered);
	}
	pthread_mutex_unlock(&server->locks.mutex);
	free(report);
	return NULL;
}

int waiters_wake(struct fuse_server *server)
{
	if (!server->locks.poller_runs) {
		sigset_t all, old;
		int r;

		(void)sigfillset(&all);
		(void)pthread_sigmask(SIG_SETMASK, &all, &old);
		r = pthread_create(&server->locks.poller, NULL, poller_main, server);
		(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
		if (r != 0)
			return -r;
		server->locks.poller_runs = true;
	}
	pthread_cond_signal(&server->locks.wake);
	return 0;
}

void locks_release(struct fuse_server *server)
{
	bool runs;

	locks_drop_all(server);
	pthread_mutex_lock(&server->locks.mutex);
	server->locks.stop = true;
	runs = server->locks.poller_runs;
	pthread_cond_signal(&server->locks.wake);
	pthread_mutex_unlock(&server->locks.mutex);
	if (runs)
		(void)pthread_join(server->locks.poller, NULL);
	pthread_cond_destroy(&server->locks.wake);
	pthread_cond_destroy(&server->locks.delivered);
	pthread_mutex_destroy(&server->locks.mutex);
}
