/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw system calls, run in the child. The I/O priority goes to the process alone, which all that it starts inherit it from: the
 * process group that runc names is, at this point, just this process.
 */
#define _GNU_SOURCE
#include "guest/schedule.h"

#include <errno.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_CLASS_SHIFT 13

/* struct sched_attr of linux/sched/types.h, which cannot be included beside sched.h; its first version */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};
_Static_assert(sizeof(struct attr) == 48, "SCHED_ATTR_SIZE_VER0");

static int set_scheduler(const struct oci_scheduler *s, pid_t pid, struct err *err)
{
	struct attr attr = {
		.size = sizeof(attr),
		.policy = s->policy,
		.flags = s->flags,
		.nice = s->nice,
		.priority = (uint32_t)s->priority,
		.runtime = s->runtime_ns,
		.deadline = s->deadline_ns,
		.period = s->period_ns,
	};

	if (syscall(SYS_sched_setattr, pid, &attr, 0) < 0)
		return err_sys(err, errno, "cannot set process.scheduler");
	return 0;
}

int schedule_apply(const struct oci_process *process, pid_t pid, struct err *err)
{
	const struct oci_io_priority *io = &process->io_priority;

	if (process->scheduler.present) {
		int r = set_scheduler(&process->scheduler, pid, err);

		if (r < 0)
			return r;
	}
	if (io->present && syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid,
				   io->class_ << IOPRIO_CLASS_SHIFT | io->level) < 0)
		return err_sys(err, errno, "cannot set process.ioPriority");
	return 0;
}

static int set_affinity(const char *list, const char *field, struct err *err)
{
	cpu_set_t set;

	if (!list || !*list)
		return 0;
	if (oci_cpu_set(list, &set) < 0)
		return err_set(err, EINVAL, "process.execCPUAffinity.%s: '%.64s' is not a list",
			       field, list);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		return err_sys(err, errno,
			       "process.execCPUAffinity.%s: none of the guest's CPUs is in '%.64s'",
			       field, list);
	return 0;
}

int schedule_affinity(const struct oci_process *process, struct err *err)
{
	int r = set_affinity(process->exec_cpu_affinity.initial, "initial", err);

	return r < 0 ? r : set_affinity(process->exec_cpu_affinity.final, "final", err);
}

int schedule_personality(const struct oci_config *config, struct err *err)
{
	if (config->linux_.has_personality && personality(config->linux_.personality) < 0)
		return err_sys(err, errno, "cannot set linux.personality");
	return 0;
}
