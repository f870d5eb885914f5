/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan and its formulas: see oci/limits.h. No file is touched here; limits_apply.c does.
 *
 * The order of the writes is runc's (pids, memory, io, cpu, cpuset, hugetlb, unified): a unified key counts last.
 */
#include "oci/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "oci/limits_planner.h"

#define MIB (1ull << 20)
#define SHARES_MIN 2
#define SHARES_MAX 262144
#define WEIGHT_MAX 10000
#define PERIOD_DEFAULT 100000

#define HOST_MEMORY_BASE (32 * MIB) /* the vmm's own, with its device threads, and the monitor */
#define HOST_MEMORY_VCPU (1 * MIB)  /* per vCPU: stack, KVM's state */
#define HOST_PAGE_TABLES 256	   /* one byte in as many: two levels of 8 bytes per page of 4096 */
#define FILE_BYTES 2048		   /* kernel memory of a file that the guest knows */
#define FILE_PER_BYTES (32u << 10) /* as many bytes of guest memory per known file */
#define FILES_LEAST (16u << 10)
#define FILES_MOST (512u << 10)
#define HOST_PIDS \
	64 /* device threads, file server, monitor, stand-ins of `exec` in the cgroup's tree */

/* ---- formulas ---- */

/* runc 1.3.2: a curve in the logarithms through (2, 1), (1024, 100) and (262144, 10000), the minima, defaults and maxima */
uint64_t limits_cpu_weight(uint64_t shares)
{
	double l, exponent;

	if (shares == 0)
		return 0;
	if (shares <= SHARES_MIN)
		return 1;
	if (shares >= SHARES_MAX)
		return WEIGHT_MAX;
	l = log2((double)shares);
	exponent = (l * l + 125 * l) / 612.0 - 7.0 / 34.0;
	return (uint64_t)ceil(pow(10, exponent));
}

uint64_t limits_io_weight(uint64_t weight)
{
	return weight < 10 ? 0 : 1 + (weight - 10) * 9999 / 990;
}

int limits_swap(int64_t memory, int64_t memory_and_swap, int64_t *out, bool *set, struct err *err)
{
	*set = memory_and_swap != 0 || memory == -1;
	*out = -1;
	if (!*set || memory_and_swap <= 0)
		return 0;
	if (memory == 0)
		return err_set(err, EINVAL, "unable to set swap limit without memory limit");
	if (memory > 0 && memory_and_swap < memory)
		return err_set(err, EINVAL, "memory+swap limit should be >= memory limit");
	/* Without a limit on memory swap is taken as it is */
	*out = memory < 0 ? memory_and_swap : memory_and_swap - memory;
	return 0;
}

uint64_t limits_files_known(const struct limits_machine *machine)
{
	uint64_t files = machine->memory_bytes / FILE_PER_BYTES;

	return files < FILES_LEAST ? FILES_LEAST : files > FILES_MOST ? FILES_MOST : files;
}

uint64_t limits_overhead(const struct limits_machine *machine)
{
	return HOST_MEMORY_BASE + HOST_MEMORY_VCPU * machine->nvcpus +
	       machine->memory_bytes / HOST_PAGE_TABLES + FILE_BYTES * limits_files_known(machine);
}

uint64_t limits_host_memory(uint64_t limit, const struct limits_machine *machine)
{
	/* What the guest's kernel frees is still the host's cost, so all of the guest's memory has to fit */
	uint64_t bytes = limit > machine->memory_bytes ? limit : machine->memory_bytes;

	return bytes > INT64_MAX - limits_overhead(machine) ? INT64_MAX
							    : bytes + limits_overhead(machine);
}

uint64_t limits_host_pids(uint64_t limit, const struct limits_machine *machine)
{
	return limit > INT64_MAX / 2 ? limit : limit + HOST_PIDS + machine->nvcpus;
}

/* ---- the list ---- */

/* Never NULL: without memory the write goes nowhere, which limits_plan() reports */
struct limits_write *limits_add(struct limits_planner *p, const char *file, const char *fmt, ...)
{
	static struct limits_write nowhere;
	struct limits_write *items = realloc(p->out->items,
					     (p->out->n + 1) * sizeof(*p->out->items));
	struct limits_write *write;
	va_list ap;

