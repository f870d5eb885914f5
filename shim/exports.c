/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exports: detached clones of the host's mounts (open_tree, mount_setattr).
 *
 * They are made by the short-lived command, in the mount namespace in which the paths of config.json mean something, and go
 * to the vmm as descriptors. From a detached clone ".." does not lead out, from a plain directory descriptor it does. Every
 * clone is nodev and nosuid on the host (what a device node or a set-user-id bit means is the guest kernel's business), and
 * read-only where the configuration says so, submounts included, so that a guest which has been taken over cannot write.
 *
 * A rootfs that is to be read-only is exported so only when all mount points exist in it: otherwise the agent has to make
 * them first, as runc does, and then makes it read-only in the guest.
 *
 * The same place of the same host mount with the same flags is one export, however often it is mounted: two would be two
 * page caches in the guest. Beside each export there is a second clone for the monitor's own mount namespace: a mount that
 * is attached somewhere is no longer closed towards "..".
 *
 * A path is walked once: whoever owns a part of it may swap that for a symlink at any moment, and what was checked, what the
 * vmm gets and what the monitor shows must be one thing.
 *
 * Sources: directories and regular files; sockets and fifos (their nodes can be seen, what is behind them stays on the
 * host); the memory devices every system has (null, zero, full, random, urandom, tty), for which the guest's kernel serves
 * its own. Every other device is refused: its node would mean something else in the guest.
 *
 * Interfaces of the host's kernel (proc, sysfs, cgroup and their like) are never exported: their files name processes of the host, the
 * vmm itself among them, or change the host. /proc and /sys and what lies below them, but for processes, are the guest's own instead; any
 * other is refused. One below an exported folder is closed by the file server (kvm/fuse/node.c).
 */
#include "shim/exports.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/log.h"
#include "lib/path.h"

#define EXPORT_FIELD_MAX 64

/* One export is this; the rest of struct statx is of no interest */
struct export_key {
	uint64_t mnt_id, ino;
	dev_t dev;
	uint32_t flags;
	bool recursive;
};

/* A place of the host's that config.json names */
struct source {
	const char *field, *path; /* borrowed */
	int fd;			  /* owned, O_PATH */
	struct statx stx;
};

/* Missing things must not look like a missing program, neither by words nor by number */
static int source_error(const struct source *source, int code, struct err *err)
{
	if (code == ENOENT || code == EACCES || code == ENOTDIR || code == EPERM)
		return err_set(err, EINVAL, "config.json: %s '%s': %s", source->field, source->path,
			       err_reason(code));
	return err_sys(err, code, "config.json: %s '%s'", source->field, source->path);
}

/* A clone: private for the vmm, a slave of the host's mount for the monitor's view */
static int source_clone(const struct source *source, bool recursive, bool read_only,
			unsigned long propagation, struct err *err)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID |
			    (read_only ? MOUNT_ATTR_RDONLY : 0),
		.propagation = propagation,
	};
	cleanup_close int fd = open_tree(source->fd, "",
					 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH |
						 (recursive ? AT_RECURSIVE : 0));

	if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return source_error(source, errno, err);
	return take_fd(&fd);
}

static bool is_common_device(const struct statx *stx)
{
	static const unsigned int minors[] = {3, 5, 7, 8, 9}; /* null zero full random urandom */

	if (!S_ISCHR(stx->stx_mode))
		return false;
	if (stx->stx_rdev_major == 5 && stx->stx_rdev_minor == 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(minors); i++)
		if (stx->stx_rdev_major == 1 && stx->stx_rdev_minor == minors[i])
			return true;
	return false;
}

static int source_check(const struct source *source, struct err *err)
{
	const struct statx *stx = &source->stx;

	if (S_ISBLK(stx->stx_mode) || (S_ISCHR(stx->stx_mode) && !is_common_device(stx)))
		return err_set(err, EINVAL,
			       "config.json: %s '%s': a device of the host cannot be bind-mounted "
			       "into a guest",
			       source->field, source->path);
	return 0;
}

/* Follow the path of @source; as with mount(2) that triggers an automount. The caller closes it, also on failure */
static int source_open(int dirfd, struct source *source, struct err *err)
{
	source->fd = open_tree(dirfd, source->path, OPEN_TREE_CLOEXEC);
	if (source->fd < 0 || statx(source->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID,
				    &source->stx) < 0)
		return source_error(source, errno, err);
	return source_check(source, err);
}

static void source_close(struct source *source)
{
	close_fd(&source->fd);
}

