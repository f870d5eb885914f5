/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state directory's note of a container's cgroups on the host: written before they are made, read by whoever uses or removes
 * them.
 */
#ifndef SHIM_CGROUP_NOTE_H
#define SHIM_CGROUP_NOTE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"
#include "shim/hierarchies.h"

struct cgroup_place {
	const char *mount; /* of the hierarchy */
	const char *path;  /* "/…" below it: the container's cgroup */
	const char
		*controllers; /* struct hierarchy's, or CGROUP_UNUSED: the container is not in it */
	unsigned int made;    /* how many of the path's last parts are the container's to remove */
};

#define CGROUP_UNUSED "-"

struct cgroup_note {
	struct cgroup_place items[HIERARCHIES_MAX];
	size_t n;
	char *text; /* owned: what the places point into; NULL when the caller owns them */
};

/** cgroup_note_write() - Replace the note */
int cgroup_note_write(int state_fd, const struct cgroup_note *note, struct err *err);

/** cgroup_note_read() - Return: 0, -ENOENT when there is none, -EINVAL for a damaged one, -errno; @out released with cgroup_note_release() */
int cgroup_note_read(int state_fd, struct cgroup_note *out, struct err *err);

void cgroup_note_release(struct cgroup_note *note);
void cgroup_note_remove(int state_fd);

/** cgroup_note_is_v1() - Is the container in hierarchies of version 1? */
bool cgroup_note_is_v1(const struct cgroup_note *note);

/** cgroup_place_open() - Its directory; Return: a descriptor or -errno with @err */
int cgroup_place_open(const struct cgroup_place *place, struct err *err);

#endif
