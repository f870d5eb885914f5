/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup v2 by its files. The tree below a container's cgroup is the container's to shape, deeply nested if it likes, so it is
 * walked with a descriptor and "..", without recursion.
 */
#include "guest/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define PROCS_MAX (1u << 20) /* bytes of cgroup.procs that are looked at, per cgroup */
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)

static int write_at(int dirfd, const char *name, const char *text)
{
	cleanup_close int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int cgroup_enable_controllers(int dirfd, struct err *err)
{
	char names[512], enable[1024];
	cleanup_close int fd = openat(dirfd, "cgroup.controllers", O_RDONLY | O_CLOEXEC);
	char *save = NULL;
	size_t len = 0;
	ssize_t n;
	int r;

	if (fd < 0)
		return err_sys(err, errno, "cannot open cgroup.controllers");
	n = read(fd, names, sizeof(names) - 1);
	if (n < 0)
		return err_sys(err, errno, "cannot read cgroup.controllers");
	names[n] = '\0';
	for (char *name = strtok_r(names, " \n", &save); name; name = strtok_r(NULL, " \n", &save))
		len += (size_t)snprintf(enable + len, sizeof(enable) - len, "+%s ", name);
	if (!len)
		return 0;
	r = write_at(dirfd, "cgroup.subtree_control", enable);
	return r < 0 ? err_sys(err, -r, "cannot enable cgroup controllers") : 0;
}

int cgroup_make(int dirfd, const char *name, struct err *err)
{
	int fd;

	if (mkdirat(dirfd, name, 0755) < 0)
		return err_sys(err, errno, "cannot make cgroup '%s' in the guest", name);
	fd = openat(dirfd, name, DIR_FLAGS);
	if (fd < 0) {
		(void)err_sys(err, errno, "cannot open cgroup '%s' in the guest", name);
		(void)unlinkat(dirfd, name, AT_REMOVEDIR);
		return -err->code;
	}
	return fd;
}

/* A cgroup's name may begin with a dot */
static bool is_subdir(const struct dirent *entry)
{
	return entry->d_type == DT_DIR && strcmp(entry->d_name, ".") != 0 &&
	       strcmp(entry->d_name, "..") != 0;
}

/* The first subdirectory's name, or false */
static bool first_child(int fd, char name[256])
{
	int copy = openat(fd, ".", DIR_FLAGS);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	bool found = false;

	if (!dir) {
		close_fd(&copy);
		return false;
	}
	while (!found && (entry = readdir(dir))) {
		if (!is_subdir(entry))
			continue;
		memcpy(name, entry->d_name, strlen(entry->d_name) + 1);
		found = true;
	}
	(void)closedir(dir);
	return found;
}

int cgroup_remove(int dirfd, const char *name)
{
	cleanup_close int fd = -1;
	char child[256];

	if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	fd = openat(dirfd, name, DIR_FLAGS);
	if (fd < 0)
		return -errno;
	/* Go down to a leaf, remove it, go on from its parent; a step that cannot be removed ends it all */
	for (size_t depth = 0;;) {
		int next;

		if (first_child(fd, child)) {
			if (unlinkat(fd, child, AT_REMOVEDIR) == 0)
				continue;
			next = openat(fd, child, DIR_FLAGS);
			if (next < 0)
				return -errno;
			if (!first_child(next, child)) {
				(void)close(next);
				return -EBUSY;
			}
			depth++;
		} else if (depth) {
			next = openat(fd, "..", DIR_FLAGS & ~O_NOFOLLOW);
			if (next < 0)
				return -errno;
			depth--;
		} else {
			break;
		}
		(void)close(fd);
		fd = next;
	}
	return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

static int signal_procs(int fd, int signo)
{
	cleanup_free char *text = NULL;
	char *save = NULL;
	int sent = 0;
	ssize_t n = io_read_file(fd, "cgroup.procs", PROCS_MAX, &text, NULL);

	if (n < 0)
		return (int)n;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		long pid = strtol(line, NULL, 10);

		if (pid > 1 && kill((pid_t)pid, signo) == 0)
			sent++;
	}
	return sent;
}

/* Depth first, by name order of readdir; cgroups that vanish meanwhile are skipped */
static int signal_tree(int fd, int signo, unsigned int depth)
{
	int copy = openat(fd, ".", DIR_FLAGS), sent = signal_procs(fd, signo);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (!dir) {
		close_fd(&copy);
		return sent;
	}
	while (depth < 64 && (entry = readdir(dir))) {
		cleanup_close int child = -1;
		int r;

		if (!is_subdir(entry))
			continue;
		child = openat(fd, entry->d_name, DIR_FLAGS);
		if (child < 0)
			continue;
		r = signal_tree(child, signo, depth + 1);
		if (r > 0)
			sent = r + (sent > 0 ? sent : 0);
	}
	(void)closedir(dir);
	return sent;
}

int cgroup_signal(int cgroup_fd, int signo)
{
	if (signo == SIGKILL)
		return write_at(cgroup_fd, "cgroup.kill", "1");
	return signal_tree(cgroup_fd, signo, 0);
}

int cgroup_of_pid(int rootfd, pid_t pid)
{
	cleanup_free char *text = NULL;
	char path[64], *line, *end;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	n = io_read_file(AT_FDCWD, path, 64u << 10, &text, NULL);
	if (n < 0)
		return (int)n;
	line = strstr(text, "0::/");
	if (!line)
		return -ENOENT;
	line += 4;
	end = strchr(line, '\n');
	if (end)
		*end = '\0';
	/* Outside of our root; within, a name may have dots */
	if (strncmp(line, "..", 2) == 0 && (line[2] == '/' || !line[2]))
		return -ENOENT;
	fd = openat(rootfd, *line ? line : ".", DIR_FLAGS);
	return fd < 0 ? -errno : fd;
}
