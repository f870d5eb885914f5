/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a container's cgroups on the host, as noted when they were made (cgroup.c, cgroup_note.c).
 *
 * A cgroup of version 2 says when it is empty and kills what is in it at once; of one of version 1 the list of processes is read
 * again and again.
 */
#include "shim/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "shim/cgroup_mark.h"
#include "shim/cgroup_note.h"
#include "shim/control.h"
#include "shim/oom.h"
#include "shim/systemd.h"

#define CGROUP_DEPTH_MAX 32 /* cgroups below the container's */
#define CGROUP_EMPTY_TIMEOUT_MS 10000
#define CGROUP_SHARED_TIMEOUT_MS 2000 /* our own are dying; whoever is not is somebody else */
#define CGROUP_POLL_MS 10	      /* between two looks at a list of processes */
#define PROCS_MAX (1u << 20)

/* Reading re-arms poll(2) on the file */
static bool is_populated(int events_fd)
{
	char text[256];
	ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return false;
	text[n] = 0;
	return strstr(text, "populated 1");
}

static int kill_tree(int kill_fd, const char *path, struct err *err)
{
	int r = io_write_full(kill_fd, "1", 1);

	return r < 0 ? err_sys(err, -r, "cgroup '/%s': killing what is left in it", path) : 0;
}

/* Version 2: the kernel marks cgroup.events as changed */
static int empty_unified(int fd, int events_fd, const char *path, bool ours, uint64_t deadline,
			 struct err *err)
{
	cleanup_close int kill_fd = openat(fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	uint64_t now;
	int r = 0;

	if (!is_populated(events_fd))
		return 0;
	if (ours)
		r = kill_fd < 0 ? err_sys(err, ENOTSUP, "cgroup '/%s': cgroup.kill", path)
				: kill_tree(kill_fd, path, err);
	while (r == 0 && is_populated(events_fd) && (now = io_now_ms()) < deadline) {
		struct pollfd change = {.fd = events_fd, .events = POLLPRI};

		(void)poll(&change, 1, (int)(deadline - now));
	}
	return r < 0 ? r : is_populated(events_fd);
}

/* How many processes are in a cgroup of version 1; they get SIGKILL if they are @ours */
static unsigned int count_processes(int fd, bool ours)
{
	cleanup_free char *text = NULL;
	unsigned int n = 0;
	char *save = NULL;

	if (io_read_file(fd, "cgroup.procs", PROCS_MAX, &text, NULL) < 0)
		return 0;
	for (char *word = strtok_r(text, "\n", &save); word; word = strtok_r(NULL, "\n", &save)) {
		long pid = strtol(word, NULL, 10);

		n++;
		if (ours && pid > 1)
			(void)kill((pid_t)pid, SIGKILL);
	}
	return n;
}

static int empty_v1(int fd, bool ours, uint64_t deadline)
{
	while (count_processes(fd, ours) > 0) {
		if (io_now_ms() >= deadline)
			return 1;
		(void)poll(NULL, 0, CGROUP_POLL_MS);
	}
	return 0;
}

/* Kill what is in the cgroup, if it is only ours, and wait until it is empty. Return: 0, -errno, or 1 when others are in it */
static int empty(int root_fd, const char *path, int state_fd, struct err *err)
{
	cleanup_close int fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int events_fd = -1;
	uint64_t deadline;
	bool ours;
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "cgroup '/%s'", path);
	ours = cgroup_is_only_ours(fd, state_fd);
	deadline = io_now_ms() + (ours ? CGROUP_EMPTY_TIMEOUT_MS : CGROUP_SHARED_TIMEOUT_MS);
	events_fd = openat(fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	r = events_fd < 0 ? empty_v1(fd, ours, deadline)
			  : empty_unified(fd, events_fd, path, ours, deadline, err);
	if (r > 0 && ours)
		return err_set(err, EBUSY, "cgroup '/%s': processes in it do not end", path);
	return r;
}

/* The cgroups that somebody made below @name in @dirfd, from the leaves up; rmdir of the parent says what is left */
static void remove_children(int dirfd, const char *name, unsigned int depth)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!dir) {
		close_fd(&fd);
		return;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || !strcmp(entry->d_name, ".") ||
		    !strcmp(entry->d_name, ".."))
			continue;
		if (depth < CGROUP_DEPTH_MAX)
			remove_children(fd, entry->d_name, depth + 1);
		(void)unlinkat(fd, entry->d_name, AT_REMOVEDIR);
	}
	(void)closedir(dir);
}

/* rmdir the last @made parts of @path, a parent only if nobody uses it; the innermost with all below it */
static int remove_parts(int root_fd, const char *whole, unsigned int made, struct err *err)
{
	cleanup_free char *path = strdup(whole);

	if (!path)
		return err_sys(err, ENOMEM, "cgroup '/%s'", whole);
	if (made && path[0])
		remove_children(root_fd, path, 0);
	for (unsigned int i = 0; i < made && path[0]; i++) {
		char *slash = strrchr(path, '/');

		if (unlinkat(root_fd, path, AT_REMOVEDIR) < 0 && errno != ENOENT) {
			if (i == 0)
				return err_sys(err, errno, "cgroup '/%s': removing it", path);
			return 0;
		}
		if (!slash)
			break;
		*slash = 0;
	}
	return 0;
}

/* In a cgroup that is not ours to remove, too */
static void remove_remnants(int root_fd, const char *path)
{
	cleanup_close int fd = openat(root_fd, path[1] ? path + 1 : ".",
				      O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		oom_clean(fd);
}

static int remove_place(const struct cgroup_place *place, int state_fd, struct err *err)
{
	cleanup_close int root_fd = open(place->mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (root_fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "%s", place->mount);
	remove_remnants(root_fd, place->path);
	if (!place->made)
		return 0;
	r = empty(root_fd, place->path + 1, state_fd, err);
	if (r > 0)
		log_info("Others are in the cgroup '%s%s', leaving it", place->mount, place->path);
	return r ? (r < 0 ? r : 0) : remove_parts(root_fd, place->path + 1, place->made, err);
}

int monitor_cgroup_remove(int state_fd, struct err *err)
{
	struct cgroup_note note;
	int result, r;

	r = systemd_scope_stop(state_fd, err);
	if (r < 0)
		return r;
	r = cgroup_note_read(state_fd, &note, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	result = 0;
	for (size_t i = 0; i < note.n; i++) {
		r = remove_place(&note.items[i], state_fd, err);
		if (r < 0)
			result = r;
	}
	cgroup_note_release(&note);
	if (result == 0)
		cgroup_note_remove(state_fd);
	return result;
}
