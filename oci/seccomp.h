/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.seccomp of config.json (runtime-spec config-linux.md, "Seccomp"): parsed, every name checked, nothing compiled yet. The
 * host makes a program of it (lib/seccomp.h); in the guest it only says that there has to be one.
 */
#ifndef OCI_SECCOMP_H
#define OCI_SECCOMP_H

#include <stdbool.h>

#include "lib/err.h"
#include "lib/seccomp.h"
#include "oci/json.h"

struct oci_seccomp {
	struct sysfilter filter; /* its rules and what they point to are owned */
	uint32_t flags;		 /* SECCOMP_FILTER_FLAG_* for seccomp(2) */
};

/**
 * oci_seccomp_parse() - Parse the member "seccomp" of @linux_at
 * @out:	NULL when there is none, or one that says nothing at all; free with oci_seccomp_free(), also after a failure
 *
 * Refused beside what is malformed: names that the specification does not have, an errno for an action without one, a rule
 * without a name, and what is for a listener (SCMP_ACT_NOTIFY, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV). Return: 0 or -errno.
 */
int oci_seccomp_parse(const struct json_at *linux_at, struct oci_seccomp **out, struct err *err);
void oci_seccomp_free(struct oci_seccomp *seccomp);

/** oci_seccomp_write_features() - The members of the features document's linux.seccomp */
void oci_seccomp_write_features(struct json_writer *w);

#endif
