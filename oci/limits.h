/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.resources as control files of cgroup v2, for the two cgroups that a container has:
 *
 *   guest   the container's own, made by the agent: what the container's processes are held to
 *   host    cgroupsPath, where the monitor and the vmm are: the same figures, widened by what a guest costs beside its container
 *
 * A plan is a list of writes, made without looking at any file, so that a mistake is found before anything is done. Values are
 * runc's for cgroup v2, file by file. What differs by side, and why, is in docs/limits.md.
 *
 * limits_apply() is all or nothing: what it wrote before a failure it writes back as it was.
 */
#ifndef OCI_LIMITS_H
#define OCI_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "oci/config.h"

enum limits_side { LIMITS_GUEST, LIMITS_HOST };

/* The guest's size, from which the host's figures follow */
struct limits_machine {
	uint64_t memory_bytes;
	uint32_t nvcpus;
};

enum limits_missing {			  /* the control file is not there, which means: */
		      LIMITS_FAIL,	  /* an error */
		      LIMITS_SKIP,	  /* the limit holds without it */
		      LIMITS_ALTERNATIVE, /* the next write takes its place, which is left out otherwise */
};

struct limits_write {
	char *file, *value; /* owned; a file in the cgroup, or an absolute path */
	enum limits_missing missing;
	bool keep_quota; /* cpu.max: the value is a period; the quota stays what it is */
	bool may_fail;	 /* tried too early on purpose: the same write comes again */
	bool is_unified; /* named by the configuration itself */
};

struct limits {
	struct limits_write *items; /* owned */
	size_t n;
	uint64_t
		usage_below; /* refuse while the cgroup uses as much memory or more; 0: do not look */
};

/**
 * limits_plan() - What to write on @side
 * @machine:	The guest's size; for LIMITS_GUEST only its vCPUs count
 * @out:	Released with limits_release(), also after a failure
 *
 * Return: 0, -EINVAL for what no cgroup can take, -ENOMEM.
 */
int limits_plan(const struct oci_resources *resources, enum limits_side side,
		const struct limits_machine *machine, struct limits *out, struct err *err);
/**
 * limits_plan_v1() - The host's side, as control files of cgroup v1: each begins with its controller's name and a dot
 *
 * What it cannot hold is left out: unified, and what a guest makes needless (hugetlb, devices, net_cls, net_prio, rdma).
 * Return: as limits_plan().
 */
int limits_plan_v1(const struct oci_resources *resources, const struct limits_machine *machine,
		   struct limits *out, struct err *err);
void limits_release(struct limits *limits);

/**
 * limits_apply() - Write a plan to the cgroup @cgroup_fd
 * @undo:	NULL, or filled on success with the writes that bring back what was there before
 *
 * Return: 0; -ENOENT (no such control file), -EBUSY (more memory in use than the new limit), -errno, with nothing changed.
 */
int limits_apply(int cgroup_fd, const struct limits *limits, struct limits *undo, struct err *err);

/** limits_restore() - Write an undo list back, as far as the kernel takes it */
void limits_restore(int cgroup_fd, const struct limits *undo);

/**
 * limits_without_effect() - A field of linux.resources that is given and that cgroup v2 has nothing for
 * @index:	0, 1, …: they come one after another
 * Return: its name and why, for a log; NULL after the last. runc on cgroup v2 ignores the same fields.
 */
const char *limits_without_effect(const struct oci_resources *resources, size_t index);

/* ---- formulas ---- */

/** limits_cpu_weight() - cpu.weight (1 to 10000) for cpu.shares (2 to 262144), as runc since 1.3.2; 0 for 0 */
uint64_t limits_cpu_weight(uint64_t shares);
/** limits_io_weight() - io.weight (1 to 10000) for a blkio weight (10 to 1000); 0 for 0 */
uint64_t limits_io_weight(uint64_t weight);
/**
 * limits_swap() - memory.swap.max from memory and memory+swap
 * @out:	Bytes, -1: unlimited; *@set tells whether there is anything to write
 * Return: 0 or -EINVAL
 */
int limits_swap(int64_t memory, int64_t memory_and_swap, int64_t *out, bool *set, struct err *err);
/** limits_files_known() - How many files a guest of this size may know at a time when its memory is limited (its vmm's half of RLIMIT_NOFILE) */
uint64_t limits_files_known(const struct limits_machine *machine);
/** limits_overhead() - Host memory beside the guest's own: vmm, monitor, page tables, known files */
uint64_t limits_overhead(const struct limits_machine *machine);
/** limits_host_memory() - memory.max on the host for a container's limit (> 0) */
uint64_t limits_host_memory(uint64_t limit, const struct limits_machine *machine);
/** limits_host_pids() - pids.max on the host for a container's limit (> 0) */
uint64_t limits_host_pids(uint64_t limit, const struct limits_machine *machine);

#endif
