/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: a virtqueue whose driver writes what the input says.
 *
 * The input is a list of steps of a few bytes. Descriptors are mostly valid (addresses in memory, small lengths, links within
 * the table); some bytes break one field. After each successful virtq_pop() everything that virtq.h promises is checked.
 */
#include "tests/unit/fake_driver.c"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define TABLE_ENTRIES 32 /* of the one indirect table */

struct input {
	const uint8_t *p, *end;
};

static uint8_t take(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

static uint32_t take32(struct input *in)
{
	uint32_t v = take(in);

	v |= (uint32_t)take(in) << 8;
	v |= (uint32_t)take(in) << 16;
	return v | (uint32_t)take(in) << 24;
}

static void write_desc(struct input *in, struct vring_desc *table, uint16_t entries, gpa_t indirect)
{
	struct vring_desc *desc = &table[take(in) % entries];
	uint8_t what = take(in);

	*desc = (struct vring_desc){
		.addr = 0x100000 + take(in) * 64u,
		.len = 1u + take(in),
		.flags = what & 3,
		.next = take(in) % entries,
	};
	if (what & 4) {
		desc->addr = indirect;
		desc->len = 16u * (take(in) % (TABLE_ENTRIES + 2));
		desc->flags = VRING_DESC_F_INDIRECT | (what >> 6);
	}
	if ((what & 0x38) == 0x08)
		desc->addr = (uint64_t)take32(in) << 32 | take32(in);
	if ((what & 0x38) == 0x10)
		desc->len = take32(in);
	if ((what & 0x38) == 0x18)
		desc->next = (uint16_t)take32(in);
	if ((what & 0x38) == 0x20)
		desc->addr = FAKE_MEMORY - take(in);
}

static void check_chain(const struct virtq *q, const struct virtq_chain *chain)
{
	uint64_t bytes[2] = {0, 0};
	const uint8_t *low = q->mem->regions[0].hva, *high = low + q->mem->regions[0].len;
	uint32_t i;

	fake_require(chain->head < q->size);
	fake_require((uint32_t)chain->nread + chain->nwrite <= VIRTQ_CHAIN_MAX);
	for (i = 0; i < (uint32_t)chain->nread + chain->nwrite; i++) {
		const uint8_t *base = chain->iov[i].iov_base;

		fake_require(chain->iov[i].iov_len);
		fake_require(base >= low && base < high &&
			     chain->iov[i].iov_len <= (size_t)(high - base));
		bytes[i >= chain->nread] += chain->iov[i].iov_len;
	}
	fake_require(bytes[0] == chain->read_bytes && bytes[1] == chain->write_bytes);
	fake_require(bytes[0] + bytes[1] <= VIRTQ_CHAIN_BYTES_MAX);
}

static void pop_and_push(struct input *in, struct virtq *q)
{
	static struct virtq_chain chain;
	static uint8_t buf[300];
	uint16_t before = q->next_avail;
	int r = virtq_pop(q, &chain);

	fake_require(r == 1 || r == 0 || r == -EPROTO);
	fake_require((uint16_t)(q->next_avail - before) == (r == 1));
	if (r != 1)
		return;
	check_chain(q, &chain);
	(void)virtq_copy_in(&chain, take(in), buf, sizeof(buf));
	/* Not into the rings: what is written there would only be another input */
	virtq_push(q, chain.head, virtq_copy_out(&chain, take(in), buf, 1) ? 1 : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct fake_driver d;
	struct input in = {data, data + len};
	struct fake_queue fq;
	struct virtq q;
	gpa_t table;

	if (!d.mem.nregions)
		fake_driver_init(&d);
	d.next = 4096;
	memset(fake_ptr(&d, 0, 65536), 0, 65536);
	fake_queue_init(&d, &fq, (uint16_t)(1u << (take(&in) % 6)), take(&in) & 1, &q);
	table = fake_alloc(&d, 16 * TABLE_ENTRIES, 16);
	while (in.p < in.end) {
		switch (take(&in) % 8) {
		case 0:
		case 1:
			write_desc(&in, fq.desc, fq.size, table);
			break;
		case 2:
			write_desc(&in, fake_ptr(&d, table, 16 * TABLE_ENTRIES), TABLE_ENTRIES,
				   table);
			break;
		case 3:
			fake_offer(&fq, take(&in) % (fq.size + 1));
			break;
		case 4:
			fq.next_avail = (uint16_t)(fq.next_avail + take(&in));
			break;
		case 5:
			fq.avail->ring[fq.size] = (uint16_t)take32(&in);
			fq.avail->flags = take(&in);
			(void)virtq_needs_interrupt(&q);
			break;
		case 6:
			(void)virtq_want_kicks(&q, take(&in) & 1);
			break;
		default:
			pop_and_push(&in, &q);
			break;
		}
	}
	return 0;
}
