/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: tables of commands and options, in the way runc's is understood.
 *
 *   caisson [global options] COMMAND [options] [arguments]
 *
 * `--name value`, `--name=value` and the same with one dash; one-letter forms; booleans also as
 * `--name=false`; `--` ends options. Options may follow arguments, except where a command takes
 * another command line (exec).
 */
#ifndef RUNTIME_CLI_H
#define RUNTIME_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

#define CLI_USAGE 1000 /* code of an error that is the command line's: help is shown with it */

struct cli_list {
	const char **items; /* owned array of borrowed strings */
	size_t n;
};

enum cli_kind {
	CLI_BOOL,     /* bool */
	CLI_SWITCH,   /* int: 1 or -1 as it was given, 0: not at all */
	CLI_STRING,   /* const char * */
	CLI_LIST,     /* struct cli_list, may be given often */
	CLI_NUMBER,   /* long */
	CLI_TRISTATE, /* const char *: "true", "false" or "auto"; alone it means "true" */
};

struct cli_option {
	const char *name;
	char letter; /* 0: none */
	enum cli_kind kind;
	size_t offset;	  /* in the options' struct */
	const char *help; /* NULL: accepted, not shown */
};

struct globals {
	const char *root; /* absolute path of the directory of states */
	bool root_given;
	const char *log, *log_format, *rootless, *criu, *config;
	bool debug, systemd_cgroup, help, version;
};

struct cli_args {
	const char **items; /* owned array of borrowed strings, ended by NULL */
	size_t n;
};

struct cli_command {
	const char *name, *summary;
	const char *usage;		  /* "<container-id>": what follows the options */
	const char *description;	  /* paragraphs of the help text, or NULL */
	const struct cli_option *options; /* ended by a NULL name; may be NULL */
	size_t options_size;		  /* of the struct they fill */
	const char *unsupported; /* not NULL: whatever is asked of it, also help, fails with this */
	size_t min_args, max_args;
	bool stop_at_argument;	    /* what follows the first argument is not ours */
	int failure_status;	    /* exit code when it fails, 0: 1 */
	const char *failure_prefix; /* put before its errors, or NULL */
	/* Return: the exit code, or -errno with @err */
	int (*run)(const struct globals *globals, const void *options, const struct cli_args *args,
		   struct err *err);
};

/** cli_commands - All commands, ended by NULL (commands.c) */
extern const struct cli_command *const cli_commands[];
extern const struct cli_option cli_global_options[];

/**
 * cli_parse() - Read options into a struct
 * @options:	Ended by a NULL name, may be NULL
 * @out:	Zeroed struct; lists in it are released by cli_release()
 * @rest:	Arguments that are not options; released by cli_args_release()
 * @keep:	No options after this many arguments (SIZE_MAX: anywhere)
 *
 * Return: 0; -CLI_USAGE with @err for what is not understood; 1 if --help or -h is among the options; -ENOMEM
 */
int cli_parse(const struct cli_option *options, const char *const *argv, size_t keep, void *out,
	      struct cli_args *rest, struct err *err);
void cli_release(const struct cli_option *options, void *out);
void cli_args_release(struct cli_args *args);

/** cli_find() - The command of this name, or NULL */
const struct cli_command *cli_find(const char *name);
/** cli_run() - Parse a command's own options and run it; Return: the process's exit code, errors reported */
int cli_run(const struct globals *globals, const struct cli_command *command,
	    const char *const *argv);
/** cli_report() - Log an error; also plainly on standard error when the log is elsewhere */
void cli_report(const struct err *err);

/** cli_help() - Print the help text, of everything when @command is NULL */
void cli_help(const struct cli_command *command);

/** main_setup() - Global options: read, check, open the log; Return: as cli_parse(), or -errno */
int main_setup(const char *const *argv, struct globals *globals, struct cli_args *rest,
	       struct err *err);

#endif
