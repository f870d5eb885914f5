/* SPDX-License-Identifier: Apache-2.0 */
/* The memory device: what is requested can be taken and given back block by block, everything else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <linux/virtio_mem.h>
#include <string.h>

#include "tests/unit/fake_driver.c"

#define MIB (1ull << 20)
#define MAX (1024 * MIB)
#define REQUESTED (256 * MIB)
#define BLOCKS (REQUESTED / VIRTIO_MEM_BLOCK)

static struct fake_driver d;
static struct virtio_dev *dev;
static gpa_t page, region;

static int set_up(void **state)
{
	const struct gmem_region *last;

	(void)state;
	fake_driver_init(&d);
	page = fake_alloc(&d, 4096, 4096);
	assert_int_equal(gmem_reserve(&d.mem, MAX, 128 * MIB, NULL), 0);
	assert_int_equal(gmem_grow(&d.mem, REQUESTED, NULL), 0);
	last = &d.mem.regions[d.mem.nregions - 1];
	region = last->gpa;
	dev = virtio_mem_new(region, last->hva, MAX, REQUESTED, NULL);
	fake_driver_start(&d, dev, FAKE_F_VERSION_1 | FAKE_F_EVENT_IDX, 16);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_driver_release(&d);
	return 0;
}

/* Return: the answer's type; @state (may be NULL) is what it says of the blocks */
static unsigned int ask(unsigned int type, gpa_t addr, unsigned int n, unsigned int *state)
{
	const struct virtio_mem_req request = {.type = (uint16_t)type,
					       .u.plug = {.addr = addr, .nb_blocks = (uint16_t)n}};
	const struct fake_buf bufs[] = {{page, sizeof(request), false},
					{page + 1024, sizeof(struct virtio_mem_resp), true}};
	struct virtio_mem_resp *response = fake_ptr(&d, page + 1024, sizeof(*response));
	uint32_t head, len;

	memcpy(fake_ptr(&d, page, sizeof(request)), &request, sizeof(request));
	memset(response, 0xee, sizeof(*response));
	assert_true(fake_add(&d.queues[0], bufs, 2) >= 0);
	fake_kick(&d, &d.queues[0]);
	fake_wait_used(&d, &d.queues[0], &head, &len);
	assert_int_equal(len, sizeof(*response));
	if (state)
		*state = response->u.state.state;
	return response->type;
}

static uint64_t config(size_t offset)
{
	return fake_read(&d, VIRTIO_MMIO_CONFIG + offset) |
	       (uint64_t)fake_read(&d, VIRTIO_MMIO_CONFIG + offset + 4) << 32;
}
#define CONFIG(field) config(offsetof(struct virtio_mem_config, field))

static void test_config(void **state)
{
	(void)state;
	assert_int_equal(CONFIG(block_size), VIRTIO_MEM_BLOCK);
	assert_int_equal(CONFIG(addr), region);
	assert_int_equal(CONFIG(region_size), MAX);
	assert_int_equal(CONFIG(usable_region_size), REQUESTED);
	assert_int_equal(CONFIG(requested_size), REQUESTED);
	assert_int_equal(CONFIG(plugged_size), 0);
	(void)ask(VIRTIO_MEM_REQ_PLUG, region, 3, NULL);
	assert_int_equal(CONFIG(plugged_size), 3 * VIRTIO_MEM_BLOCK);
}

