/* SPDX-License-Identifier: Apache-2.0 */
/* hooks.json as a crash or a stranger left it: refused, or with all that poststop hooks need, which can be written again the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/hooks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *write_record(const struct oci_hook_record *record, ssize_t *n)
{
	struct oci_config config = {.oci_version = record->oci_version,
				    .annotations = record->annotations};
	char *text = NULL;

	memcpy(config.hooks, record->hooks, sizeof(config.hooks));
	*n = oci_hook_record_write(&config, record->bundle, &text, NULL);
	return text;
}

static void check_writing(const struct oci_hook_record *record)
{
	struct oci_hook_record *again = NULL;
	ssize_t n, m;
	char *text = write_record(record, &n), *twice;

	if (n < 0)
		return; /* larger than the file may be */
	if (oci_hook_record_parse(text, (size_t)n, &again, NULL) < 0)
		abort();
	twice = write_record(again, &m);
	if (m != n || strcmp(text, twice) != 0)
		abort();
	oci_hook_record_free(again);
	free(text);
	free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oci_hook_record *record = NULL;

	if (oci_hook_record_parse((const char *)data, size, &record, NULL) < 0)
		return 0;
	if (record->bundle[0] != '/' || !record->oci_version[0])
		abort();
	for (int kind = 0; kind < OCI_HOOK_COUNT; kind++) {
		for (size_t i = 0; i < record->hooks[kind].n; i++) {
			const struct oci_hook *hook = &record->hooks[kind].items[i];

			if (hook->path[0] != '/' || hook->timeout_s < 0 ||
			    (hook->args.n && hook->args.items[hook->args.n]) ||
			    (hook->env.items && hook->env.items[hook->env.n]))
				abort();
		}
	}
	check_writing(record);
	oci_hook_record_free(record);
	return 0;
}
