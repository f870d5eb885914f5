/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-fs (virtio 1.2 §5.11): FUSE requests from the guest's queues to the file server, and its answers back.
 *
 *   queue 0  hiprio: FORGET (and INTERRUPT, which Linux does not send)
 *   queue 1  requests
 *   (a notification queue, more request queues and the DAX window have their place here: fs_queues, config.num_request_queues)
 *
 *                  ┌ worker ─ pop ─ handle ─ push ┐
 *   kick_fd ─epoll─┼ worker   (sleeps)            ├─▶ used ring, interrupt
 *                  └ worker ─ pop ─ handle (disk) ┘
 *                                        └ deferred (a blocking lock): pushed later, by any thread, through on_complete()
 *
 * Requests block (disks), so there is a small pool: it begins with one worker and grows while all are busy. All sleep in
 * epoll_wait() on one edge-triggered set, in which the kernel wakes exactly one per kick: a request is served by the thread
 * that the kick woke, without a hand-over. A worker that takes a request and leaves others in the ring passes the kick on.
 *
 * Each request holds its buffers in an allocation of just their number, at most the queue's size at a time: a driver that
 * reuses descriptors of requests in flight finds the ring not looked at until some are done. Deferred ones count, and
 * the server bounds them.
 *
 * Threads: workers (ours), vCPU threads in activate() and reset(). Trust: everything in the queues is hostile; virtq.c checks the
 * chains, the file server the messages.
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kvm/fuse/server.h"
#include "kvm/virtio/virtio.h"
#include "lib/cleanup.h"

#define FS_TAG_MAX 36
#define FS_QUEUE_SIZE 1024
#define FS_QUEUES 2 /* hiprio and one of requests */
#define FS_IN_FLIGHT_MAX (FS_QUEUE_SIZE * FS_QUEUES)
#define FS_WORKERS_MAX 8
#define FS_STACK_BYTES (256u << 10)
#define FS_STOP UINT32_MAX /* epoll data of stop_fd; others are queue numbers */

struct fs_config { /* struct virtio_fs_config, §5.11.4 */
	char tag[FS_TAG_MAX];
	uint32_t num_request_queues;
} __attribute__((packed));

struct fs;

/* One request on its way; freed when its chain is pushed */
struct fs_request {
	struct fuse_request fuse; /* first: container_of */
	struct fs *fs;
	struct fs_request *prev, *next; /* all in flight, guarded by fs->mutex */
	uint16_t queue, head;
	struct iovec iov[]; /* nin, then nout */
};

struct fs {
	struct virtio_dev dev;
	struct fuse_server *server; /* borrowed */
	struct fs_config config;
	pthread_mutex_t mutex; /* guards the queues and all below */
	pthread_t workers[FS_WORKERS_MAX];
	unsigned int nworkers, nidle;
	int epoll_fd, stop_fd; /* owned; -1 while stopped */
	bool stopping;	       /* nothing may touch the queues any more */
	bool broken;
	struct fs_request *in_flight;
	unsigned int nin_flight;
	struct virtq_chain chain; /* scratch for virtq_pop(), guarded by mutex: 16 KiB */
};

static struct fs *fs_of(struct virtio_dev *dev)
{
	return container_of(dev, struct fs, dev);
}

/* ---- requests ---- */

/* Gives the chain back; with the mutex held */
static void request_push(struct fs *fs, struct fs_request *request, size_t written)
{
	if (request->prev)
		request->prev->next = request->next;
	else
		fs->in_flight = request->next;
	if (request->next)
		request->next->prev = request->prev;
	if (!fs->stopping) {
		struct virtq *q = &fs->dev.queues[request->queue];
		const uint64_t one = 1;

		virtq_push(q, request->head, (uint32_t)written);
		virtio_dev_interrupt(&fs->dev, q);
		if (fs->nin_flight == FS_IN_FLIGHT_MAX) /* the rings were left alone: look again */
			for (unsigned int i = 0; i < FS_QUEUES; i++)
				(void)!write(fs->dev.queues[i].kick_fd, &one, sizeof(one));
	}
	fs->nin_flight--;
	free(request);
}