static bool key_equal(const struct export_key *a, const struct export_key *b)
{
	return a->mnt_id == b->mnt_id && a->ino == b->ino && a->dev == b->dev &&
	       a->flags == b->flags && a->recursive == b->recursive;
}

static bool has_option(const struct oci_mount *mount, const char *option)
{
	for (size_t i = 0; i < mount->options.n; i++)
		if (!strcmp(mount->options.items[i], option))
			return true;
	return false;
}

/* Options are in the order of mount(8): the last word counts */
static bool is_read_only(const struct oci_mount *mount)
{
	bool read_only = false;

	for (size_t i = 0; i < mount->options.n; i++) {
		const char *option = mount->options.items[i];

		if (!strcmp(option, "ro") || !strcmp(option, "rro"))
			read_only = true;
		else if (!strcmp(option, "rw") || !strcmp(option, "rrw"))
			read_only = false;
	}
	return read_only;
}

/* Is @path the mount point of @mount, or below it? */
static bool is_below(const char *path, const struct oci_mount *mount)
{
	size_t len = strlen(mount->destination);

	while (len > 1 && mount->destination[len - 1] == '/')
		len--;
	return !strncmp(path, mount->destination, len) &&
	       (len == 1 || path[len] == '/' || !path[len]);
}

/* Does every mount point that lies in the rootfs itself exist? */
static bool has_mount_points(const struct oci_config *config, int root_fd)
{
	for (size_t i = 0; i < config->nmounts; i++) {
		cleanup_close int fd = -1;
		bool covered = false;

		for (size_t j = 0; j < i && !covered; j++)
			covered = is_below(config->mounts[i].destination, &config->mounts[j]);
		if (covered)
			continue;
		fd = path_open_beneath(root_fd, config->mounts[i].destination, O_PATH, 0, NULL);
		if (fd < 0)
			return false;
	}
	return true;
}

/* Has the guest such a place, which means the same there? Not with ".." in it, and not what belongs to a process */
static bool guest_has(const char *path)
{
	bool proc = !strncmp(path, "/proc", 5) && (!path[5] || path[5] == '/');
	bool sys = !strncmp(path, "/sys", 4) && (!path[4] || path[4] == '/');
	const char *below;

	if ((!proc && !sys) || strstr(path, "/.."))
		return false;
	if (sys)
		return true;
	below = path + 5 + strspn(path + 5, "/");
	return !(strspn(below, "0123456789") || !strncmp(below, "self", 4) ||
		 !strncmp(below, "thread-self", 11));
}

static int kernel_interface(const struct source *source, struct err *err)
{
	if (!guest_has(source->path))
		return err_set(err, EINVAL,
			       "config.json: %s '%s': an interface of the host's kernel cannot be "
			       "bind-mounted into a guest",
			       source->field, source->path);
	log_info("config.json: %s '%s': the guest has its own, which is mounted instead",
		 source->field, source->path);
	return 0;
}

static int root_fill(const struct oci_config *config, const struct source *source,
		     struct exports *out, struct err *err)
{
	struct vmm_export *root = &out->items[0];

	if (!S_ISDIR(source->stx.stx_mode))
		return err_set(err, EINVAL, "config.json: root.path '%s': it is not a folder",
			       source->path);
	if (path_is_kernel_interface(source->fd))
		return err_set(
			err, EINVAL,
			"config.json: root.path '%s': it is an interface of the host's kernel",
			source->path);
	out->root_view_fd = source_clone(source, true, false, MS_SLAVE, err);
	if (out->root_view_fd < 0)
		return out->root_view_fd;
	if (config->root.readonly && has_mount_points(config, out->root_view_fd))
		root->flags = VMM_EXPORT_READ_ONLY;
	root->fd = source_clone(source, true, root->flags & VMM_EXPORT_READ_ONLY, MS_PRIVATE, err);
	if (root->fd < 0)
		return root->fd;
	out->n = 1;
	return 0;
}

static int root_open(const struct oci_config *config, int bundle_fd, struct exports *out,
		     struct err *err)
{
	struct source source = {.field = "root.path", .path = config->root.path};
	int r = source_open(bundle_fd, &source, err);

	if (r == 0)
		r = root_fill(config, &source, out, err);
	source_close(&source);
	return r;
}

