/* SPDX-License-Identifier: Apache-2.0 */
/* Virtqueues: honest chains come through whole, every way to break a ring is refused, suppression tells the truth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "tests/unit/fake_driver.c"

#define SIZE 16

struct fixture {
	struct fake_driver d;
	struct fake_queue fq;
	struct virtq q;
	struct virtq_chain chain;
	gpa_t page;
};

static struct fixture f;

static int set_up(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	fake_driver_init(&f.d);
	fake_queue_init(&f.d, &f.fq, SIZE, false, &f.q);
	f.page = fake_alloc(&f.d, 65536, 4096);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_driver_release(&f.d);
	return 0;
}

static struct virtq_chain *pop(void)
{
	assert_int_equal(virtq_pop(&f.q, &f.chain), 1);
	return &f.chain;
}

/* Offers descriptor 0 as it stands and expects a refusal that leaves the queue where it was */
static void refuse_head(uint16_t head)
{
	uint16_t before = f.q.next_avail;

	fake_offer(&f.fq, head);
	assert_int_equal(virtq_pop(&f.q, &f.chain), -EPROTO);
	assert_int_equal(f.q.next_avail, before);
	f.fq.next_avail--;
	f.fq.avail->idx = f.fq.next_avail;
}

static void set_desc(uint16_t i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	f.fq.desc[i] = (struct vring_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

static void test_setup(void **state)
{
	static const uint16_t bad_sizes[] = {0, 3, 6, 1023, 2048, 65535};
	struct virtq q = f.q;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad_sizes) / sizeof(bad_sizes[0]); i++) {
		q.size = bad_sizes[i];
		assert_int_equal(virtq_setup(&q), -EPROTO);
	}
	q = f.q;
	q.desc += 8;
	assert_int_equal(virtq_setup(&q), -EPROTO);
	q = f.q;
	q.avail += 1;
	assert_int_equal(virtq_setup(&q), -EPROTO);
	q = f.q;
	q.used += 2;
	assert_int_equal(virtq_setup(&q), -EPROTO);
	/* Each area up to the last byte of memory, and one step too far */
	q = f.q;
	q.desc = FAKE_MEMORY - 16 * SIZE;
	q.avail = FAKE_MEMORY - (6 + 2 * SIZE);
	q.used = FAKE_MEMORY - (8 + 8 * SIZE);
	assert_int_equal(virtq_setup(&q), 0);
	q.desc += 16;
	assert_int_equal(virtq_setup(&q), -EPROTO);
	q.desc -= 16;
	q.avail += 2;
	assert_int_equal(virtq_setup(&q), -EPROTO);
	q.avail -= 2;
	q.used += 4;
	assert_int_equal(virtq_setup(&q), -EPROTO);
	q.used = UINT64_MAX - 3;
	assert_int_equal(virtq_setup(&q), -EPROTO);
}

static void test_not_enabled(void **state)
{
	struct virtq q = {.mem = &f.d.mem, .kick_fd = -1};

	(void)state;
	assert_int_equal(virtq_pop(&q, &f.chain), 0);
	virtq_push(&q, 0, 0);
	assert_false(virtq_needs_interrupt(&q));
	assert_false(virtq_want_kicks(&q, true));
	assert_false(virtq_want_kicks(&q, false));
}

