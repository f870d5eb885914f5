/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts of one container.
 *
 * An export is an automount below the virtio-fs device's root. Each mount namespace in which it is triggered would get a super
 * block, and page cache, of its own; so it is triggered in the agent's namespace, once, and copied from there.
 * What is mounted into the root: guest/mounts.c.
 */
#define _GNU_SOURCE
#include "guest/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/path.h"

#include "guest/mount_options.h"

int rootfs_stage_path(const struct rootfs *rootfs, const char *name, char path[STAGE_PATH_MAX],
		      struct err *err)
{
	int n = snprintf(path, STAGE_PATH_MAX, "%s/%s", rootfs->args->agent->stage_dir, name);

	if (n >= STAGE_PATH_MAX)
		return err_set(err, ENAMETOOLONG, "the stage directory's name is too long");
	return 0;
}

bool rootfs_is_dir(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

int rootfs_attach_tree(int tree, int target, const char *path, struct err *err)
{
	if (move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(err, errno, "cannot mount at '%s'", path);
	return 0;
}

int rootfs_bind(struct rootfs *rootfs, int tree, bool is_dir, const char *path, struct err *err)
{
	cleanup_close int source = tree;
	cleanup_close int target = path_make_beneath(rootfs->root, path, is_dir,
						     is_dir ? 0755 : 0644, err);

	if (target < 0)
		return target;
	return rootfs_attach_tree(source, target, path, err);
}

int rootfs_set_attrs(int tree, uint64_t set, uint64_t clear, bool recursive, struct err *err)
{
	struct mount_attr attr = {.attr_set = set, .attr_clr = clear};

	if (!set && !clear)
		return 0;
	if (mount_setattr(tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr,
			  sizeof(attr)) < 0)
		return err_sys(err, errno, "cannot set mount flags");
	return 0;
}

/* ---- exports ---- */

static int clone_export(const struct rootfs *rootfs, uint32_t export, bool recursive,
			struct err *err)
{
	char path[STAGE_PATH_MAX];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%u", rootfs->args->agent->roots_dir, export);
	fd = open_tree(AT_FDCWD, path,
		       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0));
	return fd < 0 ? err_sys(err, errno, "cannot mount export %u", export) : fd;
}

/*
 * A bind mount of something that is no file of the host: the guest's own kernel interfaces stand for the host's. The monitor
 * sends no export for them.
 */
static int clone_guest_path(const struct oci_mount *mount, struct err *err)
{
	static const char *const allowed[] = {"/dev", "/proc", "/sys"};
	const char *source = mount->source ? mount->source : "";
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		size_t len = strlen(allowed[i]);

		if (strncmp(source, allowed[i], len) != 0 || (source[len] && source[len] != '/') ||
		    strstr(source, "/.."))
			continue;
		fd = open_tree(AT_FDCWD, source,
			       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
		return fd < 0 ? err_sys(err, errno, "cannot mount the guest's '%s'", source) : fd;
	}
	return err_set(err, EINVAL, "the source '%.512s' was not exported to the guest", source);
}

static bool is_recursive(const struct oci_mount *mount)
{
	for (size_t i = 0; i < mount->options.n; i++) {
		if (strcmp(mount->options.items[i], "rbind") == 0)
			return true;
	}
	return false;
}

int rootfs_clone_exports(struct rootfs *rootfs, struct err *err)
{
	const struct oci_config *config = rootfs->args->config;

	rootfs->root = clone_export(rootfs, rootfs->args->root_export, true, err);
	if (rootfs->root < 0)
		return rootfs->root;
	rootfs->sources = calloc(config->nmounts + 1, sizeof(*rootfs->sources));
	rootfs->late = calloc(config->nmounts + 1, sizeof(*rootfs->late));
	if (!rootfs->sources || !rootfs->late)
		return err_sys(err, ENOMEM, "cannot prepare mounts");
	for (size_t i = 0; i < config->nmounts; i++) {
		const struct oci_mount *mount = &config->mounts[i];
		int32_t export = rootfs->args->mount_exports[i];

		rootfs->sources[i] = -1;
		if (!mount->is_bind)
			continue;
		rootfs->sources[i] = export >= 0 ? clone_export(rootfs, (uint32_t) export,
								is_recursive(mount), err)
						 : clone_guest_path(mount, err);
		if (rootfs->sources[i] < 0) {
			err_prefix(err, "mounts[%zu]", i);
			return -err->code;
		}
	}
	return 0;
}

int rootfs_attach(struct rootfs *rootfs, struct err *err)
{
	char path[STAGE_PATH_MAX];
	int r;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "cannot make the guest's mounts private");
	r = rootfs_stage_path(rootfs, "root", path, err);
	if (r < 0)
		return r;
	if (move_mount(rootfs->root, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "cannot attach the rootfs");
	return 0;
}

/* ---- masks ---- */

static int mask_dir(struct rootfs *rootfs, struct err *err)
{
	char path[STAGE_PATH_MAX];
	int tree, r = rootfs_stage_path(rootfs, "mask", path, err);

	if (r < 0)
		return r;
	if (!rootfs->has_mask &&
	    mount("tmpfs", path, "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=2") < 0)
		return err_sys(err, errno, "cannot mount a tmpfs to mask with");
	rootfs->has_mask = true;
	tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return tree < 0 ? err_sys(err, errno, "cannot copy the mask") : tree;
}

static int mask_file(struct err *err)
{
	int tree = open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	return tree < 0 ? err_sys(err, errno, "cannot copy the mask") : tree;
}

/* Open a path that may be missing: that is as good as hidden. Return: descriptor, 0 when missing, -errno */
static int open_to_hide(struct rootfs *rootfs, const char *path, struct err *err)
{
	int fd = path_open_beneath(rootfs->root, path, O_PATH, 0, err);

	return fd == -ENOENT || fd == -ENOTDIR || fd == -EACCES ? 0 : fd;
}

static int mask(struct rootfs *rootfs, const char *path, struct err *err)
{
	cleanup_close int tree = -1;
	int target = open_to_hide(rootfs, path, err), r;

	if (target <= 0)
		return target;
	tree = rootfs_is_dir(target) ? mask_dir(rootfs, err) : mask_file(err);
	r = tree < 0 ? tree : rootfs_attach_tree(tree, target, path, err);
	(void)close(target);
	return r;
}

static int make_readonly(struct rootfs *rootfs, const char *path, struct err *err)
{
	cleanup_close int tree = -1;
	int target = open_to_hide(rootfs, path, err), r;

	if (target <= 0)
		return target;
	tree = open_tree(target, "",
			 AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	r = tree < 0 ? err_sys(err, errno, "cannot copy the mount at '%s'", path)
		     : rootfs_set_attrs(tree, MOUNT_ATTR_RDONLY, 0, false, err);
	if (r == 0)
		r = rootfs_attach_tree(tree, target, path, err);
	(void)close(target);
	return r;
}

int rootfs_hide(struct rootfs *rootfs, struct err *err)
{
	const struct oci_config *config = rootfs->args->config;

	for (size_t i = 0; i < config->linux_.readonly_paths.n; i++) {
		int r = make_readonly(rootfs, config->linux_.readonly_paths.items[i], err);

		if (r < 0) {
			err_prefix(err, "linux.readonlyPaths[%zu]", i);
			return r;
		}
	}
	for (size_t i = 0; i < config->linux_.masked_paths.n; i++) {
		int r = mask(rootfs, config->linux_.masked_paths.items[i], err);

		if (r < 0) {
			err_prefix(err, "linux.maskedPaths[%zu]", i);
			return r;
		}
	}
	return 0;
}

/* ---- entering ---- */

int rootfs_enter(struct rootfs *rootfs, struct err *err)
{
	const struct oci_config *config = rootfs->args->config;
	const char *propagation = config->linux_.rootfs_propagation;
	unsigned long flags = propagation ? mount_propagation_parse(propagation) : 0;
	int r = config->root.readonly
			? rootfs_set_attrs(rootfs->root, MOUNT_ATTR_RDONLY, 0, false, err)
			: 0;

	if (r < 0)
		return r;
	if (fchdir(rootfs->root) < 0)
		return err_sys(err, errno, "cannot change to the rootfs");
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_sys(err, errno, "cannot pivot into the rootfs");
	/* The old root lies over the new one now; nothing of the guest's own tree stays reachable */
	if (umount2(".", MNT_DETACH) < 0)
		return err_sys(err, errno, "cannot let go of the guest's root");
	if (chdir("/") < 0)
		return err_sys(err, errno, "cannot change to the new root");
	if (flags && mount(NULL, "/", NULL, flags, NULL) < 0)
		return err_sys(err, errno, "cannot set linux.rootfsPropagation '%s'", propagation);
	close_fd(&rootfs->root);
	return 0;
}
