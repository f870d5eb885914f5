/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hooks that commands run, in the namespaces they were called in (oci/hooks.h), and what the state directory keeps of them.
 *
 *   create, run     HOOKS_FILE is written before the monitor is started; prestart and createRuntime once it has its namespaces
 *   start, run      poststart after the program has been executed; a failure kills the container, as with runc
 *   delete, run     poststop when everything is removed, also for what a crash or a failed create left; a failure is a warning
 */
#ifndef RUNTIME_HOOKS_H
#define RUNTIME_HOOKS_H

#include "oci/hooks.h"
#include "runtime/container.h"

#define HOOKS_FILE "hooks.json" /* in the state directory; not there without hooks */

/** hooks_store() - Keep the hooks of a configuration, if there are any; Return: 0 or -errno */
int hooks_store(int dir_fd, const struct oci_config *config, const char *bundle, struct err *err);
/** hooks_load() - What was kept; Return: 0 (@out is NULL when there are no hooks), -EINVAL for a damaged file, -errno */
int hooks_load(int dir_fd, struct oci_hook_record **out, struct err *err);

/**
 * hooks_create() - Run prestart and createRuntime hooks; a signal to this process ends them (runtime/interrupt.h)
 * @state:	With the monitor's pid
 * @bundle_fd:	Where they start, as with runc
 */
int hooks_create(const struct oci_hooks *hooks, const struct oci_state *state, int bundle_fd,
		 struct err *err);
/**
 * hooks_start() - Run poststart hooks of a container that has just been started
 * Return: 0; or -errno, when one has failed and the container was killed
 */
int hooks_start(const struct oci_hooks *hooks, struct container *container, struct err *err);
/** hooks_delete() - Run all poststop hooks of a container that is gone; failures are logged */
void hooks_delete(const struct oci_hooks *hooks, const struct oci_state *state);
/** hooks_delete_record() - The same, from what was kept; @record may be NULL */
void hooks_delete_record(const struct oci_hook_record *record, const char *id);

#endif
