/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_SYSCTL_H
#define GUEST_SYSCTL_H

#include <sys/types.h>

#include "lib/err.h"
#include "oci/config.h"

/* Which of linux.sysctl: "user.*" belongs to the user namespace that the caller is in */
enum sysctl_part { SYSCTL_ALL, SYSCTL_USER, SYSCTL_OTHERS };

/**
 * sysctl_apply() - Set linux.sysctl, of the caller's namespaces or of the guest as a whole
 * @owner:	Who else to be, where the caller may not: the owner of an IPC namespace is another than the guest's root
 *
 * Return: 0, or -errno with the key named in @err.
 */
int sysctl_apply(const struct oci_pairs *sysctl, enum sysctl_part part, uid_t owner,
		 struct err *err);

/** sysctl_path() - Turn a key into a path below /proc/sys, in place: "net.ipv4.ip_forward", or with slashes, as sysctl(8) */
void sysctl_path(char *key);

#endif