static void test_chain(void **state)
{
	struct fake_buf bufs[] = {{f.page, 10, false},
				  {f.page + 100, 20, false},
				  {f.page + 200, 30, true},
				  {f.page + 300, 1, true}};
	uint8_t *mem = fake_ptr(&f.d, f.page, 4096);
	struct virtq_chain *c;
	uint32_t head, len;
	uint8_t buf[64];
	int i;

	(void)state;
	assert_int_equal(virtq_pop(&f.q, &f.chain), 0);
	for (i = 0; i < 30; i++)
		mem[i < 10 ? i : 90 + i] = (uint8_t)(i + 1);
	assert_true(fake_add(&f.fq, bufs, 4) >= 0);
	c = pop();
	assert_int_equal(c->nread, 2);
	assert_int_equal(c->nwrite, 2);
	assert_int_equal(c->read_bytes, 30);
	assert_int_equal(c->write_bytes, 31);
	assert_ptr_equal(c->iov[2].iov_base, mem + 200);
	assert_int_equal(virtq_pop(&f.q, &f.chain), 0);
	/* Copies across pieces, from an offset, and cut at the end */
	assert_int_equal(virtq_copy_in(c, 0, buf, sizeof(buf)), 30);
	for (i = 0; i < 30; i++)
		assert_int_equal(buf[i], i + 1);
	assert_int_equal(virtq_copy_in(c, 8, buf, 4), 4);
	assert_memory_equal(buf, ((uint8_t[]){9, 10, 11, 12}), 4);
	assert_int_equal(virtq_copy_in(c, 30, buf, 1), 0);
	assert_int_equal(virtq_copy_in(c, SIZE_MAX, buf, 1), 0);
	memset(buf, 0xaa, sizeof(buf));
	assert_int_equal(virtq_copy_out(c, 29, buf, sizeof(buf)), 2);
	assert_int_equal(mem[229], 0xaa);
	assert_int_equal(mem[228], 0);
	assert_int_equal(mem[300], 0xaa);
	assert_int_equal(mem[301], 0);
	virtq_push(&f.q, c->head, 7);
	assert_true(fake_get_used(&f.fq, &head, &len));
	assert_int_equal(len, 7);
	assert_int_equal(f.fq.nfree, SIZE);
}

static void test_wrap_around(void **state)
{
	struct fake_buf buf = {f.page, 8, true};
	uint32_t head, len, i, n;

	(void)state;
	/* More than 2^16 chains, in groups that do not divide the ring */
	for (i = 0; i < 70000; i += 7) {
		for (n = 0; n < 7; n++)
			assert_true(fake_add(&f.fq, &buf, 1) >= 0);
		for (n = 0; n < 7; n++) {
			pop();
			virtq_push(&f.q, f.chain.head, i + n);
		}
		assert_int_equal(virtq_pop(&f.q, &f.chain), 0);
		for (n = 0; n < 7; n++) {
			assert_true(fake_get_used(&f.fq, &head, &len));
			assert_int_equal(len, i + n);
		}
		assert_false(fake_get_used(&f.fq, &head, &len));
	}
}

static void test_full_ring(void **state)
{
	struct fake_buf buf = {f.page, 8, false};
	int i;

	(void)state;
	for (i = 0; i < SIZE; i++)
		assert_true(fake_add(&f.fq, &buf, 1) >= 0);
	for (i = 0; i < SIZE; i++)
		pop();
	assert_int_equal(virtq_pop(&f.q, &f.chain), 0);
}

static void test_bad_indexes(void **state)
{
	(void)state;
	/* More offered than the ring holds; an index that went backwards is the same */
	f.fq.avail->idx = SIZE + 1;
	assert_int_equal(virtq_pop(&f.q, &f.chain), -EPROTO);
	f.fq.avail->idx = 0xffff;
	assert_int_equal(virtq_pop(&f.q, &f.chain), -EPROTO);
	f.fq.avail->idx = 0;
	set_desc(0, f.page, 1, 0, 0);
	refuse_head(SIZE);
	refuse_head(0xffff);
	set_desc(0, f.page, 1, VRING_DESC_F_NEXT, SIZE);
	refuse_head(0);
	set_desc(0, f.page, 1, VRING_DESC_F_NEXT, 0xffff);
	refuse_head(0);
}

