/* SPDX-License-Identifier: Apache-2.0 */
/* The commands, one file each. */
#ifndef RUNTIME_COMMANDS_H
#define RUNTIME_COMMANDS_H

#include "runtime/cli.h"

#define CLI_NO_TOPIC 3 /* exit code for an unknown command, as runc's */

extern const struct cli_command command_check, command_checkpoint, command_create, command_delete,
	command_events, command_exec, command_features, command_help, command_install, command_kill,
	command_list, command_pause, command_ps, command_restore, command_resume, command_run,
	command_spec, command_start, command_state, command_update, command_version;

#endif
