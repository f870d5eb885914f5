/* SPDX-License-Identifier: Apache-2.0 */
/* Resources documents (`update -r`, the agent's Update request): written as they were read, and planned for both cgroups. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/config.h"
#include "oci/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_values(const struct oci_resources *r)
{
	if (r->cpu.cpus && r->cpu.cpus[0] && oci_list_count(r->cpu.cpus) < 1)
		abort();
	for (size_t i = 0; i < r->ndevices; i++) {
		if (!r->devices[i].access || r->devices[i].major < -1)
			abort();
	}
	for (size_t i = 0; i < r->nhugepages; i++) {
		if (!r->hugepages[i].page_bytes)
			abort();
	}
	for (size_t i = 1; i < r->nrdma; i++) {
		if (strcmp(r->rdma[i - 1].device, r->rdma[i].device) >= 0)
			abort();
	}
}

static void check_plan(const struct oci_resources *resources, enum limits_side side, bool is_v1,
		       const struct limits_machine *machine)
{
	struct limits limits = {0};
	struct err err = {0};
	int r = is_v1 ? limits_plan_v1(resources, machine, &limits, &err)
		      : limits_plan(resources, side, machine, &limits, &err);

	if (r < 0 && (r != -EINVAL || !err.msg[0]))
		abort();
	for (size_t i = 0; r == 0 && i < limits.n; i++) {
		const struct limits_write *write = &limits.items[i];

		/* One name below the cgroup's directory, one write of one line */
		if (!write->file[0] || strchr(write->file, '/') || strcmp(write->file, ".") == 0 ||
		    strcmp(write->file, "..") == 0 ||
		    (!write->is_unified && strchr(write->value, '\n')))
			abort();
		if (write->missing == LIMITS_ALTERNATIVE && i + 1 == limits.n)
			abort();
	}
	limits_release(&limits);
}

static void check_plans(const struct oci_resources *resources)
{
	static const struct limits_machine machines[] = {
		{64u << 20, 1}, {INT64_MAX / 2, 254}, {0, 0}};

	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
		check_plan(resources, LIMITS_GUEST, false, &machines[i]);
		check_plan(resources, LIMITS_HOST, false, &machines[i]);
		check_plan(resources, LIMITS_HOST, true, &machines[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oci_resources *resources = NULL, *again = NULL;
	struct err err = {0};
	char *text = NULL, *twice = NULL;
	ssize_t n;

	if (oci_resources_parse((const char *)data, size, &resources, &err) < 0) {
		if (resources || !err.msg[0])
			abort();
		return 0;
	}
	check_values(resources);
	check_plans(resources);
	n = oci_resources_write(resources, &text, NULL);
	if (n >= 0) {
		if (oci_resources_parse(text, (size_t)n, &again, NULL) < 0)
			abort();
		if (oci_resources_write(again, &twice, NULL) != n || strcmp(text, twice) != 0)
			abort();
	}
	oci_resources_free(resources);
	oci_resources_free(again);
	free(text);
	free(twice);
	return 0;
}
