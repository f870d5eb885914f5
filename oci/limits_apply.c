/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a plan to a cgroup's control files: see oci/limits.h.
 *
 * Each write is one write(2): the kernel takes a value whole or not at all. Before it the file's first line is read, to be
 * written back if a later one fails; files of several lines (io.max) take such a line too, for the device it is about.
 */
#include "oci/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define VALUE_MAX 4096 /* bytes of a control file that are looked at */

/* The first line of a control file; NULL without one */
static char *read_line(int cgroup_fd, const char *file)
{
	char *text = NULL;

	if (io_read_file(cgroup_fd, file, VALUE_MAX, &text, NULL) < 0)
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static int write_value(int cgroup_fd, const char *file, const char *value)
{
	/* O_TRUNC is nothing to a control file; ordinary files in its place are for tests */
	cleanup_close int fd = openat(cgroup_fd, file, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

/* cpu.max with a period alone: the quota that is there */
static char *with_quota(int cgroup_fd, const struct limits_write *write)
{
	cleanup_free char *old = read_line(cgroup_fd, write->file);
	char *text;

	if (asprintf(&text, "%.*s %s", old ? (int)strcspn(old, " ") : 3, old ? old : "max",
		     write->value) < 0)
		return NULL;
	return text;
}

static void remember(struct limits *undo, const char *file, char *old)
{
	struct limits_write *items;

	if (!old)
		return;
	items = realloc(undo->items, (undo->n + 1) * sizeof(*items));
	if (!items)
		return;
	undo->items = items;
	items[undo->n] = (struct limits_write){.file = strdup(file),
					       /* of nothing the kernel would see no write */
					       .value = strdup(old[0] ? old : "\n")};
	undo->n++;
}

/* Is there any file of the controller that @file belongs to? */
static bool has_controller(int cgroup_fd, const char *file)
{
	cleanup_free char *list = read_line(cgroup_fd, "cgroup.controllers");
	size_t len = strcspn(file, ".");
	char *save = NULL;

	if (strncmp(file, "cgroup.", 7) == 0)
		return true;
	for (char *name = list ? strtok_r(list, " ", &save) : NULL; name;
	     name = strtok_r(NULL, " ", &save)) {
		if (strlen(name) == len && strncmp(name, file, len) == 0)
			return true;
	}
	return false;
}

static int explain(int cgroup_fd, const struct limits_write *write, int code, struct err *err)
{
	const char *what = write->is_unified ? "unified resource" : "the limit";
	bool missing = code == ENOENT || code == EACCES || code == EPERM;

	/* A path leads to a hierarchy of version 1, which is there for its controller */
	if (missing && !strchr(write->file, '/') && !has_controller(cgroup_fd, write->file))
		return err_set(err, code,
			       "%s \"%.128s\" can't be set: controller \"%.*s\" not available",
			       what, write->file, (int)strcspn(write->file, "."), write->file);
	return err_sys(err, code, "unable to set %s \"%.128s\" to '%.128s'", what, write->file,
		       write->value);
}

/* Return: 1 written, 0 left out, -errno */
static int apply_one(int cgroup_fd, const struct limits_write *write, struct limits *undo,
		     struct err *err)
{
	cleanup_free char *old = read_line(cgroup_fd, write->file);
	cleanup_free char *full = write->keep_quota ? with_quota(cgroup_fd, write) : NULL;
	int r;

	if (write->keep_quota && !full)
		return err_sys(err, ENOMEM, "the container's limits");
	r = write_value(cgroup_fd, write->file, full ? full : write->value);
	if (r == 0) {
		remember(undo, write->file, old);
		return 1;
	}
	if ((r == -ENOENT && write->missing != LIMITS_FAIL) || (r == -EINVAL && write->may_fail))
		return 0;
	return explain(cgroup_fd, write, -r, err);
}

static int check_usage(int cgroup_fd, uint64_t limit, struct err *err)
{
	cleanup_free char *text = read_line(cgroup_fd, "memory.current");
	uint64_t usage = text ? strtoull(text, NULL, 10) : 0;

	if (limit && usage >= limit)
		return err_set(err, EBUSY, "rejecting memory limit %llu <= usage %llu",
			       (unsigned long long)limit, (unsigned long long)usage);
	return 0;
}

void limits_restore(int cgroup_fd, const struct limits *undo)
{
	for (size_t i = undo->n; i-- > 0;) {
		if (undo->items[i].file && undo->items[i].value)
			(void)write_value(cgroup_fd, undo->items[i].file, undo->items[i].value);
	}
}

int limits_apply(int cgroup_fd, const struct limits *limits, struct limits *undo, struct err *err)
{
	struct limits done = {0};
	int r = check_usage(cgroup_fd, limits->usage_below, err);

	for (size_t i = 0; i < limits->n && r >= 0; i++) {
		r = apply_one(cgroup_fd, &limits->items[i], &done, err);
		if (r == 1 && limits->items[i].missing == LIMITS_ALTERNATIVE)
			i++;
	}
	if (r < 0)
		limits_restore(cgroup_fd, &done);
	if (r >= 0 && undo)
		*undo = done;
	else
		limits_release(&done);
	return r < 0 ? r : 0;
}