	if (!items) {
		p->no_memory = true;
		return &nowhere;
	}
	p->out->items = items;
	write = &items[p->out->n++];
	*write = (struct limits_write){.file = strdup(file)};
	va_start(ap, fmt);
	if (vasprintf(&write->value, fmt, ap) < 0)
		write->value = NULL;
	va_end(ap);
	p->no_memory |= !write->file || !write->value;
	return write;
}

static struct limits_write *add_bytes(struct limits_planner *p, const char *file, int64_t bytes)
{
	return bytes < 0 ? limits_add(p, file, "max") : limits_add(p, file, "%" PRId64, bytes);
}

void limits_release(struct limits *limits)
{
	for (size_t i = 0; i < limits->n; i++) {
		free(limits->items[i].file);
		free(limits->items[i].value);
	}
	free(limits->items);
	*limits = (struct limits){0};
}

/* ---- controllers ---- */

static int plan_pids(struct limits_planner *p, struct err *err)
{
	int64_t limit = p->resources->pids_limit.value;

	(void)err;
	if (limit > 0 && p->side == LIMITS_HOST)
		limit = (int64_t)limits_host_pids((uint64_t)limit, p->machine);
	if (limit != 0)
		(void)add_bytes(p, "pids.max", limit);
	return 0;
}

static int plan_memory(struct limits_planner *p, struct err *err)
{
	int64_t limit = p->resources->memory.limit.value, swap;
	int64_t low = p->resources->memory.reservation.value;
	bool has_swap;
	int r = limits_swap(limit, p->resources->memory.swap.value, &swap, &has_swap, err);

	if (r < 0)
		return r;
	/* A guest has no swap, so that any limit of it holds; on a host without, none and all of it do */
	if (has_swap)
		add_bytes(p, "memory.swap.max", swap)->missing =
			p->side == LIMITS_GUEST || swap <= 0 ? LIMITS_SKIP : LIMITS_FAIL;
	if (limit > 0 && p->side == LIMITS_HOST)
		limit = (int64_t)limits_host_memory((uint64_t)limit, p->machine);
	else if (limit > 0 && p->resources->memory.check_before_update.value)
		p->out->usage_below = (uint64_t)limit;
	if (limit != 0)
		(void)add_bytes(p, "memory.max", limit);
	if (low != 0)
		(void)add_bytes(p, "memory.low", low);
	return 0;
}

/* Their numbers name the host's devices, of which a guest has none: its files are read and written by the vmm */
static void plan_io_devices(struct limits_planner *p)
{
	static const char *const names[OCI_THROTTLES] = {
		[OCI_READ_BPS] = "rbps",
		[OCI_WRITE_BPS] = "wbps",
		[OCI_READ_IOPS] = "riops",
		[OCI_WRITE_IOPS] = "wiops",
	};

	for (size_t i = 0; i < p->resources->io.ndevices; i++) {
		const struct oci_io_weight *device = &p->resources->io.devices[i];

		if (device->weight.value)
			limits_add(p, "io.bfq.weight", "%u:%u %" PRIu64, device->major,
				   device->minor, device->weight.value)
				->missing = LIMITS_SKIP;
	}
	for (size_t i = 0; i < OCI_THROTTLES; i++) {
		const struct oci_io_rates *rates = &p->resources->io.rates[i];

		for (size_t j = 0; j < rates->n; j++)
			(void)limits_add(p, "io.max", "%u:%u %s=%" PRIu64, rates->items[j].major,
					 rates->items[j].minor, names[i], rates->items[j].rate);
	}
}

static int plan_io(struct limits_planner *p, struct err *err)
{
	uint64_t weight = p->resources->io.weight.value;

	(void)err;
	if (weight) {
		limits_add(p, "io.bfq.weight", "%" PRIu64, weight)->missing = LIMITS_ALTERNATIVE;
		(void)limits_add(p, "io.weight", "%" PRIu64, limits_io_weight(weight));
	}
	if (p->side == LIMITS_HOST)
		plan_io_devices(p);
	return 0;
}

/* Each of quota and period alone leaves the other as it is */
static void plan_cpu_max(struct limits_planner *p)
{
	int64_t quota = p->resources->cpu.quota.value;
	uint64_t period = p->resources->cpu.period.value;
	char text[32] = "max";

	if (quota > 0)
		(void)snprintf(text, sizeof(text), "%" PRId64, quota);
	if (quota && period)
		(void)limits_add(p, "cpu.max", "%s %" PRIu64, text, period);
	else if (quota)
		(void)limits_add(p, "cpu.max", "%s", text);
	else if (period)
		limits_add(p, "cpu.max", "%" PRIu64, period)->keep_quota = true;
}