static void test_plug_and_unplug(void **state)
{
	const gpa_t third = region + 3 * VIRTIO_MEM_BLOCK;
	uint8_t *memory = fake_ptr(&d, region, REQUESTED);
	unsigned int what;

	(void)state;
	assert_int_equal(ask(VIRTIO_MEM_REQ_PLUG, region, 4, NULL), VIRTIO_MEM_RESP_ACK);
	memset(memory, 0x55, 4 * VIRTIO_MEM_BLOCK);
	assert_int_equal(ask(VIRTIO_MEM_REQ_STATE, region, 4, &what), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(what, VIRTIO_MEM_STATE_PLUGGED);
	assert_int_equal(ask(VIRTIO_MEM_REQ_STATE, third, 2, &what), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(what, VIRTIO_MEM_STATE_MIXED);
	/* What is given back is gone, its neighbour is not */
	assert_int_equal(ask(VIRTIO_MEM_REQ_UNPLUG, third, 1, NULL), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(ask(VIRTIO_MEM_REQ_STATE, third, 1, &what), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(what, VIRTIO_MEM_STATE_UNPLUGGED);
	assert_int_equal(memory[3 * VIRTIO_MEM_BLOCK], 0);
	assert_int_equal(memory[3 * VIRTIO_MEM_BLOCK - 1], 0x55);
	assert_int_equal(CONFIG(plugged_size), 3 * VIRTIO_MEM_BLOCK);
	assert_int_equal(ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0, NULL), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(memory[0], 0);
	assert_int_equal(CONFIG(plugged_size), 0);
	assert_int_equal(ask(VIRTIO_MEM_REQ_PLUG, region, BLOCKS, NULL), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(CONFIG(plugged_size), REQUESTED);
}

static void refused(unsigned int type, gpa_t addr, unsigned int n)
{
	assert_int_equal(ask(type, addr, n, NULL), VIRTIO_MEM_RESP_ERROR);
}

static void test_refused(void **state)
{
	static const unsigned int types[] = {VIRTIO_MEM_REQ_PLUG, VIRTIO_MEM_REQ_UNPLUG,
					     VIRTIO_MEM_REQ_STATE};

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		refused(types[i], region, 0);
		refused(types[i], region, BLOCKS + 1);
		refused(types[i], region, UINT16_MAX);
		refused(types[i], region + REQUESTED, 1);
		refused(types[i], region + REQUESTED - VIRTIO_MEM_BLOCK, 2);
		refused(types[i], region - VIRTIO_MEM_BLOCK, 1);
		refused(types[i], region + 4096, 1);
		refused(types[i], 0, 1);
		refused(types[i], UINT64_MAX, 1);
		refused(types[i], -VIRTIO_MEM_BLOCK, UINT16_MAX);
	}
	refused(4, region, 1);
	refused(UINT16_MAX, region, 1);
	/* Twice, and what was not taken */
	assert_int_equal(ask(VIRTIO_MEM_REQ_PLUG, region, 2, NULL), VIRTIO_MEM_RESP_ACK);
	refused(VIRTIO_MEM_REQ_PLUG, region + VIRTIO_MEM_BLOCK, 2);
	refused(VIRTIO_MEM_REQ_UNPLUG, region + VIRTIO_MEM_BLOCK, 2);
	assert_int_equal(CONFIG(plugged_size), 2 * VIRTIO_MEM_BLOCK);
}

static void test_more(void **state)
{
	(void)state;
	refused(VIRTIO_MEM_REQ_PLUG, region + REQUESTED, 1);
	assert_int_equal(gmem_grow(&d.mem, 2 * REQUESTED, NULL), 0);
	virtio_mem_request(dev, 2 * REQUESTED);
	while (!(fake_wait(&d, FAKE_WAIT_MS) & VIRTIO_MMIO_INT_CONFIG))
		;
	assert_int_equal(CONFIG(requested_size), 2 * REQUESTED);
	assert_int_equal(CONFIG(usable_region_size), 2 * REQUESTED);
	assert_int_equal(ask(VIRTIO_MEM_REQ_PLUG, region + REQUESTED, BLOCKS, NULL),
			 VIRTIO_MEM_RESP_ACK);
	memset(fake_ptr(&d, region + REQUESTED, REQUESTED), 1, REQUESTED);
}

/* A short request, no room for the answer, a broken ring; and after each the device goes on, or can be made to */
static void test_bad_chains(void **state)
{
	struct fake_buf shorter = {page, 3, false}, room = {page + 1024, 6, true};
	struct fake_buf pair[] = {shorter, room}, bad = {FAKE_MEMORY, 24, false};
	uint32_t head, len;

	(void)state;
	memset(fake_ptr(&d, page, 24), 0, 24);
	assert_true(fake_add(&d.queues[0], pair, 2) >= 0);
	assert_true(fake_add(&d.queues[0], &shorter, 1) >= 0);
	fake_kick(&d, &d.queues[0]);
	fake_wait_used(&d, &d.queues[0], &head, &len);
	assert_int_equal(len, 6);
	assert_int_equal(*(uint16_t *)fake_ptr(&d, page + 1024, 2), VIRTIO_MEM_RESP_ERROR);
	fake_wait_used(&d, &d.queues[0], &head, &len);
	assert_int_equal(len, 0);
	assert_true(fake_add(&d.queues[0], &bad, 1) >= 0);
	fake_kick(&d, &d.queues[0]);
	while (!(fake_read(&d, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET))
		(void)fake_wait(&d, 10);
	fake_driver_up(&d, FAKE_F_VERSION_1, 16);
	assert_int_equal(ask(VIRTIO_MEM_REQ_PLUG, region, 1, NULL), VIRTIO_MEM_RESP_ACK);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_config), TEST(test_plug_and_unplug), TEST(test_refused),
		TEST(test_more),   TEST(test_bad_chains),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
