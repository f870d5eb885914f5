/* SPDX-License-Identifier: Apache-2.0 */
/* Help texts, in runc's layout, from the tables of commands; and the command `help`. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "runtime/cli.h"
#include "runtime/commands.h"

static int option_title(const struct cli_option *option, char *out, size_t size)
{
	const char *value = option->kind == CLI_BOOL || option->kind == CLI_SWITCH ? "" : " value";

	if (option->letter)
		return snprintf(out, size, "--%s%s, -%c%s", option->name, value, option->letter,
				value);
	return snprintf(out, size, "--%s%s", option->name, value);
}

static void print_options(const struct cli_option *options)
{
	char title[80];
	int width = 10;

	for (const struct cli_option *o = options; o && o->name; o++) {
		int n = o->help ? option_title(o, title, sizeof(title)) : 0;

		width = n > width ? n : width;
	}
	for (const struct cli_option *o = options; o && o->name; o++) {
		if (!o->help)
			continue;
		(void)option_title(o, title, sizeof(title));
		(void)printf("   %-*s  %s\n", width, title, o->help);
	}
	(void)printf("   %-*s  %s\n", width, "--help, -h", "show help");
}

static void help_command(const struct cli_command *command)
{
	(void)printf("NAME:\n   caisson %s - %s\n\nUSAGE:\n   caisson %s %s%s\n", command->name,
		     command->summary, command->name, command->options ? "[command options] " : "",
		     command->usage);
	if (command->description)
		(void)printf("\nDESCRIPTION:\n   %s\n", command->description);
	(void)printf("\nOPTIONS:\n");
	print_options(command->options);
}

void cli_help(const struct cli_command *command)
{
	if (command) {
		help_command(command);
		return;
	}
	(void)printf(
		"NAME:\n   caisson - Open Container Initiative runtime, each container in its own "
		"virtual machine\n\n"
		"USAGE:\n   caisson [global options] command [command options] [arguments...]\n\n"
		"VERSION:\n   " CAISSON_VERSION "\n\nCOMMANDS:\n");
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		(void)printf("   %-10s %s\n", (*c)->name, (*c)->summary);
	(void)printf("\nGLOBAL OPTIONS:\n");
	print_options(cli_global_options);
}

static int run_help(const struct globals *globals, const void *options, const struct cli_args *args,
		    struct err *err)
{
	const struct cli_command *command = NULL;

	(void)globals;
	(void)options;
	if (args->n) {
		command = cli_find(args->items[0]);
		if (!command) {
			(void)err_set(err, 1, "No help topic for '%.100s'", args->items[0]);
			cli_report(err);
			return CLI_NO_TOPIC;
		}
	}
	if (command && command->unsupported)
		return err_set(err, ENOTSUP, "%s", command->unsupported);
	cli_help(command);
	return 0;
}

const struct cli_command command_help = {
	.name = "help",
	.summary = "Shows a list of commands or help for one command",
	.usage = "[command]",
	.max_args = 1,
	.run = run_help,
};