static void on_complete(struct fuse_request *fuse, size_t written)
{
	struct fs_request *request = container_of(fuse, struct fs_request, fuse);
	struct fs *fs = request->fs;

	pthread_mutex_lock(&fs->mutex);
	request_push(fs, request, written);
	pthread_mutex_unlock(&fs->mutex);
}

/* Takes one request off queue @index, with the mutex held; NULL: the ring is empty, or nothing may be taken now */
static struct fs_request *request_pop(struct fs *fs, uint16_t index)
{
	struct virtq *q = &fs->dev.queues[index];
	struct virtq_chain *chain = &fs->chain;
	struct fs_request *request;
	unsigned int n;
	int r;

	if (fs->stopping || fs->broken || !q->enabled || fs->nin_flight >= FS_IN_FLIGHT_MAX)
		return NULL;
	r = virtq_pop(q, chain);
	if (r == 0)
		return NULL;
	n = r > 0 ? (unsigned int)chain->nread + chain->nwrite : 0;
	request = r > 0 ? malloc(sizeof(*request) + n * sizeof(struct iovec)) : NULL;
	if (!request) {
		fs->broken = true;
		virtio_dev_broken(&fs->dev, r < 0 ? "broken ring" : "out of memory");
		return NULL;
	}
	*request = (struct fs_request){
		.fs = fs, .queue = index, .head = chain->head, .next = fs->in_flight};
	memcpy(request->iov, chain->iov, n * sizeof(struct iovec));
	request->fuse.in = request->iov;
	request->fuse.nin = chain->nread;
	request->fuse.out = request->iov + chain->nread;
	request->fuse.nout = chain->nwrite;
	request->fuse.complete = on_complete;
	if (fs->in_flight)
		fs->in_flight->prev = request;
	fs->in_flight = request;
	fs->nin_flight++;
	return request;
}

/* ---- workers ---- */

static void *worker_main(void *arg);

/* With the mutex held; a worker less only makes it slower */
static void worker_start(struct fs *fs)
{
	pthread_attr_t attr;
	sigset_t all, old;

	if (fs->nworkers == FS_WORKERS_MAX || pthread_attr_init(&attr) != 0)
		return;
	(void)pthread_attr_setstacksize(&attr, FS_STACK_BYTES);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&fs->workers[fs->nworkers], &attr, worker_main, fs) == 0) {
		fs->nworkers++;
		fs->nidle++; /* it begins idle; counted here, so that not a second one is started for the same reason */
	}
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
}

/* Serves what is in queue @index until it is empty; the mutex is held on entry and exit */
static void serve_queue(struct fs *fs, uint16_t index)
{
	struct fs_request *request;
	const uint64_t one = 1;
	ssize_t n;

	for (;;) {
		request = request_pop(fs, index);
		if (!request) {
			/* ask for kicks before the last look, or one could be missed */
			if (fs->stopping || fs->broken || !fs->dev.queues[index].enabled ||
			    fs->nin_flight >= FS_IN_FLIGHT_MAX ||
			    !virtq_want_kicks(&fs->dev.queues[index], true))
				return;
			continue;
		}
		/* someone else shall hear the next kick, and what is already there */
		if (fs->nidle == 0)
			worker_start(fs);
		if (virtq_want_kicks(&fs->dev.queues[index], true) && fs->nidle > 0)
			(void)!write(fs->dev.queues[index].kick_fd, &one, sizeof(one));
		pthread_mutex_unlock(&fs->mutex);
		n = fuse_server_handle(fs->server, &request->fuse);
		pthread_mutex_lock(&fs->mutex);
		if (n != FUSE_DEFERRED)
			request_push(fs, request, (size_t)n);
	}
}

static void *worker_main(void *arg)
{
	struct fs *fs = arg;
	struct epoll_event event;
	bool stopping = false;

	while (!stopping) {
		int n = epoll_wait(fs->epoll_fd, &event, 1, -1);

		if (n < 1)
			continue;
		pthread_mutex_lock(&fs->mutex);
		fs->nidle--;
		if (event.data.u32 != FS_STOP)
			serve_queue(fs, (uint16_t)event.data.u32);
		fs->nidle++;
		stopping = fs->stopping;
		pthread_mutex_unlock(&fs->mutex);
	}
	return NULL;
}

