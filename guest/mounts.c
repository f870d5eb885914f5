/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What config.json mounts into the container's root, in its order; run in the child.
 *
 *   bind       the detached copy of an export (guest/rootfs.c) gets its flags, then its place
 *   the rest   mount(2) at a scratch directory of the child's own namespace, then moved by descriptor: mount(2) takes flags
 *              and data as runc's users write them, and the move cannot be led astray by a symlink of the image
 *   remount    changes what an earlier entry has mounted
 *
 * A destination is looked up, and made when missing, as if the root were "/": see lib/path.h. Over the root itself nothing
 * can be mounted; for proc and sysfs the last component must be a plain directory, as in runc. Unlike runc, anything may
 * be mounted below /proc: the kernel is the container's own, there is nothing of a host to be misled.
 *
 * A tmpfs and /dev become read-only last (rootfs_finish()): until then other mounts and nodes have to go into them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/path.h"

#include "guest/copy_up.h"
#include "guest/devices.h"
#include "guest/mount_options.h"
#include "guest/overlay.h"
#include "guest/rootfs.h"

#define CGROUP_FS "cgroup2"

struct mount_work {
	struct rootfs *rootfs;
	const struct oci_mount *mount;
	const struct mount_options *options;
	const char *type;
	bool exported; /* from the host: it comes through the file server */
	int target;
	bool existed; /* the target, before we made it */
};

static const char *type_of(const struct oci_mount *mount)
{
	if (!mount->type)
		return "";
	/* The guest has the unified hierarchy alone, so this is what "cgroup" means */
	return strcmp(mount->type, "cgroup") == 0 ? CGROUP_FS : mount->type;
}

static bool is_dev(const struct oci_mount *mount)
{
	return strcmp(mount->destination, "/dev") == 0 || strcmp(mount->destination, "/dev/") == 0;
}

/* ---- destination ---- */

static int check_not_root(const struct rootfs *rootfs, int target, struct err *err)
{
	struct statx root, here;

	if (statx(rootfs->root, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &root) < 0 ||
	    statx(target, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &here) < 0)
		return err_sys(err, errno, "cannot look at the mount point");
	if (root.stx_ino == here.stx_ino && root.stx_mnt_id == here.stx_mnt_id)
		return err_set(err, EINVAL, "the mount point is the root itself");
	return 0;
}

static bool is_kernel_fs(const char *type)
{
	return strcmp(type, "proc") == 0 || strcmp(type, "sysfs") == 0;
}

/* Fills work->target; @is_dir: what is made when it is missing */
static int open_target(struct mount_work *work, bool is_dir, struct err *err)
{
	const char *path = work->mount->destination;
	bool plain = !work->mount->is_bind && is_kernel_fs(work->type);
	int root = work->rootfs->root;

	work->target = path_open_beneath(root, path, O_PATH | (plain ? O_NOFOLLOW : 0), 0, err);
	work->existed = work->target >= 0;
	if (work->target == -ENOENT) {
		*err = (struct err){0};
		work->target = path_make_beneath(root, path, is_dir, is_dir ? 0755 : 0644, err);
	}
	if (work->target < 0)
		return work->target;
	if (plain && !rootfs_is_dir(work->target))
		return err_set(err, ENOTDIR,
			       "a file system of type '%s' must be mounted on an ordinary folder",
			       work->type);
	return check_not_root(work->rootfs, work->target, err);
}

/* ---- flags ---- */

static int set_propagation(int tree, const struct mount_options *options, struct err *err)
{
	for (unsigned int i = 0; i < options->npropagation; i++) {
		unsigned long flags = options->propagation[i];
		struct mount_attr attr = {.propagation = flags & ~(unsigned long)MS_REC};

		if (mount_setattr(tree, "", AT_EMPTY_PATH | (flags & MS_REC ? AT_RECURSIVE : 0),
				  &attr, sizeof(attr)) < 0)
			return err_sys(err, errno, "cannot set mount propagation");
	}
	return 0;
}

