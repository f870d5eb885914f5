/* SPDX-License-Identifier: Apache-2.0 */
/* Resources documents (`update -r`, the agent's Update request): written as they were read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/config.h"

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
