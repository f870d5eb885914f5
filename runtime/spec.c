/* SPDX-License-Identifier: Apache-2.0 */
/* `caisson spec`: write a starter config.json. */
#include "oci/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "runtime/commands.h"

struct spec_options {
	const char *bundle;
	bool rootless;
};

static const struct cli_option options[] = {
	{"bundle", 'b', CLI_STRING, offsetof(struct spec_options, bundle),
	 "path to the root of the bundle directory"},
	{"rootless", 0, CLI_BOOL, offsetof(struct spec_options, rootless),
	 "generate a configuration for a rootless container"},
	{0},
};

static int run_spec(const struct globals *globals, const void *opaque, const struct cli_args *args,
		    struct err *err)
{
	const struct spec_options *given = opaque;
	const char *bundle = given->bundle && given->bundle[0] ? given->bundle : ".";
	cleanup_close int dir_fd = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_free char *text = NULL;
	ssize_t n;

	(void)globals;
	(void)args;
	if (dir_fd < 0)
		return err_sys(err, errno, "bundle '%s'", bundle);
	if (faccessat(dir_fd, "config.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(err, EEXIST, "File config.json exists. Remove it first");
	n = oci_spec_write(given->rootless, geteuid(), getegid(), &text, err);
	if (n < 0)
		return (int)n;
	return io_write_file(dir_fd, "config.json", text, (size_t)n, 0666 & ~022, err);
}

const struct cli_command command_spec = {
	.name = "spec",
	.summary = "create a new specification file",
	.usage = "",
	.description =
		"The spec command creates the new specification file named \"config.json\" for\n"
		"   the bundle. It runs \"sh\" in the folder \"rootfs\"; edit it to run something "
		"else.",
	.options = options,
	.options_size = sizeof(struct spec_options),
	.run = run_spec,
};
