/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json: what parses must be freed whole, and its process must survive being written and parsed again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_process(const struct oci_process *process)
{
	struct oci_process *again = NULL;
	char *text = NULL, *twice = NULL;
	ssize_t n = oci_process_write(process, &text, NULL);

	if (n < 0)
		return; /* larger than a process document may be */
	if (oci_process_parse(text, (size_t)n, &again, NULL) < 0)
		abort();
	if (oci_process_write(again, &twice, NULL) != n || strcmp(text, twice) != 0)
		abort();
	oci_process_free(again);
	free(text);
	free(twice);
}

/* What users of the config take for granted */
static void check_values(const struct oci_config *config)
{
	const struct oci_pairs *sysctl = &config->linux_.sysctl;
	uint32_t id;

	for (size_t i = 0; i < config->nmounts; i++) {
		const struct oci_mount *mount = &config->mounts[i];

		if (mount->destination[0] != '/' || (mount->is_bind && !mount->source) ||
		    (mount->is_idmapped && !mount->is_bind) ||
		    !mount->uid_mappings.n != !mount->gid_mappings.n)
			abort();
	}
	for (size_t i = 0; i < sysctl->n; i++) {
		if (sysctl->items[i].key[0] == '.' || strstr(sysctl->items[i].key, ".."))
			abort();
	}
	if (config->linux_.namespaces[OCI_NS_USER].present &&
	    !config->linux_.namespaces[OCI_NS_USER].path &&
	    !oci_idmap_to_host(&config->linux_.uid_mappings, 0, &id))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oci_config *config = NULL;
	struct err err = {0};

	if (oci_config_parse((const char *)data, size, &config, &err) < 0) {
		if (config || !err.msg[0])
			abort();
		return 0;
	}
	if (!config->root.path || !config->oci_version)
		abort();
	check_values(config);
	if (config->has_process)
		check_process(&config->process);
	(void)oci_annotation(config, "a");
	oci_config_free(config);
	return 0;
}
