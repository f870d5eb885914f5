/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Late device slots through sysfs; see slots.h.
 *
 *   /sys/bus/platform/devices/virtio-mmio.N      from the kernel's command line (virtio_mmio.device=…:N)
 *            └─ virtioM/net/NAME                 once bound: the virtio device, its interface
 *   /sys/bus/platform/drivers/virtio-mmio/{bind,unbind}
 *
 * A write to bind probes in the writer's context, the virtio driver included (both are built in), so that what the device
 * makes is there when it returns. The agent is the guest's own: nothing here is trusted by the host.
 */
#include "guest/slots.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/machine.h"

#define SLOTS_DEVICES "/sys/bus/platform/devices"
#define SLOTS_DRIVER "/sys/bus/platform/drivers/virtio-mmio"
#define SLOTS_PATH_MAX 256
#define SLOTS_NAME_MAX 32

static int slot_name(unsigned int slot, char name[SLOTS_NAME_MAX], struct err *err)
{
	if (slot >= MACHINE_LATE_SLOTS)
		return err_set(err, ENODEV, "device slot %u is not one of %d", slot,
			       MACHINE_LATE_SLOTS);
	(void)snprintf(name, SLOTS_NAME_MAX, MACHINE_SLOT_NAME, MACHINE_BOOT_SLOTS + slot);
	return 0;
}

static bool is_bound(const char *name)
{
	char path[SLOTS_PATH_MAX];

	(void)snprintf(path, sizeof(path), SLOTS_DEVICES "/%s/driver", name);
	return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int tell_driver(const char *file, const char *name, struct err *err)
{
	cleanup_close int fd = -1;
	char path[SLOTS_PATH_MAX];

	(void)snprintf(path, sizeof(path), SLOTS_DRIVER "/%s", file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "cannot open %s", path);
	if (write(fd, name, strlen(name)) < 0)
		return err_sys(err, errno, "writing %s to %s", name, path);
	return 0;
}

static int bind_name(const char *name, struct err *err)
{
	return is_bound(name) ? 0 : tell_driver("bind", name, err);
}

int slot_bind(unsigned int slot, struct err *err)
{
	char name[SLOTS_NAME_MAX];
	int r = slot_name(slot, name, err);

	return r < 0 ? r : bind_name(name, err);
}

int slot_bind_memory(struct err *err)
{
	char name[SLOTS_NAME_MAX];

	(void)snprintf(name, sizeof(name), MACHINE_SLOT_NAME, (unsigned int)MACHINE_MEMORY_SLOT);
	return bind_name(name, err);
}

int slot_unbind(unsigned int slot, struct err *err)
{
	char name[SLOTS_NAME_MAX];
	int r;

	r = slot_name(slot, name, err);
	if (r < 0 || !is_bound(name))
		return r;
	return tell_driver("unbind", name, err);
}

/* Find the first entry of the directory @path that begins with @prefix */
static int find_entry(const char *path, const char *prefix, char *out, size_t size)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int r = -ENODEV;

	if (!dir)
		return errno == ENOENT ? -ENODEV : -errno;
	while (r < 0 && (entry = readdir(dir)) != NULL) {
		size_t len = strlen(entry->d_name);

		if (entry->d_name[0] == '.' || len >= size ||
		    strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		memcpy(out, entry->d_name, len + 1);
		r = 0;
	}
	(void)closedir(dir);
	return r;
}

int slot_netdev(unsigned int slot, char name[IFNAMSIZ], struct err *err)
{
	char platform[SLOTS_NAME_MAX], virtio[SLOTS_NAME_MAX], path[SLOTS_PATH_MAX];
	int r;

	r = slot_name(slot, platform, err);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), SLOTS_DEVICES "/%s", platform);
	r = find_entry(path, "virtio", virtio, sizeof(virtio));
	if (r == 0) {
		(void)snprintf(path, sizeof(path), SLOTS_DEVICES "/%s/%s/net", platform, virtio);
		r = find_entry(path, "", name, IFNAMSIZ);
	}
	if (r < 0)
		return err_sys(err, -r, "device slot %u has no network interface", slot);
	return 0;
}
