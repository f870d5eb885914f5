/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a process runs: process.scheduler, ioPriority, execCPUAffinity; linux.personality. All by the guest's kernel.
 */
#ifndef GUEST_SCHEDULE_H
#define GUEST_SCHEDULE_H

#include <sys/types.h>

#include "lib/err.h"
#include "oci/config.h"

/** schedule_apply() - Scheduler and I/O priority of @pid, 0: the caller; needs the guest's own capabilities */
int schedule_apply(const struct oci_process *process, pid_t pid, struct err *err);
/** schedule_affinity() - CPUs of an exec'd process: the caller */
int schedule_affinity(const struct oci_process *process, struct err *err);
/** schedule_personality() - The caller's execution domain */
int schedule_personality(const struct oci_config *config, struct err *err);

#endif
