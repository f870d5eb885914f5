/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's file system: its root export with everything that config.json mounts into it, made in the child.
 *
 *   agent's mount namespace:  rootfs_clone_exports()   detached copies of the exports' mounts
 *   unshare(CLONE_NEWNS)
 *   the child's own:          rootfs_attach() → rootfs_mount_all() → devices_make() → rootfs_finish() → rootfs_hide()
 *                             → rootfs_enter()
 *
 * Everything below the root is reached through lib/path.h, as the image's symlinks are not to be trusted to stay inside.
 */
#ifndef GUEST_ROOTFS_H
#define GUEST_ROOTFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "guest/child.h"

#define STAGE_PATH_MAX 256

struct rootfs {
	const struct child_args *args; /* borrowed */
	int root;		       /* the root mount, O_PATH */
	int *sources; /* per config->mounts: the detached mount to attach, or -1; never freed (the child execs) */
	int *late; /* mounts that become read-only when all is in place */
	size_t nlate;
	int *nodes; /* with a user namespace: per device, a mount of its node (devices_prepare()); else NULL */
	bool has_mask; /* an empty read-only tmpfs is at <stage_dir>/mask */
};

/** rootfs_clone_exports() - Mount the exports in the agent's mount namespace, where later containers share them, and copy them */
int rootfs_clone_exports(struct rootfs *rootfs, struct err *err);
/** rootfs_attach() - Put the root where the child can work on it; all propagation is cut off */
int rootfs_attach(struct rootfs *rootfs, struct err *err);
/** rootfs_mount_all() - config.json's mounts, in order (guest/mounts.c) */
int rootfs_mount_all(struct rootfs *rootfs, struct err *err);
/** rootfs_finish() - What was asked for read-only, but had to be filled or mounted into first, becomes so (guest/mounts.c) */
int rootfs_finish(struct rootfs *rootfs, struct err *err);
/** rootfs_hide() - linux.maskedPaths and linux.readonlyPaths */
int rootfs_hide(struct rootfs *rootfs, struct err *err);
/** rootfs_enter() - Read-only if asked for, pivot_root into it, let go of the guest's own tree */
int rootfs_enter(struct rootfs *rootfs, struct err *err);

/** rootfs_bind() - Attach mount @tree (closed) at @path, which is made a directory or an empty file if need be */
int rootfs_bind(struct rootfs *rootfs, int tree, bool is_dir, const char *path, struct err *err);
/** rootfs_attach_tree() - Move the detached mount @tree over @target, which @path names in messages */
int rootfs_attach_tree(int tree, int target, const char *path, struct err *err);
/** rootfs_set_attrs() - mount_setattr(2) with MOUNT_ATTR_*, of @tree or also of all below; nothing when both are 0 */
int rootfs_set_attrs(int tree, uint64_t set, uint64_t clear, bool recursive, struct err *err);
/** rootfs_stage_path() - The path of a directory of the agent's stage */
int rootfs_stage_path(const struct rootfs *rootfs, const char *name, char path[STAGE_PATH_MAX],
		      struct err *err);
bool rootfs_is_dir(int fd);

#endif
