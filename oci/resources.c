/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.resources (runtime-spec config-linux.md "Control groups"): in config.json, and as a document of its own for `update -r`.
 *
 * Only what is wrong by itself is refused here: the ranges are those of the kernel's control files, where every runtime's write would
 * fail. 0 passes as "not set" where runc takes it so, since engines write out their own zeroes. Whether a controller is there is seen
 * by whoever applies the limits.
 *
 * The tables serve both directions: oci_resources_write() gives back the document that a struct was read from, so that limits
 * can travel to the guest as a document too.
 */
#include <errno.h>
#include <string.h>

#include "oci/parse.h"

#define F(type_, member_, key_, kind_, ...)                                                      \
	{                                                                                        \
		.key = key_, .kind = JSON_TO_##kind_, .offset = offsetof(struct type_, member_), \
		##__VA_ARGS__                                                                    \
	}
/* A value that may be absent */
#define O(type_, member_, key_, kind_, ...)                                                       \
	F(type_, member_.value, key_, kind_, .has_offset = offsetof(struct type_, member_.given), \
	  ##__VA_ARGS__)

#define BYTES .min = -1, .max = INT64_MAX
static const struct json_field memory_fields[] = {
	O(oci_resources, memory.limit, "limit", I64, BYTES),
	O(oci_resources, memory.reservation, "reservation", I64, BYTES),
	O(oci_resources, memory.swap, "swap", I64, BYTES),
	O(oci_resources, memory.kernel, "kernel", I64, BYTES),
	O(oci_resources, memory.kernel_tcp, "kernelTCP", I64, BYTES),
	O(oci_resources, memory.swappiness, "swappiness", U64, .max = 100),
	O(oci_resources, memory.disable_oom_killer, "disableOOMKiller", BOOL),
	O(oci_resources, memory.use_hierarchy, "useHierarchy", BOOL),
	O(oci_resources, memory.check_before_update, "checkBeforeUpdate", BOOL),
	{0},
};
static const struct json_field cpu_fields[] = {
	O(oci_resources, cpu.shares, "shares", U64),
	O(oci_resources, cpu.quota, "quota", I64),
	O(oci_resources, cpu.burst, "burst", U64),
	O(oci_resources, cpu.period, "period", U64),
	O(oci_resources, cpu.realtime_runtime, "realtimeRuntime", I64),
	O(oci_resources, cpu.realtime_period, "realtimePeriod", U64),
	F(oci_resources, cpu.cpus, "cpus", STRING),
	F(oci_resources, cpu.mems, "mems", STRING),
	O(oci_resources, cpu.idle, "idle", I64, .min = 0, .max = 1),
	{0},
};
static const struct json_field pids_fields[] = {
	O(oci_resources, pids_limit, "limit", I64, BYTES),
	{0},
};

#define WEIGHT_MIN 10
#define WEIGHT_MAX 1000
static const struct json_field io_fields[] = {
	O(oci_resources, io.weight, "weight", U64, .max = WEIGHT_MAX),
	O(oci_resources, io.leaf_weight, "leafWeight", U64, .max = WEIGHT_MAX),
	{0},
};
static const struct json_field io_weight_fields[] = {
	F(oci_io_weight, major, "major", U32, .flags = JSON_REQUIRED),
	F(oci_io_weight, minor, "minor", U32, .flags = JSON_REQUIRED),
	O(oci_io_weight, weight, "weight", U64, .max = WEIGHT_MAX),
	O(oci_io_weight, leaf_weight, "leafWeight", U64, .max = WEIGHT_MAX),
	{0},
};
static const struct json_field io_rate_fields[] = {
	F(oci_io_rate, major, "major", U32, .flags = JSON_REQUIRED),
	F(oci_io_rate, minor, "minor", U32, .flags = JSON_REQUIRED),
	F(oci_io_rate, rate, "rate", U64, .flags = JSON_REQUIRED),
	{0},
};
static const char *const throttle_names[OCI_THROTTLES] = {
	[OCI_READ_BPS] = "throttleReadBpsDevice",
	[OCI_WRITE_BPS] = "throttleWriteBpsDevice",
	[OCI_READ_IOPS] = "throttleReadIOPSDevice",
	[OCI_WRITE_IOPS] = "throttleWriteIOPSDevice",
};

static const struct json_field hugepage_fields[] = {
	F(oci_hugepage_limit, page_size, "pageSize", STRING, .flags = JSON_REQUIRED),
	F(oci_hugepage_limit, limit, "limit", U64, .flags = JSON_REQUIRED),
	{0},
};
static const struct json_field rule_fields[] = {
	F(oci_device_rule, allow, "allow", BOOL, .flags = JSON_REQUIRED),
	F(oci_device_rule, major, "major", I64, .min = -1, .max = UINT32_MAX),
	F(oci_device_rule, minor, "minor", I64, .min = -1, .max = UINT32_MAX),
	{0},
};
static const struct json_field network_fields[] = {
	O(oci_resources, network.class_id, "classID", U64, .max = UINT32_MAX),
	{0},
};
static const struct json_field priority_fields[] = {
	F(oci_net_priority, name, "name", STRING, .flags = JSON_REQUIRED),
	F(oci_net_priority, priority, "priority", U32, .flags = JSON_REQUIRED),
	{0},
};
static const struct json_field rdma_fields[] = {
	O(oci_rdma, handles, "hcaHandles", U64, .max = UINT32_MAX),
	O(oci_rdma, objects, "hcaObjects", U64, .max = UINT32_MAX),
	{0},
};

/* ---- reading ---- */

static int check_memory(const struct json_at *at, const struct oci_resources *out, struct err *err)
{
	struct json_at here = {.parent = at, .name = "swap"};

	if (out->memory.swap.value > 0 && out->memory.limit.value > 0 &&
	    out->memory.swap.value < out->memory.limit.value)
		return json_fail(&here, err, "memory+swap limit should be >= memory limit");
	return 0;
}

static int parse_memory(const struct json_at *at, struct oci_resources *out, struct err *err)
{
	struct json_at memory;
	int r = json_member(at, "memory", JSON_OBJECT, &memory, err);

	if (r <= 0)
		return r;
	r = json_fill(&memory, memory_fields, out, err);
	return r < 0 ? r : check_memory(&memory, out, err);
}

#define PERIOD_MIN 1000 /* us; the shortest quota too */
#define PERIOD_MAX 1000000

static int check_cpu(const struct json_at *at, const struct oci_resources *out, struct err *err)
{
	struct json_at quota = {.parent = at, .name = "quota"};
	struct json_at period = {.parent = at, .name = "period"};
	struct json_at burst = {.parent = at, .name = "burst"};
	int r = list_check(at, "cpus", out->cpu.cpus, err);

	if (r < 0)
		return r;
	r = list_check(at, "mems", out->cpu.mems, err);
	if (r < 0)
		return r;
	if (out->cpu.quota.value > 0 && out->cpu.quota.value < PERIOD_MIN)
		return json_fail(&quota, err, "less than %d us", PERIOD_MIN);
	if (out->cpu.period.value &&
	    (out->cpu.period.value < PERIOD_MIN || out->cpu.period.value > PERIOD_MAX))
		return json_fail(&period, err, "not between %d and %d us", PERIOD_MIN, PERIOD_MAX);
	if (out->cpu.quota.value > 0 && out->cpu.burst.value > (uint64_t)out->cpu.quota.value)
		return json_fail(&burst, err, "larger than the quota");
	return 0;
}

static int parse_cpu(const struct json_at *at, struct oci_resources *out, struct err *err)
{
	struct json_at cpu;
	int r = json_member(at, "cpu", JSON_OBJECT, &cpu, err);

	if (r <= 0)
		return r;
	r = json_fill(&cpu, cpu_fields, out, err);
	return r < 0 ? r : check_cpu(&cpu, out, err);
}

static int parse_pids(const struct json_at *at, struct oci_resources *out, struct err *err)
{
	struct json_at pids;
	int r = json_member(at, "pids", JSON_OBJECT, &pids, err);

	return r <= 0 ? r : json_fill(&pids, pids_fields, out, err);
}

/* 0 is what engines write for "not set" */
static int check_weight(const struct json_at *at, const char *key, const struct oci_uint *weight,
			struct err *err)
{
	struct json_at here = {.parent = at, .name = key};

	if (weight->value == 0 || weight->value >= WEIGHT_MIN)
		return 0;
	return json_fail(&here, err, "not between %d and %d", WEIGHT_MIN, WEIGHT_MAX);
}

static int check_weights(const struct json_at *at, const struct oci_uint *weight,
			 const struct oci_uint *leaf, struct err *err)
{
	int r = check_weight(at, "weight", weight, err);

	return r < 0 ? r : check_weight(at, "leafWeight", leaf, err);
}

static int parse_io_weight(const struct json_at *at, void *item, struct err *err)
{
	struct oci_io_weight *device = item;
	int r = json_fill(at, io_weight_fields, device, err);

	if (r < 0)
		return r;
	if (!device->weight.given && !device->leaf_weight.given)
		return json_fail(at, err, "neither weight nor leafWeight is given");
	return check_weights(at, &device->weight, &device->leaf_weight, err);
}

static int parse_io_rate(const struct json_at *at, void *item, struct err *err)
{
	return json_fill(at, io_rate_fields, item, err);
}

static int parse_io(const struct json_at *at, struct oci_resources *out, struct err *err)
{
	struct json_at io;
	int r = json_member(at, "blockIO", JSON_OBJECT, &io, err);

	if (r <= 0)
		return r;
	r = json_fill(&io, io_fields, out, err);
	if (r < 0)
		return r;
	r = check_weights(&io, &out->io.weight, &out->io.leaf_weight, err);
	if (r < 0)
		return r;
	r = array_parse(&io, "weightDevice", sizeof(struct oci_io_weight), parse_io_weight,
			(void **)&out->io.devices, &out->io.ndevices, err);
	for (size_t i = 0; i < OCI_THROTTLES && r >= 0; i++)
		r = array_parse(&io, throttle_names[i], sizeof(struct oci_io_rate), parse_io_rate,
				(void **)&out->io.rates[i].items, &out->io.rates[i].n, err);
	return r;
}

/* "2MB" to bytes; Return: false unless it is a number without leading zeroes, a unit of KB, MB, GB and fits */
static bool page_bytes(const char *text, uint64_t *out)
{
	static const char units[] = "KMG";
	size_t digits = strspn(text, "0123456789");
	const char *unit = text[digits] ? strchr(units, text[digits]) : NULL;
	unsigned int shift;

	if (digits == 0 || digits > 9 || text[0] == '0' || !unit ||
	    strcmp(text + digits + 1, "B") != 0)
		return false;
	shift = 10 * (unsigned int)(unit - units + 1);
	*out = strtoull(text, NULL, 10) << shift; /* 30 bits and 30 more */
	return true;
}

static int parse_hugepage(const struct json_at *at, void *item, struct err *err)
{
	struct oci_hugepage_limit *limit = item;
	struct json_at here = {.parent = at, .name = "pageSize"};
	int r = json_fill(at, hugepage_fields, limit, err);

	if (r < 0)
		return r;
	if (!page_bytes(limit->page_size, &limit->page_bytes))
		return json_fail(&here, err, "'%.64s' is not a size like \"2MB\"",
				 limit->page_size);
	return 0;
}

static int parse_hugepages(const struct json_at *at, struct oci_resources *out, struct err *err)
{
	return array_parse(at, "hugepageLimits", sizeof(struct oci_hugepage_limit), parse_hugepage,
			   (void **)&out->hugepages, &out->nhugepages, err);
}

static int parse_access(const struct json_at *at, struct oci_device_rule *rule, struct err *err)
{
	static const char letters[] = "mrw"; /* in the order of OCI_ACCESS_* */
	struct json_at access;
	int r = json_member(at, "access", JSON_STRING, &access, err);

	if (r < 0)
		return r;
	if (r == 0 || !access.node->text[0])
		return json_fail(&access, err, "device access cannot be empty");
	for (const char *p = access.node->text; *p; p++) {
		const char *letter = strchr(letters, *p);

		if (!letter)
			return json_fail(&access, err, "'%.64s' is not made of r, w, m",
					 access.node->text);
		rule->access |= 1u << (letter - letters);
	}
	return 0;
}

static int parse_rule(const struct json_at *at, void *item, struct err *err)
{
	struct oci_device_rule *rule = item;
	struct json_at type;
	int r;

	rule->type = 'a';
	rule->major = rule->minor = -1;
	r = json_fill(at, rule_fields, rule, err);
	if (r < 0)
		return r;
	r = json_member(at, "type", JSON_STRING, &type, err);
	if (r < 0)
		return r;
	if (r > 0 && type.node->text[0]) {
		if (strlen(type.node->text) != 1 || !strchr("abc", type.node->text[0]))
			return json_fail(&type, err, "'%.64s' is none of a, b, c", type.node->text);
		rule->type = type.node->text[0];
	}
	return parse_access(at, rule, err);
}

static int parse_rules(const struct json_at *at, struct oci_resources *out, struct err *err)
{
	return array_parse(at, "devices", sizeof(struct oci_device_rule), parse_rule,
			   (void **)&out->devices, &out->ndevices, err);
}

/* Its keys become names of files in the container's cgroup */
static int parse_unified(const struct json_at *at, struct oci_resources *out, struct err *err)
{
	struct json_at map = {.parent = at, .name = "unified"};
	int r = pairs_parse(at, "unified", &out->unified, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < out->unified.n; i++) {
		const char *key = out->unified.items[i].key;
		struct json_at here = {.parent = &map, .name = key};

		if (strchr(key, '/') || strcmp(key, ".") == 0 || strcmp(key, "..") == 0)
			return json_fail(&here, err, "must be a file name (no slashes)");
	}
	return 0;
}

static int parse_priority(const struct json_at *at, void *item, struct err *err)
{
	return json_fill(at, priority_fields, item, err);
}

static int parse_network(const struct json_at *at, struct oci_resources *out, struct err *err)
{
	struct json_at network;
	int r = json_member(at, "network", JSON_OBJECT, &network, err);

	if (r <= 0)
		return r;
	r = json_fill(&network, network_fields, out, err);
	if (r < 0)
		return r;
	return array_parse(&network, "priorities", sizeof(struct oci_net_priority), parse_priority,
			   (void **)&out->network.priorities, &out->network.npriorities, err);
}

static int parse_rdma_device(const struct json_at *at, void *item, struct err *err)
{
	struct oci_rdma *rdma = item;
	int r;

	rdma->device = strdup(at->name);
	if (!rdma->device)
		return err_sys(err, ENOMEM, "config");
	r = json_fill(at, rdma_fields, rdma, err);
	if (r < 0)
		return r;
	if (!rdma->handles.given && !rdma->objects.given)
		return json_fail(at, err, "neither hcaHandles nor hcaObjects is given");
	return 0;
}

static int parse_rdma(const struct json_at *at, struct oci_resources *out, struct err *err)
{
	return map_parse(at, "rdma", sizeof(struct oci_rdma), parse_rdma_device,
			 (void **)&out->rdma, &out->nrdma, err);
}

int resources_parse(const struct json_at *at, struct oci_resources *out, struct err *err)
{
	static int (*const parts[])(const struct json_at *, struct oci_resources *,
				    struct err *) = {
		parse_memory, parse_cpu,     parse_pids,    parse_io,	parse_hugepages,
		parse_rules,  parse_unified, parse_network, parse_rdma,
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int r = parts[i](at, out, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int oci_resources_parse(const char *text, size_t len, struct oci_resources **out, struct err *err)
{
	CLEANUP(json_doc) struct json_doc *doc = NULL;
	CLEANUP(oci_resources) struct oci_resources *resources = NULL;
	struct json_at root;
	int r = json_parse("resources", text, len, OCI_RESOURCES_MAX, &doc, err);

	if (r < 0)
		return r;
	resources = calloc(1, sizeof(*resources));
	if (!resources)
		return err_sys(err, ENOMEM, "resources");
	root = json_root(doc);
	if (root.node->type != JSON_OBJECT)
		return json_fail(&root, err, "not an object");
	r = resources_parse(&root, resources, err);
	if (r < 0)
		return r;
	*out = take_ptr(&resources);
	return 0;
}

/* ---- freeing ---- */

void resources_release(struct oci_resources *resources)
{
	free(resources->cpu.cpus);
	free(resources->cpu.mems);
	free(resources->io.devices);
	for (size_t i = 0; i < OCI_THROTTLES; i++)
		free(resources->io.rates[i].items);
	for (size_t i = 0; i < resources->nhugepages; i++)
		free(resources->hugepages[i].page_size);
	free(resources->hugepages);
	free(resources->devices);
	pairs_release(&resources->unified);
	for (size_t i = 0; i < resources->network.npriorities; i++)
		free(resources->network.priorities[i].name);
	free(resources->network.priorities);
	for (size_t i = 0; i < resources->nrdma; i++)
		free(resources->rdma[i].device);
	free(resources->rdma);
}

void oci_resources_free(struct oci_resources *resources)
{
	if (!resources)
		return;
	resources_release(resources);
	free(resources);
}

/* ---- writing ---- */

static void write_object(struct json_writer *w, const char *key, const struct json_field *fields,
			 const void *from)
{
	if (key)
		json_write_key(w, key);
	json_write_open(w, '{');
	json_write_fields(w, fields, from);
	json_write_close(w, '}');
}

static void write_array(struct json_writer *w, const char *key, const struct json_field *fields,
			const void *items, size_t n, size_t size)
{
	if (!n)
		return;
	json_write_key(w, key);
	json_write_open(w, '[');
	for (size_t i = 0; i < n; i++)
		write_object(w, NULL, fields, (const char *)items + i * size);
	json_write_close(w, ']');
}

static void write_io(struct json_writer *w, const struct oci_resources *resources)
{
	json_write_key(w, "blockIO");
	json_write_open(w, '{');
	json_write_fields(w, io_fields, resources);
	write_array(w, "weightDevice", io_weight_fields, resources->io.devices,
		    resources->io.ndevices, sizeof(*resources->io.devices));
	for (size_t i = 0; i < OCI_THROTTLES; i++)
		write_array(w, throttle_names[i], io_rate_fields, resources->io.rates[i].items,
			    resources->io.rates[i].n, sizeof(struct oci_io_rate));
	json_write_close(w, '}');
}

static void write_rules(struct json_writer *w, const struct oci_resources *resources)
{
	json_write_key(w, "devices");
	json_write_open(w, '[');
	for (size_t i = 0; i < resources->ndevices; i++) {
		const struct oci_device_rule *rule = &resources->devices[i];
		const char type[] = {rule->type, '\0'};
		char access[4] = "";
		size_t n = 0;

		if (rule->access & OCI_ACCESS_READ)
			access[n++] = 'r';
		if (rule->access & OCI_ACCESS_WRITE)
			access[n++] = 'w';
		if (rule->access & OCI_ACCESS_MKNOD)
			access[n++] = 'm';
		json_write_open(w, '{');
		json_write_fields(w, rule_fields, rule);
		json_write_key(w, "type");
		json_write_string(w, type);
		json_write_key(w, "access");
		json_write_string(w, access);
		json_write_close(w, '}');
	}
	json_write_close(w, ']');
}

static void write_unified(struct json_writer *w, const struct oci_resources *resources)
{
	json_write_key(w, "unified");
	json_write_open(w, '{');
	for (size_t i = 0; i < resources->unified.n; i++) {
		json_write_key(w, resources->unified.items[i].key);
		json_write_string(w, resources->unified.items[i].value);
	}
	json_write_close(w, '}');
}

static void write_network(struct json_writer *w, const struct oci_resources *resources)
{
	json_write_key(w, "network");
	json_write_open(w, '{');
	json_write_fields(w, network_fields, resources);
	write_array(w, "priorities", priority_fields, resources->network.priorities,
		    resources->network.npriorities, sizeof(*resources->network.priorities));
	json_write_close(w, '}');
}

static void write_rdma(struct json_writer *w, const struct oci_resources *resources)
{
	json_write_key(w, "rdma");
	json_write_open(w, '{');
	for (size_t i = 0; i < resources->nrdma; i++)
		write_object(w, resources->rdma[i].device, rdma_fields, &resources->rdma[i]);
	json_write_close(w, '}');
}

ssize_t oci_resources_write(const struct oci_resources *resources, char **out, struct err *err)
{
	struct json_writer w;

	json_write_init(&w, NULL, OCI_RESOURCES_MAX);
	json_write_open(&w, '{');
	write_object(&w, "memory", memory_fields, resources);
	write_object(&w, "cpu", cpu_fields, resources);
	write_object(&w, "pids", pids_fields, resources);
	write_io(&w, resources);
	write_array(&w, "hugepageLimits", hugepage_fields, resources->hugepages,
		    resources->nhugepages, sizeof(*resources->hugepages));
	if (resources->ndevices)
		write_rules(&w, resources);
	if (resources->unified.n)
		write_unified(&w, resources);
	if (resources->network.class_id.given || resources->network.npriorities)
		write_network(&w, resources);
	if (resources->nrdma)
		write_rdma(&w, resources);
	json_write_close(&w, '}');
	return json_write_end(&w, out, err);
}
