/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: requests to the memory device.
 *
 * The input is a list of requests of a few bytes, mostly about blocks that exist; some bytes give a field any value, or make the
 * request or the room for its answer short. A bitmap says what the device has to answer, and its configuration what is plugged.
 */
#include "tests/unit/fake_driver.c"

#include <linux/virtio_mem.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MAX (256ull << 20)
#define REQUESTED (128ull << 20)
#define BLOCKS (REQUESTED / VIRTIO_MEM_BLOCK)

static struct fake_driver d;
static gpa_t page, region;
static bool plugged[BLOCKS];

struct input {
	const uint8_t *p, *end;
};

static uint8_t take(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

static uint64_t take64(struct input *in)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | take(in);
	return v;
}

static void start(void)
{
	const struct gmem_region *last;

	fake_driver_init(&d);
	page = fake_alloc(&d, 4096, 4096);
	fake_require(gmem_reserve(&d.mem, MAX, 128ull << 20, NULL) == 0);
	fake_require(gmem_grow(&d.mem, REQUESTED, NULL) == 0);
	last = &d.mem.regions[d.mem.nregions - 1];
	region = last->gpa;
	fake_driver_start(&d, virtio_mem_new(region, last->hva, MAX, REQUESTED, NULL),
			  FAKE_F_VERSION_1 | FAKE_F_EVENT_IDX, 16);
}

/* Return: bytes of the answer */
static uint32_t ask(const struct virtio_mem_req *request, uint32_t len, uint32_t room,
		    struct virtio_mem_resp *response)
{
	struct fake_buf bufs[2];
	unsigned int n = 0;
	uint32_t head, used;

	memcpy(fake_ptr(&d, page, sizeof(*request)), request, sizeof(*request));
	if (len)
		bufs[n++] = (struct fake_buf){page, len, false};
	if (room)
		bufs[n++] = (struct fake_buf){page + 1024, room, true};
	fake_require(fake_add(&d.queues[0], bufs, n) >= 0);
	fake_kick(&d, &d.queues[0]);
	fake_wait_used(&d, &d.queues[0], &head, &used);
	memcpy(response, fake_ptr(&d, page + 1024, sizeof(*response)), sizeof(*response));
	return used;
}

static unsigned int count(uint64_t first, uint64_t n)
{
	unsigned int sum = 0;

	for (uint64_t i = first; i < first + n; i++)
		sum += plugged[i];
	return sum;
}

/* What the device has to answer, carried out in the bitmap */
static unsigned int expect(const struct virtio_mem_req *request, unsigned int *state)
{
	uint64_t first = (request->u.plug.addr - region) / VIRTIO_MEM_BLOCK,
		 n = request->u.plug.nb_blocks;
	bool good = request->u.plug.addr >= region &&
		    (request->u.plug.addr - region) % VIRTIO_MEM_BLOCK == 0 && n && n <= BLOCKS &&
		    first <= BLOCKS - n;
	unsigned int sum = good ? count(first, n) : 0;

	if (request->type == VIRTIO_MEM_REQ_UNPLUG_ALL) {
		memset(plugged, 0, sizeof(plugged));
		return VIRTIO_MEM_RESP_ACK;
	}
	if (!good || request->type > VIRTIO_MEM_REQ_STATE)
		return VIRTIO_MEM_RESP_ERROR;
	if (request->type == VIRTIO_MEM_REQ_STATE) {
		*state = sum == n ? VIRTIO_MEM_STATE_PLUGGED
			 : sum	  ? VIRTIO_MEM_STATE_MIXED
				  : VIRTIO_MEM_STATE_UNPLUGGED;
		return VIRTIO_MEM_RESP_ACK;
	}
	if (sum != (request->type == VIRTIO_MEM_REQ_PLUG ? 0 : n))
		return VIRTIO_MEM_RESP_ERROR;
	memset(plugged + first, request->type == VIRTIO_MEM_REQ_PLUG, n);
	return VIRTIO_MEM_RESP_ACK;
}

static void step(struct input *in)
{
	uint8_t what = take(in);
	struct virtio_mem_req request = {
		.type = what & 3,
		.u.plug = {.addr = region + take(in) % (BLOCKS + 2) * VIRTIO_MEM_BLOCK,
			   .nb_blocks = take(in) % (BLOCKS + 2)}};
	uint32_t len = sizeof(request), room = sizeof(struct virtio_mem_resp), used;
	struct virtio_mem_resp response;
	unsigned int state = 0, type;

	if ((what & 0x1c) == 0x1c)
		request.u.plug.addr = take64(in);
	if ((what & 0x1c) == 0x18)
		request.u.plug.nb_blocks = (uint16_t)take64(in);
	if ((what & 0x1c) == 0x14)
		request.type = (uint16_t)take64(in);
	if ((what & 0xe0) == 0xe0)
		len = 1 + take(in) % sizeof(request);
	if ((what & 0xe0) == 0xc0)
		room = 1 + take(in) % sizeof(response);
	type = len < sizeof(request) ? VIRTIO_MEM_RESP_ERROR : expect(&request, &state);
	used = ask(&request, len, room, &response);
	fake_require(used == room);
	if (room >= 2)
		fake_require(response.type == type);
	if (room == sizeof(response) && type == VIRTIO_MEM_RESP_ACK &&
	    request.type == VIRTIO_MEM_REQ_STATE)
		fake_require(response.u.state.state == state);
	fake_require(fake_read(&d, VIRTIO_MMIO_CONFIG +
					   offsetof(struct virtio_mem_config, plugged_size)) ==
		     count(0, BLOCKS) * VIRTIO_MEM_BLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct virtio_mem_req all = {.type = VIRTIO_MEM_REQ_UNPLUG_ALL};
	struct input in = {data, data + len};
	struct virtio_mem_resp response;

	if (!d.mem.nregions)
		start();
	memset(plugged, 0, sizeof(plugged));
	(void)ask(&all, sizeof(all), sizeof(response), &response);
	while (in.p < in.end)
		step(&in);
	return 0;
}
