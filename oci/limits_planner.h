/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan of limits while it is made: what limits.c (cgroup v2) and limits_v1.c share. For other folders there is oci/limits.h.
 */
#ifndef OCI_LIMITS_PLANNER_H
#define OCI_LIMITS_PLANNER_H

#include "oci/limits.h"

struct limits_planner {
	struct limits *out;
	const struct oci_resources *resources;
	const struct limits_machine *machine;
	enum limits_side side;
	bool no_memory;
};

/* A controller's part of the plan; Return: 0, -EINVAL */
typedef int limits_part(struct limits_planner *p, struct err *err);

/** limits_add() - Append a write; Return: it, to be completed */
struct limits_write *limits_add(struct limits_planner *p, const char *file, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** limits_run_planner() - Make the plan of @parts, one after another */
int limits_run_planner(struct limits_planner *p, limits_part *const *parts, size_t n,
		       struct err *err);

#endif
