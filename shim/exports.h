/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container may see of the host's files: its rootfs and its bind mounts, as detached mounts; and block devices.
 */
#ifndef SHIM_EXPORTS_H
#define SHIM_EXPORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvm/vmm.h"
#include "lib/err.h"
#include "oci/config.h"

/* A bind mount of config.json and where it comes from */
struct export_bind {
	uint32_t mount_index; /* in config.json */
	uint32_t export_id;
	bool directory;
	int view_fd; /* owned: a second clone for the monitor's own mount namespace; -1 once used */
};

/* Filled by exports_open(), which leaves it empty on failure; release with exports_release() */
struct exports {
	struct vmm_export items[MACHINE_EXPORTS_MAX]; /* items[0] is the rootfs; .fd owned */
	unsigned int n;
	int root_view_fd;	   /* owned: the rootfs for the monitor's own mount namespace */
	struct export_bind *binds; /* owned */
	unsigned int nbinds;
	struct vmm_disk disks[MACHINE_DISKS_MAX]; /* .fd owned */
	unsigned int ndisks;
};

/**
 * exports_open() - Clone the mounts a configuration names; runs where the paths are valid, before the monitor is forked
 * @bundle_fd:	Relative paths start here
 * @out:	Filled on success
 *
 * Return: 0, or -errno (-EINVAL for what is missing or of a kind that cannot be shared) with @err naming field and path.
 */
int exports_open(const struct oci_config *config, int bundle_fd, struct exports *out,
		 struct err *err);
/** disks_open() - Open the block devices of the host that linux.devices lists (disks.c); for exports_open() */
int disks_open(const struct oci_config *config, struct exports *out, struct err *err);
/** exports_close_vmm() - Close the descriptors meant for the vmm, once it has them */
void exports_close_vmm(struct exports *exports);
void exports_release(struct exports *exports);

#endif
