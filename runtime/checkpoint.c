/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson checkpoint` and `caisson restore`: known by name and refused. Engines ask for the help text and take a failure
 * as "this runtime cannot", so that fails too.
 */
#include <stdint.h>

#include "runtime/commands.h"

const struct cli_command command_checkpoint = {
	.name = "checkpoint",
	.summary = "checkpoint a running container (not yet supported)",
	.unsupported = "checkpoint is not yet supported",
};

const struct cli_command command_restore = {
	.name = "restore",
	.summary = "restore a container from a previous checkpoint (not yet supported)",
	.unsupported = "restore is not yet supported",
};
