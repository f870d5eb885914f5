/* SPDX-License-Identifier: Apache-2.0 */
/* state.json as a crash or a stranger left it: refused, or stored and printed again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oci_state *state = NULL, *again = NULL;
	struct json_writer w;
	char *text = NULL, *shown = NULL;
	ssize_t n;

	if (oci_state_parse((const char *)data, size, &state, NULL) < 0)
		return 0;
	if (!oci_id_is_valid(state->id) || state->pid <= 0 ||
	    (state->cgroup && strstr(state->cgroup, "/..")))
		abort();
	n = oci_state_store(state, &text, NULL);
	if (n >= 0 && oci_state_parse(text, (size_t)n, &again, NULL) < 0)
		abort();
	json_write_init(&w, "  ", OCI_STATE_MAX * 2);
	oci_state_print(&w, state, OCI_STOPPED, "root");
	(void)json_write_end(&w, &shown, NULL);
	oci_state_free(state);
	oci_state_free(again);
	free(text);
	free(shown);
	return 0;
}
