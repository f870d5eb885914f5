/* SPDX-License-Identifier: Apache-2.0 */
/* `caisson features`: what this runtime can do, as JSON for engines. */
#include "oci/features.h"

#include <stdio.h>

#include "lib/cleanup.h"
#include "runtime/commands.h"

static int run_features(const struct globals *globals, const void *options,
			const struct cli_args *args, struct err *err)
{
	cleanup_free char *text = NULL;
	ssize_t n = oci_features_write(CAISSON_VERSION, &text, err);

	(void)globals;
	(void)options;
	(void)args;
	if (n < 0)
		return (int)n;
	(void)printf("%s\n", text);
	return 0;
}

const struct cli_command command_features = {
	.name = "features",
	.summary = "show the enabled features",
	.usage = "",
	.description = "Show the enabled features.\n   The result is parsable as a JSON.",
	.run = run_features,
};
