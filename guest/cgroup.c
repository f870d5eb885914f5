/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup v2 by its files. The tree below a container's cgroup is the container's to shape, deeply nested if it likes, so it is
 * walked with a descriptor and "..", without recursion.
 */
#define _GNU_SOURCE
#include "guest/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define PROCS_MAX (1u << 20) /* bytes of cgroup.procs that are looked at, per cgroup */
#define DELEGATE_LIST "/sys/kernel/cgroup/delegate"
#define DELEGATE_MAX 4096
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

int cgroup_give(int cgroup_fd, uid_t uid, struct err *err)
{
	char fallback[] = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";
	cleanup_free char *text = NULL;
	char *list = fallback, *save = NULL;

	if (io_read_file(AT_FDCWD, DELEGATE_LIST, DELEGATE_MAX, &text, NULL) > 0)
		list = text;
	if (fchown(cgroup_fd, uid, (gid_t)-1) < 0)
		return err_sys(err, errno, "cannot give the cgroup to the container's user");
	/* Not every cgroup has all of them */
	for (char *name = strtok_r(list, "\n", &save); name; name = strtok_r(NULL, "\n", &save)) {
		if (fchownat(cgroup_fd, name, uid, (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0 &&
		    errno != ENOENT)
			return err_sys(err, errno, "cannot give '%.64s' to the container's user",
				       name);
	}
	return 0;
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

static int each_in(int fd, cgroup_on_pid *on_pid, void *arg)
{
	cleanup_free char *text = NULL;
	char *save = NULL;
	ssize_t n = io_read_file(fd, "cgroup.procs", PROCS_MAX, &text, NULL);

	if (n < 0)
		return (int)n;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		long pid = strtol(line, NULL, 10);

		if (pid > 1)
			on_pid((pid_t)pid, arg);
	}
	return 0;
}

/* Depth first, by name order of readdir; cgroups that vanish meanwhile are skipped */
static int each_below(int fd, cgroup_on_pid *on_pid, void *arg, unsigned int depth)
{
	int copy = openat(fd, ".", DIR_FLAGS), r = each_in(fd, on_pid, arg);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (!dir) {
		close_fd(&copy);
		return r;
	}
	while (depth < 64 && (entry = readdir(dir))) {
		cleanup_close int child = -1;

		if (!is_subdir(entry))
			continue;
		child = openat(fd, entry->d_name, DIR_FLAGS);
		if (child >= 0)
			(void)each_below(child, on_pid, arg, depth + 1);
	}
	(void)closedir(dir);
	return r;
}

int cgroup_each_pid(int cgroup_fd, cgroup_on_pid *on_pid, void *arg)
{
	return each_below(cgroup_fd, on_pid, arg, 0);
}

struct signal_all {
	int signo, sent;
};

static void signal_one(pid_t pid, void *arg)
{
	struct signal_all *all = arg;

	if (kill(pid, all->signo) == 0)
		all->sent++;
}

int cgroup_signal(int cgroup_fd, int signo)
{
	struct signal_all all = {.signo = signo};
	int r;

	if (signo == SIGKILL)
		return write_at(cgroup_fd, "cgroup.kill", "1");
	r = cgroup_each_pid(cgroup_fd, signal_one, &all);
	return all.sent > 0 ? all.sent : r;
}

int cgroup_freeze(int cgroup_fd, bool on)
{
	return write_at(cgroup_fd, "cgroup.freeze", on ? "1" : "0");
}

int cgroup_value(const char *text, const char *key, uint64_t *out)
{
	size_t len = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		char *end;

		line += *line == '\n';
		if (strncmp(line, key, len) != 0 || line[len] != ' ')
			continue;
		errno = 0;
		*out = strtoull(line + len + 1, &end, 10);
		return errno || end == line + len + 1 ? -EINVAL : 0;
	}
	return -ENOENT;
}

int cgroup_open_below(int cgroup_fd, const char *path, struct err *err)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd;

	while (*path == '/')
		path++;
	fd = (int)syscall(SYS_openat2, cgroup_fd, *path ? path : ".", &how, sizeof(how));
	if (fd >= 0)
		return fd;
	if (errno == EXDEV)
		return err_set(err, EINVAL, "%.200s is not a sub cgroup path", path);
	return err_sys(err, errno == ENOENT ? EINVAL : errno,
		       "cgroup '%.200s' of the container cannot be entered", path);
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
