/* SPDX-License-Identifier: Apache-2.0 */
/* hooks.json as a crash or a stranger left it: refused, or with all that poststop hooks need. */
#include <stdint.h>
#include <stdlib.h>

#include "oci/hooks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
	oci_hook_record_free(record);
	return 0;
}
