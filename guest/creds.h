/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a process is: limits, user and groups, capabilities, directory. Applied in the child, in runc's order.
 */
#ifndef GUEST_CREDS_H
#define GUEST_CREDS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "oci/config.h"

/**
 * creds_apply() - Rlimits, no_new_privs, cwd, capabilities, groups, user, umask; the rest of the child runs as that user
 * @will_filter: A seccomp filter will be loaded. Without no_new_privs that needs CAP_SYS_ADMIN, which is kept until creds_finish().
 */
int creds_apply(const struct oci_process *process, bool will_filter, struct err *err);
/** creds_finish() - After the filter: the capabilities are the process's own. At most one system call, capset. */
int creds_finish(const struct oci_process *process, struct err *err);

/**
 * creds_raise_limits() - Raise hard limits below what the process is to have, soft ones stay
 *
 * That takes a capability of the guest's own, which is gone in a user namespace; creds_apply() then only lowers.
 */
int creds_raise_limits(const struct oci_process *process, struct err *err);

/** creds_set_oom_score_adj() - By the caller's /proc */
int creds_set_oom_score_adj(int score, struct err *err);

/**
 * creds_home() - Home directory of a user by the text of an /etc/passwd
 * @out:	At least PATH_MAX bytes; "/" when the user is not there
 */
void creds_home(const char *passwd, uint32_t uid, char *out);

#endif
