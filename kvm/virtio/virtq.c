/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue, the device's side (virtio 1.2 §2.7); the contract is in virtq.h.
 *
 *    driver writes                          device writes
 *    desc[]   buffers, linked by `next`
 *    avail    flags idx ring[] used_event   used   flags idx ring[] avail_event
 *               │                                     │
 *               └─ heads of new chains ──▶ pop … push ┘ heads given back, with the bytes written
 *
 * Everything in the driver's areas may change while we look at it. Hence: each index and each descriptor is copied into a
 * local exactly once, the copy is checked, and only the copy is used. A walk takes at most VIRTQ_CHAIN_MAX steps, which
 * ends cycles, and every step adds at least a byte to a bounded total.
 *
 * Ordering. avail->idx is read with acquire: the ring entry and descriptors behind it are then visible (pairs with the
 * driver's barrier before its store of avail->idx). used->idx is stored with release after the used element. Suppression of
 * kicks and interrupts needs a store seen before a later load on both sides (Dekker): the store and the load are sequentially
 * consistent, which on x86 makes the store a locked instruction; the driver has a full barrier at the same place. No
 * free-standing fences: ThreadSanitizer does not understand them.
 */
#include "kvm/virtio/virtq.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "kvm/iov.h"

/* The areas; byte layout of virtio 1.2 §2.7.6 and §2.7.8, the event fields behind the rings included */
#define AVAIL_BYTES(size) (6 + 2 * (uint64_t)(size))
#define USED_BYTES(size) (6 + 8 * (uint64_t)(size))

static struct vring_avail *avail_ring(const struct virtq *q)
{
	return q->avail_area;
}

static struct vring_used *used_ring(const struct virtq *q)
{
	return q->used_area;
}

static uint16_t *used_event(const struct virtq *q)
{
	return &avail_ring(q)->ring[q->size];
}

static uint16_t *avail_event(const struct virtq *q)
{
	return (uint16_t *)&used_ring(q)->ring[q->size];
}

int virtq_setup(struct virtq *q)
{
	void *desc, *avail, *used;

	if (!q->size || q->size > VIRTQ_SIZE_MAX || (q->size & (q->size - 1)))
		return -EPROTO;
	if (q->desc % VRING_DESC_ALIGN_SIZE || q->avail % VRING_AVAIL_ALIGN_SIZE ||
	    q->used % VRING_USED_ALIGN_SIZE)
		return -EPROTO;
	desc = gmem_range(q->mem, q->desc, sizeof(struct vring_desc) * (uint64_t)q->size);
	avail = gmem_range(q->mem, q->avail, AVAIL_BYTES(q->size));
	used = gmem_range(q->mem, q->used, USED_BYTES(q->size));
	if (!desc || !avail || !used)
		return -EPROTO;
	q->desc_area = desc;
	q->avail_area = avail;
	q->used_area = used;
	return 0;
}

/* Where a walk is: the queue's own table, or one indirect table (never deeper, §2.7.5.3.1) */
struct walk {
	const uint8_t *table;
	uint32_t entries;
	bool indirect;
	uint32_t steps;
};

static int walk_read(const struct walk *walk, uint32_t i, struct vring_desc *out)
{
	struct vring_desc desc;

	if (i >= walk->entries)
		return -EPROTO;
	/* The one fetch of this descriptor */
	memcpy(&desc, walk->table + i * sizeof(desc), sizeof(desc));
	out->addr = le64toh(desc.addr);
	out->len = le32toh(desc.len);
	out->flags = le16toh(desc.flags);
	out->next = le16toh(desc.next);
	return 0;
}

static int walk_enter_indirect(const struct virtq *q, struct walk *walk,
			       const struct vring_desc *desc)
{
	uint32_t entries = desc->len / sizeof(struct vring_desc);

	if (walk->indirect || (desc->flags & VRING_DESC_F_NEXT))
		return -EPROTO;
	if (!entries || entries > VIRTQ_CHAIN_MAX || desc->len % sizeof(struct vring_desc))
		return -EPROTO;
	walk->table = gmem_range(q->mem, desc->addr, desc->len);
	if (!walk->table)
		return -EPROTO;
	walk->entries = entries;
	walk->indirect = true;
	return 0;
}

static int chain_add(const struct virtq *q, struct virtq_chain *chain,
		     const struct vring_desc *desc)
{
	uint32_t n = (uint32_t)chain->nread + chain->nwrite;
	void *base;

	/* Both totals are within the cap, so the subtraction cannot wrap */
	if (n >= VIRTQ_CHAIN_MAX ||
	    desc->len > VIRTQ_CHAIN_BYTES_MAX - chain->read_bytes - chain->write_bytes)
		return -EPROTO;
	base = gmem_range(q->mem, desc->addr, desc->len); /* NULL for length 0 as well */
	if (!base)
		return -EPROTO;
	if (desc->flags & VRING_DESC_F_WRITE) {
		chain->nwrite++;
		chain->write_bytes += desc->len;
	} else {
		if (chain->nwrite) /* §2.7.4.2: readable ones come first */
			return -EPROTO;
		chain->nread++;
		chain->read_bytes += desc->len;
	}
	chain->iov[n].iov_base = base;
	chain->iov[n].iov_len = desc->len;
	return 0;
}

static int walk_chain(const struct virtq *q, struct virtq_chain *chain)
{
	struct walk walk = {.table = q->desc_area, .entries = q->size};
	uint32_t i = chain->head;
	struct vring_desc desc;
	int r;

	for (;;) {
		if (walk.steps++ > VIRTQ_CHAIN_MAX)
			return -EPROTO;
		r = walk_read(&walk, i, &desc);
		if (r < 0)
			return r;
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			r = walk_enter_indirect(q, &walk, &desc);
			if (r < 0)
				return r;
			i = 0;
			continue;
		}
		r = chain_add(q, chain, &desc);
		if (r < 0)
			return r;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return 0;
		i = desc.next;
	}
}

