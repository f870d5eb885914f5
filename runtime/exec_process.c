/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `exec` executes: the process of the bundle's config.json, changed by options, or --process
 * FILE, which engines use and delete as soon as the command returns.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/io.h"
#include "oci/capability.h"
#include "runtime/exec.h"

static int from_file(const char *path, struct oci_process **out, struct err *err)
{
	cleanup_free char *text = NULL;
	ssize_t n = io_read_file(AT_FDCWD, path, OCI_PROCESS_MAX, &text, err);

	if (n < 0)
		return (int)n;
	return oci_process_parse(text, (size_t)n, out, err);
}

/* A copy of config.json's process: written and parsed again, so that it is a thing of its own */
static int from_config(const struct container *container, struct oci_process **out, struct err *err)
{
	cleanup_close int bundle_fd = open(container->state->bundle,
					   O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(oci_config) struct oci_config *config = NULL;
	cleanup_free char *text = NULL, *process = NULL;
	ssize_t n;
	int r;

	if (bundle_fd < 0)
		return err_sys(err, errno, "bundle '%s'", container->state->bundle);
	n = io_read_file(bundle_fd, "config.json", OCI_CONFIG_MAX, &text, err);
	if (n < 0)
		return (int)n;
	r = oci_config_parse(text, (size_t)n, &config, err);
	if (r < 0)
		return r;
	if (!config->has_process)
		return err_set(err, EINVAL, "config.json: process: is missing");
	n = oci_process_write(&config->process, &process, err);
	if (n < 0)
		return (int)n;
	return oci_process_parse(process, (size_t)n, out, err);
}

/* ---- changes ---- */

static int append(struct oci_strings *strings, const char *text)
{
	char **items = realloc(strings->items, (strings->n + 2) * sizeof(*items));
	char *copy = strdup(text);

	if (items)
		strings->items = items;
	if (!items || !copy) {
		free(copy);
		return -ENOMEM;
	}
	items[strings->n++] = copy;
	items[strings->n] = NULL;
	return 0;
}

static int replace(char **to, const char *text)
{
	char *copy;

	if (!text || !text[0])
		return 0;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	free(*to);
	*to = copy;
	return 0;
}

static int set_args(struct oci_process *process, const struct cli_args *args, struct err *err)
{
	for (size_t i = 0; i < process->args.n; i++)
		free(process->args.items[i]);
	process->args.n = 0;
	for (size_t i = 1; i < args->n; i++) {
		if (append(&process->args, args->items[i]) < 0)
			return err_sys(err, ENOMEM, "exec");
	}
	return 0;
}

/* A number of at most 32 bits that a user wrote, up to @stop; (uint32_t)-1 is no id */
static int parse_id(const char *text, char stop, uint32_t *out, const char *what, struct err *err)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || text[0] < '0' || text[0] > '9' || (*end && *end != stop) ||
	    value >= UINT32_MAX)
		return err_set(err, EINVAL, "bad %s: '%.64s' is not an id", what, text);
	*out = (uint32_t)value;
	return 0;
}

static int set_user(struct oci_process *process, const char *user, struct err *err)
{
	const char *colon = user ? strchr(user, ':') : NULL;
	int r;

	if (!user || !user[0])
		return 0;
	if (colon) {
		r = parse_id(colon + 1, '\0', &process->user.gid, "gid", err);
		if (r < 0)
			return r;
	}
	return parse_id(user, ':', &process->user.uid, "uid", err);
}

static int add_gids(struct oci_process *process, const struct cli_list *gids, struct err *err)
{
	uint32_t *items = realloc(process->user.additional_gids,
				  (process->user.nadditional_gids + gids->n + 1) * sizeof(*items));

	if (!items)
		return err_sys(err, ENOMEM, "exec");
	process->user.additional_gids = items;
	for (size_t i = 0; i < gids->n; i++) {
		int r;

		if (gids->items[i][0] == '-')
			return err_set(err, EINVAL,
				       "additional-gids must be a positive number %.32s",
				       gids->items[i]);
		r = parse_id(gids->items[i], '\0', &items[process->user.nadditional_gids],
			     "additional gid", err);

		if (r < 0)
			return r;
		process->user.nadditional_gids++;
	}
	return 0;
}

static int add_env(struct oci_process *process, const struct cli_list *env, struct err *err)
{
	for (size_t i = 0; i < env->n; i++) {
		if (env->items[i][0] == '=' || !strchr(env->items[i], '='))
			return err_set(err, EINVAL,
				       "invalid environment variable: '%.64s' is not of the form "
				       "NAME=VALUE",
				       env->items[i]);
		if (append(&process->env, env->items[i]) < 0)
			return err_sys(err, ENOMEM, "exec");
	}
	return 0;
}

static int add_caps(struct oci_process *process, const struct cli_list *caps, struct err *err)
{
	/* Ambient ones need inheritable ones, which --cap does not give */
	bool ambient = process->caps[OCI_CAP_INHERITABLE] != 0;

	for (size_t i = 0; i < caps->n; i++) {
		int number = oci_capability_number(caps->items[i]);

		if (number < 0)
			return err_set(err, EINVAL, "unknown capability \"%.64s\"", caps->items[i]);
		process->has_capabilities = true;
		process->caps[OCI_CAP_BOUNDING] |= 1ull << number;
		process->caps[OCI_CAP_EFFECTIVE] |= 1ull << number;
		process->caps[OCI_CAP_PERMITTED] |= 1ull << number;
		if (ambient)
			process->caps[OCI_CAP_AMBIENT] |= 1ull << number;
	}
	return 0;
}

static int change(struct oci_process *process, const struct exec_options *options,
		  const struct cli_args *args, struct err *err)
{
	int r = set_args(process, args, err);

	if (r < 0)
		return r;
	if (options->cwd && options->cwd[0] && options->cwd[0] != '/')
		return err_set(err, EINVAL, "Cwd must be an absolute path");
	if (replace(&process->cwd, options->cwd) < 0 ||
	    replace(&process->apparmor_profile, options->apparmor) < 0 ||
	    replace(&process->selinux_label, options->process_label) < 0)
		return err_sys(err, ENOMEM, "exec");
	r = set_user(process, options->user, err);
	if (r < 0)
		return r;
	r = add_gids(process, &options->additional_gids, err);
	if (r < 0)
		return r;
	r = add_env(process, &options->env, err);
	if (r < 0)
		return r;
	process->terminal = options->tty;
	if (options->no_new_privs)
		process->no_new_privileges = options->no_new_privs > 0;
	return add_caps(process, &options->cap, err);
}

int exec_process(const struct container *container, const struct exec_options *options,
		 const struct cli_args *args, struct oci_process **out, struct err *err)
{
	CLEANUP(oci_process) struct oci_process *process = NULL;
	bool from_document = options->process && options->process[0];
	int r;

	if (!from_document && args->n < 2)
		return err_set(err, EINVAL, "exec args cannot be empty");
	r = from_document ? from_file(options->process, &process, err)
			  : from_config(container, &process, err);
	if (r == 0 && !from_document)
		r = change(process, options, args, err);
	if (r < 0)
		return r;
	if (process->args.n == 0 || !process->args.items[0][0])
		return err_set(err, EINVAL, "args must not be empty");
	*out = take_ptr(&process);
	return 0;
}
