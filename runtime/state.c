/* SPDX-License-Identifier: Apache-2.0 */
/* `caisson state`: what is known of one container, as JSON. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>

#include "runtime/commands.h"
#include "runtime/container.h"

static int run_state(const struct globals *globals, const void *options,
		     const struct cli_args *args, struct err *err)
{
	cleanup_free char *text = NULL;
	struct container container;
	struct json_writer w;
	char owner[256];
	ssize_t n;
	int r = container_load(globals, args->items[0], &container, err);

	(void)options;
	if (r < 0)
		return r;
	container_owner(&container, owner, sizeof(owner));
	json_write_init(&w, "  ", OCI_STATE_MAX);
	oci_state_print(&w, container.state, container.status, owner);
	n = json_write_end(&w, &text, err);
	container_release(&container);
	if (n < 0)
		return (int)n;
	(void)fputs(text, stdout);
	return 0;
}

const struct cli_command command_state = {
	.name = "state",
	.summary = "output the state of a container",
	.usage = "<container-id>",
	.description = "The state command outputs current state information for the\n"
		       "   instance of a container.",
	.min_args = 1,
	.max_args = 1,
	.run = run_state,
};
