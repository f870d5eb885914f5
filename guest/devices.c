/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device nodes are made with mknod where the file system takes it, else bound from the guest's own /dev. In a user namespace
 * nobody may make one, so they are made before it is entered, each on its own, and bound; with numbers, modes and owners as
 * asked for, whatever the guest's own /dev has (runc binds the host's, by path).
 *
 * An image may contain anything at these paths: nodes are made with mknodat on a directory reached inside the root, so that a
 * symlink at the last step is never followed.
 */
#define _GNU_SOURCE
#include "guest/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/path.h"

#include "guest/userns.h"

static const struct oci_device default_devices[] = {
	{.path = (char *)"/dev/null", .type = 'c', .major = 1, .minor = 3},
	{.path = (char *)"/dev/zero", .type = 'c', .major = 1, .minor = 5},
	{.path = (char *)"/dev/full", .type = 'c', .major = 1, .minor = 7},
	{.path = (char *)"/dev/random", .type = 'c', .major = 1, .minor = 8},
	{.path = (char *)"/dev/urandom", .type = 'c', .major = 1, .minor = 9},
	{.path = (char *)"/dev/tty", .type = 'c', .major = 5, .minor = 0},
};

static const struct {
	const char *target, *path;
} links[] = {
	{"/proc/self/fd", "/dev/fd"},
	{"/proc/self/fd/0", "/dev/stdin"},
	{"/proc/self/fd/1", "/dev/stdout"},
	{"/proc/self/fd/2", "/dev/stderr"},
};

bool devices_is_common(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(default_devices); i++) {
		if (st.st_rdev == makedev(default_devices[i].major, default_devices[i].minor))
			return true;
	}
	return false;
}

/* Open the directory of @path, made if need be, and point @name at the last component */
static int open_parent(struct rootfs *rootfs, const char *path, const char **name, struct err *err)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];

	if (!slash || !slash[1] || (size_t)(slash - path) >= sizeof(dir))
		return err_set(err, EINVAL, "'%.256s' is not a path for a device", path);
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	*name = slash + 1;
	return path_make_beneath(rootfs->root, *dir ? dir : "/", true, 0755, err);
}

/* ---- which ---- */

static size_t count_devices(const struct oci_config *config)
{
	return ARRAY_SIZE(default_devices) + config->linux_.ndevices;
}

/* Number @i of the defaults and linux.devices; NULL: none is made. One of linux.devices takes a default's place */
static const struct oci_device *device_at(const struct oci_config *config, size_t i)
{
	const struct oci_device *device;

	if (i >= ARRAY_SIZE(default_devices)) {
		device = &config->linux_.devices[i - ARRAY_SIZE(default_devices)];
		return strcmp(device->path, "/dev/ptmx") == 0 ? NULL : device; /* make_ptmx() */
	}
	for (size_t j = 0; j < config->linux_.ndevices; j++) {
		if (strcmp(config->linux_.devices[j].path, default_devices[i].path) == 0)
			return NULL;
	}
	return &default_devices[i];
}

static mode_t device_type(char type)
{
	return type == 'b' ? S_IFBLK : type == 'p' ? S_IFIFO : S_IFCHR;
}

static int make_node(int dir, const char *name, const struct oci_device *device)
{
	mode_t mode = device->has_mode ? device->mode & 07777 : 0666;

	return mknodat(dir, name, device_type(device->type) | mode,
		       makedev(device->major, device->minor)) < 0
		       ? -errno
		       : 0;
}

/* ---- nodes ---- */

static int give_owner(int dir, const char *name, const struct oci_device *device, struct err *err)
{
	if (!device->has_uid && !device->has_gid)
		return 0;
	if (fchownat(dir, name, device->has_uid ? device->uid : (uid_t)-1,
		     device->has_gid ? device->gid : (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "cannot give device '%s' its owner", device->path);
	return 0;
}

/* What is there is left alone when it is the device; the image's own idea of a default device is its business, as in runc */
static int adopt_node(int dir, const char *name, const struct oci_device *device, bool is_default,
		      struct err *err)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "cannot look at '%s'", device->path);
	if ((st.st_mode & S_IFMT) != device_type(device->type) ||
	    (device->type != 'p' && st.st_rdev != makedev(device->major, device->minor))) {
		if (is_default)
			return 0;
		return err_set(err, EEXIST, "'%s' is there and is another thing than the device",
			       device->path);
	}
	if (device->has_mode && fchmodat(dir, name, device->mode & 07777, 0) < 0)
		return err_sys(err, errno, "cannot give device '%s' its mode", device->path);
	return give_owner(dir, name, device, err);
}

static int bind_device(struct rootfs *rootfs, int tree, const char *path, struct err *err)
{
	if (tree < 0)
		tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return err_sys(err, errno, "cannot make device '%s'", path);
	return rootfs_bind(rootfs, tree, false, path, err);
}

static int make_device(struct rootfs *rootfs, size_t i, struct err *err)
{
	const struct oci_device *device = device_at(rootfs->args->config, i);
	cleanup_close int dir = -1;
	const char *name;
	int r;

	if (!device)
		return 0;
	dir = open_parent(rootfs, device->path, &name, err);
	if (dir < 0)
		return dir;
	r = rootfs->nodes ? -EPERM : make_node(dir, name, device);
	if (r == -EEXIST)
		return adopt_node(dir, name, device, i < ARRAY_SIZE(default_devices), err);
	if (r == -EPERM || r == -EOPNOTSUPP)
		return bind_device(rootfs, rootfs->nodes ? take_fd(&rootfs->nodes[i]) : -1,
				   device->path, err);
	if (r < 0)
		return err_sys(err, -r, "cannot make device '%s'", device->path);
	return give_owner(dir, name, device, err);
}

