/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block devices of the host that config.json lists: opened here, by the short-lived command, and served to the guest as disks.
 *
 * linux.devices gives a number and the path in the container, which need not be the host's. The host's is looked for by number: that path,
 * the kernel's own name, udev's link; whatever is opened must be a block device of that number. It is opened for
 * what the device rules allow, so that a guest which has been taken over cannot write to a read-only one.
 *
 * A container to which all devices are allowed (--privileged) has every device of the host in its list: none of them is
 * passed. What is not a block device is the agent's business (guest/device_numbers.h).
 */
#include "shim/exports.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

#define UEVENT_MAX 4096

/* Return: descriptor, -ENOENT when @path is not the device, or -errno */
static int open_as(const char *path, const struct oci_device *device, int flags)
{
	cleanup_close int node = open(path, O_PATH | O_CLOEXEC), fd = -1;
	struct stat st;

	/* Looked at first: opening something else may have effects */
	if (node < 0 || fstat(node, &st) < 0 || !S_ISBLK(st.st_mode) ||
	    st.st_rdev != makedev(device->major, device->minor))
		return -ENOENT;
	fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? -EIO : -errno;
	if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) ||
	    st.st_rdev != makedev(device->major, device->minor))
		return -ENOENT;
	return take_fd(&fd);
}

/* The kernel's name for it in /dev; false without */
static bool kernel_name(const struct oci_device *device, char *out, size_t size)
{
	cleanup_free char *text = NULL;
	char path[64], *name;

	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/uevent",
		       (unsigned int)device->major, (unsigned int)device->minor);
	if (io_read_file(AT_FDCWD, path, UEVENT_MAX, &text, NULL) < 0)
		return false;
	name = strstr(text, "DEVNAME=");
	if (!name)
		return false;
	name += strlen("DEVNAME=");
	name[strcspn(name, "\n")] = '\0';
	(void)snprintf(out, size, "/dev/%s", name);
	return true;
}

static int open_device(const struct oci_device *device, int flags)
{
	char path[256];
	int fd = open_as(device->path, device, flags);

	if (fd == -ENOENT && kernel_name(device, path, sizeof(path)))
		fd = open_as(path, device, flags);
	if (fd == -ENOENT) {
		(void)snprintf(path, sizeof(path), "/dev/block/%u:%u", (unsigned int)device->major,
			       (unsigned int)device->minor);
		fd = open_as(path, device, flags);
	}
	return fd;
}

static bool is_open(const struct exports *out, const char *id)
{
	for (unsigned int i = 0; i < out->ndisks; i++)
		if (strcmp(out->disks[i].id, id) == 0)
			return true;
	return false;
}

static int disk_open(const struct oci_config *config, size_t index, struct exports *out,
		     struct err *err)
{
	const struct oci_device *device = &config->linux_.devices[index];
	unsigned int access = oci_device_access(&config->linux_.resources, 'b', device->major,
						device->minor);
	struct vmm_disk *disk = &out->disks[out->ndisks];
	char id[sizeof(disk->id)];
	int fd;

	(void)snprintf(id, sizeof(id), MACHINE_DISK_ID, (unsigned int)device->major,
		       (unsigned int)device->minor);
	if (is_open(out, id))
		return 0;
	if (out->ndisks == MACHINE_DISKS_MAX)
		return err_set(
			err, EINVAL,
			"config.json: linux.devices[%zu] '%s': a guest gets at most %d block "
			"devices of the host",
			index, device->path, MACHINE_DISKS_MAX);
	if (!(access & (OCI_ACCESS_READ | OCI_ACCESS_WRITE)))
		return err_set(err, EINVAL,
			       "config.json: linux.devices[%zu] '%s': no rule of "
			       "linux.resources.devices allows reading or writing it",
			       index, device->path);
	fd = open_device(device, access & OCI_ACCESS_WRITE ? O_RDWR : O_RDONLY);
	if (fd == -ENOENT)
		return err_set(err, EINVAL,
			       "config.json: linux.devices[%zu] '%s': the host has no block device "
			       "%s in /dev",
			       index, device->path, id);
	if (fd < 0)
		return err_set(err, EINVAL,
			       "config.json: linux.devices[%zu] '%s': block device %s of the host: "
			       "%s",
			       index, device->path, id, err_reason(-fd));
	*disk = (struct vmm_disk){.fd = fd,
				  .flags = access & OCI_ACCESS_WRITE ? 0 : VMM_DISK_READ_ONLY};
	memcpy(disk->id, id, sizeof(id));
	out->ndisks++;
	return 0;
}

int disks_open(const struct oci_config *config, struct exports *out, struct err *err)
{
	bool privileged = oci_devices_are_all_allowed(&config->linux_.resources);
	size_t left_out = 0;

	for (size_t i = 0; i < config->linux_.ndevices; i++) {
		int r = 0;

		if (config->linux_.devices[i].type != 'b')
			continue;
		if (privileged)
			left_out++;
		else
			r = disk_open(config, i, out, err);
		if (r < 0)
			return r;
	}
	if (left_out)
		log_info("config.json: linux.devices: all devices are allowed (--privileged), so "
			 "none of the host's is passed: %zu block devices are left out",
			 left_out);
	return 0;
}
