/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio driver in the test's process: it lays rings out in a gmem, offers chains, kicks, and collects what was used.
 *
 * Two ways to use it: on a bare struct virtq, without any device (fake_queue_init()), or on a device behind a virtio-mmio
 * slot that is brought up through its registers as a guest would (fake_driver_start()). Use it by including
 * "tests/unit/fake_driver.c" in the test. What must not fail aborts with the line's number; waits have generous deadlines.
 */
#ifndef TESTS_UNIT_FAKE_DRIVER_H
#define TESTS_UNIT_FAKE_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/virtio_ring.h>

#include "kvm/gmem.h"
#include "kvm/virtio/mmio.h"
#include "kvm/virtio/virtio.h"

#define FAKE_MEMORY (32ull << 20)
#ifndef FAKE_WAIT_MS
#define FAKE_WAIT_MS 60000 /* a deadline that only a bug reaches */
#endif
#define FAKE_F_VERSION_1 VIRTIO_F_BIT(VIRTIO_BIT_VERSION_1)
#define FAKE_F_EVENT_IDX VIRTIO_F_BIT(VIRTIO_BIT_RING_EVENT_IDX)
#define FAKE_F_INDIRECT VIRTIO_F_BIT(VIRTIO_BIT_RING_INDIRECT_DESC)

struct fake_buf {
	gpa_t gpa;
	uint32_t len;
	bool write; /* by the device */
};

struct fake_queue {
	uint16_t index, size;
	gpa_t desc_gpa, avail_gpa, used_gpa;
	struct vring_desc *desc; /* into guest memory; tests may break it at will */
	struct vring_avail *avail;
	struct vring_used *used;
	bool event_idx;
	uint16_t free[VIRTQ_SIZE_MAX]; /* stack of free descriptors */
	uint16_t nfree;
	uint16_t chain_len[VIRTQ_SIZE_MAX]; /* by head: descriptors it took */
	uint16_t next_avail, kicked_avail, last_used;
	int kick_fd;	    /* as the device asked the host to tie it; -1 */
	unsigned int kicks; /* how often the driver had to notify */
};

struct fake_driver {
	struct gmem mem;
	gpa_t next; /* first unallocated byte */
	struct virtio_mmio_host host;
	struct virtio_mmio *slot; /* owned; NULL for a bare queue */
	struct fake_queue queues[VIRTIO_QUEUES_MAX];
	uint16_t nqueues;
	unsigned int interrupts;
};

void fake_driver_init(struct fake_driver *d);
void fake_driver_release(struct fake_driver *d);
gpa_t fake_alloc(struct fake_driver *d, uint64_t len, uint64_t align);
void *fake_ptr(struct fake_driver *d, gpa_t gpa, uint64_t len);

/* Registers of the slot */
uint32_t fake_read(struct fake_driver *d, uint64_t reg);
void fake_write(struct fake_driver *d, uint64_t reg, uint32_t value);

/** fake_driver_attach() - A slot for @dev (owned), not touched yet */
void fake_driver_attach(struct fake_driver *d, struct virtio_dev *dev);
/** fake_driver_up() - Reset, negotiate @features (those offered of them), set up all queues, DRIVER_OK; rings are new */
void fake_driver_up(struct fake_driver *d, uint64_t features, uint16_t queue_size);
/** fake_driver_start() - Both */
void fake_driver_start(struct fake_driver *d, struct virtio_dev *dev, uint64_t features,
		       uint16_t queue_size);

/** fake_queue_init() - Rings in guest memory; @q (may be NULL) becomes an enabled device side of them */
void fake_queue_init(struct fake_driver *d, struct fake_queue *fq, uint16_t size, bool event_idx,
		     struct virtq *q);

/** fake_add() - Offer one chain; Return: its head, or -1 when the ring has no room */
int fake_add(struct fake_queue *fq, const struct fake_buf *bufs, unsigned int n);
/** fake_add_indirect() - The same by an indirect table at @table, which has room for @n descriptors */
int fake_add_indirect(struct fake_driver *d, struct fake_queue *fq, gpa_t table,
		      const struct fake_buf *bufs, unsigned int n);
/** fake_offer() - Put @head into the available ring as it is (fake_add() does it by itself) */
void fake_offer(struct fake_queue *fq, uint16_t head);
/** fake_kick() - Notify the device if it wants that, by the tied eventfd or else by the register */
void fake_kick(struct fake_driver *d, struct fake_queue *fq);
/** fake_get_used() - Take one used element; Return: false if there is none */
bool fake_get_used(struct fake_queue *fq, uint32_t *head, uint32_t *len);
/** fake_wait() - Sleep until an interrupt (acknowledged here) or @timeout_ms; Return: InterruptStatus, 0 on time-out */
uint32_t fake_wait(struct fake_driver *d, int timeout_ms);
/** fake_wait_used() - fake_get_used(), waiting for interrupts */
void fake_wait_used(struct fake_driver *d, struct fake_queue *fq, uint32_t *head, uint32_t *len);
/** fake_want_interrupts() - Ask for an interrupt at the next used element; Return: true when there is one already */
bool fake_want_interrupts(struct fake_queue *fq);

#endif
