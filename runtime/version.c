/* SPDX-License-Identifier: Apache-2.0 */
/* `caisson version` and --version, in runc's layout, which Docker and Podman read. */
#include <stdio.h>

#include "oci/config.h"
#include "runtime/commands.h"

#ifndef CAISSON_COMMIT
#define CAISSON_COMMIT CAISSON_VERSION
#endif

static int run_version(const struct globals *globals, const void *options,
		       const struct cli_args *args, struct err *err)
{
	(void)globals;
	(void)options;
	(void)args;
	(void)err;
	(void)printf("caisson version %s\ncommit: %s\nspec: %s\n", CAISSON_VERSION, CAISSON_COMMIT,
		     OCI_VERSION);
	return 0;
}

const struct cli_command command_version = {
	.name = "version",
	.summary = "print the version",
	.usage = "",
	.run = run_version,
};
