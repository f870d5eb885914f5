/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson update`: change the limits of a container that runs, on the host and in the guest.
 *
 *   read, check ──▶ host's cgroup ──▶ more memory for the guest, if need be ──▶ guest's cgroup (through the monitor) ──▶ state.json
 *                       ◀── written back when the guest refuses
 *
 * A guest has the vCPUs that it was made with: a quota that asks for more is an error, not a promise. Memory and swap are one limit in two figures, so state.json keeps both, for an update that names only one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/machine.h"
#include "oci/limits.h"
#include "runtime/commands.h"
#include "runtime/container.h"
#include "runtime/settings.h"
#include "runtime/size.h"
#include "runtime/update_options.h"
#include "shim/control.h"

#define MIB (1ull << 20)

/* ---- what is not given ---- */

/* As runc: what was set before counts, and "unlimited" alone means both */
static void merge_memory(struct oci_resources *resources, const struct oci_state *state)
{
	struct oci_int *limit = &resources->memory.limit, *swap = &resources->memory.swap;

	if (!limit->value && !swap->value)
		return;
	if (limit->value == -1 && !swap->value)
		*swap = (struct oci_int){-1, true};
	if (!limit->value)
		*limit = (struct oci_int){state->memory_limit, state->memory_limit != 0};
	if (!swap->value)
		*swap = (struct oci_int){state->memory_swap, state->memory_swap != 0};
}

/* The period that a quota without one is about */
static uint64_t period_of(int cgroup_fd)
{
	cleanup_free char *text = NULL;
	unsigned long long period = 0;

	if (cgroup_fd < 0 || io_read_file(cgroup_fd, "cpu.max", 128, &text, NULL) < 0)
		return 0;
	return sscanf(text, "%*s %llu", &period) == 1 ? period : 0;
}

/* ---- checks ---- */

/* How much memory the guest has to have for the limit; what it has if that is enough */
static int needed_memory(const struct oci_resources *resources, const struct oci_state *state,
			 const struct settings *settings, uint64_t *out, struct err *err)
{
	uint64_t has = state->guest_memory_bytes, host_bytes = 0, needed;
	int64_t limit = resources->memory.limit.value;
	int r = size_host_memory(&host_bytes, err);

	*out = has;
	if (r < 0 || limit <= 0 || limit == state->memory_limit || !has)
		return r;
	needed = size_memory_for((uint64_t)limit, host_bytes, settings->max_memory_bytes);
	if (needed > has)
		*out = has + (needed - has + MACHINE_MEMORY_STEP - 1) / MACHINE_MEMORY_STEP *
				     MACHINE_MEMORY_STEP;
	return 0;
}

static int check_cpu(const struct oci_resources *resources, const struct oci_state *state,
		     const struct settings *settings, int cgroup_fd, struct err *err)
{
	uint64_t period = resources->cpu.period.value;
	uint32_t cpus = size_host_cpus(), max = (uint32_t)settings->max_vcpus;
	uint32_t needed = size_vcpus_for(resources->cpu.quota.value,
					 period ? period : period_of(cgroup_fd),
					 cpus < max ? cpus : max);

	if (!state->guest_vcpus || needed <= state->guest_vcpus)
		return 0;
	return err_set(err, EINVAL,
		       "CPU quota %" PRId64
		       ": the guest would need %u vCPUs, but was made with %u, and "
		       "vCPUs cannot be added yet",
		       resources->cpu.quota.value, needed, state->guest_vcpus);
}

static int check_running(const struct container *container, struct err *err)
{
	if (!container->state)
		return err_set(err, ENOENT, "container does not exist");
	if (container->status != OCI_CREATED && container->status != OCI_RUNNING &&
	    container->status != OCI_PAUSED)
		return err_set(err, ESRCH, CONTAINER_NOT_RUNNING);
	return 0;
}

/* ---- both sides ---- */

static int update_guest(const struct container *container, const struct oci_resources *resources,
			struct err *err)
{
	cleanup_free char *text = NULL;
	ssize_t n = oci_resources_write(resources, &text, err);

	return n < 0 ? (int)n : control_update(container->dir_fd, text, (size_t)n, err);
}

/* Noted at once: it stays, whatever comes after it */
static int grow_memory(struct container *container, uint64_t bytes, struct err *err)
{
	int r = 0;

	if (bytes == container->state->guest_memory_bytes)
		return 0;
	r = control_grow_memory(container->dir_fd, bytes, err);
	if (r < 0) {
		err_prefix(err, "memory limit");
		return r;
	}
	container->state->guest_memory_bytes = bytes;
	return container_store(container->dir_fd, container->state, err);
}

static int update_both(struct container *container, const struct oci_resources *resources,
		       uint64_t memory_bytes, int cgroup_fd, struct err *err)
{
	struct limits_machine machine = {memory_bytes, container->state->guest_vcpus};
	struct limits undo = {0};
	int r = 0;

	if (cgroup_fd >= 0)
		r = monitor_cgroup_limit(container->dir_fd, cgroup_fd, resources, &machine, &undo,
					 err);
	if (r == 0) {
		r = grow_memory(container, memory_bytes, err);
		if (r == 0)
			r = update_guest(container, resources, err);
		if (r < 0 && cgroup_fd >= 0)
			monitor_cgroup_restore(container->dir_fd, cgroup_fd, &undo);
	}
	limits_release(&undo);
	return r;
}

static int store(struct container *container, const struct oci_resources *resources,
		 struct err *err)
{
	struct oci_state *state = container->state;

	if (!resources->memory.limit.value && !resources->memory.swap.value)
		return 0;
	state->memory_limit = resources->memory.limit.value;
	state->memory_swap = resources->memory.swap.value;
	return container_store(container->dir_fd, state, err);
}

static int update_container(struct container *container, struct oci_resources *resources,
			    const struct settings *settings, struct err *err)
{
	cleanup_close int cgroup_fd = -1;
	uint64_t memory_bytes = 0;
	const char *text;
	int r = container_lock(container, err);

	if (r == 0)
		r = check_running(container, err);
	if (r < 0)
		return r;
	cgroup_fd = monitor_cgroup_open(container->dir_fd, NULL);
	merge_memory(resources, container->state);
	r = needed_memory(resources, container->state, settings, &memory_bytes, err);
	if (r == 0)
		r = check_cpu(resources, container->state, settings, cgroup_fd, err);
	if (r == 0)
		r = update_both(container, resources, memory_bytes, cgroup_fd, err);
	if (r < 0)
		return r;
	for (size_t i = 0; (text = limits_without_effect(resources, i)); i++)
		log_warn("%s, ignoring", text);
	return store(container, resources, err);
}

static int run_update(const struct globals *globals, const void *opaque,
		      const struct cli_args *args, struct err *err)
{
	CLEANUP(oci_resources) struct oci_resources *resources = NULL;
	struct settings settings = {0};
	struct container container;
	int r = container_load(globals, args->items[0], &container, err);

	if (r < 0)
		return r;
	r = update_read(opaque, &resources, err);
	if (r == 0)
		r = settings_load(globals, &settings, err);
	if (r == 0)
		r = update_container(&container, resources, &settings, err);
	settings_release(&settings);
	container_release(&container);
	return r;
}

const struct cli_command command_update = {
	.name = "update",
	.summary = "update container resource constraints",
	.usage = "<container-id>",
	.options = update_cli_options,
	.options_size = sizeof(struct update_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_update,
};
