/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A time namespace is made for the caller's children first (time_namespaces(7)): only as long as nobody is in it can
 * its offsets be set. Then the caller, which has one thread, enters it like anybody else's.
 */
#define _GNU_SOURCE
#include "guest/timens.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/cleanup.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static int set_offsets(const struct oci_config *config, struct err *err)
{
	static const char *const clocks[OCI_CLOCK_COUNT] = {
		[OCI_CLOCK_MONOTONIC] = "monotonic",
		[OCI_CLOCK_BOOTTIME] = "boottime",
	};
	cleanup_close int fd = -1;
	char lines[128];
	size_t len = 0;

	for (int i = 0; i < OCI_CLOCK_COUNT; i++) {
		const struct oci_time_offset *offset = &config->linux_.time_offsets[i];

		if (offset->present)
			len += (size_t)snprintf(lines + len, sizeof(lines) - len,
						"%s %" PRId64 " %" PRIu32 "\n", clocks[i],
						offset->secs, offset->nanosecs);
	}
	if (!len)
		return 0;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	/* All in one write: the file is read from its beginning only */
	if (fd < 0 || write(fd, lines, len) != (ssize_t)len)
		return err_sys(err, errno, "cannot set linux.timeOffsets");
	return 0;
}

int timens_enter(const struct oci_config *config, struct err *err)
{
	cleanup_close int fd = -1;
	int r;

	if (!config->linux_.namespaces[OCI_NS_TIME].present)
		return 0;
	if (unshare(CLONE_NEWTIME) < 0)
		return err_sys(err, errno, "cannot make a time namespace");
	r = set_offsets(config, err);
	if (r < 0)
		return r;
	fd = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWTIME) < 0)
		return err_sys(err, errno, "cannot enter the time namespace");
	return 0;
}
