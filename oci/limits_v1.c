/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of linux.resources as control files of cgroup v1: see limits_plan_v1() in oci/limits.h.
 *
 * Values and files are runc's. Figures that bound each other (memory and memory+swap, quota and burst) are written twice: the
 * first write fails if the other figure is in its way, and the second comes when that has moved.
 */
#include <inttypes.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "oci/limits_planner.h"

static int plan_pids(struct limits_planner *p, struct err *err)
{
	int64_t limit = p->resources->pids_limit.value;

	(void)err;
	if (limit > 0)
		(void)limits_add(p, "pids.max", "%" PRIu64,
				 limits_host_pids((uint64_t)limit, p->machine));
	else if (limit < 0)
		(void)limits_add(p, "pids.max", "max");
	return 0;
}

/* memory.memsw counts memory and swap together, so the guest's room is in it as well */
static void add_swap(struct limits_planner *p, int64_t memory, int64_t swap)
{
	uint64_t bytes = (memory > 0 ? (uint64_t)memory : 0) + (uint64_t)swap;

	if (swap < 0)
		limits_add(p, "memory.memsw.limit_in_bytes", "-1")->missing = LIMITS_SKIP;
	else
		limits_add(p, "memory.memsw.limit_in_bytes", "%" PRIu64,
			   bytes > INT64_MAX ? INT64_MAX : bytes)
			->missing = swap == 0 ? LIMITS_SKIP : LIMITS_FAIL;
}

static int plan_memory(struct limits_planner *p, struct err *err)
{
	int64_t limit = p->resources->memory.limit.value, swap;
	int64_t low = p->resources->memory.reservation.value;
	bool has_swap;
	int r = limits_swap(limit, p->resources->memory.swap.value, &swap, &has_swap, err);

	if (r < 0)
		return r;
	if (limit > 0)
		limit = (int64_t)limits_host_memory((uint64_t)limit, p->machine);
	if (limit != 0)
		limits_add(p, "memory.limit_in_bytes", "%" PRId64, limit)->may_fail = has_swap;
	if (has_swap)
		add_swap(p, limit, swap);
	if (limit != 0 && has_swap)
		(void)limits_add(p, "memory.limit_in_bytes", "%" PRId64, limit);
	if (low != 0)
		(void)limits_add(p, "memory.soft_limit_in_bytes", "%" PRId64, low);
	return 0;
}

static int plan_cpu(struct limits_planner *p, struct err *err)
{
	const struct oci_resources *r = p->resources;
	int64_t quota = r->cpu.quota.value;
	uint64_t period = r->cpu.period.value;
	bool has_max = quota != 0 || period != 0;

	(void)err;
	if (r->cpu.idle.given)
		(void)limits_add(p, "cpu.idle", "%" PRId64, r->cpu.idle.value);
	if (r->cpu.shares.value)
		(void)limits_add(p, "cpu.shares", "%" PRIu64, r->cpu.shares.value);
	if (r->cpu.burst.given)
		limits_add(p, "cpu.cfs_burst_us", "%" PRIu64, r->cpu.burst.value)->may_fail =
			has_max;
	if (period)
		limits_add(p, "cpu.cfs_period_us", "%" PRIu64, period)->may_fail = quota != 0;
	if (quota)
		(void)limits_add(p, "cpu.cfs_quota_us", "%" PRId64, quota < 0 ? -1 : quota);
	if (period && quota)
		(void)limits_add(p, "cpu.cfs_period_us", "%" PRIu64, period);
	if (r->cpu.burst.given && has_max)
		(void)limits_add(p, "cpu.cfs_burst_us", "%" PRIu64, r->cpu.burst.value);
	return 0;
}

static int plan_cpuset(struct limits_planner *p, struct err *err)
{
	const char *cpus = p->resources->cpu.cpus, *mems = p->resources->cpu.mems;

	(void)err;
	if (cpus && cpus[0])
		(void)limits_add(p, "cpuset.cpus", "%s", cpus);
	if (mems && mems[0])
		(void)limits_add(p, "cpuset.mems", "%s", mems);
	return 0;
}

static void add_weight(struct limits_planner *p, const char *bfq, const char *plain,
		       const struct oci_io_weight *device)
{
	limits_add(p, bfq, "%u:%u %" PRIu64, device->major, device->minor, device->weight.value)
		->missing = LIMITS_ALTERNATIVE;
	limits_add(p, plain, "%u:%u %" PRIu64, device->major, device->minor, device->weight.value)
		->missing = LIMITS_SKIP;
}

static int plan_io(struct limits_planner *p, struct err *err)
{
	static const char *const files[OCI_THROTTLES] = {
		[OCI_READ_BPS] = "blkio.throttle.read_bps_device",
		[OCI_WRITE_BPS] = "blkio.throttle.write_bps_device",
		[OCI_READ_IOPS] = "blkio.throttle.read_iops_device",
		[OCI_WRITE_IOPS] = "blkio.throttle.write_iops_device",
	};
	const struct oci_resources *r = p->resources;

	(void)err;
	if (r->io.weight.value) {
		limits_add(p, "blkio.bfq.weight", "%" PRIu64, r->io.weight.value)->missing =
			LIMITS_ALTERNATIVE;
		(void)limits_add(p, "blkio.weight", "%" PRIu64, r->io.weight.value);
	}
	for (size_t i = 0; i < r->io.ndevices; i++) {
		if (r->io.devices[i].weight.value)
			add_weight(p, "blkio.bfq.weight_device", "blkio.weight_device",
				   &r->io.devices[i]);
	}
	for (size_t i = 0; i < OCI_THROTTLES; i++) {
		for (size_t j = 0; j < r->io.rates[i].n; j++)
			(void)limits_add(
				p, files[i], "%u:%u %" PRIu64, r->io.rates[i].items[j].major,
				r->io.rates[i].items[j].minor, r->io.rates[i].items[j].rate);
	}
	return 0;
}

int limits_plan_v1(const struct oci_resources *resources, const struct limits_machine *machine,
		   struct limits *out, struct err *err)
{
	static limits_part *const parts[] = {plan_pids, plan_memory, plan_io, plan_cpu,
					     plan_cpuset};
	struct limits_planner p = {
		.out = out, .resources = resources, .machine = machine, .side = LIMITS_HOST};

	return limits_run_planner(&p, parts, ARRAY_SIZE(parts), err);
}
