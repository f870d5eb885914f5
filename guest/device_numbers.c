/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device numbers: see guest/device_numbers.h.
 *
 * The kernel's list of devices is sysfs: dev/char/MAJOR:MINOR, block/vdX/serial. Numbers that a kernel gives out as it finds
 * drivers (majors 234 to 254 and from 384 on, minors of misc devices but the old ones) may mean another thing here: they count
 * only if the kernel's name is that of the path.
 *
 * Rules: one about a disk's number of the host's becomes one about the guest's; one about several (b 8:*) becomes one for each disk that it
 * is about. A rule with the guest's number of a disk, but meant for some other device of the host, is dropped.
 */
#define _GNU_SOURCE
#include "guest/device_numbers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/machine.h"

#define SYS_PATH_MAX 256
#define SYS_FILE_MAX 4096
#define MISC_MAJOR 10
#define MISC_STATIC_FROM 128 /* devices.txt: these minors of misc devices are assigned */
#define MISC_STATIC_TO 254
#define PTS_MAJOR_FIRST 136 /* terminals come and go, and are no devices in sysfs */
#define PTS_MAJOR_LAST 143

struct disk {
	unsigned int host_major, host_minor, major, minor;
};

struct disks {
	struct disk items[MACHINE_DISKS_MAX];
	size_t n;
};

/* ---- sysfs ---- */

/* "MAJOR:MINOR" */
static bool read_numbers(const char *path, unsigned int *major, unsigned int *minor)
{
	cleanup_free char *text = NULL;

	return io_read_file(AT_FDCWD, path, SYS_FILE_MAX, &text, NULL) >= 0 &&
	       sscanf(text, "%u:%u", major, minor) == 2;
}

static void find_disks(const char *sys, struct disks *out)
{
	out->n = 0;
	for (char c = 'a'; c < 'a' + MACHINE_DISKS_MAX; c++) {
		struct disk *disk = &out->items[out->n];
		char path[SYS_PATH_MAX];

		(void)snprintf(path, sizeof(path), "%s/block/vd%c/serial", sys, c);
		if (!read_numbers(path, &disk->host_major, &disk->host_minor))
			continue;
		(void)snprintf(path, sizeof(path), "%s/block/vd%c/dev", sys, c);
		if (read_numbers(path, &disk->major, &disk->minor))
			out->n++;
	}
}

/* Numbers that mean something only to the kernel that gave them */
static bool is_dynamic(const struct oci_device *device)
{
	if (device->major == MISC_MAJOR)
		return device->minor < MISC_STATIC_FROM || device->minor > MISC_STATIC_TO;
	return (device->major >= 234 && device->major <= 254) || device->major >= 384;
}

static bool has_name(const char *path, const struct oci_device *device)
{
	cleanup_free char *text = NULL;
	char *name;

	if (io_read_file(AT_FDCWD, path, SYS_FILE_MAX, &text, NULL) < 0)
		return false;
	name = strstr(text, "DEVNAME=");
	if (!name)
		return false;
	name += strlen("DEVNAME=");
	name[strcspn(name, "\n")] = '\0';
	return strncmp(device->path, "/dev/", 5) == 0 && strcmp(device->path + 5, name) == 0;
}

static bool has_character_device(const char *sys, const struct oci_device *device)
{
	char path[SYS_PATH_MAX];

	if (device->major >= PTS_MAJOR_FIRST && device->major <= PTS_MAJOR_LAST)
		return true;
	(void)snprintf(path, sizeof(path), "%s/dev/char/%lld:%lld/uevent", sys,
		       (long long)device->major, (long long)device->minor);
	return is_dynamic(device) ? has_name(path, device) : access(path, F_OK) == 0;
}

/* ---- linux.devices ---- */

/* Return: whether the guest has it; a disk gets the guest's number */
static bool resolve(struct oci_device *device, const struct disks *disks, const char *sys)
{
	if (device->type == 'p')
		return true;
	if (device->type != 'b')
		return has_character_device(sys, device);
	for (size_t i = 0; i < disks->n; i++) {
		const struct disk *disk = &disks->items[i];

		if (device->major != disk->host_major || device->minor != disk->host_minor)
			continue;
		device->major = disk->major;
		device->minor = disk->minor;
		return true;
	}
	return false;
}

static int resolve_devices(struct oci_config *config, const struct disks *disks, const char *sys,
			   struct err *err)
{
	bool all = oci_devices_are_all_allowed(&config->linux_.resources);
	struct oci_device *devices = config->linux_.devices;
	size_t kept = 0, n = config->linux_.ndevices;

	for (size_t i = 0; i < n; i++) {
		struct oci_device device = devices[i];

		if (resolve(&device, disks, sys)) {
			devices[kept++] = device;
			continue;
		}
		if (!all)
			return err_set(err, ENOTSUP,
				       "linux.devices[%zu] '%.256s': the guest's kernel has no "
				       "%s device %lld:%lld, and of the host's only block devices "
				       "can be given to a guest: leave it out, or run this "
				       "container with a runtime that shares the host's kernel",
				       i, device.path, device.type == 'b' ? "block" : "character",
				       (long long)device.major, (long long)device.minor);
		free(device.path); /* owned by the list, which gets shorter */
	}
	config->linux_.ndevices = kept;
	if (kept < n)
		log_info("linux.devices: %zu devices of the host that the guest has not are left "
			 "out",
			 n - kept);
	return 0;
}

/* ---- rules ---- */

static bool is_disks_major(const struct disks *disks, int64_t major)
{
	for (size_t i = 0; i < disks->n; i++)
		if (disks->items[i].major == major)
			return true;
	return false;
}

/* Write what becomes of @rule to @out, which has room for as many as there are disks; Return: how many */
static size_t translate(const struct oci_device_rule *rule, const struct disks *disks,
			struct oci_device_rule *out)
{
	size_t n = 0;

	if (rule->type != 'b' || rule->major < 0) {
		out[n++] = *rule;
		return n;
	}
	for (size_t i = 0; i < disks->n; i++) {
		const struct disk *disk = &disks->items[i];

		if (!oci_device_rule_matches(rule, 'b', disk->host_major, disk->host_minor))
			continue;
		out[n] = *rule;
		out[n].major = disk->major;
		out[n++].minor = disk->minor;
	}
	if (n == 0 && !is_disks_major(disks, rule->major))
		out[n++] = *rule;
	return n;
}

static int translate_rules(struct oci_resources *resources, const struct disks *disks,
			   struct err *err)
{
	struct oci_device_rule *rules;
	size_t n = 0;

	if (!disks->n || !resources->ndevices)
		return 0;
	rules = calloc(resources->ndevices * MACHINE_DISKS_MAX, sizeof(*rules));
	if (!rules)
		return err_sys(err, ENOMEM, "the device rules");
	for (size_t i = 0; i < resources->ndevices; i++)
		n += translate(&resources->devices[i], disks, rules + n);
	free(resources->devices);
	resources->devices = rules;
	resources->ndevices = n;
	return 0;
}

int device_numbers_in_rules(struct oci_resources *resources, const char *sys, struct err *err)
{
	struct disks disks;

	find_disks(sys, &disks);
	return translate_rules(resources, &disks, err);
}

int device_numbers_resolve(struct oci_config *config, const char *sys, struct err *err)
{
	struct disks disks;
	int r;

	find_disks(sys, &disks);
	r = resolve_devices(config, &disks, sys, err);
	return r < 0 ? r : translate_rules(&config->linux_.resources, &disks, err);
}