/* ---- nodes for a user namespace ---- */

static int prepare_node(const struct rootfs *rootfs, int dir, size_t i,
			const struct oci_device *device, struct err *err)
{
	const struct oci_config *config = rootfs->args->config;
	char name[24];
	uid_t uid;
	gid_t gid;
	int tree, r;

	(void)snprintf(name, sizeof(name), "%zu", i);
	r = make_node(dir, name, device);
	if (r < 0)
		return err_sys(err, -r, "cannot make device '%s'", device->path);
	r = userns_host_ids(config, device->has_uid ? device->uid : 0,
			    device->has_gid ? device->gid : 0, &uid, &gid);
	if (r < 0)
		return err_set(err, EINVAL, "the owner of device '%s' is not mapped", device->path);
	if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "cannot give device '%s' its owner", device->path);
	tree = open_tree(dir, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return tree < 0 ? err_sys(err, errno, "cannot make device '%s'", device->path) : tree;
}

int devices_prepare(struct rootfs *rootfs, struct err *err)
{
	const struct oci_config *config = rootfs->args->config;
	size_t n = count_devices(config);
	char path[STAGE_PATH_MAX];
	cleanup_close int dir = -1;
	int r = rootfs_stage_path(rootfs, "scratch", path, err);

	if (r < 0)
		return r;
	rootfs->nodes = calloc(n, sizeof(*rootfs->nodes));
	if (!rootfs->nodes)
		return err_sys(err, ENOMEM, "cannot prepare devices");
	if (mount("nodes", path, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755") < 0)
		return err_sys(err, errno, "cannot mount a place for devices");
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < n && r == 0; i++) {
		const struct oci_device *device = device_at(config, i);

		rootfs->nodes[i] = device ? prepare_node(rootfs, dir, i, device, err) : -1;
		if (device && rootfs->nodes[i] < 0)
			r = rootfs->nodes[i];
	}
	(void)umount2(path, MNT_DETACH); /* the mounts of the nodes keep what they need */
	return r;
}

/* ---- links ---- */

static int make_link(struct rootfs *rootfs, const char *target, const char *path, struct err *err)
{
	cleanup_close int dir = -1;
	const char *name;

	dir = open_parent(rootfs, path, &name, err);
	if (dir < 0)
		return dir;
	if (symlinkat(target, dir, name) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot link '%s'", path);
	return 0;
}

/* /dev/ptmx must be the container's own instance's, so what is there is replaced */
static int make_ptmx(struct rootfs *rootfs, struct err *err)
{
	cleanup_close int dir = -1;
	const char *name;

	dir = open_parent(rootfs, "/dev/ptmx", &name, err);
	if (dir < 0)
		return dir;
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(err, errno, "cannot replace '/dev/ptmx'");
	if (symlinkat("pts/ptmx", dir, name) < 0)
		return err_sys(err, errno, "cannot link '/dev/ptmx'");
	return 0;
}

static bool has_bound_dev(const struct oci_config *config)
{
	bool bound = false;

	for (size_t i = 0; i < config->nmounts; i++) {
		if (strcmp(config->mounts[i].destination, "/dev") == 0 ||
		    strcmp(config->mounts[i].destination, "/dev/") == 0)
			bound = config->mounts[i].is_bind;
	}
	return bound;
}

int devices_make(struct rootfs *rootfs, struct err *err)
{
	const struct oci_config *config = rootfs->args->config;
	int r = 0;

	if (has_bound_dev(config))
		return 0;
	for (size_t i = 0; i < count_devices(config) && r == 0; i++)
		r = make_device(rootfs, i, err);
	if (r == 0)
		r = make_ptmx(rootfs, err);
	for (size_t i = 0; i < ARRAY_SIZE(links) && r == 0; i++)
		r = make_link(rootfs, links[i].target, links[i].path, err);
	if (r == 0 && access("/proc/kcore", F_OK) == 0) /* a kernel may be built without */
		r = make_link(rootfs, "/proc/kcore", "/dev/core", err);
	return r;
}

/* ---- terminal ---- */

int terminal_open(int root, unsigned int rows, unsigned int columns, int *master, int *slave,
		  struct err *err)
{
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
	cleanup_close int m = path_open_beneath(root, "/dev/ptmx", O_RDWR | O_NOCTTY, 0, err);
	struct stat st;
	int unlock = 0, s;

	if (m < 0) {
		err_prefix(err, "cannot open a terminal");
		return m;
	}
	/* The image or an earlier process may have put something else there */
	if (fstat(m, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2))
		return err_set(err, ENOTTY,
			       "cannot open a terminal: '/dev/ptmx' is something else");
	if (ioctl(m, TIOCSPTLCK, &unlock) < 0)
		return err_sys(err, errno, "cannot unlock the terminal");
	s = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s < 0)
		return err_sys(err, errno, "cannot open the terminal's other end");
	if (rows && columns)
		(void)ioctl(m, TIOCSWINSZ, &size);
	*slave = s;
	*master = take_fd(&m);
	return 0;
}

int terminal_mount_console(struct rootfs *rootfs, int slave, struct err *err)
{
	int tree = open_tree(slave, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0)
		return err_sys(err, errno, "cannot copy the terminal's mount");
	return rootfs_bind(rootfs, tree, false, "/dev/console", err);
}
