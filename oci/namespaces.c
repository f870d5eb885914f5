/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces (runtime-spec config-linux.md): the list, and what belongs to one: id mappings, clock offsets. Mappings are checked as
 * the kernel would when they are written to /proc/PID/uid_map, where the reason is a bare EINVAL.
 */
#include <errno.h>
#include <string.h>

#include "oci/parse.h"

#define IDMAPS_MAX 340 /* ranges in one map; Linux */

static const char *const namespace_names[OCI_NS_COUNT] = {
	[OCI_NS_PID] = "pid",	    [OCI_NS_NETWORK] = "network", [OCI_NS_MOUNT] = "mount",
	[OCI_NS_IPC] = "ipc",	    [OCI_NS_UTS] = "uts",	  [OCI_NS_USER] = "user",
	[OCI_NS_CGROUP] = "cgroup", [OCI_NS_TIME] = "time",
};

static const char *const clock_names[OCI_CLOCK_COUNT] = {
	[OCI_CLOCK_MONOTONIC] = "monotonic",
	[OCI_CLOCK_BOOTTIME] = "boottime",
};

const char *oci_namespace_name(enum oci_ns ns)
{
	return namespace_names[ns];
}

static int parse_namespace(const struct json_at *at, struct oci_config *config, struct err *err)
{
	static const struct json_field path[] = {
		{.key = "path",
		 .kind = JSON_TO_STRING,
		 .offset = offsetof(struct oci_namespace, path),
		 .flags = JSON_ABSOLUTE},
		{0},
	};
	struct oci_namespace *ns;
	struct json_at type = {.parent = at, .name = "type"};
	int r = json_member_name(at, "type", namespace_names, OCI_NS_COUNT, err);

	if (r < 0)
		return r;
	ns = &config->linux_.namespaces[r];
	if (ns->present)
		return json_fail(&type, err, "'%s' is given twice", namespace_names[r]);
	ns->present = true;
	r = json_fill(at, path, ns, err);
	if (r < 0)
		return r;
	if (ns->path && !ns->path[0]) { /* "" means none */
		free(ns->path);
		ns->path = NULL;
	}
	return 0;
}

int namespaces_parse(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at list, it = {0};
	int r = json_member(at, "namespaces", JSON_ARRAY, &list, err);

	if (r <= 0)
		return r;
	while ((r = json_each(&list, JSON_OBJECT, &it, err)) > 0) {
		r = parse_namespace(&it, config, err);
		if (r < 0)
			return r;
	}
	return r;
}

/* ---- id mappings ---- */

static bool overlap(uint32_t a, uint32_t na, uint32_t b, uint32_t nb)
{
	return a <= b ? b - a < na : a - b < nb;
}

static int parse_idmap(const struct json_at *at, void *item, struct err *err)
{
#define I(member_, key_, ...)                                              \
	{                                                                  \
		.key = key_, .kind = JSON_TO_U32, .flags = JSON_REQUIRED,  \
		.offset = offsetof(struct oci_idmap, member_), __VA_ARGS__ \
	}
	static const struct json_field fields[] = {
		I(container_id, "containerID"),
		I(host_id, "hostID"),
		I(size, "size", .min = 1, .max = UINT32_MAX),
		{0},
	};
	struct oci_idmap *map = item;
	int r = json_fill(at, fields, map, err);

	if (r < 0)
		return r;
	if (map->size > UINT32_MAX - map->container_id || map->size > UINT32_MAX - map->host_id)
		return json_fail(at, err, "reaches beyond the last id");
	return 0;
}

int idmaps_parse(const struct json_at *at, const char *key, struct oci_idmaps *out, struct err *err)
{
	struct json_at list = {.parent = at, .name = key};
	int r = array_parse(at, key, sizeof(struct oci_idmap), parse_idmap, (void **)&out->items,
			    &out->n, err);

	if (r < 0)
		return r;
	if (out->n > IDMAPS_MAX)
		return json_fail(&list, err, "more than %d ranges", IDMAPS_MAX);
	for (size_t i = 1; i < out->n; i++) {
		const struct oci_idmap *x = &out->items[i];
		struct json_at here = {.parent = &list, .index = i};

		for (const struct oci_idmap *y = out->items; y < x; y++) {
			if (overlap(x->container_id, x->size, y->container_id, y->size) ||
			    overlap(x->host_id, x->size, y->host_id, y->size))
				return json_fail(&here, err, "overlaps another range");
		}
	}
	return 0;
}

bool oci_idmap_to_host(const struct oci_idmaps *maps, uint32_t id, uint32_t *out)
{
	for (size_t i = 0; i < maps->n; i++) {
		const struct oci_idmap *map = &maps->items[i];

		if (id >= map->container_id && id - map->container_id < map->size) {
			*out = map->host_id + (id - map->container_id);
			return true;
		}
	}
	return false;
}

bool oci_idmap_has_host(const struct oci_idmaps *maps, uint32_t id)
{
	for (size_t i = 0; i < maps->n; i++) {
		const struct oci_idmap *map = &maps->items[i];

		if (id >= map->host_id && id - map->host_id < map->size)
			return true;
	}
	return false;
}

/* ---- clocks ---- */

static int parse_offset(const struct json_at *at, struct oci_config *config, struct err *err)
{
	static const struct json_field fields[] = {
		{.key = "secs",
		 .kind = JSON_TO_I64,
		 .offset = offsetof(struct oci_time_offset, secs)},
		{.key = "nanosecs",
		 .kind = JSON_TO_U32,
		 .offset = offsetof(struct oci_time_offset, nanosecs),
		 .max = 999999999},
		{0},
	};
	size_t i;

	for (i = 0; i < OCI_CLOCK_COUNT && strcmp(clock_names[i], at->name) != 0; i++)
		;
	if (i == OCI_CLOCK_COUNT)
		return json_fail(at, err, "an unknown clock");
	config->linux_.time_offsets[i] = (struct oci_time_offset){.present = true};
	return json_fill(at, fields, &config->linux_.time_offsets[i], err);
}

int time_offsets_parse(const struct json_at *at, struct oci_config *config, struct err *err)
{
	struct json_at map, it = {0};
	int r = json_member(at, "timeOffsets", JSON_OBJECT, &map, err);

	if (r <= 0)
		return r;
	while ((r = json_each(&map, JSON_OBJECT, &it, err)) > 0) {
		r = parse_offset(&it, config, err);
		if (r < 0)
			return r;
	}
	return r;
}