/* For the mount alone, for all below, and who sees what is mounted there later */
static int set_bind_flags(int tree, const struct mount_options *options, struct err *err)
{
	int r = rootfs_set_attrs(tree, options->attr_set, options->attr_clear, false, err);

	if (r < 0)
		return r;
	r = rootfs_set_attrs(tree, options->rec_set, options->rec_clear, true, err);
	return r < 0 ? r : set_propagation(tree, options, err);
}

/* ---- bind ---- */

/* Options of a file system (options->data) have no effect here: the host has said so, runtime/launch.c */
static int mount_bind(struct mount_work *work, int tree, struct err *err)
{
	int r = 0;

	/*
	 * A device node in an export is a file with an attribute that any user of the host who owns the file can write: without "dev"
	 * by word it is no device (docs/threat-model.md), but for those that the container has in /dev anyway
	 */
	if (work->exported && !work->options->dev && !devices_is_common(tree))
		r = rootfs_set_attrs(tree, MOUNT_ATTR_NODEV, 0, true, err);
	if (r == 0)
		r = set_bind_flags(tree, work->options, err);
	if (r < 0)
		return r;
	r = open_target(work, rootfs_is_dir(tree), err);
	if (r < 0)
		return r;
	/* The kernel's words for it are EINVAL; engines look for these, as runc says them */
	if (rootfs_is_dir(tree) != rootfs_is_dir(work->target))
		return err_set(err, ENOTDIR, "mounting a %s at a %s: not a directory",
			       rootfs_is_dir(tree) ? "directory" : "file",
			       rootfs_is_dir(tree) ? "file" : "directory");
	return rootfs_attach_tree(tree, work->target, work->mount->destination, err);
}

/* ---- file systems ---- */

/*
 * Without a cgroup namespace of its own the hierarchy is shown, not mounted: in a user namespace that is not allowed, and else the new
 * mount's options would become those of the whole hierarchy, nsdelegate gone
 */
