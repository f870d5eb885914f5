/* SPDX-License-Identifier: Apache-2.0 */
/* Process documents (`exec --process`, the agent's Exec request): written as they were read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oci_process *process = NULL, *again = NULL;
	char *text = NULL, *twice = NULL;
	ssize_t n;

	if (oci_process_parse((const char *)data, size, &process, NULL) < 0)
		return 0;
	if (!process->cwd)
		abort();
	n = oci_process_write(process, &text, NULL);
	if (n >= 0) {
		if (oci_process_parse(text, (size_t)n, &again, NULL) < 0)
			abort();
		if (oci_process_write(again, &twice, NULL) != n || strcmp(text, twice) != 0)
			abort();
	}
	oci_process_free(process);
	oci_process_free(again);
	free(text);
	free(twice);
	return 0;
}
