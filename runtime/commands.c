/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands and the global options: what comes before the command. */
#include "runtime/commands.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#define ROOT_DEFAULT "/run/caisson"

const struct cli_command *const cli_commands[] = {
	&command_check,	   &command_checkpoint,
	&command_create,   &command_delete,
	&command_events,   &command_exec,
	&command_features, &command_help,
	&command_install,  &command_kill,
	&command_list,	   &command_pause,
	&command_ps,	   &command_restore,
	&command_resume,   &command_run,
	&command_spec,	   &command_start,
	&command_state,	   &command_update,
	&command_version,  NULL,
};

#define G(name_, letter_, kind_, member_, help_)                           \
	{                                                                  \
		.name = name_, .letter = letter_, .kind = kind_,           \
		.offset = offsetof(struct globals, member_), .help = help_ \
	}

const struct cli_option cli_global_options[] = {
	G("config", 0, CLI_STRING, config,
	  "configuration file, caisson.json(5) (default: $CAISSON_CONFIG, or \"" CAISSON_SYSCONFDIR
	  "/caisson/caisson.json\")"),
	G("debug", 0, CLI_BOOL, debug, "enable debug logging"),
	G("log", 0, CLI_STRING, log,
	  "set the log file to write logs to (default is '/dev/stderr')"),
	G("log-format", 0, CLI_STRING, log_format,
	  "set the log format ('text' (default), or 'json')"),
	G("root", 0, CLI_STRING, root,
	  "root directory for storage of container state (this should be located in tmpfs) "
	  "(default: \"" ROOT_DEFAULT "\", or $XDG_RUNTIME_DIR/caisson when not root)"),
	G("systemd-cgroup", 0, CLI_BOOL, systemd_cgroup,
	  "enable systemd cgroup support, expects cgroupsPath to be of form \"slice:prefix:name\" "
	  "for e.g. \"system.slice:caisson:434234\""),
	G("rootless", 0, CLI_TRISTATE, rootless, "accepted ('true', 'false', or 'auto')"),
	G("criu", 0, CLI_STRING, criu, NULL),
	G("version", 'v', CLI_BOOL, version, "print the version"),
	{0},
};

/* An absolute path; static storage is enough for the one root there is */
static int set_root(struct globals *globals, struct err *err)
{
	static char path[PATH_MAX];
	const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
	char cwd[PATH_MAX];
	int n;

	globals->root_given = globals->root != NULL;
	if (!globals->root && geteuid() != 0 && runtime_dir && runtime_dir[0] == '/')
		n = snprintf(path, sizeof(path), "%s/caisson", runtime_dir);
	else if (!globals->root)
		n = snprintf(path, sizeof(path), "%s", ROOT_DEFAULT);
	else if (globals->root[0] == '/')
		n = snprintf(path, sizeof(path), "%s", globals->root);
	else if (!getcwd(cwd, sizeof(cwd)))
		return err_sys(err, errno, "the current directory");
	else
		n = snprintf(path, sizeof(path), "%s/%s", cwd, globals->root);
	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(err, ENAMETOOLONG, "Option --root is too long");
	while (n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
	if (strcmp(path, "/") == 0 || (globals->root && !globals->root[0]))
		return err_set(err, EINVAL, "Option --root argument should not be set to /");
	globals->root = path;
	return 0;
}

static int open_log(const struct globals *globals, struct err *err)
{
	enum log_format format = LOG_FORMAT_TEXT;

	if (globals->log_format && strcmp(globals->log_format, "json") == 0)
		format = LOG_FORMAT_JSON;
	else if (globals->log_format && globals->log_format[0] &&
		 strcmp(globals->log_format, "text") != 0)
		return err_set(err, EINVAL, "invalid log-format: %.100s", globals->log_format);
	return log_open(globals->log && globals->log[0] ? globals->log : NULL, format,
			globals->debug ? LOG_DEBUG : LOG_WARN, err);
}

int main_setup(const char *const *argv, struct globals *globals, struct cli_args *rest,
	       struct err *err)
{
	int r = cli_parse(cli_global_options, argv, 1, globals, rest, err);

	if (r < 0)
		return r;
	globals->help = r == 1;
	r = open_log(globals, err);
	if (r < 0)
		return r;
	return set_root(globals, err);
}
