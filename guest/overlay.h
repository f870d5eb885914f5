/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directories that an overlay mount of config.json names.
 */
#ifndef GUEST_OVERLAY_H
#define GUEST_OVERLAY_H

#include <stddef.h>

#include "lib/err.h"

#include "guest/mount_options.h"

#define OVERLAY_LAYERS_MAX 128

struct overlay {
	int fds[OVERLAY_LAYERS_MAX]; /* the directories, O_PATH */
	size_t nfds;
	char data[MOUNT_DATA_MAX + 1]; /* for mount(2), which needs the descriptors open */
};

/**
 * overlay_open() - Look up lowerdir, upperdir, workdir inside the container's root
 * @root:	The container's "/", with what has been mounted into it so far
 * @data:	The options as config.json gives them
 * Return: 0, or -errno; overlay_release() in both cases.
 */
int overlay_open(int root, const char *data, struct overlay *out, struct err *err);
void overlay_release(struct overlay *overlay);

#endif
