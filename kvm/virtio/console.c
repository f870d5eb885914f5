/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console device (virtio 1.2 §5.3): one port, output only, for the guest kernel's log.
 *
 * Queue 0 (input) is never used: its buffers stay with us until a reset. Queue 1 (output) is written to a descriptor that must
 * never hold the guest up, for a kernel prints with locks held: what a full pipe does not take is dropped, and the buffer
 * goes back as used. The bytes are the guest's and pass unlooked at; whoever reads the pipe escapes and bounds them.
 */
#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kvm/virtio/thread.h"
#include "kvm/virtio/virtio.h"
#include "lib/cleanup.h"
#include "lib/io.h"

#define CONSOLE_QUEUE_MAX 64
#define CONSOLE_OUTPUT 1 /* index of the transmit queue of port 0 (§5.3.2) */
#define CONSOLE_NQUEUES 2

struct console {
	struct virtio_dev dev;
	struct virtio_thread thread;
	int fd;			  /* owned; non-blocking; -1 once its reader has gone */
	bool stuck;		  /* the driver broke its ring: nothing is done until a reset */
	struct virtq_chain chain; /* the output in hand */
};

static void print(struct console *con)
{
	ssize_t n;

	if (con->fd < 0 || !con->chain.nread)
		return;
	do {
		n = writev(con->fd, con->chain.iov, con->chain.nread);
	} while (n < 0 && errno == EINTR);
	/* SIGPIPE is blocked in this thread; a full pipe and a short write mean that the rest is dropped */
	if (n < 0 && errno != EAGAIN)
		close_fd(&con->fd);
}

static void serve(struct console *con)
{
	struct virtq *q = &con->dev.queues[CONSOLE_OUTPUT];
	int r;

	do {
		(void)virtq_want_kicks(q, false);
		while (!virtio_thread_is_stopping(&con->thread)) {
			r = virtq_pop(q, &con->chain);
			if (r < 0) {
				con->stuck = true;
				virtio_dev_broken(&con->dev, "invalid descriptor chain");
				return;
			}
			if (!r)
				break;
			print(con);
			virtq_push(q, con->chain.head, 0);
			virtio_dev_interrupt(&con->dev, q);
		}
	} while (!virtio_thread_is_stopping(&con->thread) && virtq_want_kicks(q, true));
}

static void console_on_event(void *arg, uint64_t tag, uint32_t events)
{
	/* The queue is looked at in each round anyway */
	(void)arg;
	(void)tag;
	(void)events;
}

static int console_on_round(void *arg)
{
	struct console *con = arg;

	if (!con->stuck)
		serve(con);
	return -1;
}

static const struct virtio_thread_ops console_thread_ops = {
	.on_event = console_on_event,
	.on_round = console_on_round,
};

/* No feature is offered that would give a field of it a meaning */
static void console_config_read(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	(void)dev;
	(void)off;
	memset(buf, 0, len);
}

static int console_activate(struct virtio_dev *dev, struct err *err)
{
	struct console *con = container_of(dev, struct console, dev);
	int r;

	con->stuck = false;
	r = virtio_thread_start(&con->thread, "virtio-console", &console_thread_ops, con, err);
	if (r < 0)
		return r;
	r = virtio_thread_watch_kicks(&con->thread, &dev->queues[CONSOLE_OUTPUT], 0);
	if (r < 0) {
		virtio_thread_stop(&con->thread);
		return err_sys(err, -r, "virtio-console: cannot watch its queue");
	}
	return 0;
}

static void console_reset(struct virtio_dev *dev)
{
	virtio_thread_stop(&container_of(dev, struct console, dev)->thread);
}

static void console_free(struct virtio_dev *dev)
{
	struct console *con = container_of(dev, struct console, dev);

	close_fd(&con->fd);
	free(con);
}

static const struct virtio_ops console_ops = {
	.name = "virtio-console",
	.id = VIRTIO_ID_CONSOLE,
	.nqueues = CONSOLE_NQUEUES,
	.queue_max = CONSOLE_QUEUE_MAX,
	.config_len = sizeof(struct virtio_console_config),
	.config_read = console_config_read,
	.activate = console_activate,
	.reset = console_reset,
	.free = console_free,
};

struct virtio_dev *virtio_console_new(int fd, struct err *err)
{
	cleanup_close int owned = fd;
	struct console *con;
	int r;

	r = io_set_nonblock(owned, true);
	if (r < 0) {
		(void)err_sys(err, -r, "Cannot use the console's descriptor");
		return NULL;
	}
	con = calloc(1, sizeof(*con));
	if (!con) {
		(void)err_sys(err, ENOMEM, "Cannot make the console device");
		return NULL;
	}
	con->dev.ops = &console_ops;
	con->fd = take_fd(&owned);
	return &con->dev;
}
