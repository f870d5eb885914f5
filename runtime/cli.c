/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the command line, running a command, reporting its failure: see runtime/cli.h. */
#include "runtime/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

/* ---- options ---- */

static bool is_one_of(const char *text, const char *const *words)
{
	for (; *words; words++) {
		if (strcmp(text, *words) == 0)
			return true;
	}
	return false;
}

static int set_bool(const struct cli_option *option, const char *value, bool *out, struct err *err)
{
	static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True", NULL};
	static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False", NULL};

	if (value && !is_one_of(value, yes) && !is_one_of(value, no))
		return err_set(err, CLI_USAGE,
			       "invalid boolean value \"%.100s\" for flag -%s: parse error", value,
			       option->name);
	*out = !value || is_one_of(value, yes);
	return 0;
}

static int set_number(const struct cli_option *option, const char *value, long *out,
		      struct err *err)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(value, &end, 10);
	if (errno || end == value || *end)
		return err_set(err, CLI_USAGE, "invalid value \"%.100s\" for flag -%s: parse error",
			       value, option->name);
	*out = number;
	return 0;
}

static int add_to_list(struct cli_list *list, const char *value, struct err *err)
{
	const char **items = realloc(list->items, (list->n + 1) * sizeof(*items));

	if (!items)
		return err_sys(err, ENOMEM, "reading the command line");
	items[list->n++] = value;
	list->items = items;
	return 0;
}

static bool takes_value(enum cli_kind kind)
{
	return kind == CLI_STRING || kind == CLI_LIST || kind == CLI_NUMBER;
}

static int set_option(const struct cli_option *option, const char *value, char *out,
		      struct err *err)
{
	void *to = out + option->offset;
	bool on = false;
	int r;

	switch (option->kind) {
	case CLI_BOOL:
		return set_bool(option, value, to, err);
	case CLI_SWITCH:
		r = set_bool(option, value, &on, err);
		if (r == 0)
			*(int *)to = on ? 1 : -1;
		return r;
	case CLI_STRING:
		*(const char **)to = value;
		return 0;
	case CLI_LIST:
		return add_to_list(to, value, err);
	case CLI_NUMBER:
		return set_number(option, value, to, err);
	case CLI_TRISTATE:
		*(const char **)to = value ? value : "true";
		return 0;
	}
	return 0;
}

/* The option that @word (without dashes) names, up to an '=' */
static const struct cli_option *find_option(const struct cli_option *options, const char *word)
{
	size_t len = strcspn(word, "=");

	for (; options && options->name; options++) {
		if (strncmp(options->name, word, len) == 0 && options->name[len] == '\0')
			return options;
		if (len == 1 && options->letter == word[0])
			return options;
	}
	return NULL;
}

/* Return: the number of words used (1 or 2), or -CLI_USAGE, -ENOMEM */
static int take_option(const struct cli_option *option, const char *word, const char *next,
		       void *out, struct err *err)
{
	static const char *const tristate[] = {"true", "false", "auto", NULL};
	const char *value = strchr(word, '=');
	int used = 1, r;

	value = value ? value + 1 : NULL;
	if (!value && takes_value(option->kind)) {
		if (!next)
			return err_set(err, CLI_USAGE, "flag needs an argument: -%.*s",
				       (int)strcspn(word, "="), word);
		value = next;
		used = 2;
	}
	if (!value && option->kind == CLI_TRISTATE && next && is_one_of(next, tristate)) {
		value = next;
		used = 2;
	}
	r = set_option(option, value, out, err);
	return r < 0 ? r : used;
}

static bool is_option(const char *word)
{
	return word[0] == '-' && word[1] != '\0';
}

static const char *without_dashes(const char *word)
{
	word++;
	return *word == '-' ? word + 1 : word;
}

int cli_parse(const struct cli_option *options, const char *const *argv, size_t keep, void *out,
	      struct cli_args *rest, struct err *err)
{
	size_t nwords = 0;
	bool ended = false;

