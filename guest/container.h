/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container in the guest: its configuration, its cgroup, its processes.
 *
 *   CREATING ──▶ CREATED ──Start──▶ RUNNING ──▶ STOPPED ──Delete──▶ DELETING ──▶ gone
 *
 * It lives until the monitor deletes it, or until its Create has failed and its child is gone. Its mounts live in its mount
 * namespace alone and vanish with its last process; what remains to be undone is the cgroup and the use of the exports.
 */
#ifndef GUEST_CONTAINER_H
#define GUEST_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/loop.h"
#include "lib/ttrpc.h"
#include "oci/config.h"

#include "guest/agent.h"
#include "guest/filter.h"
#include "guest/freezer.h"
#include "guest/oom.h"
#include "guest/process.h"
#include "guest/ps.h"

enum container_state {
	CONTAINER_CREATING,
	CONTAINER_CREATED,
	CONTAINER_RUNNING,
	CONTAINER_STOPPED,
	CONTAINER_DELETING,
};

struct container {
	struct agent *agent; /* borrowed */
	struct container *next;
	char id[AGENT_ID_MAX + 1];
	enum container_state state;
	struct oci_config *config; /* owned */
	char *bundle;		   /* owned: the host's path of it */
	struct filter filter;	   /* of all its processes */
	uint32_t root_export;
	int32_t *mount_exports;			  /* owned: per config->mounts, export or -1 */
	uint8_t exports[MACHINE_EXPORTS_MAX / 8]; /* those in use */
	bool exports_used;
	bool owns_network;	   /* the interfaces are in a namespace of its own */
	int cgroup_fd;		   /* owned */
	int device_program_fd;	   /* owned: what its cgroup has attached, -1 before */
	struct process *init;	   /* NULL before and after */
	struct process *processes; /* owned, init among them */
	size_t nprocesses;
	struct ttrpc_call *delete_call; /* DELETING: answered when it is gone */
	struct process_report
		error; /* DELETING after a failed Create: what to answer to create_call */
	struct ttrpc_call *create_call;
	struct loop_timer timer; /* DELETING: tries again */
	uint64_t deadline_ms;
	struct freezer freezer; /* guest/freezer.h */
	struct oom oom;
	struct ps ps;
};

/* What Create says, decoded */
struct container_request {
	const char *id, *bundle;
	const uint8_t *config;
	size_t config_len;
	uint32_t root_export;
	const struct container_mount_source {
		uint32_t mount_index, export_id;
	} * sources;
	size_t nsources;
	bool has_seccomp;
	const uint8_t *seccomp; /* the program */
	size_t seccomp_len;
	uint32_t seccomp_flags;
	uint64_t tokens[3];
};

/** container_create() - Begin to make one; @call is answered when its process waits before execve, or it has failed */
void container_create(struct agent *agent, const struct container_request *request,
		      struct ttrpc_call *call);
/** container_start() - Let its process go; @call is answered after execve */
void container_start(struct container *container, struct ttrpc_call *call);
/* What Exec says, decoded */
struct container_exec_request {
	const char *exec_id;
	const uint8_t *json; /* a process document */
	size_t len;
	const char *cgroup; /* below the container's, "": itself */
	uint64_t tokens[3];
};
/** container_exec() - Run another process in it */
void container_exec(struct container *container, const struct container_exec_request *request,
		    struct ttrpc_call *call);
/** container_delete() - Kill what is left and forget it; @call is answered then */
void container_delete(struct container *container, struct ttrpc_call *call);
/** container_process() - The process of this exec id ("": its own), or NULL */
struct process *container_process(struct container *container, const char *exec_id);
/** container_on_ready(), container_on_exit() - Its own process is ready, or has been reaped */
void container_on_ready(struct container *container);
void container_on_exit(struct container *container, struct process *process);
/** container_try_remove() - For one that is being deleted: a process is gone, perhaps it was the last one. May free it. */
void container_try_remove(struct container *container);

#endif
