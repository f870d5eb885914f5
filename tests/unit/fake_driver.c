/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio driver in the test's process; see fake_driver.h. Included by tests, so that the Makefile needs no rule for it.
 *
 * Its ordering mirrors virtq.c: release stores of indexes, acquire loads, and sequentially consistent store-load pairs where
 * kicks and interrupts are suppressed, so that ThreadSanitizer sees the two sides as they really are.
 */
#include "tests/unit/fake_driver.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#define fake_require(cond)                                                                       \
	do {                                                                                     \
		if (!(cond)) {                                                                   \
			(void)fprintf(stderr, "%s:%d: '%s' does not hold\n", __FILE__, __LINE__, \
				      #cond);                                                    \
			abort();                                                                 \
		}                                                                                \
	} while (0)

void fake_driver_init(struct fake_driver *d)
{
	unsigned int i;

	memset(d, 0, sizeof(*d));
	fake_require(gmem_init(&d->mem, FAKE_MEMORY, NULL) == 0);
	d->next = 4096; /* address 0 stays free, to be used as a bad one */
	for (i = 0; i < VIRTIO_QUEUES_MAX; i++)
		d->queues[i].kick_fd = -1;
}

void fake_driver_release(struct fake_driver *d)
{
	virtio_mmio_free(d->slot);
	d->slot = NULL;
	gmem_release(&d->mem);
}

gpa_t fake_alloc(struct fake_driver *d, uint64_t len, uint64_t align)
{
	gpa_t gpa = (d->next + align - 1) / align * align;

	d->next = gpa + len;
	fake_require(gmem_range(&d->mem, gpa, len));
	return gpa;
}

void *fake_ptr(struct fake_driver *d, gpa_t gpa, uint64_t len)
{
	void *p = gmem_range(&d->mem, gpa, len);

	fake_require(p);
	return p;
}

uint32_t fake_read(struct fake_driver *d, uint64_t reg)
{
	uint32_t value = 0xdeadbeef;

	virtio_mmio_read(d->slot, reg, &value, sizeof(value));
	return value;
}

void fake_write(struct fake_driver *d, uint64_t reg, uint32_t value)
{
	virtio_mmio_write(d->slot, reg, &value, sizeof(value));
}

static int fake_ioeventfd(void *arg, struct virtio_mmio *slot, uint16_t queue, int fd, bool add)
{
	struct fake_driver *d = arg;

	(void)slot;
	fake_require(queue < VIRTIO_QUEUES_MAX && fd >= 0);
	d->queues[queue].kick_fd = add ? fd : -1;
	return 0;
}

void fake_driver_attach(struct fake_driver *d, struct virtio_dev *dev)
{
	d->host = (struct virtio_mmio_host){.arg = d, .ioeventfd = fake_ioeventfd};
	d->nqueues = dev->ops->nqueues;
	d->slot = virtio_mmio_new(dev, &d->mem, &d->host, NULL, NULL);
	fake_require(d->slot);
}

static void fake_write_queue(struct fake_driver *d, uint16_t i)
{
	struct fake_queue *fq = &d->queues[i];

	fake_write(d, VIRTIO_MMIO_QUEUE_SEL, i);
	fake_require(!fake_read(d, VIRTIO_MMIO_QUEUE_READY));
	fake_write(d, VIRTIO_MMIO_QUEUE_NUM, fq->size);
	fake_write(d, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)fq->desc_gpa);
	fake_write(d, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(fq->desc_gpa >> 32));
	fake_write(d, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)fq->avail_gpa);
	fake_write(d, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(fq->avail_gpa >> 32));
	fake_write(d, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)fq->used_gpa);
	fake_write(d, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(fq->used_gpa >> 32));
	fake_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
	fake_require(fake_read(d, VIRTIO_MMIO_QUEUE_READY) == 1);
}

