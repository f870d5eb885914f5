/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts of one container.
 *
 * An export is an automount below the virtio-fs device's root. Each mount namespace in which it is triggered would get a super
 * block, and page cache, of its own; so it is triggered in the agent's namespace, once, and copied from there.
 *
 * File systems are mounted with plain mount(2) at a scratch directory of the child's namespace and moved from there by
 * descriptor: mount(2) takes flags and data as runc's users write them, and the move cannot be led astray by a symlink.
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

#include "guest/copy_up.h"
#include "guest/mount_options.h"

#define STAGE_PATH_MAX 256

static int stage_path(const struct rootfs *rootfs, const char *name, char path[STAGE_PATH_MAX])
{
	int n = snprintf(path, STAGE_PATH_MAX, "%s/%s", rootfs->args->agent->stage_dir, name);

	return n < STAGE_PATH_MAX ? 0 : -ENAMETOOLONG;
}

static bool fd_is_dir(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
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
	if (!rootfs->sources)
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

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "cannot make the guest's mounts private");
	if (stage_path(rootfs, "root", path) < 0 ||
	    move_mount(rootfs->root, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "cannot attach the rootfs");
	return 0;
}

/* ---- mounts ---- */

static int attach(int tree, int target, const char *path, struct err *err)
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
	return attach(source, target, path, err);
}

static int set_attrs(int tree, uint64_t set, uint64_t clear, bool recursive, struct err *err)
{
	struct mount_attr attr = {.attr_set = set, .attr_clr = clear};

	if (!set && !clear)
		return 0;
	if (mount_setattr(tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr,
			  sizeof(attr)) < 0)
		return err_sys(err, errno, "cannot set mount flags");
	return 0;
}

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

static int mount_bind(struct rootfs *rootfs, size_t i, const struct mount_options *options,
		      struct err *err)
{
	int tree = rootfs->sources[i];
	bool exported = rootfs->args->mount_exports[i] >= 0;
	int r = 0;

	/*
	 * A device node in an export is a file with an attribute that any user of the host who owns the file can write: without "dev"
	 * by word it is no device (docs/threat-model.md)
	 */
	if (exported && !options->dev && fd_is_dir(tree))
		r = set_attrs(tree, MOUNT_ATTR_NODEV, 0, true, err);
	if (r < 0)
		return r;
	r = set_attrs(tree, options->attr_set, options->attr_clear, false, err);
	if (r < 0)
		return r;
	r = set_attrs(tree, options->rec_set, options->rec_clear, true, err);
	if (r < 0)
		return r;
	r = set_propagation(tree, options, err);
	if (r < 0)
		return r;
	rootfs->sources[i] = -1;
	return rootfs_bind(rootfs, tree, fd_is_dir(tree),
			   rootfs->args->config->mounts[i].destination, err);
}

/* A tmpfs looks like the directory that it covers, unless told otherwise */
static int finish_tmpfs(int target, const struct mount_options *options, const char *scratch,
			struct err *err)
{
	struct stat st;

	if (!strstr(options->data, "mode=") && fstat(target, &st) == 0 &&
	    chmod(scratch, st.st_mode & 07777) < 0)
		return err_sys(err, errno, "cannot set the mode of a tmpfs");
	if (!options->copy_up)
		return 0;
	return copy_up(target, scratch, err);
}

static const char *mount_type(const struct oci_mount *mount)
{
	if (!mount->type)
		return "";
	return strcmp(mount->type, "cgroup") == 0 ? "cgroup2" : mount->type;
}

static int mount_fs_at(const struct oci_mount *mount_, const struct mount_options *options,
		       int target, const char *scratch, struct err *err)
{
	const char *type = mount_type(mount_);
	bool tmpfs = strcmp(type, "tmpfs") == 0;
	bool late_ro = tmpfs && (options->flags & MS_RDONLY);
	unsigned long flags = options->flags & ~(late_ro ? (unsigned long)MS_RDONLY : 0);
	cleanup_close int tree = -1;
	int r;

	if (mount(mount_->source, scratch, type, flags,
		  strcmp(type, "cgroup2") == 0 ? NULL : options->data) < 0)
		return err_sys(err, errno, "cannot mount a file system of type '%.64s'", type);
	if (tmpfs) {
		r = finish_tmpfs(target, options, scratch, err);
		if (r < 0)
			return r;
	}
	tree = open_tree(AT_FDCWD, scratch, OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return err_sys(err, errno, "cannot open a new mount");
	r = set_attrs(tree, options->rec_set, options->rec_clear, true, err);
	if (r < 0)
		return r;
	/* /dev is still to be filled: devices_finish() makes it read-only */
	if (late_ro && strcmp(mount_->destination, "/dev") != 0) {
		r = set_attrs(tree, MOUNT_ATTR_RDONLY, 0, false, err);
		if (r < 0)
			return r;
	}
	r = set_propagation(tree, options, err);
	return r < 0 ? r : attach(tree, target, mount_->destination, err);
}

static int mount_fs(struct rootfs *rootfs, size_t i, const struct mount_options *options,
		    struct err *err)
{
	const struct oci_mount *mount = &rootfs->args->config->mounts[i];
	cleanup_close int target = path_make_beneath(rootfs->root, mount->destination, true, 0755,
						     err);
	char scratch[STAGE_PATH_MAX];

	if (target < 0)
		return target;
	if (stage_path(rootfs, "scratch", scratch) < 0)
		return err_set(err, ENAMETOOLONG, "the stage directory's name is too long");
	return mount_fs_at(mount, options, target, scratch, err);
}

int rootfs_mount_all(struct rootfs *rootfs, struct err *err)
{
	static struct mount_options options; /* large; the child has one thread */
	const struct oci_config *config = rootfs->args->config;

	for (size_t i = 0; i < config->nmounts; i++) {
		int r = mount_options_parse(&config->mounts[i].options, &options, err);

		if (r == 0)
			r = config->mounts[i].is_bind ? mount_bind(rootfs, i, &options, err)
						      : mount_fs(rootfs, i, &options, err);
		if (r < 0) {
			err_prefix(err, "mounts[%zu] at '%.256s'", i,
				   config->mounts[i].destination);
			return r;
		}
	}
	return 0;
}

/* ---- masks ---- */

static int mask_dir(struct rootfs *rootfs, struct err *err)
{
	char path[STAGE_PATH_MAX];
	int tree;

	if (stage_path(rootfs, "mask", path) < 0)
		return err_set(err, ENAMETOOLONG, "the stage directory's name is too long");
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
	tree = fd_is_dir(target) ? mask_dir(rootfs, err) : mask_file(err);
	r = tree < 0 ? tree : attach(tree, target, path, err);
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
		     : set_attrs(tree, MOUNT_ATTR_RDONLY, 0, false, err);
	if (r == 0)
		r = attach(tree, target, path, err);
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
	int r = config->root.readonly ? set_attrs(rootfs->root, MOUNT_ATTR_RDONLY, 0, false, err)
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