static int plan_cpu(struct limits_planner *p, struct err *err)
{
	const struct oci_resources *r = p->resources;
	bool has_max = r->cpu.quota.value || r->cpu.period.value;

	(void)err;
	if (r->cpu.idle.given)
		(void)limits_add(p, "cpu.idle", "%" PRId64, r->cpu.idle.value);
	if (r->cpu.shares.value)
		(void)limits_add(p, "cpu.weight", "%" PRIu64,
				 limits_cpu_weight(r->cpu.shares.value));
	/* A burst may not exceed the quota: before a lower one, after a higher one */
	if (r->cpu.burst.given)
		limits_add(p, "cpu.max.burst", "%" PRIu64, r->cpu.burst.value)->may_fail = has_max;
	plan_cpu_max(p);
	if (r->cpu.burst.given && has_max)
		(void)limits_add(p, "cpu.max.burst", "%" PRIu64, r->cpu.burst.value);
	return 0;
}

/* The guest's CPUs are vCPUs, which run on the host's CPUs of the list: as many of them as the list has */
static void add_cpus(struct limits_planner *p, const char *cpus)
{
	int n = oci_list_count(cpus);

	if (p->side == LIMITS_HOST || n < 0)
		(void)limits_add(p, "cpuset.cpus", "%s", cpus);
	else if ((uint32_t)n > p->machine->nvcpus)
		(void)limits_add(p, "cpuset.cpus", "0-%u", p->machine->nvcpus - 1);
	else
		(void)limits_add(p, "cpuset.cpus", "0-%d", n - 1);
}

static void add_mems(struct limits_planner *p, const char *mems)
{
	(void)limits_add(p, "cpuset.mems", "%s", p->side == LIMITS_HOST ? mems : "0");
}

static int plan_cpuset(struct limits_planner *p, struct err *err)
{
	const char *cpus = p->resources->cpu.cpus, *mems = p->resources->cpu.mems;

	(void)err;
	if (cpus && cpus[0])
		add_cpus(p, cpus);
	if (mems && mems[0])
		add_mems(p, mems);
	return 0;
}

/* Huge pages of the container are the guest's. A size that it has no pages of cannot be used at all */
static int plan_hugetlb(struct limits_planner *p, struct err *err)
{
	char file[64];

	(void)err;
	for (size_t i = 0; p->side == LIMITS_GUEST && i < p->resources->nhugepages; i++) {
		const struct oci_hugepage_limit *limit = &p->resources->hugepages[i];

		(void)snprintf(file, sizeof(file), "hugetlb.%s.max", limit->page_size);
		limits_add(p, file, "%" PRIu64, limit->limit)->missing = LIMITS_SKIP;
		(void)snprintf(file, sizeof(file), "hugetlb.%s.rsvd.max", limit->page_size);
		limits_add(p, file, "%" PRIu64, limit->limit)->missing = LIMITS_SKIP;
	}
	return 0;
}

/* ---- unified ---- */

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* As the kernel reads a number of bytes; Return: false for "max" and whatever else it is to judge itself */
static bool parse_bytes(const char *text, uint64_t *out)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	*out = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end & ~0x20) : NULL;
	if (unit) {
		*out <<= 10 * (unit - units + 1);
		end++;
	}
	return strspn(end, "\n ") == strlen(end) && *out <= INT64_MAX / 2;
}

static void unified_guest(struct limits_planner *p, const struct oci_pair *pair)
{
	struct limits_write *write;

	if (has_prefix(pair->key, "io."))
		return;
	if (strcmp(pair->key, "cpuset.cpus") == 0 && oci_list_count(pair->value) > 0) {
		add_cpus(p, pair->value);
		return;
	}
	if (strcmp(pair->key, "cpuset.mems") == 0 && oci_list_count(pair->value) > 0) {
		add_mems(p, pair->value);
		return;
	}
	write = limits_add(p, pair->key, "%s", pair->value);
	write->is_unified = true;
	if (has_prefix(pair->key, "memory.swap.") || has_prefix(pair->key, "memory.zswap."))
		write->missing = LIMITS_SKIP;
}

