/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's file system: its root export with everything that config.json mounts into it, made in the child.
 *
 *   agent's mount namespace:  rootfs_clone_exports()   detached copies of the exports' mounts
 *   unshare(CLONE_NEWNS)
 *   the child's own:          rootfs_attach() → rootfs_mount_all() → devices_make() → rootfs_hide() → rootfs_enter()
 *
 * Everything below the root is reached through lib/path.h, as the image's symlinks are not to be trusted to stay inside.
 */
#ifndef GUEST_ROOTFS_H
#define GUEST_ROOTFS_H

#include <stdint.h>

#include "lib/err.h"
#include "guest/child.h"

struct rootfs {
	const struct child_args *args; /* borrowed */
	int root;		       /* the root mount, O_PATH */
	int *sources; /* per config->mounts: the detached mount to attach, or -1; never freed (the child execs) */
	bool has_mask; /* an empty read-only tmpfs is at <stage_dir>/mask */
};

/** rootfs_clone_exports() - Mount the exports in the agent's mount namespace, where later containers share them, and copy them */
int rootfs_clone_exports(struct rootfs *rootfs, struct err *err);
/** rootfs_attach() - Put the root where the child can work on it; all propagation is cut off */
int rootfs_attach(struct rootfs *rootfs, struct err *err);
/** rootfs_mount_all() - config.json's mounts, in order */
int rootfs_mount_all(struct rootfs *rootfs, struct err *err);
/** rootfs_hide() - linux.maskedPaths and linux.readonlyPaths */
int rootfs_hide(struct rootfs *rootfs, struct err *err);
/** rootfs_enter() - Read-only if asked for, pivot_root into it, let go of the guest's own tree */
int rootfs_enter(struct rootfs *rootfs, struct err *err);

/** rootfs_bind() - Attach mount @tree (closed) at @path, which is made a directory or an empty file if need be */
int rootfs_bind(struct rootfs *rootfs, int tree, bool is_dir, const char *path, struct err *err);

#endif
