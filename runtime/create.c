/* SPDX-License-Identifier: Apache-2.0 */
/* `caisson create`: make a container whose process waits for `start`. The work is launch.c's. */
#include <errno.h>
#include <stdint.h>

#include "runtime/commands.h"
#include "runtime/interrupt.h"
#include "runtime/launch.h"

static const struct cli_option options[] = {LAUNCH_OPTIONS, {0}};

static int run_create(const struct globals *globals, const void *opaque,
		      const struct cli_args *args, struct err *err)
{
	struct launch_options given = *(const struct launch_options *)opaque;
	struct launch launch;
	int r;

	given.detach = true;
	r = launch_create(globals, &given, args->items[0], &launch, err);
	if (r < 0)
		return interrupt_status(r, "create", err);
	launch_release(&launch);
	return 0;
}

const struct cli_command command_create = {
	.name = "create",
	.summary = "create a container",
	.usage = "<container-id>",
	.description = "The bundle is a folder with a config.json and a root file system. Its "
		       "process is started by\n"
		       "   \"caisson start\".",
	.options = options,
	.options_size = sizeof(struct launch_options),
	.min_args = 1,
	.max_args = 1,
	.failure_prefix = "caisson create failed",
	.run = run_create,
};
