/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file "cgroup" in the state directory: four lines for each hierarchy, which are its mount, the path of the container's cgroup
 * below it, how many of the path's last parts did not exist before, and the hierarchy's controllers.
 *
 * What was made must be removed even after a crash at any step, and what was not made must never be: so the note is written
 * *before* the directories are made. The directory is root's; a note that cannot be one of ours is an error all the same.
 */
#include "shim/cgroup_note.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "shim/cgroup.h"

#define NOTE_FILE "cgroup"
#define NOTE_MAX (HIERARCHIES_MAX * 3 * CGROUP_PATH_MAX)

int cgroup_note_write(int state_fd, const struct cgroup_note *note, struct err *err)
{
	cleanup_free char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	bool failed;

	if (!out)
		return err_sys(err, ENOMEM, "the note of the container's cgroups");
	for (size_t i = 0; i < note->n; i++) {
		const struct cgroup_place *place = &note->items[i];

		fprintf(out, "%s\n%s\n%u\n%s\n", place->mount, place->path, place->made,
			place->controllers);
	}
	failed = ferror(out);
	if (fclose(out) != 0 || failed)
		return err_sys(err, ENOMEM, "the note of the container's cgroups");
	return io_write_file(state_fd, NOTE_FILE, text, size, 0600, err);
}

/* One hierarchy's lines, taken off *@text; false when they are none of ours */
static bool parse_place(char **text, struct cgroup_place *out)
{
	const char *made;
	char *end;

	out->mount = strsep(text, "\n");
	out->path = strsep(text, "\n");
	made = strsep(text, "\n");
	out->controllers = strsep(text, "\n");
	if (!out->controllers || !*text || out->mount[0] != '/' || out->path[0] != '/' ||
	    strstr(out->path, "/../"))
		return false;
	out->made = (unsigned int)strtoul(made, &end, 10);
	return end != made && !*end;
}

int cgroup_note_read(int state_fd, struct cgroup_note *out, struct err *err)
{
	char *rest;
	ssize_t n;

	*out = (struct cgroup_note){0};
	n = io_read_file(state_fd, NOTE_FILE, NOTE_MAX, &out->text, err);
	if (n < 0)
		return (int)n;
	rest = out->text;
	while (rest && *rest && out->n < HIERARCHIES_MAX && parse_place(&rest, &out->items[out->n]))
		out->n++;
	if (rest && !*rest && out->n > 0)
		return 0;
	cgroup_note_release(out);
	return err_set(err, EINVAL, "the state directory's note of the cgroups is damaged");
}

void cgroup_note_release(struct cgroup_note *note)
{
	free(note->text);
	*note = (struct cgroup_note){0};
}

void cgroup_note_remove(int state_fd)
{
	(void)unlinkat(state_fd, NOTE_FILE, 0);
}

bool cgroup_note_is_v1(const struct cgroup_note *note)
{
	for (size_t i = 0; i < note->n; i++) {
		const char *controllers = note->items[i].controllers;

		if (controllers[0] && strcmp(controllers, CGROUP_UNUSED) != 0)
			return true;
	}
	return false;
}

int cgroup_place_open(const struct cgroup_place *place, struct err *err)
{
	cleanup_close int root_fd = open(place->mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd;

	if (root_fd < 0)
		return err_sys(err, errno, "%s", place->mount);
	fd = openat(root_fd, place->path[1] ? place->path + 1 : ".",
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, errno, "cgroup '%s'", place->path) : fd;
}