	while (argv[nwords])
		nwords++;
	rest->items = calloc(nwords + 1, sizeof(*rest->items));
	if (!rest->items)
		return err_sys(err, ENOMEM, "reading the command line");
	for (size_t i = 0; i < nwords;) {
		const struct cli_option *option;
		const char *word;
		int r;

		if (ended || !is_option(argv[i]) || rest->n >= keep) {
			rest->items[rest->n++] = argv[i++];
			ended = ended || rest->n >= keep;
			continue;
		}
		if (strcmp(argv[i], "--") == 0) {
			ended = true;
			i++;
			continue;
		}
		word = without_dashes(argv[i]);
		option = find_option(options, word);
		if (!option && (strcmp(word, "help") == 0 || strcmp(word, "h") == 0))
			return 1;
		if (!option)
			return err_set(err, CLI_USAGE, "flag provided but not defined: -%.100s",
				       word);
		r = take_option(option, word, argv[i + 1], out, err);
		if (r < 0)
			return r;
		i += (size_t)r;
	}
	return 0;
}

void cli_release(const struct cli_option *options, void *out)
{
	for (; out && options && options->name; options++) {
		if (options->kind == CLI_LIST)
			free(((struct cli_list *)((char *)out + options->offset))->items);
	}
}

void cli_args_release(struct cli_args *args)
{
	free(args->items);
	*args = (struct cli_args){0};
}

/* ---- commands ---- */

const struct cli_command *cli_find(const char *name)
{
	for (const struct cli_command *const *c = cli_commands; *c; c++) {
		if (strcmp((*c)->name, name) == 0)
			return *c;
	}
	return NULL;
}

void cli_report(const struct err *err)
{
	log_error("%s", err->msg);
	if (log_fd() != STDERR_FILENO)
		(void)dprintf(STDERR_FILENO, "%s\n", err->msg);
}

static int check_count(const struct cli_command *command, size_t n, struct err *err)
{
	const char *how = command->min_args == command->max_args ? "exactly"
			  : n < command->min_args		 ? "a minimum of"
								 : "a maximum of";

	if (n >= command->min_args && n <= command->max_args)
		return 0;
	return err_set(err, CLI_USAGE, "caisson: \"%s\" requires %s %zu argument(s)", command->name,
		       how, n < command->min_args ? command->min_args : command->max_args);
}

static int fail(const struct cli_command *command, int r, struct err *err)
{
	if (r == -CLI_USAGE) {
		(void)printf("Incorrect Usage: %s\n\n", err->msg);
		cli_help(command);
		(void)fflush(stdout);
		cli_report(err);
		return EXIT_FAILURE;
	}
	if (!err->msg[0])
		(void)err_sys(err, -r, "%s", command->name);
	if (command->failure_prefix)
		err_prefix(err, "%s", command->failure_prefix);
	cli_report(err);
	return command->failure_status ? command->failure_status : EXIT_FAILURE;
}

int cli_run(const struct globals *globals, const struct cli_command *command,
	    const char *const *argv)
{
	cleanup_free void *options = calloc(1, command->options_size + 1);
	struct cli_args args = {0};
	struct err err = {0};
	int r;

	if (!options)
		return fail(command, err_sys(&err, ENOMEM, "%s", command->name), &err);
	if (command->unsupported)
		return fail(command, err_set(&err, ENOTSUP, "%s", command->unsupported), &err);
	r = cli_parse(command->options, argv, command->stop_at_argument ? 1 : SIZE_MAX, options,
		      &args, &err);
	if (r == 0)
		r = check_count(command, args.n, &err);
	if (r == 1) {
		cli_help(command);
		r = 0;
	} else if (r == 0) {
		r = command->run(globals, options, &args, &err);
		errno = EIO; /* of a failure that has been before and left only its mark */
		if ((fflush(stdout) != 0 || ferror(stdout)) && r == 0)
			r = err_sys(&err, errno, "writing to standard output");
	}
	cli_release(command->options, options);
	cli_args_release(&args);
	return r < 0 ? fail(command, r, &err) : r;
}