/* What bounds the guest bounds the vmm, with room for what a guest costs; what is about processes is the guest's alone */
static void unified_host(struct limits_planner *p, const struct oci_pair *pair)
{
	static const char *const as_given[] = {
		"cpu.",	      "io.",	    "cpuset.cpus",  "cpuset.mems",
		"memory.low", "memory.min", "memory.swap.", "memory.zswap.",
	};
	uint64_t number;

	if (strcmp(pair->key, "memory.max") == 0 || strcmp(pair->key, "memory.high") == 0) {
		if (parse_bytes(pair->value, &number))
			limits_add(p, pair->key, "%" PRIu64, limits_host_memory(number, p->machine))
				->is_unified = true;
		else
			limits_add(p, pair->key, "%s", pair->value)->is_unified = true;
	} else if (strcmp(pair->key, "pids.max") == 0) {
		if (parse_bytes(pair->value, &number))
			limits_add(p, pair->key, "%" PRIu64, limits_host_pids(number, p->machine))
				->is_unified = true;
		else
			limits_add(p, pair->key, "%s", pair->value)->is_unified = true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(as_given); i++) {
		size_t len = strlen(as_given[i]);

		if (as_given[i][len - 1] == '.' ? has_prefix(pair->key, as_given[i])
						: strcmp(pair->key, as_given[i]) == 0)
			limits_add(p, pair->key, "%s", pair->value)->is_unified = true;
	}
}

static int plan_unified(struct limits_planner *p, struct err *err)
{
	for (size_t i = 0; i < p->resources->unified.n; i++) {
		const struct oci_pair *pair = &p->resources->unified.items[i];

		if (strchr(pair->key, '/') || !strchr(pair->key, '.'))
			return err_set(err, EINVAL, "unified resource \"%.128s\" must be %s",
				       pair->key,
				       strchr(pair->key, '/') ? "a file name (no slashes)"
							      : "in the form CONTROLLER.PARAMETER");
		if (p->side == LIMITS_GUEST)
			unified_guest(p, pair);
		else
			unified_host(p, pair);
	}
	return 0;
}

/* ---- the plan ---- */

int limits_run_planner(struct limits_planner *p, limits_part *const *parts, size_t n,
		       struct err *err)
{
	*p->out = (struct limits){0};
	for (size_t i = 0; i < n; i++) {
		int r = parts[i](p, err);

		if (r < 0)
			return r;
	}
	return p->no_memory ? err_sys(err, ENOMEM, "the container's limits") : 0;
}

int limits_plan(const struct oci_resources *resources, enum limits_side side,
		const struct limits_machine *machine, struct limits *out, struct err *err)
{
	static limits_part *const parts[] = {
		plan_pids, plan_memory, plan_io, plan_cpu, plan_cpuset, plan_hugetlb, plan_unified,
	};
	struct limits_planner p = {
		.out = out, .resources = resources, .machine = machine, .side = side};

	return limits_run_planner(&p, parts, ARRAY_SIZE(parts), err);
}

const char *limits_without_effect(const struct oci_resources *r, size_t index)
{
	const struct {
		bool given;
		const char *text;
	} fields[] = {
		{r->memory.kernel.value != 0, "memory.kernel: cgroup v2 counts it as memory"},
		{r->memory.kernel_tcp.value != 0,
		 "memory.kernelTCP: cgroup v2 counts it as memory"},
		{r->memory.swappiness.given, "memory.swappiness: cgroup v2 has none"},
		{r->memory.disable_oom_killer.value, "memory.disableOOMKiller: cgroup v2 has none"},
		{r->cpu.realtime_runtime.value || r->cpu.realtime_period.value,
		 "cpu.realtimeRuntime, cpu.realtimePeriod: cgroup v2 has none"},
		{r->network.class_id.value != 0, "network.classID: cgroup v2 has none"},
		{r->network.npriorities != 0, "network.priorities: cgroup v2 has none"},
		{r->io.leaf_weight.value != 0, "blockIO.leafWeight: cgroup v2 has none"},
		{r->nrdma != 0, "rdma: a guest has no such devices"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (fields[i].given && index-- == 0)
			return fields[i].text;
	}
	return NULL;
}