static void test_bad_buffers(void **state)
{
	(void)state;
	set_desc(0, f.page, 0, 0, 0);
	refuse_head(0);
	set_desc(0, FAKE_MEMORY, 1, 0, 0);
	refuse_head(0);
	set_desc(0, FAKE_MEMORY - 1, 2, VRING_DESC_F_WRITE, 0);
	refuse_head(0);
	set_desc(0, UINT64_MAX, 1, 0, 0);
	refuse_head(0);
	set_desc(0, UINT64_MAX - 0xfffffffe, 0xffffffff, 0, 0);
	refuse_head(0);
	set_desc(0, 0, 0xffffffff, 0, 0);
	refuse_head(0);
	/* Readable after writable */
	set_desc(0, f.page, 1, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	set_desc(1, f.page, 1, 0, 0);
	refuse_head(0);
	/* The ring is still good */
	set_desc(0, f.page, 1, 0, 0);
	fake_offer(&f.fq, 0);
	pop();
}

static void test_too_many_bytes(void **state)
{
	(void)state;
	set_desc(0, 0, VIRTQ_CHAIN_BYTES_MAX, 0, 0);
	fake_offer(&f.fq, 0);
	pop();
	set_desc(0, 0, VIRTQ_CHAIN_BYTES_MAX + 1, 0, 0);
	refuse_head(0);
	set_desc(0, 0, VIRTQ_CHAIN_BYTES_MAX - 1, VRING_DESC_F_NEXT, 1);
	set_desc(1, f.page, 2, VRING_DESC_F_WRITE, 0);
	refuse_head(0);
	set_desc(1, f.page, 1, VRING_DESC_F_WRITE, 0);
	fake_offer(&f.fq, 0);
	pop();
}

static void test_cycles(void **state)
{
	uint16_t i;

	(void)state;
	set_desc(0, f.page, 1, VRING_DESC_F_NEXT, 0);
	refuse_head(0);
	for (i = 0; i < SIZE; i++)
		set_desc(i, f.page, 1, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, (i + 1) % SIZE);
	refuse_head(3);
}

static void test_indirect(void **state)
{
	gpa_t table = fake_alloc(&f.d, 16 * 1024, 16);
	struct vring_desc *t = fake_ptr(&f.d, table, 16 * 1024);
	struct fake_buf bufs[1024];
	uint16_t i;

	(void)state;
	for (i = 0; i < 1024; i++)
		bufs[i] = (struct fake_buf){f.page + i, 1, i >= 1000};
	assert_true(fake_add_indirect(&f.d, &f.fq, table, bufs, 1024) >= 0);
	pop();
	assert_int_equal(f.chain.nread, 1000);
	assert_int_equal(f.chain.nwrite, 24);
	/* After ordinary descriptors (§2.7.5.3.1) */
	set_desc(0, f.page, 5, VRING_DESC_F_NEXT, 1);
	set_desc(1, table, 32, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 0);
	t[0] = (struct vring_desc){.addr = f.page, .len = 1, .flags = VRING_DESC_F_NEXT, .next = 1};
	t[1] = (struct vring_desc){.addr = f.page, .len = 2, .flags = VRING_DESC_F_WRITE};
	fake_offer(&f.fq, 0);
	pop();
	assert_int_equal(f.chain.nread, 2);
	assert_int_equal(f.chain.nwrite, 1);
	/* Nested, with NEXT, of odd size, empty, too long, outside of memory, with links out of the table and in circles */
	t[4] = (struct vring_desc){.addr = f.page, .len = 1};
	t[1] = (struct vring_desc){.addr = table + 64, .len = 16, .flags = VRING_DESC_F_INDIRECT};
	refuse_head(0);
	t[1] = (struct vring_desc){.addr = f.page, .len = 2};
	f.fq.desc[1].flags = VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT;
	refuse_head(0);
	set_desc(1, table, 33, VRING_DESC_F_INDIRECT, 0);
	refuse_head(0);
	set_desc(1, table, 0, VRING_DESC_F_INDIRECT, 0);
	refuse_head(0);
	set_desc(1, table, 16 * (VIRTQ_CHAIN_MAX + 1), VRING_DESC_F_INDIRECT, 0);
	refuse_head(0);
	set_desc(1, FAKE_MEMORY - 16, 32, VRING_DESC_F_INDIRECT, 0);
	refuse_head(0);
	set_desc(1, table, 32, VRING_DESC_F_INDIRECT, 0);
	t[0].next = 2;
	refuse_head(0);
	t[0].next = 0;
	refuse_head(0);
}

static void test_longest_chain(void **state)
{
	gpa_t table = fake_alloc(&f.d, 16 * 1024, 16);
	struct fake_buf bufs[1024];
	uint16_t i;

	(void)state;
	for (i = 0; i < 1024; i++)
		bufs[i] = (struct fake_buf){f.page + i, 1, false};
	/* One ordinary descriptor too many in front of a full table */
	assert_true(fake_add_indirect(&f.d, &f.fq, table, bufs, 1024) >= 0);
	pop();
	set_desc(0, f.page, 1, VRING_DESC_F_NEXT, 1);
	set_desc(1, table, 16 * 1024, VRING_DESC_F_INDIRECT, 0);
	refuse_head(0);
}

static void offer_and_push(unsigned int n)
{
	struct fake_buf buf = {f.page, 8, true};
	uint32_t head, len;

	while (n--) {
		assert_true(fake_add(&f.fq, &buf, 1) >= 0);
		pop();
		virtq_push(&f.q, f.chain.head, 0);
		assert_true(fake_get_used(&f.fq, &head, &len));
	}
}

static void test_interrupt_flags(void **state)
{
	(void)state;
	assert_false(virtq_needs_interrupt(&f.q));
	offer_and_push(1);
	assert_true(virtq_needs_interrupt(&f.q));
	assert_false(virtq_needs_interrupt(&f.q)); /* said once */
	f.fq.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	offer_and_push(1);
	assert_false(virtq_needs_interrupt(&f.q));
}

static void test_interrupt_event_idx(void **state)
{
	uint32_t i;

	(void)state;
	f.q.event_idx = true;
	/* used_event 0: the first push passes it */
	offer_and_push(1);
	assert_true(virtq_needs_interrupt(&f.q));
	offer_and_push(1);
	assert_false(virtq_needs_interrupt(&f.q));
	/* At a certain element, also when it comes in the middle of a batch, also over the wrap of 16 bits */
	for (i = 0; i < 70; i++) {
		f.fq.avail->ring[SIZE] = (uint16_t)(f.q.next_used + 999);
		offer_and_push(999);
		assert_false(virtq_needs_interrupt(&f.q));
		offer_and_push(1);
		assert_true(virtq_needs_interrupt(&f.q));
		f.fq.avail->ring[SIZE] = (uint16_t)(f.q.next_used + 1);
		offer_and_push(3);
		assert_true(virtq_needs_interrupt(&f.q));
	}
}

static void test_kick_flags(void **state)
{
	struct fake_buf buf = {f.page, 8, true};

	(void)state;
	assert_false(virtq_want_kicks(&f.q, false));
	assert_int_equal(f.fq.used->flags, VRING_USED_F_NO_NOTIFY);
	assert_true(fake_add(&f.fq, &buf, 1) >= 0);
	assert_false(virtq_want_kicks(&f.q, false));
	/* What came in the meantime is reported, or it would wait for ever */
	assert_true(virtq_want_kicks(&f.q, true));
	assert_int_equal(f.fq.used->flags, 0);
	pop();
	assert_false(virtq_want_kicks(&f.q, true));
}

static void test_kick_event_idx(void **state)
{
	struct fake_buf buf = {f.page, 8, true};

	(void)state;
	f.q.event_idx = f.fq.event_idx = true;
	assert_false(virtq_want_kicks(&f.q, true));
	assert_true(fake_add(&f.fq, &buf, 1) >= 0);
	fake_kick(&f.d, &f.fq);
	assert_int_equal(f.fq.kicks, 1);
	/* Not asked again: not told again */
	assert_true(fake_add(&f.fq, &buf, 1) >= 0);
	fake_kick(&f.d, &f.fq);
	assert_int_equal(f.fq.kicks, 1);
	assert_true(virtq_want_kicks(&f.q, true));
	pop();
	pop();
	assert_false(virtq_want_kicks(&f.q, true));
	assert_true(fake_add(&f.fq, &buf, 1) >= 0);
	fake_kick(&f.d, &f.fq);
	assert_int_equal(f.fq.kicks, 2);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_setup),
		TEST(test_not_enabled),
		TEST(test_chain),
		TEST(test_wrap_around),
		TEST(test_full_ring),
		TEST(test_bad_indexes),
		TEST(test_bad_buffers),
		TEST(test_too_many_bytes),
		TEST(test_cycles),
		TEST(test_indirect),
		TEST(test_longest_chain),
		TEST(test_interrupt_flags),
		TEST(test_interrupt_event_idx),
		TEST(test_kick_flags),
		TEST(test_kick_event_idx),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