/* ---- ops ---- */

static int watch(struct fs *fs, int fd, uint32_t what)
{
	/* stop_fd is level-triggered: it wakes all; a kick wakes one */
	struct epoll_event event = {.events = EPOLLIN | (what == FS_STOP ? 0 : (uint32_t)EPOLLET),
				    .data.u32 = what};

	return epoll_ctl(fs->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void fs_reset(struct virtio_dev *dev)
{
	struct fs *fs = fs_of(dev);
	const uint64_t one = 1;

	pthread_mutex_lock(&fs->mutex);
	fs->stopping = true;
	pthread_mutex_unlock(&fs->mutex);
	if (fs->stop_fd >= 0)
		(void)!write(fs->stop_fd, &one, sizeof(one));
	for (unsigned int i = 0; i < fs->nworkers; i++)
		(void)pthread_join(fs->workers[i], NULL);
	fs->nworkers = fs->nidle = 0;
	fuse_server_reset(fs->server); /* completes what waits; nothing is pushed any more */
	close_fd(&fs->epoll_fd);
	close_fd(&fs->stop_fd);
}

static int fs_start(struct fs *fs, struct err *err)
{
	int r = 0;

	fs->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	fs->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fs->epoll_fd < 0 || fs->stop_fd < 0)
		return err_sys(err, errno, "virtio-fs");
	r = watch(fs, fs->stop_fd, FS_STOP);
	for (uint32_t i = 0; i < FS_QUEUES && r == 0; i++) {
		if (fs->dev.queues[i].enabled)
			r = watch(fs, fs->dev.queues[i].kick_fd, i);
	}
	if (r < 0)
		return err_sys(err, -r, "virtio-fs");
	pthread_mutex_lock(&fs->mutex);
	fs->stopping = fs->broken = false;
	for (uint16_t i = 0; i < FS_QUEUES; i++) {
		const uint64_t one = 1;

		/* what the driver put there before we listened */
		if (fs->dev.queues[i].enabled && virtq_want_kicks(&fs->dev.queues[i], true))
			(void)!write(fs->dev.queues[i].kick_fd, &one, sizeof(one));
	}
	worker_start(fs);
	pthread_mutex_unlock(&fs->mutex);
	return fs->nworkers > 0 ? 0 : err_set(err, EAGAIN, "virtio-fs: no thread");
}

static int fs_activate(struct virtio_dev *dev, struct err *err)
{
	int r = fs_start(fs_of(dev), err);

	if (r < 0)
		fs_reset(dev);
	return r;
}

static void fs_config_read(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	memcpy(buf, (const char *)&fs_of(dev)->config + off, len);
}

static void fs_free(struct virtio_dev *dev)
{
	struct fs *fs = fs_of(dev);

	pthread_mutex_destroy(&fs->mutex);
	free(fs);
}

static const struct virtio_ops fs_ops = {
	.name = "virtio-fs",
	.id = VIRTIO_ID_FS,
	.nqueues = FS_QUEUES,
	.queue_max = FS_QUEUE_SIZE,
	.config_len = sizeof(struct fs_config),
	.config_read = fs_config_read,
	.activate = fs_activate,
	.reset = fs_reset,
	.free = fs_free,
};

struct virtio_dev *virtio_fs_new(const char *tag, struct fuse_server *server, struct err *err)
{
	size_t len = strlen(tag);
	struct fs *fs;

	if (len == 0 || len > FS_TAG_MAX) {
		err_set(err, EINVAL, "virtio-fs: tag '%s' is not 1 to %d bytes long", tag,
			FS_TAG_MAX);
		return NULL;
	}
	fs = calloc(1, sizeof(*fs));
	if (!fs) {
		err_sys(err, ENOMEM, "virtio-fs");
		return NULL;
	}
	memcpy(fs->config.tag, tag, len);
	fs->config.num_request_queues = FS_QUEUES - 1;
	fs->dev.ops = &fs_ops;
	fs->server = server;
	fs->epoll_fd = fs->stop_fd = -1;
	fs->stopping = true;
	pthread_mutex_init(&fs->mutex, NULL);
	return &fs->dev;
}
