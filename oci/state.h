/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.json: what the commands know of a container between them, and the JSON that `state` and
 * `list` print.
 *
 * The file lies in a directory that only its owner can write, but it is read with suspicion: a
 * crash can have cut it, and a pid in it may by now be somebody else's (hence the start time, and
 * the boot id: pids start anew after a reboot).
 */
#ifndef OCI_STATE_H
#define OCI_STATE_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "oci/config.h"
#include "oci/json.h"

#define OCI_STATE_MAX \
	(2u << 20)	/* bytes of state.json: annotations can be as large as config.json */
#define OCI_ID_MAX 1024 /* bytes of a container's id */

enum oci_status {
	OCI_CREATING,
	OCI_CREATED,
	OCI_RUNNING,
	OCI_PAUSED,
	OCI_STOPPED,
	OCI_STATUS_COUNT
};

struct oci_state {
	char *oci_version, *id;		 /* owned */
	enum oci_status status;		 /* as stored: CREATED or RUNNING */
	pid_t pid;			 /* of the monitor */
	uint64_t start_time;		 /* of the monitor, in ticks since boot */
	char *boot_id;			 /* of the host's kernel; "" if it was not readable */
	char *bundle, *rootfs, *created; /* created: RFC 3339 with nanoseconds */
	char *cgroup; /* path of the monitor's cgroup below the cgroup mount; "" if none was made */
	uint64_t guest_memory_bytes; /* the guest's size; 0: not known */
	uint32_t guest_vcpus;
	int64_t memory_limit,
		memory_swap; /* as last set, since each depends on the other; 0: not set, -1: unlimited */
	struct oci_pairs annotations;
};

/** oci_id_is_valid() - Letters, digits, '_', '+', '-', '.'; not "." or ".."; at most OCI_ID_MAX bytes */
bool oci_id_is_valid(const char *id);
/** oci_status_name() - "creating", "created", "running", "paused", "stopped" */
const char *oci_status_name(enum oci_status status);

/**
 * oci_state_parse() - Read back what oci_state_store() wrote
 * Return: 0, or -EINVAL with @err for anything that cannot be trusted; -ENOMEM
 */
int oci_state_parse(const char *text, size_t len, struct oci_state **out, struct err *err);
void oci_state_free(struct oci_state *state);
DEFINE_CLEANUP(oci_state)

/** oci_state_store() - The text of state.json; Return: its length or -errno */
ssize_t oci_state_store(const struct oci_state *state, char **out, struct err *err);

/**
 * oci_state_print() - Write the object that `state` and `list` show (runtime-spec runtime.md
 * "State", and runc's additions)
 * @status:	As of now; the pid is given as 0 when it is OCI_STOPPED
 */
void oci_state_print(struct json_writer *w, const struct oci_state *state, enum oci_status status,
		     const char *owner);

/**
 * oci_state_hook() - The state that a hook reads from stdin (runtime.md "State")
 *
 * Of @state only what the spec names is used; pid 0 is left out.
 * Return: its length (@out: the caller's), or -errno
 */
ssize_t oci_state_hook(const struct oci_state *state, enum oci_status status, char **out,
		       struct err *err);

#endif
