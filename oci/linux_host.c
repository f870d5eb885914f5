/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of linux that name things of the host: resctrl groups, NUMA nodes, network devices. Parsed and checked here as runc
 * checks them; whether this runtime can give them to a guest is for the callers to say.
 */
#include <ctype.h>
#include <errno.h>
#include <linux/mempolicy.h>
#include <net/if.h>
#include <string.h>

#include "oci/parse.h"

#ifndef MPOL_WEIGHTED_INTERLEAVE /* Linux 6.9 */
#define MPOL_WEIGHTED_INTERLEAVE 6
#endif

#define L(member_, key_, kind_)                                        \
	{                                                              \
		.key = key_, .kind = JSON_TO_##kind_,                  \
		.offset = offsetof(struct oci_config, linux_.member_), \
	}

/* ---- Intel RDT ---- */

static const struct json_field rdt_fields[] = {
	L(intel_rdt.clos_id, "closID", STRING),
	L(intel_rdt.l3_cache_schema, "l3CacheSchema", STRING),
	L(intel_rdt.mem_bw_schema, "memBwSchema", STRING),
	L(intel_rdt.schemata, "schemata", STRINGS),
	L(intel_rdt.enable_monitoring, "enableMonitoring", BOOL),
	{0},
};

/* The group is a folder of the resctrl file system: one name, or "/" for its root */
static bool is_clos_name(const char *text)
{
	return strcmp(text, "/") == 0 ||
	       (!strchr(text, '/') && strcmp(text, ".") != 0 && strcmp(text, "..") != 0);
}

static int check_line(const struct json_at *at, const char *key, const char *text, struct err *err)
{
	struct json_at here = {.parent = at, .name = key};

	if (!text || !strchr(text, '\n'))
		return 0;
	return json_fail(&here, err, "contains a newline");
}

int intel_rdt_parse(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at rdt, group = {.parent = &rdt, .name = "closID"};
	struct json_at bandwidth = {.parent = &rdt, .name = "memBwSchema"};
	struct json_at schemata = {.parent = &rdt, .name = "schemata"};
	const char *text;
	int r = json_member(at, "intelRdt", JSON_OBJECT, &rdt, err);

	if (r <= 0)
		return r;
	config->linux_.intel_rdt.present = true;
	r = json_fill(&rdt, rdt_fields, config, err);
	if (r < 0)
		return r;
	text = config->linux_.intel_rdt.clos_id;
	if (text && !is_clos_name(text))
		return json_fail(&group, err, "'%.64s' is not the name of a group", text);
	r = check_line(&rdt, "l3CacheSchema", config->linux_.intel_rdt.l3_cache_schema, err);
	if (r < 0)
		return r;
	text = config->linux_.intel_rdt.mem_bw_schema;
	if (text && text[0] && strncmp(text, "MB:", 3) != 0)
		return json_fail(&bandwidth, err, "does not begin with 'MB:'");
	r = check_line(&rdt, "memBwSchema", text, err);
	for (size_t i = 0; i < config->linux_.intel_rdt.schemata.n && r == 0; i++) {
		if (strchr(config->linux_.intel_rdt.schemata.items[i], '\n')) {
			struct json_at line = {.parent = &schemata, .index = i};

			r = json_fail(&line, err, "contains a newline");
		}
	}
	return r;
}

/* ---- memory policy ---- */

