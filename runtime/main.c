/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson: an OCI runtime. This program is three things by how it is called:
 *
 *   caisson COMMAND …    the command line (runtime/): short-lived, what runc's would be
 *   (forked by create)   the monitor (shim/)
 *   caisson-vmm          the guest's process (kvm/), executed by the monitor under that name
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvm/vmm.h"
#include "lib/err.h"
#include "runtime/cli.h"
#include "runtime/commands.h"

static int usage_error(struct err *err, int r)
{
	if (r == -CLI_USAGE) {
		(void)printf("Incorrect Usage: %s\n\n", err->msg);
		cli_help(NULL);
		(void)fflush(stdout);
	}
	cli_report(err);
	return EXIT_FAILURE;
}

static int dispatch(const struct globals *globals, const struct cli_args *rest)
{
	const struct cli_command *command;
	struct err err = {0};

	if (globals->version)
		return cli_run(globals, &command_version,
			       (const char *const *)rest->items + rest->n);
	if (globals->help || rest->n == 0) {
		cli_help(NULL);
		return 0;
	}
	command = cli_find(rest->items[0]);
	if (command)
		return cli_run(globals, command, (const char *const *)rest->items + 1);
	(void)err_set(&err, EINVAL, "No help topic for '%.100s'", rest->items[0]);
	cli_report(&err);
	return CLI_NO_TOPIC;
}

/* Descriptors 0 to 2 that the caller has closed would become those of the first files we open */
static int open_standard(struct err *err)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return err_sys(err, errno, "/dev/null");
	(void)close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	struct globals globals = {0};
	struct cli_args rest = {0};
	struct err err = {0};
	int r;

	if (argc > 0 && strcmp(argv[0], VMM_PROGRAM_NAME) == 0)
		return vmm_main(argc, argv);
	r = open_standard(&err);
	if (r == 0)
		r = main_setup((const char *const *)argv + (argc > 0), &globals, &rest, &err);
	r = r < 0 ? usage_error(&err, r) : dispatch(&globals, &rest);
	cli_args_release(&rest);
	return r;
}