int virtq_pop(struct virtq *q, struct virtq_chain *chain)
{
	uint16_t idx, head;
	int r;

	if (!q->enabled)
		return 0;
	idx = le16toh(__atomic_load_n(&avail_ring(q)->idx, __ATOMIC_ACQUIRE));
	if (idx == q->next_avail)
		return 0;
	if ((uint16_t)(idx - q->next_avail) > q->size)
		return -EPROTO;
	head = le16toh(__atomic_load_n(&avail_ring(q)->ring[q->next_avail & (q->size - 1)],
				       __ATOMIC_RELAXED));
	if (head >= q->size)
		return -EPROTO;
	chain->head = head;
	chain->nread = chain->nwrite = 0;
	chain->read_bytes = chain->write_bytes = 0;
	r = walk_chain(q, chain);
	if (r < 0)
		return r;
	q->next_avail++;
	return 1;
}

void virtq_push_at(struct virtq *q, uint16_t ahead, uint16_t head, uint32_t written)
{
	struct vring_used_elem *elem;

	if (!q->enabled)
		return;
	elem = &used_ring(q)->ring[(uint16_t)(q->next_used + ahead) & (q->size - 1)];
	elem->id = htole32(head);
	elem->len = htole32(written);
}

void virtq_publish(struct virtq *q, uint16_t n)
{
	if (!q->enabled)
		return;
	q->next_used = (uint16_t)(q->next_used + n);
	__atomic_store_n(&used_ring(q)->idx, htole16(q->next_used), __ATOMIC_RELEASE);
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
	virtq_push_at(q, 0, head, written);
	virtq_publish(q, 1);
}

bool virtq_needs_interrupt(struct virtq *q)
{
	uint16_t old = q->signalled_used, flags, event;

	if (!q->enabled || q->next_used == old)
		return false;
	q->signalled_used = q->next_used;
	/* The same value again, but ordered before the loads below: see "Ordering" above */
	__atomic_store_n(&used_ring(q)->idx, htole16(q->next_used), __ATOMIC_SEQ_CST);
	if (q->event_idx) {
		event = le16toh(__atomic_load_n(used_event(q), __ATOMIC_SEQ_CST));
		return vring_need_event(event, q->next_used, old);
	}
	flags = le16toh(__atomic_load_n(&avail_ring(q)->flags, __ATOMIC_SEQ_CST));
	return !(flags & VRING_AVAIL_F_NO_INTERRUPT);
}

bool virtq_want_kicks(struct virtq *q, bool on)
{
	uint16_t idx;

	if (!q->enabled)
		return false;
	if (q->event_idx) {
		/*
		 * Off needs nothing: the driver kicks when its index passes the event index, and the one it passed last
		 * time is behind it until the 16 bits wrap; one needless kick then is harmless.
		 */
		if (on)
			__atomic_store_n(avail_event(q), htole16(q->next_avail), __ATOMIC_SEQ_CST);
	} else {
		__atomic_store_n(&used_ring(q)->flags, htole16(on ? 0 : VRING_USED_F_NO_NOTIFY),
				 __ATOMIC_SEQ_CST);
	}
	idx = le16toh(__atomic_load_n(&avail_ring(q)->idx, __ATOMIC_SEQ_CST));
	return on && idx != q->next_avail;
}

size_t virtq_copy_in(const struct virtq_chain *chain, size_t offset, void *buf, size_t len)
{
	return iov_copy_in(chain->iov, chain->nread, offset, buf, len);
}

size_t virtq_copy_out(const struct virtq_chain *chain, size_t offset, const void *buf, size_t len)
{
	return iov_copy_out(chain->iov + chain->nread, chain->nwrite, offset, buf, len);
}
