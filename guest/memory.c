/* SPDX-License-Identifier: Apache-2.0 */
/*
 * More memory: see guest/memory.h.
 *
 * Binding the slot makes the kernel's virtio-mem driver look; what it is offered it takes by itself, and puts to use at once
 * (CONFIG_MHP_DEFAULT_ONLINE_TYPE_ONLINE_AUTO). Both may wait for locks of the memory management, so a child does it and
 * watches the kernel's sum, which nothing else changes.
 */
#include "guest/memory.h"

#include <errno.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/machine.h"

#include "guest/agent.h"
#include "guest/slots.h"

#define GROW_TIMEOUT_MS \
	60000 /* a guest that has no memory left for describing more gives up by itself before */
#define GROW_LOOK_MS 5

static uint64_t total_memory(void)
{
	struct sysinfo info;

	return sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : 0;
}

static int take_memory(int fd, void *arg)
{
	const struct timespec pause = {.tv_nsec = GROW_LOOK_MS * 1000000};
	const struct memory *memory = arg;
	uint64_t deadline = io_now_ms() + GROW_TIMEOUT_MS;
	struct err err = {0};
	int r = slot_bind_memory(&err);

	(void)fd;
	while (r == 0 && total_memory() < memory->wanted) {
		if (io_now_ms() >= deadline)
			return -ETIMEDOUT;
		(void)nanosleep(&pause, NULL);
	}
	return r;
}

static void on_taken(struct work *work, int error, const uint8_t *data, size_t len)
{
	struct memory *memory = container_of(work, struct memory, work);
	struct ttrpc_call *call = take_ptr(&memory->call);
	uint64_t now = total_memory(), missing = memory->wanted > now ? memory->wanted - now : 0;

	(void)data;
	if (!error)
		ttrpc_reply(call, (const uint8_t *)"", len);
	else
		ttrpc_reply_error(call, TTRPC_INTERNAL,
				  "the guest's kernel has not taken over all memory, %llu MiB are "
				  "missing: %s",
				  (unsigned long long)(missing >> 20), err_reason(-error));
}

void memory_grow(struct agent *agent, uint64_t bytes, struct ttrpc_call *call)
{
	struct memory *memory = &agent->memory;
	const struct work_job job = {.run = take_memory,
				     .arg = memory,
				     .keep = -1,
				     .max = 0,
				     .timeout_ms = 2 * GROW_TIMEOUT_MS};
	struct err err = {0};

	if (memory->call) {
		ttrpc_reply_error(call, TTRPC_FAILED_PRECONDITION, "memory is being added already");
		return;
	}
	if (!memory->before)
		memory->before = total_memory();
	memory->wanted = memory->before + bytes;
	memory->call = call;
	memory->work.on_done = on_taken;
	if (work_start(&memory->work, agent->loop, &job, &err) < 0)
		ttrpc_reply_error(take_ptr(&memory->call), TTRPC_INTERNAL, "%s", err.msg);
}
