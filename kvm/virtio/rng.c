/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entropy device (virtio 1.2 §5.4): one queue of writable buffers, filled from getrandom(2).
 *
 * Each request gets at most RNG_REQUEST_MAX bytes: a driver is told how many came and asks again. The thread works on the
 * guest's behalf and is accounted to it; the host's generator does not run dry, so that there is no other limit.
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>

#include "kvm/virtio/thread.h"
#include "kvm/virtio/virtio.h"
#include "lib/cleanup.h"

#define RNG_QUEUE_MAX 64
#define RNG_REQUEST_MAX 4096u

struct rng {
	struct virtio_dev dev;
	struct virtio_thread thread;
	bool stuck;		  /* the driver broke its ring: nothing is done until a reset */
	struct virtq_chain chain; /* the request in hand */
};

/* Return: bytes written into the chain */
static uint32_t fill(const struct virtq_chain *chain)
{
	const struct iovec *iov = chain->iov + chain->nread;
	uint32_t done = 0;
	uint16_t i;

	for (i = 0; i < chain->nwrite && done < RNG_REQUEST_MAX; i++) {
		size_t len = iov[i].iov_len;
		ssize_t n;

		if (len > RNG_REQUEST_MAX - done)
			len = RNG_REQUEST_MAX - done;
		n = getrandom(iov[i].iov_base, len, 0);
		if (n < 0)
			break;
		done += (uint32_t)n;
		if ((size_t)n < len)
			break;
	}
	return done;
}

static void serve(struct rng *rng)
{
	struct virtq *q = &rng->dev.queues[0];
	int r;

	do {
		(void)virtq_want_kicks(q, false);
		while (!virtio_thread_is_stopping(&rng->thread)) {
			r = virtq_pop(q, &rng->chain);
			if (r < 0) {
				rng->stuck = true;
				virtio_dev_broken(&rng->dev, "invalid descriptor chain");
				return;
			}
			if (!r)
				break;
			virtq_push(q, rng->chain.head, fill(&rng->chain));
			virtio_dev_interrupt(&rng->dev, q);
		}
	} while (!virtio_thread_is_stopping(&rng->thread) && virtq_want_kicks(q, true));
}

static void rng_on_event(void *arg, uint64_t tag, uint32_t events)
{
	/* The queue is looked at in each round anyway */
	(void)arg;
	(void)tag;
	(void)events;
}

static int rng_on_round(void *arg)
{
	struct rng *rng = arg;

	if (!rng->stuck)
		serve(rng);
	return -1;
}

static const struct virtio_thread_ops rng_thread_ops = {
	.on_event = rng_on_event,
	.on_round = rng_on_round,
};

static int rng_activate(struct virtio_dev *dev, struct err *err)
{
	struct rng *rng = container_of(dev, struct rng, dev);
	int r;

	rng->stuck = false;
	r = virtio_thread_start(&rng->thread, "virtio-rng", &rng_thread_ops, rng, err);
	if (r < 0)
		return r;
	r = virtio_thread_watch_kicks(&rng->thread, &dev->queues[0], 0);
	if (r < 0) {
		virtio_thread_stop(&rng->thread);
		return err_sys(err, -r, "virtio-rng: cannot watch its queue");
	}
	return 0;
}

static void rng_reset(struct virtio_dev *dev)
{
	virtio_thread_stop(&container_of(dev, struct rng, dev)->thread);
}

static void rng_free(struct virtio_dev *dev)
{
	free(container_of(dev, struct rng, dev));
}

static const struct virtio_ops rng_ops = {
	.name = "virtio-rng",
	.id = VIRTIO_ID_RNG,
	.nqueues = 1,
	.queue_max = RNG_QUEUE_MAX,
	.activate = rng_activate,
	.reset = rng_reset,
	.free = rng_free,
};

struct virtio_dev *virtio_rng_new(struct err *err)
{
	struct rng *rng = calloc(1, sizeof(*rng));

	if (!rng) {
		(void)err_sys(err, ENOMEM, "Cannot make the entropy device");
		return NULL;
	}
	rng->dev.ops = &rng_ops;
	return &rng->dev;
}
