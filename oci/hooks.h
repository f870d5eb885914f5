/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hooks (runtime-spec config.md, "POSIX-platform Hooks"): programs that config.json has run at stated moments of a container's
 * life. Who runs which, and where:
 *
 *   prestart, createRuntime   the command that creates, once the monitor has its namespaces     runtime/hooks.c
 *   createContainer           the monitor, in its namespaces, before its root changes           shim/hooks.c
 *   startContainer            the agent's child in the guest, right before execve               guest/child.c
 *   poststart, poststop       the commands that start and delete                                runtime/hooks.c
 *
 * Later commands take them from the state directory, never from the bundle, which may have changed or gone.
 */
#ifndef OCI_HOOKS_H
#define OCI_HOOKS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/cleanup.h"
#include "lib/err.h"
#include "oci/config.h"
#include "oci/state.h"

#define OCI_HOOK_OUTPUT_MAX 320 /* bytes of each output that an error quotes: the last ones */

/** oci_hook_name() - "prestart", "createRuntime", … */
const char *oci_hook_name(enum oci_hook_kind kind);

/* What the hooks of one moment have in common */
struct oci_hook_run {
	const struct oci_state *state; /* what they read from stdin, beside the status */
	enum oci_status status;
	int cwd_fd;	  /* where they start; -1: where the caller is */
	char *const *env; /* for those that name none; NULL: the caller's own */
	int abort_fd;	  /* becomes readable when it may be time to give up; -1: none */
	/* Asked when abort_fd is readable and after every signal; NULL: never give up */
	bool (*is_aborted)(void *arg);
	void *arg;
};

/**
 * oci_hook_run_one() - Run hook @index of a kind to its end
 *
 * It is a process group of its own that dies with the caller, has the state on stdin and nothing else open. Past its time-out, or
 * when the caller gives up, the group is killed. What it leaves in the background is not waited for.
 *
 * Return: 0; -ETIMEDOUT; -ECANCELED (given up); -EIO (a status other than 0, also a program that cannot be run); -errno. @err has
 * runc's sentence, in one line.
 */
int oci_hook_run_one(const struct oci_hooks *hooks, enum oci_hook_kind kind, size_t index,
		     const struct oci_hook_run *run, struct err *err);

/** oci_hooks_run() - All hooks of a kind in their order (@hooks: one list for each kind); ends with the first that fails */
int oci_hooks_run(const struct oci_hooks *hooks, enum oci_hook_kind kind,
		  const struct oci_hook_run *run, struct err *err);

/* ---- what is kept of them until the container is deleted ---- */

struct oci_hook_record {
	char *oci_version, *bundle; /* owned */
	struct oci_pairs annotations;
	struct oci_hooks hooks[OCI_HOOK_COUNT];
};

/** oci_hook_record_write() - Text of a record; Return: its length (@out: the caller's), or -errno */
ssize_t oci_hook_record_write(const struct oci_config *config, const char *bundle, char **out,
			      struct err *err);
/** oci_hook_record_parse() - Read it back; Return: 0, -EINVAL with @err, -ENOMEM */
int oci_hook_record_parse(const char *text, size_t len, struct oci_hook_record **out,
			  struct err *err);
void oci_hook_record_free(struct oci_hook_record *record);
DEFINE_CLEANUP(oci_hook_record)

#endif
