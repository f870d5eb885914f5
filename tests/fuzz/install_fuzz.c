/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engines' configuration as `caisson install` finds it: containerd's, and Docker's, where what was put in must be found again, and be
 * taken out again.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/install.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void docker(const char *text)
{
	struct install_change change = {0}, again = {0}, undone = {0}, twice = {0};

	if (install_daemon_json("d", text, "/c", &change, NULL) < 0 || change.none)
		return;
	if (install_daemon_json("d", change.text, "/c", &again, NULL) < 0 || !again.none)
		abort();
	if (install_daemon_json_undo("d", change.text, "/c", &undone, NULL) < 0) {
		if (!strstr(text, "default-runtime") && !strchr(text, '\\'))
			abort();
	} else if (undone.none || install_daemon_json("d", undone.text, "/c", &twice, NULL) < 0 ||
		   twice.none) {
		abort();
	}
	free(change.text);
	free(undone.text);
	free(twice.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	unsigned long version;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	(void)install_containerd_reads(text, "/etc/containerd/config.toml",
				       "/etc/containerd/conf.d/caisson.toml", &version);
	docker(text);
	free(text);
	return 0;
}