static int clone_cgroup(const struct mount_work *work, struct err *err)
{
	cleanup_close int tree = open_tree(AT_FDCWD, work->rootfs->args->agent->cgroup_dir,
					   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int r;

	if (tree < 0)
		return err_sys(err, errno, "cannot show the cgroup hierarchy");
	r = rootfs_set_attrs(tree, work->options->attr_set, 0, false, err);
	return r < 0 ? r : take_fd(&tree);
}

static int mount_overlay(const struct mount_work *work, const char *scratch, struct err *err)
{
	static struct overlay overlay; /* large; the child has one thread */
	int r = overlay_open(work->rootfs->root, work->options->data, &overlay, err);

	if (r == 0 &&
	    mount(work->mount->source, scratch, "overlay", work->options->flags, overlay.data) < 0)
		r = err_sys(err, errno, "cannot mount a file system of type 'overlay'");
	overlay_release(&overlay);
	return r;
}

/* A tmpfs looks like the directory that it covers, unless told otherwise; one over nothing is as the kernel makes it */
static int finish_tmpfs(const struct mount_work *work, const char *scratch, struct err *err)
{
	struct stat st;

	if (work->existed && !strstr(work->options->data, "mode=") &&
	    fstat(work->target, &st) == 0 && chmod(scratch, st.st_mode & 07777) < 0)
		return err_sys(err, errno, "cannot set the mode of a tmpfs");
	return work->options->copy_up ? copy_up(work->target, scratch, err) : 0;
}

/* Return: the mount, attached at the scratch directory or detached; or -errno */
static int mount_scratch(const struct mount_work *work, unsigned long flags, struct err *err)
{
	bool cgroup = strcmp(work->type, CGROUP_FS) == 0;
	/* What is said of version 1's hierarchies (their names, mostly) means nothing to version 2 */
	bool no_data = cgroup && strcmp(work->mount->type, CGROUP_FS) != 0;
	char scratch[STAGE_PATH_MAX];
	int tree, r = rootfs_stage_path(work->rootfs, "scratch", scratch, err);

	if (r < 0)
		return r;
	if (cgroup && !work->rootfs->args->config->linux_.namespaces[OCI_NS_CGROUP].present)
		return clone_cgroup(work, err);
	if (strcmp(work->type, "overlay") == 0) {
		r = mount_overlay(work, scratch, err);
		if (r < 0)
			return r;
	} else if (mount(work->mount->source, scratch, work->type, flags,
			 no_data ? NULL : work->options->data) < 0) {
		if (cgroup && (errno == EPERM || errno == EBUSY))
			return clone_cgroup(work, err);
		return err_sys(err, errno, "cannot mount a file system of type '%.64s'",
			       work->type);
	}
	if (strcmp(work->type, "tmpfs") == 0) {
		r = finish_tmpfs(work, scratch, err);
		if (r < 0)
			return r;
	}
	tree = open_tree(AT_FDCWD, scratch, OPEN_TREE_CLOEXEC);
	return tree < 0 ? err_sys(err, errno, "cannot open a new mount") : tree;
}

static int mount_fs(struct mount_work *work, struct err *err)
{
	const struct mount_options *options = work->options;
	bool late = (options->flags & MS_RDONLY) &&
		    (strcmp(work->type, "tmpfs") == 0 || is_dev(work->mount));
	cleanup_close int tree = -1;
	int r = open_target(work, true, err);

	if (r < 0)
		return r;
	tree = mount_scratch(work, options->flags & ~(late ? (unsigned long)MS_RDONLY : 0), err);
	if (tree < 0)
		return tree;
	r = rootfs_set_attrs(tree, options->rec_set, options->rec_clear, true, err);
	if (r < 0)
		return r;
	r = set_propagation(tree, options, err);
	if (r < 0)
		return r;
	r = rootfs_attach_tree(tree, work->target, work->mount->destination, err);
	if (r == 0 && late)
		work->rootfs->late[work->rootfs->nlate++] = take_fd(&tree);
	return r;
}

/* ---- remount ---- */

static int remount(struct mount_work *work, struct err *err)
{
	const struct mount_options *options = work->options;
	char path[32];

	work->target = path_open_beneath(work->rootfs->root, work->mount->destination, O_PATH, 0,
					 err);
	if (work->target < 0)
		return work->target;
	if (work->mount->is_bind)
		return set_bind_flags(work->target, options, err);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", work->target);
	if (mount(NULL, path, NULL, options->flags, options->data) < 0)
		return err_sys(err, errno, "cannot change the mount that is there");
	return set_propagation(work->target, options, err);
}

/* ---- all ---- */

static int mount_one(struct rootfs *rootfs, size_t i, struct err *err)
{
	static struct mount_options options; /* large; the child has one thread */
	const struct oci_mount *mount = &rootfs->args->config->mounts[i];
	struct mount_work work = {.rootfs = rootfs,
				  .mount = mount,
				  .options = &options,
				  .type = type_of(mount),
				  .exported = rootfs->args->mount_exports[i] >= 0,
				  .target = -1};
	cleanup_close int source = rootfs->sources[i];
	int r = mount_options_parse(&mount->options, &options, err);

	rootfs->sources[i] = -1;
	if (r < 0)
		return r;
	if (options.flags & MS_REMOUNT)
		r = remount(&work, err);
	else if (mount->is_bind)
		r = mount_bind(&work, source, err);
	else
		r = mount_fs(&work, err);
	close_fd(&work.target);
	return r;
}

int rootfs_mount_all(struct rootfs *rootfs, struct err *err)
{
	const struct oci_config *config = rootfs->args->config;

	for (size_t i = 0; i < config->nmounts; i++) {
		int r = mount_one(rootfs, i, err);

		if (r < 0) {
			err_prefix(err, "mounts[%zu] at '%.256s'", i,
				   config->mounts[i].destination);
			return r;
		}
	}
	return 0;
}

int rootfs_finish(struct rootfs *rootfs, struct err *err)
{
	while (rootfs->nlate) {
		cleanup_close int mount = rootfs->late[--rootfs->nlate];
		int r = rootfs_set_attrs(mount, MOUNT_ATTR_RDONLY, 0, false, err);

		if (r < 0)
			return r;
	}
	return 0;
}
