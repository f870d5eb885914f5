/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the kernel's hand to a working system, in as few system calls as will do: start-up time is counted in milliseconds and
 * each request to the host costs some of them. Nothing is mounted here that the first container does not need.
 *
 * The initramfs cannot be pivoted away from, and setns() to a mount namespace goes to the topmost root; so a tmpfs is filled
 * first, moved over it and entered. Everything is private to the guest, no propagation (the kernel's default).
 *
 *   /dev devtmpfs · /proc · /sys sysfs · /sys/fs/cgroup cgroup2 · /run/roots virtio-fs, one entry per export
 *   /run/stage/{root,scratch,mask}: where children build (each in a mount namespace of its own)
 */
#define _GNU_SOURCE
#include "guest/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/machine.h"

#include "guest/cgroup.h"

#define NEW_ROOT "/run" /* of the initramfs: where the tmpfs is filled */
#define NOFILE 1048576
#define BACKLOG 128

static const char *const directories[] = {"dev",
					  "proc",
					  "sys",
					  "tmp",
					  "run",
					  "run/roots",
					  "run/stage",
					  "run/stage/root",
					  "run/stage/scratch",
					  "run/stage/mask"};

static const struct boot_mount {
	const char *source, *target, *type;
	unsigned long flags;
	const char *data;
} mounts[] = {
	{"dev", "dev", "devtmpfs", MS_NOSUID, "mode=755"},
	{"proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	/* nsdelegate: below its own cgroup namespace's root a container may do as it likes, its limits there are not its own */
	{"cgroup", "sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, "nsdelegate"},
	/* No flags: bind mounts of the exports below inherit them */
	{MACHINE_FS_TAG, "run/roots", "virtiofs", 0, NULL},
};

static int fill_root(struct err *err)
{
	(void)mkdir(NEW_ROOT, 0755);
	if (mount("root", NEW_ROOT, "tmpfs", 0, "mode=755") < 0 || chdir(NEW_ROOT) < 0)
		return err_sys(err, errno, "cannot mount the agent's root");
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		if (mkdir(directories[i], 0755) < 0)
			return err_sys(err, errno, "cannot make '/%s'", directories[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		const struct boot_mount *m = &mounts[i];

		if (mount(m->source, m->target, m->type, m->flags, m->data) < 0)
			return err_sys(err, errno, "cannot mount %s at '/%s'", m->type, m->target);
	}
	return 0;
}

static int move_root(struct err *err)
{
	if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return err_sys(err, errno, "cannot move the agent's root over the initramfs");
	return 0;
}

/* Without a console the kernel starts us with none of them open */
static int open_stdio(struct err *err)
{
	int fd, log;

	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			return err_sys(err, errno, "cannot open /dev/null");
	} while (fd <= 2);
	(void)close(fd);
	log = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (log >= 0)
		log_set_fd(log);
	return 0;
}

static int enable_cgroups(struct err *err)
{
	cleanup_close int fd = open(BOOT_CGROUP_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, errno, "cannot open '%s'", BOOT_CGROUP_DIR);
	return cgroup_enable_controllers(fd, err);
}

int boot_raise_loopback(struct err *err)
{
	cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return err_sys(err, errno, "cannot bring up the loopback device");
	return 0;
}

static int raise_limits(struct err *err)
{
	struct rlimit nofile = {NOFILE, NOFILE};

	/* Streams and relays of many processes; children get their own limit */
	if (setrlimit(RLIMIT_NOFILE, &nofile) < 0)
		return err_sys(err, errno, "cannot raise the limit of open files");
	return 0;
}

int boot_system(struct err *err)
{
	static int (*const steps[])(struct err *) = {
		fill_root, move_root, open_stdio, raise_limits, enable_cgroups, boot_raise_loopback,
	};

	(void)umask(0022);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int r = steps[i](err);

		if (r < 0)
			return r;
	}
	return 0;
}

int boot_listen(unsigned int port, struct err *err)
{
	struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK, .svm_port = port, .svm_cid = VMADDR_CID_ANY};
	cleanup_close int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return err_sys(err, errno, "cannot listen on vsock port %u", port);
	return take_fd(&fd);
}
