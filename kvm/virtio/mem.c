/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory device (virtio 1.2 §5.15): memory that a guest gets while it runs.
 *
 * The machine has reserved a region of guest addresses. The device says how much of it the driver shall take (requested_size), the
 * driver asks block by block (PLUG) and tells Linux. That much can be touched from the moment it is requested; what the device
 * notes is for its answers: a driver that skips the asking gains nothing, since all that it could reach was granted.
 *
 * What the driver gives back (UNPLUG) the host gets back at once. Asking for less than before is not done here: a container's lower
 * limit is its cgroup's business.
 *
 * Requests are served by a thread of the device's own, which reads what virtio_mem_request() writes: the two figures of the
 * configuration that change are atomic, and the lock makes sure that what the driver sees last are the last ones.
 */
#include <errno.h>
#include <endian.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mem.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kvm/virtio/thread.h"
#include "kvm/virtio/virtio.h"
#include "lib/cleanup.h"

#define MEM_QUEUE_MAX 64

struct mem {
	struct virtio_dev dev;
	struct virtio_thread thread;
	bool stuck;		  /* the driver broke its ring: nothing is done until a reset */
	struct virtq_chain chain; /* the request in hand */
	gpa_t gpa;
	uint8_t *hva;		     /* borrowed */
	uint64_t max;		     /* bytes of the region */
	uint64_t requested, plugged; /* bytes; atomic, changed under the lock */
	pthread_mutex_t lock;
	uint8_t *blocks; /* owned: 1 for each block that is plugged; the thread's */
};

static struct mem *mem_of(struct virtio_dev *dev)
{
	return container_of(dev, struct mem, dev);
}

static uint64_t load(const uint64_t *figure)
{
	return __atomic_load_n(figure, __ATOMIC_ACQUIRE);
}

/* ---- requests ---- */

/* Is [addr, addr + n blocks) what the driver may ask about? Then @first is the first block's number */
static bool find_blocks(const struct mem *m, uint64_t addr, uint64_t n, uint64_t *first)
{
	uint64_t offset = addr - m->gpa, usable = load(&m->requested);

	if (addr < m->gpa || offset % VIRTIO_MEM_BLOCK || !n || offset >= usable ||
	    n > (usable - offset) / VIRTIO_MEM_BLOCK)
		return false;
	*first = offset / VIRTIO_MEM_BLOCK;
	return true;
}

static uint64_t count_plugged(const struct mem *m, uint64_t first, uint64_t n)
{
	uint64_t plugged = 0;

	for (uint64_t i = first; i < first + n; i++)
		plugged += m->blocks[i];
	return plugged;
}

static void set_blocks(struct mem *m, uint64_t first, uint64_t n, uint8_t plugged)
{
	memset(m->blocks + first, plugged, n);
	/* To whoever wants it: the guest has no use for it any more, and finds zeros if it should have again */
	if (!plugged)
		(void)madvise(m->hva + first * VIRTIO_MEM_BLOCK, n * VIRTIO_MEM_BLOCK,
			      MADV_DONTNEED);
}

static void note_plugged(struct mem *m, uint64_t bytes)
{
	(void)pthread_mutex_lock(&m->lock);
	__atomic_store_n(&m->plugged, bytes, __ATOMIC_RELEASE);
	m->dev.show_config(&m->dev);
	(void)pthread_mutex_unlock(&m->lock);
}

/* §5.15.6.2, §5.15.6.3 */
static uint16_t change(struct mem *m, uint64_t addr, uint64_t n, bool plug)
{
	uint64_t first, bytes = n * VIRTIO_MEM_BLOCK;

	if (!find_blocks(m, addr, n, &first) || count_plugged(m, first, n) != (plug ? 0 : n))
		return VIRTIO_MEM_RESP_ERROR;
	set_blocks(m, first, n, plug);
	note_plugged(m, plug ? m->plugged + bytes : m->plugged - bytes);
	return VIRTIO_MEM_RESP_ACK;
}

/* §5.15.6.4 */
static uint16_t unplug_all(struct mem *m)
{
	set_blocks(m, 0, load(&m->requested) / VIRTIO_MEM_BLOCK, 0);
	note_plugged(m, 0);
	return VIRTIO_MEM_RESP_ACK;
}

/* §5.15.6.5 */
static uint16_t tell_state(const struct mem *m, uint64_t addr, uint64_t n, uint16_t *state)
{
	uint64_t first, plugged;

	if (!find_blocks(m, addr, n, &first))
		return VIRTIO_MEM_RESP_ERROR;
	plugged = count_plugged(m, first, n);
	*state = plugged == n ? VIRTIO_MEM_STATE_PLUGGED
		 : plugged    ? VIRTIO_MEM_STATE_MIXED
			      : VIRTIO_MEM_STATE_UNPLUGGED;
	return VIRTIO_MEM_RESP_ACK;
}

