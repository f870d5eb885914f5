/* SPDX-License-Identifier: Apache-2.0 */
/* The starter config.json that `caisson spec` writes. */
#ifndef OCI_SPEC_H
#define OCI_SPEC_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/err.h"

/**
 * oci_spec_write() - A config.json that runs "sh" in "rootfs", the same as runc's
 * @rootless:	For a caller without root: a user namespace with the caller's ids, no network namespace, no resources
 * @out:	New text, the caller's; Return: its length or -errno
 */
ssize_t oci_spec_write(bool rootless, uid_t uid, gid_t gid, char **out, struct err *err);

#endif
