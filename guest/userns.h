/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User namespaces: the ids of one, and the way into a new one.
 *
 * A "host id" of linux.uidMappings is an id of the guest's own, which is an id on the host: the file server maps none.
 */
#ifndef GUEST_USERNS_H
#define GUEST_USERNS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "oci/config.h"

/** userns_is_wanted() - Does the container have a user namespace of its own? */
bool userns_is_wanted(const struct oci_config *config);

/** userns_host_ids() - What ids of the container are outside; Return: 0, or -EINVAL when one is not mapped */
int userns_host_ids(const struct oci_config *config, uint32_t uid, uint32_t gid, uid_t *host_uid,
		    gid_t *host_gid);

/** userns_write_maps() - Set linux.uidMappings and gidMappings of the new namespace that @pid is in */
int userns_write_maps(const struct oci_config *config, pid_t pid, struct err *err);

/** userns_become_root() - Be root of the namespace the caller has just come into, and nobody of outside any more */
int userns_become_root(struct err *err);

#endif