/* Find the export of @key or make it; Return: its id or -errno */
static int export_get(struct exports *out, struct export_key *keys, const struct export_key *key,
		      const struct source *source, struct err *err)
{
	struct vmm_export *item;

	for (unsigned int i = 1; i < out->n; i++)
		if (key_equal(&keys[i], key))
			return (int)i;
	if (out->n == MACHINE_EXPORTS_MAX)
		return err_set(err, EINVAL, "config.json: mounts: more than %d places of the host",
			       MACHINE_EXPORTS_MAX);
	item = &out->items[out->n];
	*item = (struct vmm_export){.id = out->n, .flags = key->flags};
	item->fd = source_clone(source, key->recursive, key->flags & VMM_EXPORT_READ_ONLY,
				MS_PRIVATE, err);
	if (item->fd < 0)
		return item->fd;
	keys[out->n] = *key;
	return (int)out->n++;
}

static int bind_fill(const struct oci_config *config, size_t index, const struct source *source,
		     struct exports *out, struct export_key *keys, struct err *err)
{
	const struct oci_mount *mount = &config->mounts[index];
	struct export_bind *bind = &out->binds[out->nbinds];
	struct export_key key = {
		.flags = VMM_EXPORT_COHERENT | VMM_EXPORT_WATCH |
			 (is_read_only(mount) ? VMM_EXPORT_READ_ONLY : 0),
		.recursive = has_option(mount, "rbind"),
		.mnt_id = source->stx.stx_mnt_id,
		.ino = source->stx.stx_ino,
		.dev = makedev(source->stx.stx_dev_major, source->stx.stx_dev_minor),
	};
	int r = export_get(out, keys, &key, source, err);

	if (r < 0)
		return r;
	*bind = (struct export_bind){.mount_index = (uint32_t)index,
				     .export_id = (uint32_t)r,
				     .directory = S_ISDIR(source->stx.stx_mode)};
	bind->view_fd = source_clone(source, key.recursive, key.flags & VMM_EXPORT_READ_ONLY,
				     MS_SLAVE, err);
	if (bind->view_fd < 0)
		return bind->view_fd;
	out->nbinds++;
	return 0;
}

static int bind_open(const struct oci_config *config, size_t index, int bundle_fd,
		     struct exports *out, struct export_key *keys, struct err *err)
{
	char field[EXPORT_FIELD_MAX];
	struct source source = {.field = field, .path = config->mounts[index].source};
	int r;

	snprintf(field, sizeof(field), "mounts[%zu].source", index);
	if (!source.path || !source.path[0])
		return err_set(err, EINVAL, "config.json: %s: a bind mount needs one", field);
	r = source_open(bundle_fd, &source, err);
	if (r == 0 && path_is_kernel_interface(source.fd))
		r = kernel_interface(&source, err);
	else if (r == 0)
		r = bind_fill(config, index, &source, out, keys, err);
	source_close(&source);
	return r;
}

static int open_all(const struct oci_config *config, int bundle_fd, struct exports *out,
		    struct err *err)
{
	cleanup_free struct export_key *keys = calloc(MACHINE_EXPORTS_MAX, sizeof(*keys));
	int r;

	out->binds = calloc(config->nmounts ?: 1, sizeof(*out->binds));
	if (!keys || !out->binds)
		return err_sys(err, ENOMEM, "opening the exports");
	r = root_open(config, bundle_fd, out, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < config->nmounts; i++) {
		if (!config->mounts[i].is_bind)
			continue;
		r = bind_open(config, i, bundle_fd, out, keys, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int exports_open(const struct oci_config *config, int bundle_fd, struct exports *out,
		 struct err *err)
{
	int r;

	*out = (struct exports){.root_view_fd = -1};
	for (unsigned int i = 0; i < MACHINE_EXPORTS_MAX; i++)
		out->items[i].fd = -1;
	r = open_all(config, bundle_fd, out, err);
	if (r == 0)
		r = disks_open(config, out, err);
	if (r < 0)
		exports_release(out);
	return r;
}

void exports_close_vmm(struct exports *exports)
{
	for (unsigned int i = 0; i < MACHINE_EXPORTS_MAX; i++)
		close_fd(&exports->items[i].fd);
	for (; exports->ndisks > 0; exports->ndisks--)
		close_fd(&exports->disks[exports->ndisks - 1].fd);
}

void exports_release(struct exports *exports)
{
	exports_close_vmm(exports);
	close_fd(&exports->root_view_fd);
	for (unsigned int i = 0; i < exports->nbinds; i++)
		close_fd(&exports->binds[i].view_fd);
	free(exports->binds);
	*exports = (struct exports){.root_view_fd = -1};
	for (unsigned int i = 0; i < MACHINE_EXPORTS_MAX; i++)
		exports->items[i].fd = -1;
}
