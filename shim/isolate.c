/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the monitor lives. Engines act on the namespaces of the container's pid, so they must be the container's:
 *
 *   network   joined by path or new: engines fill it through /proc/PID/ns/net. None in config.json: the host's own.
 *   pid       new, and the monitor is its first process (spawn.c): its death ends the vmm.
 *   mount     new. Until the container has been created it is a private copy of the caller's, with a /proc of the new pid
 *             namespace on top (the vmm's user namespace is set up through /proc/PID). Then the rootfs becomes its root, the
 *             bind mounts of config.json are attached where the agent has found or made their mount points, and a /proc of its
 *             own: this is what `podman cp` and `podman top` enter. They are clones made before the fork, slaves of the
 *             host's mounts, nodev and nosuid.
 *
 * The tree is the container's, so every step in it is resolved with RESOLVE_IN_ROOT (lib/path.h), nothing is made in it from here,
 * and a mount point that does not fit is left out. After isolate_view() the monitor opens no path.
 */
#include "shim/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/path.h"

int isolate_network(struct shim *shim, struct err *err)
{
	const struct oci_namespace *ns = &shim->args->config->linux_.namespaces[OCI_NS_NETWORK];

	if (!ns->present)
		return 0;
	if (shim->netns_fd < 0) {
		if (unshare(CLONE_NEWNET) < 0)
			return err_sys(err, errno, "making a network namespace");
		shim->network.followed = true;
		return 0;
	}
	/* While the host's processes can be seen */
	shim->network.followed = !net_is_own(shim->netns_fd);
	if (shim->network.followed) {
		shim->network.user = net_user(shim->netns_fd, shim->network.user_name);
		if (net_note(shim->state_fd, shim->netns_fd, ns->path, err) < 0)
			return -err->code;
		shim->network.noted = true;
	}
	if (setns(shim->netns_fd, CLONE_NEWNET) < 0)
		return err_sys(err, errno, "joining the network namespace '%s'", ns->path);
	close_fd(&shim->netns_fd);
	return 0;
}

/* A new proc of this pid namespace, not attached anywhere */
static int proc_open(void)
{
	cleanup_close int fs = fsopen("proc", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return fd < 0 ? -errno : fd;
}

int isolate_mounts(struct shim *shim, struct err *err)
{
	cleanup_close int proc = -1;

	(void)shim;
	if (unshare(CLONE_NEWNS) < 0)
		return err_sys(err, errno, "making a mount namespace");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "making the mount namespace private");
	proc = proc_open();
	if (proc < 0)
		return err_sys(err, -proc, "mounting proc for the monitor");
	if (move_mount(proc, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "attaching proc for the monitor");
	return 0;
}

/* Attach the detached mount @fd at @path of the container's tree, if there is something of the same kind */
static int attach(int root_fd, int fd, const char *path)
{
	cleanup_close int target = path_open_beneath(root_fd, path, O_PATH, 0, NULL);
	struct stat source_stat, target_stat;

	if (target < 0)
		return target;
	if (fstat(fd, &source_stat) < 0 || fstat(target, &target_stat) < 0)
		return -errno;
	if (S_ISDIR(source_stat.st_mode) != S_ISDIR(target_stat.st_mode))
		return S_ISDIR(source_stat.st_mode) ? -ENOTDIR : -EISDIR;
	if (move_mount(fd, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

/* @last: what does not fit now never will */
static void attach_binds(struct shim *shim, int root_fd, bool last)
{
	struct exports *exports = shim->exports;

	for (unsigned int i = 0; i < exports->nbinds; i++) {
		const char *destination =
			shim->args->config->mounts[exports->binds[i].mount_index].destination;
		int r = exports->binds[i].view_fd < 0
				? 0
				: attach(root_fd, exports->binds[i].view_fd, destination);

		if (r < 0)
			log_debug("The monitor's view has no '%s': %s", destination,
				  err_reason(-r));
		if (r == 0 || last)
			close_fd(&exports->binds[i].view_fd);
	}
}

static bool attach_proc(int root_fd)
{
	cleanup_close int proc = proc_open();
	int r = proc < 0 ? proc : attach(root_fd, proc, "/proc");

	if (r < 0)
		log_debug("The monitor's view has no /proc: %s", err_reason(-r));
	return r == 0;
}

int isolate_show(struct shim *shim, struct err *err)
{
	int root = shim->exports->root_view_fd;

	/* As root.path was walked: it may end in a symlink */
	if (move_mount(root, "", AT_FDCWD, shim->args->rootfs,
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) < 0)
		return err_sys(err, errno, "attaching the rootfs for createContainer hooks");
	shim->proc_shown = attach_proc(root);
	attach_binds(shim, root, false);
	return 0;
}

int isolate_view(struct shim *shim, struct err *err)
{
	cleanup_close int root = take_fd(&shim->exports->root_view_fd);

	/* Any folder that surely exists serves as the place to attach it before it becomes the root */
	if (move_mount(root, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "attaching the rootfs for the monitor");
	if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return err_sys(err, errno, "making the rootfs the monitor's root");
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(err, errno, "leaving the host's root");
	if (!shim->proc_shown)
		(void)attach_proc(root);
	attach_binds(shim, root, true);
	return 0;
}