void fake_driver_up(struct fake_driver *d, uint64_t features, uint16_t queue_size)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER, half, max;
	uint16_t i, size;

	fake_write(d, VIRTIO_MMIO_STATUS, 0);
	fake_require(fake_read(d, VIRTIO_MMIO_STATUS) == 0);
	fake_write(d, VIRTIO_MMIO_STATUS, status);
	for (half = 0; half < 2; half++) {
		fake_write(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
		fake_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		fake_write(d, VIRTIO_MMIO_DRIVER_FEATURES,
			   fake_read(d, VIRTIO_MMIO_DEVICE_FEATURES) &
				   (uint32_t)(features >> (32 * half)));
	}
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	fake_write(d, VIRTIO_MMIO_STATUS, status);
	fake_require(fake_read(d, VIRTIO_MMIO_STATUS) == status);
	for (i = 0; i < d->nqueues; i++) {
		fake_write(d, VIRTIO_MMIO_QUEUE_SEL, i);
		max = fake_read(d, VIRTIO_MMIO_QUEUE_NUM_MAX);
		size = queue_size < max ? queue_size : (uint16_t)max;
		fake_queue_init(d, &d->queues[i], size, features & FAKE_F_EVENT_IDX, NULL);
		d->queues[i].index = i;
		fake_write_queue(d, i);
	}
	status |= VIRTIO_CONFIG_S_DRIVER_OK;
	fake_write(d, VIRTIO_MMIO_STATUS, status);
}

void fake_driver_start(struct fake_driver *d, struct virtio_dev *dev, uint64_t features,
		       uint16_t queue_size)
{
	fake_driver_attach(d, dev);
	fake_driver_up(d, features, queue_size);
}

void fake_queue_init(struct fake_driver *d, struct fake_queue *fq, uint16_t size, bool event_idx,
		     struct virtq *q)
{
	uint64_t avail_len = 6 + 2ull * size, used_len = 6 + 8ull * size;
	uint16_t i;

	memset(fq, 0, sizeof(*fq));
	fq->kick_fd = -1;
	fq->size = size;
	fq->event_idx = event_idx;
	fq->desc_gpa = fake_alloc(d, 16ull * size, 16);
	fq->avail_gpa = fake_alloc(d, avail_len, 2);
	fq->used_gpa = fake_alloc(d, used_len, 4);
	fq->desc = fake_ptr(d, fq->desc_gpa, 16ull * size);
	fq->avail = fake_ptr(d, fq->avail_gpa, avail_len);
	fq->used = fake_ptr(d, fq->used_gpa, used_len);
	for (i = 0; i < size; i++)
		fq->free[i] = size - 1 - i;
	fq->nfree = size;
	if (!q)
		return;
	*q = (struct virtq){
		.mem = &d->mem,
		.size = size,
		.event_idx = event_idx,
		.desc = fq->desc_gpa,
		.avail = fq->avail_gpa,
		.used = fq->used_gpa,
		.kick_fd = -1,
	};
	fake_require(virtq_setup(q) == 0);
	q->enabled = true;
}

void fake_offer(struct fake_queue *fq, uint16_t head)
{
	/* Atomic for drivers that overwrite entries which the device has not read yet */
	__atomic_store_n(&fq->avail->ring[fq->next_avail & (fq->size - 1)], head, __ATOMIC_RELAXED);
	fq->next_avail++;
	__atomic_store_n(&fq->avail->idx, fq->next_avail, __ATOMIC_RELEASE);
}

static struct vring_desc fake_desc(const struct fake_buf *buf)
{
	return (struct vring_desc){
		.addr = buf->gpa,
		.len = buf->len,
		.flags = buf->write ? VRING_DESC_F_WRITE : 0,
	};
}

int fake_add(struct fake_queue *fq, const struct fake_buf *bufs, unsigned int n)
{
	uint16_t head, i;
	unsigned int k;

	if (!n || fq->nfree < n)
		return -1;
	head = fq->free[fq->nfree - 1];
	for (k = 0; k < n; k++) {
		i = fq->free[--fq->nfree];
		fq->desc[i] = fake_desc(&bufs[k]);
		if (k + 1 < n) {
			fq->desc[i].flags |= VRING_DESC_F_NEXT;
			fq->desc[i].next = fq->free[fq->nfree - 1];
		}
	}
	fq->chain_len[head] = (uint16_t)n;
	fake_offer(fq, head);
	return head;
}

