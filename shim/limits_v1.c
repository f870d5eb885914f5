/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits on a host with cgroup v1: which hierarchy a control file is in. Its name begins with its controller's.
 *
 * A controller may be missing here as in version 2 (shim/limits.c): what the guest is held to as well is a warning then, and what
 * only the host can do (rates and weights of block devices) an error.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "shim/cgroup_note.h"
#include "shim/limits.h"

static const struct cgroup_place *find_place(const struct cgroup_note *note, const char *file)
{
	char controller[32];
	size_t len = strcspn(file, ".");

	if (len >= sizeof(controller))
		return NULL;
	memcpy(controller, file, len);
	controller[len] = 0;
	for (size_t i = 0; i < note->n; i++) {
		if (controllers_have(note->items[i].controllers, controller))
			return &note->items[i];
	}
	return NULL;
}

static int set_path(struct limits_write *write, const struct cgroup_place *place, struct err *err)
{
	char *path;

	if (asprintf(&path, "%s%s/%s", place->mount, place->path[1] ? place->path : "",
		     write->file) < 0)
		return err_sys(err, ENOMEM, "the container's limits");
	free(write->file);
	write->file = path;
	return 0;
}

int limits_place_v1(struct limits *limits, const struct cgroup_note *note, char **dropped,
		    struct err *err)
{
	size_t kept = 0, i;
	int r = 0;

	for (i = 0; i < limits->n && r == 0; i++) {
		struct limits_write *write = &limits->items[i];
		const struct cgroup_place *place = find_place(note, write->file);

		if (place) {
			r = set_path(write, place, err);
			limits->items[kept++] = *write;
			continue;
		}
		if (strncmp(write->file, "blkio.throttle.", 15) == 0)
			r = err_set(err, ENOTSUP,
				    "the limit \"%s\" can't be set: controller \"blkio\" not "
				    "available",
				    write->file);
		free(*dropped);
		*dropped = write->file;
		free(write->value);
	}
	while (i < limits->n)
		limits->items[kept++] = limits->items[i++];
	limits->n = kept;
	return r;
}