static const char *const policy_names[] = {
	[MPOL_DEFAULT] = "MPOL_DEFAULT",
	[MPOL_PREFERRED] = "MPOL_PREFERRED",
	[MPOL_BIND] = "MPOL_BIND",
	[MPOL_INTERLEAVE] = "MPOL_INTERLEAVE",
	[MPOL_LOCAL] = "MPOL_LOCAL",
	[MPOL_PREFERRED_MANY] = "MPOL_PREFERRED_MANY",
	[MPOL_WEIGHTED_INTERLEAVE] = "MPOL_WEIGHTED_INTERLEAVE",
};
static const struct {
	const char *name;
	unsigned int flag;
} policy_flags[] = {
	{"MPOL_F_NUMA_BALANCING", MPOL_F_NUMA_BALANCING},
	{"MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES},
	{"MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES},
};

static int parse_mode(const struct json_at *at, struct oci_config *config, struct err *err)
{
	static const struct json_field nodes_field[] = {
		L(memory_policy.nodes, "nodes", STRING),
		{0},
	};
	struct json_at nodes = {.parent = at, .name = "nodes"};
	const char *list;
	int mode, r;

	mode = json_member_name(at, "mode", policy_names, ARRAY_SIZE(policy_names), err);
	if (mode < 0)
		return mode;
	config->linux_.memory_policy.mode = mode;
	r = json_fill(at, nodes_field, config, err);
	if (r < 0)
		return r;
	list = config->linux_.memory_policy.nodes;
	r = list_check(at, "nodes", list, err);
	if (r < 0 || mode == MPOL_PREFERRED)
		return r;
	if (mode == MPOL_DEFAULT || mode == MPOL_LOCAL) {
		if (list && list[0])
			return json_fail(&nodes, err, "%s takes none", policy_names[mode]);
	} else if (!list || !list[0]) {
		return json_fail(&nodes, err, "%s requires at least one", policy_names[mode]);
	}
	return 0;
}

static int parse_policy_flags(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at list, it = {0};
	int r = json_member(at, "flags", JSON_ARRAY, &list, err);

	if (r <= 0)
		return r;
	while ((r = json_each(&list, JSON_STRING, &it, err)) > 0) {
		size_t i;

		for (i = 0; i < ARRAY_SIZE(policy_flags); i++) {
			if (strcmp(policy_flags[i].name, it.node->text) == 0)
				break;
		}
		if (i == ARRAY_SIZE(policy_flags))
			return json_fail(&it, err, "'%.64s' is unknown", it.node->text);
		config->linux_.memory_policy.flags |= policy_flags[i].flag;
	}
	return r;
}

int memory_policy_parse(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at policy;
	int r = json_member(at, "memoryPolicy", JSON_OBJECT, &policy, err);

	if (r <= 0)
		return r;
	config->linux_.memory_policy.present = true;
	r = parse_mode(&policy, config, err);
	return r < 0 ? r : parse_policy_flags(&policy, config, err);
}

/* ---- network devices ---- */

/* As the kernel's dev_valid_name() */
static bool is_device_name(const char *name)
{
	if (!name[0] || strlen(name) >= IFNAMSIZ || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return false;
	for (; *name; name++) {
		if (*name == '/' || *name == ':' || isspace((unsigned char)*name))
			return false;
	}
	return true;
}

static int parse_device(const struct json_at *at, void *item, struct err *err)
{
	struct oci_pair *pair = item;
	struct json_at name;
	int r;

	if (!is_device_name(at->name))
		return json_fail(at, err, "not the name of a network device");
	r = json_member(at, "name", JSON_STRING, &name, err);
	if (r < 0)
		return r;
	if (r > 0 && name.node->text[0] && !is_device_name(name.node->text))
		return json_fail(&name, err, "'%.64s' is not the name of a network device",
				 name.node->text);
	pair->key = strdup(at->name);
	pair->value = strdup(r > 0 && name.node->text[0] ? name.node->text : at->name);
	return pair->key && pair->value ? 0 : err_sys(err, ENOMEM, "config");
}

int net_devices_parse(const struct json_at *at, struct oci_config *config, struct err *err)
{
	return map_parse(at, "netDevices", sizeof(struct oci_pair), parse_device,
			 (void **)&config->linux_.net_devices.items, &config->linux_.net_devices.n,
			 err);
}

void linux_host_release(struct oci_config *config)
{
	free(config->linux_.intel_rdt.clos_id);
	free(config->linux_.intel_rdt.l3_cache_schema);
	free(config->linux_.intel_rdt.mem_bw_schema);
	strings_release(&config->linux_.intel_rdt.schemata);
	free(config->linux_.memory_policy.nodes);
	pairs_release(&config->linux_.net_devices);
}
