/* SPDX-License-Identifier: Apache-2.0 */
/* state.json as a crash or a stranger left it: refused, or stored again the same, printed, and told to hooks. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_parent(const char *path)
{
	while ((path = strstr(path, "/.."))) {
		path += 3;
		if (!*path || *path == '/')
			return true;
	}
	return false;
}

static void check_store(const struct oci_state *state)
{
	struct oci_state *again = NULL;
	char *text = NULL, *twice = NULL;
	ssize_t n = oci_state_store(state, &text, NULL);

	if (n < 0)
		return; /* larger than the file may be */
	if (oci_state_parse(text, (size_t)n, &again, NULL) < 0)
		abort();
	if (oci_state_store(again, &twice, NULL) != n || strcmp(text, twice) != 0)
		abort();
	oci_state_free(again);
	free(text);
	free(twice);
}

/* What is printed is JSON */
static void check_json(char *text, ssize_t n)
{
	struct json_doc *doc = NULL;

	if (n >= 0 && json_parse("output", text, (size_t)n, (size_t)n, &doc, NULL) < 0)
		abort();
	json_doc_free(doc);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oci_state *state = NULL;
	struct json_writer w;
	char *text = NULL;
	ssize_t n;

	if (oci_state_parse((const char *)data, size, &state, NULL) < 0)
		return 0;
	if (!oci_id_is_valid(state->id) || state->pid <= 0 ||
	    (state->cgroup && has_parent(state->cgroup)))
		abort();
	check_store(state);
	for (int status = OCI_CREATING; status < OCI_STATUS_COUNT; status++) {
		text = NULL;
		json_write_init(&w, "  ", OCI_STATE_MAX * 2);
		oci_state_print(&w, state, (enum oci_status)status, "root");
		n = json_write_end(&w, &text, NULL);
		check_json(text, n);
		text = NULL;
		n = oci_state_hook(state, (enum oci_status)status, &text, NULL);
		check_json(text, n);
	}
	oci_state_free(state);
	return 0;
}