/* Return: bytes written into the chain */
static uint32_t answer(struct mem *m, const struct virtq_chain *chain)
{
	struct virtio_mem_resp response = {.type = htole16(VIRTIO_MEM_RESP_ERROR)};
	struct virtio_mem_req request;
	uint16_t type = VIRTIO_MEM_RESP_ERROR, state = 0;
	uint64_t addr, n;

	if (virtq_copy_in(chain, 0, &request, sizeof(request)) == sizeof(request)) {
		/* All requests but one have address and number at the same place */
		addr = le64toh(request.u.plug.addr);
		n = le16toh(request.u.plug.nb_blocks);
		switch (le16toh(request.type)) {
		case VIRTIO_MEM_REQ_PLUG:
			type = change(m, addr, n, true);
			break;
		case VIRTIO_MEM_REQ_UNPLUG:
			type = change(m, addr, n, false);
			break;
		case VIRTIO_MEM_REQ_UNPLUG_ALL:
			type = unplug_all(m);
			break;
		case VIRTIO_MEM_REQ_STATE:
			type = tell_state(m, addr, n, &state);
			break;
		default:
			break;
		}
	}
	response.type = htole16(type);
	response.u.state.state = htole16(state);
	return (uint32_t)virtq_copy_out(chain, 0, &response, sizeof(response));
}

/* ---- the thread ---- */

static void serve(struct mem *m)
{
	struct virtq *q = &m->dev.queues[0];
	int r;

	do {
		(void)virtq_want_kicks(q, false);
		while (!virtio_thread_is_stopping(&m->thread)) {
			r = virtq_pop(q, &m->chain);
			if (r < 0) {
				m->stuck = true;
				virtio_dev_broken(&m->dev, "invalid descriptor chain");
				return;
			}
			if (!r)
				break;
			virtq_push(q, m->chain.head, answer(m, &m->chain));
			virtio_dev_interrupt(&m->dev, q);
		}
	} while (!virtio_thread_is_stopping(&m->thread) && virtq_want_kicks(q, true));
}

static void mem_on_event(void *arg, uint64_t tag, uint32_t events)
{
	/* The queue is looked at in each round anyway */
	(void)arg;
	(void)tag;
	(void)events;
}

static int mem_on_round(void *arg)
{
	struct mem *m = arg;

	if (!m->stuck)
		serve(m);
	return -1;
}

static const struct virtio_thread_ops mem_thread_ops = {
	.on_event = mem_on_event,
	.on_round = mem_on_round,
};

/* ---- the device ---- */

static void mem_config_read(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	const struct mem *m = mem_of(dev);
	uint64_t requested = load(&m->requested);
	const struct virtio_mem_config config = {
		.block_size = htole64(VIRTIO_MEM_BLOCK),
		.addr = htole64(m->gpa),
		.region_size = htole64(m->max),
		.usable_region_size = htole64(requested),
		.plugged_size = htole64(load(&m->plugged)),
		.requested_size = htole64(requested),
	};

	memcpy(buf, (const uint8_t *)&config + off, len);
}

static int mem_activate(struct virtio_dev *dev, struct err *err)
{
	struct mem *m = mem_of(dev);
	int r;

	m->stuck = false;
	r = virtio_thread_start(&m->thread, "virtio-mem", &mem_thread_ops, m, err);
	if (r < 0)
		return r;
	r = virtio_thread_watch_kicks(&m->thread, &dev->queues[0], 0);
	if (r < 0) {
		virtio_thread_stop(&m->thread);
		return err_sys(err, -r, "virtio-mem: cannot watch its queue");
	}
	return 0;
}

static void mem_reset(struct virtio_dev *dev)
{
	virtio_thread_stop(&mem_of(dev)->thread);
}

static void mem_free(struct virtio_dev *dev)
{
	struct mem *m = mem_of(dev);

	(void)pthread_mutex_destroy(&m->lock);
	free(m->blocks);
	free(m);
}

static const struct virtio_ops mem_ops = {
	.name = "virtio-mem",
	.id = VIRTIO_ID_MEM,
	.nqueues = 1,
	.queue_max = MEM_QUEUE_MAX,
	.features = VIRTIO_F_BIT(VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE),
	.config_len = sizeof(struct virtio_mem_config),
	.config_read = mem_config_read,
	.activate = mem_activate,
	.reset = mem_reset,
	.free = mem_free,
};

struct virtio_dev *virtio_mem_new(gpa_t gpa, uint8_t *hva, uint64_t max, uint64_t requested,
				  struct err *err)
{
	struct mem *m = calloc(1, sizeof(*m));

	if (m)
		m->blocks = calloc(max / VIRTIO_MEM_BLOCK, 1);
	if (!m || !m->blocks) {
		free(m);
		(void)err_sys(err, ENOMEM, "Cannot make the memory device");
		return NULL;
	}
	m->dev.ops = &mem_ops;
	m->gpa = gpa;
	m->hva = hva;
	m->max = max;
	m->requested = requested;
	(void)pthread_mutex_init(&m->lock, NULL);
	return &m->dev;
}

void virtio_mem_request(struct virtio_dev *dev, uint64_t requested)
{
	struct mem *m = mem_of(dev);

	(void)pthread_mutex_lock(&m->lock);
	__atomic_store_n(&m->requested, requested, __ATOMIC_RELEASE);
	dev->interrupt(dev, true);
	(void)pthread_mutex_unlock(&m->lock);
}
