/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_SYSCTL_H
#define GUEST_SYSCTL_H

#include "lib/err.h"
#include "oci/config.h"

/**
 * sysctl_apply() - Set linux.sysctl, of the caller's namespaces or of the guest as a whole
 *
 * Return: 0, or -errno with the key named in @err.
 */
int sysctl_apply(const struct oci_pairs *sysctl, struct err *err);

/** sysctl_path() - Turn a key into a path below /proc/sys, in place: "net.ipv4.ip_forward", or with slashes, as sysctl(8) */
void sysctl_path(char *key);

#endif
