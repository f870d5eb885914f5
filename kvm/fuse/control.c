/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control file ".caisson-locks" in the top directory: how the agent ends lock waits of interrupted threads.
 *
 *   agent's thread                            file server
 *   read()  ───────── READ ─────────────────▶ kept without an answer while no lock request waits
 *           ◀──────── {unique, pid} … ─────── answered once one has waited for 100 ms, at most every 200 ms
 *   /proc/<pid>: was the thread interrupted?
 *   write() ───────── WRITE unique … ───────▶ those waiters are answered EINTR
 *
 * While no lock waits it costs nothing: one request lies in the queue. The file belongs to the guest's root with mode 0600, and
 * the top directory is mounted only in the agent's own mount namespace; whoever gets at it inside the guest can end waits of
 * the same guest, nothing else.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "kvm/fuse/internal.h"

#define SETTLE_MS 100u /* waits shorter than this are not reported */
#define PACE_MS 200u
#define CANCEL_MAX 64u /* copied at a time */

#ifndef FOPEN_STREAM
#define FOPEN_STREAM (1 << 4)
#endif

void control_attr(struct fuse_server *server, struct fuse_attr *attr)
{
	*attr = (struct fuse_attr){
		.ino = NODEID_LOCKS, .mode = S_IFREG | 0600, .nlink = 1, .blksize = WIRE_PAGE};
	pthread_mutex_lock(&server->locks.mutex);
	attr->size = server->locks.nwaiters * sizeof(struct control_waiter);
	pthread_mutex_unlock(&server->locks.mutex);
}

ssize_t control_getattr(struct req *rq)
{
	struct fuse_attr_out out = {0};

	control_attr(rq->server, &out.attr);
	return req_reply(rq, &out, sizeof(out));
}

ssize_t control_open(struct req *rq)
{
	struct fuse_open_out out = {.fh = FH_CONTROL, .open_flags = FOPEN_DIRECT_IO | FOPEN_STREAM};

	return req_reply(rq, &out, sizeof(out));
}

uint64_t control_due(const struct fuse_server *server)
{
	const struct lock_table *locks = &server->locks;
	uint64_t due;

	if (!locks->watch || !locks->waiters)
		return UINT64_MAX;
	due = locks->waiters->since_ms + SETTLE_MS; /* the first is the oldest */
	return due > locks->reported_ms + PACE_MS ? due : locks->reported_ms + PACE_MS;
}

void control_take(struct fuse_server *server, uint64_t now, struct control_report *out)
{
	struct lock_table *locks = &server->locks;

	out->request = NULL;
	if (control_due(server) > now)
		return;
	out->count = 0;
	for (const struct lock_waiter *w = locks->waiters; w && out->count < locks->watch_max;
	     w = w->next)
		out->waiters[out->count++] = (struct control_waiter){.unique = w->unique,
								     .pid = w->pid};
	out->unique = locks->watch_unique;
	out->request = take_ptr(&locks->watch);
	locks->reported_ms = now;
}

ssize_t control_read(struct req *rq)
{
	struct lock_table *locks = &rq->server->locks;
	struct fuse_read_in in;
	size_t max;
	int r;

	if (!req_arg(rq, &in) || !req_end(rq))
		return -EINVAL;
	if (in.fh != FH_CONTROL)
		return -EBADF;
	max = (in.size < rq->room ? in.size : rq->room) / sizeof(struct control_waiter);
	if (max == 0)
		return -EINVAL;
	pthread_mutex_lock(&locks->mutex);
	r = locks->watch ? -EBUSY : waiters_wake(rq->server);
	if (r == 0) {
		locks->watch = rq->request;
		locks->watch_unique = rq->h.unique;
		locks->watch_max = max < SERVER_WAITERS_MAX ? (uint32_t)max : SERVER_WAITERS_MAX;
	}
	pthread_mutex_unlock(&locks->mutex);
	return r < 0 ? r : REQ_DEFERRED;
}

void control_interrupt(struct fuse_server *server, uint64_t unique)
{
	struct fuse_request *watch = NULL;

	pthread_mutex_lock(&server->locks.mutex);
	if (server->locks.watch && server->locks.watch_unique == unique)
		watch = take_ptr(&server->locks.watch);
	pthread_mutex_unlock(&server->locks.mutex);
	if (watch)
		request_finish(watch, unique, -EINTR, NULL, 0);
}

ssize_t control_write(struct req *rq)
{
	struct fuse_write_out out = {0};
	struct fuse_write_in in;
	uint64_t uniques[CANCEL_MAX];
	size_t offset = sizeof(rq->h) + sizeof(in);

	if (!req_arg(rq, &in) || rq->room < sizeof(out) || in.size != rq->in_total - offset ||
	    in.size % sizeof(uint64_t) || in.size > SERVER_WAITERS_MAX * sizeof(uint64_t))
		return -EINVAL;
	if (in.fh != FH_CONTROL)
		return -EBADF;
	while (out.size < in.size) {
		size_t len = in.size - out.size < sizeof(uniques) ? in.size - out.size
								  : sizeof(uniques);

		if (iov_copy_in(rq->request->in, rq->request->nin, offset + out.size, uniques,
				len) < len)
			return -EINVAL;
		for (size_t i = 0; i < len / sizeof(uniques[0]); i++)
			(void)waiters_cancel(rq->server, uniques[i]);
		out.size += (uint32_t)len;
	}
	return req_reply(rq, &out, sizeof(out));
}
