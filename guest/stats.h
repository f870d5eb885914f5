/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures of a cgroup (cgroup v2, kernel's admin-guide), for `events` and for containerd. A file that the guest's kernel
 * does not have leaves its figures out; a line that is not understood is not counted.
 */
#ifndef GUEST_STATS_H
#define GUEST_STATS_H

#include "lib/ttrpc.h"

/** stats_answer() - Answer @call with StatsResponse of the cgroup @cgroup_fd */
void stats_answer(int cgroup_fd, struct ttrpc_call *call);

#endif