int fake_add_indirect(struct fake_driver *d, struct fake_queue *fq, gpa_t table,
		      const struct fake_buf *bufs, unsigned int n)
{
	struct vring_desc *desc = fake_ptr(d, table, 16ull * n);
	uint16_t head;
	unsigned int k;

	if (!fq->nfree)
		return -1;
	for (k = 0; k < n; k++) {
		desc[k] = fake_desc(&bufs[k]);
		if (k + 1 < n) {
			desc[k].flags |= VRING_DESC_F_NEXT;
			desc[k].next = (uint16_t)(k + 1);
		}
	}
	head = fq->free[--fq->nfree];
	fq->desc[head] = (struct vring_desc){
		.addr = table, .len = 16 * n, .flags = VRING_DESC_F_INDIRECT};
	fq->chain_len[head] = 1;
	fake_offer(fq, head);
	return head;
}

void fake_kick(struct fake_driver *d, struct fake_queue *fq)
{
	uint16_t event, old = fq->kicked_avail;
	bool wanted;

	__atomic_store_n(&fq->avail->idx, fq->next_avail, __ATOMIC_SEQ_CST);
	if (fq->event_idx) {
		event = __atomic_load_n((uint16_t *)&fq->used->ring[fq->size], __ATOMIC_SEQ_CST);
		wanted = vring_need_event(event, fq->next_avail, old);
	} else {
		wanted = !(__atomic_load_n(&fq->used->flags, __ATOMIC_SEQ_CST) &
			   VRING_USED_F_NO_NOTIFY);
	}
	fq->kicked_avail = fq->next_avail;
	if (!wanted)
		return;
	fq->kicks++;
	if (fq->kick_fd >= 0)
		(void)eventfd_write(fq->kick_fd, 1);
	else if (d->slot)
		fake_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, fq->index);
}

bool fake_get_used(struct fake_queue *fq, uint32_t *head, uint32_t *len)
{
	struct vring_used_elem *elem;
	uint16_t i, n;

	if (__atomic_load_n(&fq->used->idx, __ATOMIC_ACQUIRE) == fq->last_used)
		return false;
	elem = &fq->used->ring[fq->last_used & (fq->size - 1)];
	*head = elem->id;
	*len = elem->len;
	fq->last_used++;
	fake_require(*head < fq->size && fq->chain_len[*head]);
	/* Back to the stack; the links say which ones they were */
	for (i = (uint16_t)*head, n = fq->chain_len[*head]; n; n--) {
		fq->free[fq->nfree++] = i;
		i = fq->desc[i].next;
	}
	fq->chain_len[*head] = 0;
	return true;
}

bool fake_want_interrupts(struct fake_queue *fq)
{
	if (fq->event_idx)
		__atomic_store_n(&fq->avail->ring[fq->size], fq->last_used, __ATOMIC_SEQ_CST);
	else
		__atomic_store_n(&fq->avail->flags, 0, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&fq->used->idx, __ATOMIC_SEQ_CST) != fq->last_used;
}

uint32_t fake_wait(struct fake_driver *d, int timeout_ms)
{
	struct pollfd pfd = {.fd = virtio_mmio_irq_fd(d->slot), .events = POLLIN};
	eventfd_t count;
	uint32_t status;

	while (poll(&pfd, 1, timeout_ms) > 0) {
		(void)eventfd_read(pfd.fd, &count);
		status = fake_read(d, VIRTIO_MMIO_INTERRUPT_STATUS);
		fake_write(d, VIRTIO_MMIO_INTERRUPT_ACK, status);
		d->interrupts++;
		if (status)
			return status;
	}
	return 0;
}

void fake_wait_used(struct fake_driver *d, struct fake_queue *fq, uint32_t *head, uint32_t *len)
{
	while (!fake_get_used(fq, head, len)) {
		if (fake_want_interrupts(fq))
			continue;
		fake_require(fake_wait(d, FAKE_WAIT_MS) || fake_want_interrupts(fq));
	}
}
