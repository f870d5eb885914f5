/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's state directory, <root>/<id>, and what may be concluded from it.
 *
 *   made by mkdir(2): who makes it, has the id
 *   state.json    written when the container is created; missing before, and after a crash before
 *   lock          held (flock) by start and delete, so that only one of them acts
 *   control.sock, cgroup, failure, paused    the monitor's (shim/)
 *
 * The directory itself is flock'ed by `create`, and by the open file description that it shares
 * with the monitor: until both have gone somebody may still add to what has to be undone.
 *
 * Status is never believed from the file alone: a monitor that has ended (pid and start time, or
 * another boot) means stopped. Only what is known to be gone is: when there is no descriptor or
 * memory left to look with, that is an error, or the container counts as running.
 */
#ifndef RUNTIME_CONTAINER_H
#define RUNTIME_CONTAINER_H

#include <stdbool.h>

#include "oci/state.h"
#include "runtime/cli.h"

#define STATE_FILE "state.json"
#define LOCK_FILE "lock"
#define CONTAINER_NOT_RUNNING "container not running"

struct container {
	const char *id;		 /* borrowed */
	int root_fd, dir_fd;	 /* owned: the root, the state directory (readable) */
	int lock_fd;		 /* owned, -1 until container_lock() */
	struct oci_state *state; /* owned; NULL when state.json is missing or cannot be used */
	enum oci_status status;
};

/** container_check_id() - Return: 0, or -EINVAL in runc's words when @id is empty or cannot be a container's */
int container_check_id(const char *id, struct err *err);
/**
 * container_open() - Find a container and its status
 * @out:	Filled on success; release with container_release()
 *
 * Return: 0, -EINVAL (invalid id), -ENOENT ("container does not exist"), -errno. A directory without a usable state.json is
 * found too: state is NULL, status OCI_CREATING while it is being made, else OCI_STOPPED.
 */
int container_open(const struct globals *globals, const char *id, struct container *out,
		   struct err *err);
/** container_load() - The same, but without a usable state there is no container (-ENOENT) */
int container_load(const struct globals *globals, const char *id, struct container *out,
		   struct err *err);
void container_release(struct container *container);

/** container_lock() - Wait for the other commands on it, then read the state again; -ENOENT when it was deleted meanwhile */
int container_lock(struct container *container, struct err *err);
/** container_refresh() - Read the state again */
int container_refresh(struct container *container, struct err *err);
/** container_store() - Write state.json */
int container_store(int dir_fd, const struct oci_state *state, struct err *err);

/** container_pidfd() - The running monitor, or -ESRCH; the caller's to close */
int container_pidfd(const struct container *container);
/** container_end_monitor() - End the guest and the monitor behind @pidfd, wait until it has gone */
int container_end_monitor(int dir_fd, int pidfd, struct err *err);
/** container_stop() - The same for a container's monitor, if it runs */
int container_stop(struct container *container, struct err *err);
/**
 * container_wait_abandoned() - Wait until neither command nor monitor works on a container that has
 * no usable state
 * Return: 0; -EBUSY when they do not end
 */
int container_wait_abandoned(struct container *container, struct err *err);
/**
 * container_remove() - Remove cgroup and state directory of a container whose monitor has ended
 * Return: 0; -ENOENT when it was removed before, also if there is another one of that name by now; -errno
 */
int container_remove(struct container *container, struct err *err);

/** container_make() - Make the state directory and take its locks; -EEXIST when the id is taken; undo: container_remove() */
int container_make(const struct globals *globals, const char *id, struct container *out,
		   struct err *err);

/** container_owner() - Who owns it: a name, or "#" and a number */
void container_owner(const struct container *container, char *out, size_t size);

/** process_identity() - Start time of a process that has not ended; -ESRCH, also for one that only waits to be reaped */
int process_identity(pid_t pid, uint64_t *start_time);
/** host_boot_id() - Into @out, which becomes "" when it cannot be read */
void host_boot_id(char *out, size_t size);

#endif
