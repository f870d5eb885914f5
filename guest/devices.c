/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device nodes are made with mknod where the file system takes it, else bound from the guest's own /dev (as runc does in a user
 * namespace). An image may contain anything at these paths: nodes are made with mknodat on a directory reached inside the
 * root, so that a symlink at the last step is never followed, and what already exists is left alone, as in runc.
 */
#define _GNU_SOURCE
#include "guest/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/path.h"

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
	{"/proc/self/fd", "/dev/fd"},	    {"/proc/self/fd/0", "/dev/stdin"},
	{"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
	{"/proc/kcore", "/dev/core"},
};

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

static int bind_device(struct rootfs *rootfs, const char *path, struct err *err)
{
	int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0)
		return err_sys(err, errno, "cannot make device '%s'", path);
	return rootfs_bind(rootfs, tree, false, path, err);
}

static mode_t device_type(char type)
{
	return type == 'b' ? S_IFBLK : type == 'p' ? S_IFIFO : S_IFCHR;
}

static int make_device(struct rootfs *rootfs, const struct oci_device *device, struct err *err)
{
	mode_t mode = device->has_mode ? device->mode & 07777 : 0666;
	cleanup_close int dir = -1;
	const char *name;

	dir = open_parent(rootfs, device->path, &name, err);
	if (dir < 0)
		return dir;
	if (mknodat(dir, name, device_type(device->type) | mode,
		    makedev(device->major, device->minor)) < 0) {
		if (errno == EEXIST)
			return 0;
		if (errno == EPERM || errno == EOPNOTSUPP)
			return bind_device(rootfs, device->path, err);
		return err_sys(err, errno, "cannot make device '%s'", device->path);
	}
	if ((device->has_uid || device->has_gid) &&
	    fchownat(dir, name, device->has_uid ? device->uid : 0,
		     device->has_gid ? device->gid : 0, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "cannot give device '%s' its owner", device->path);
	return 0;
}

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

static const struct oci_mount *dev_mount(const struct rootfs *rootfs)
{
	const struct oci_config *config = rootfs->args->config;
	const struct oci_mount *found = NULL;

	for (size_t i = 0; i < config->nmounts; i++) {
		if (strcmp(config->mounts[i].destination, "/dev") == 0 ||
		    strcmp(config->mounts[i].destination, "/dev/") == 0)
			found = &config->mounts[i];
	}
	return found;
}

int devices_make(struct rootfs *rootfs, struct err *err)
{
	const struct oci_config *config = rootfs->args->config;
	const struct oci_mount *dev = dev_mount(rootfs);
	int r = 0;

	if (dev && dev->is_bind)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(default_devices) && r == 0; i++)
		r = make_device(rootfs, &default_devices[i], err);
	for (size_t i = 0; i < config->linux_.ndevices && r == 0; i++)
		r = make_device(rootfs, &config->linux_.devices[i], err);
	if (r == 0)
		r = make_ptmx(rootfs, err);
	for (size_t i = 0; i < ARRAY_SIZE(links) && r == 0; i++)
		r = make_link(rootfs, links[i].target, links[i].path, err);
	return r;
}

int devices_finish(struct rootfs *rootfs, struct err *err)
{
	const struct oci_mount *dev = dev_mount(rootfs);
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	cleanup_close int fd = -1;
	bool readonly = false;

	for (size_t i = 0; dev && !dev->is_bind && i < dev->options.n; i++)
		readonly |= strcmp(dev->options.items[i], "ro") == 0;
	if (!readonly)
		return 0;
	fd = path_open_beneath(rootfs->root, "/dev", O_PATH, 0, err);
	if (fd < 0)
		return fd;
	if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, errno, "cannot make /dev read-only");
	return 0;
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
