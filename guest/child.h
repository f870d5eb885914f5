/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child: what becomes a container's process, between clone and execve. Runs in a copy of the agent's memory, may block as
 * long as it likes, reports over args->report_fd (guest/process.h) and never returns.
 */
#ifndef GUEST_CHILD_H
#define GUEST_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "oci/config.h"

#include "guest/agent.h"
#include "guest/filter.h"

struct child_args {
	const struct agent_config *agent;
	const char *id, *bundle;
	const struct oci_config *config;   /* the container's */
	const struct oci_process *process; /* the process's own */
	const struct filter *filter;	   /* NULL: none */
	bool is_init;	      /* the container's first process: makes what the others join */
	uint32_t root_export; /* is_init */
	const int32_t *mount_exports; /* is_init: per config->mounts, export or -1 */
	int container_pidfd;	      /* !is_init: whose namespaces to join */
	int stdio[3];		      /* -1 each with a terminal */
	int report_fd;
};

/** child_main() - See above */
_Noreturn void child_main(const struct child_args *args);

/** child_namespace_flags() - CLONE_NEW* for what the config asks for (the network is the guest's; a mount namespace always) */
uint64_t child_namespace_flags(const struct oci_config *config);

#endif
