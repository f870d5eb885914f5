/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's cgroup on the host, in the cgroup2 hierarchy (the only one on a current system, "unified" beside the old
 * ones).
 *
 * The monitor moves itself in before it starts the vmm, so that the vmm is born there and the engine finds the container's
 * statistics where it looks for them. Limits are no business of this file, but that their controllers are passed on by the
 * cgroups above is: each one for itself, as far as those above let us.
 *
 * What was made must be removed even after a crash at any step, and what was not made must never be: so the file "cgroup" in
 * the state directory is written *before* the directories are made. Its first line is the hierarchy's path, the second the
 * cgroup's, the third how many of its last parts did not exist: those are removed by `delete`. A cgroup that existed is
 * entered and left alone.
 *
 * What is left in the cgroup is killed only if it is certain that the cgroup is this container's alone: whoever makes the
 * innermost one marks it with its state directory's number, in an extended attribute that only root can set, and whoever enters one
 * that existed marks it as shared. (The monitor's own processes have died with its pid namespace; they only need to be waited for.)
 *
 * The path comes from config.json; it is cleaned before use, and cgroup2 has no symlinks.
 */
#include "shim/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <sys/vfs.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "shim/control.h"
#include "shim/oom.h"
#include "shim/systemd.h"

#define CGROUP_FILE "cgroup"
#define CGROUP_ATTEMPTS 16
#define MARK_OWNER "trusted.caisson.owner"
#define MARK_SHARED "trusted.caisson.shared"
#define CGROUP_DEPTH_MAX 32 /* cgroups below the container's */
#define CGROUP_EMPTY_TIMEOUT_MS 10000
#define CGROUP_SHARED_TIMEOUT_MS 2000 /* our own are dying; whoever is not is somebody else */

/* ---- names ---- */

/* Append the parts of @path to @out, "." and ".." resolved within it */
static int path_append(char *out, const char *path)
{
	size_t len = strlen(out);

	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 2 && !strncmp(path, "..", 2)) {
			char *slash = strrchr(out, '/');

			len = slash ? (size_t)(slash - out) : 0;
		} else if (n && !(n == 1 && *path == '.')) {
			if (len + n + 2 > CGROUP_PATH_MAX)
				return -ENAMETOOLONG;
			out[len++] = '/';
			memcpy(out + len, path, n);
			len += n;
		}
		out[len] = 0;
		path += n + strspn(path + n, "/");
	}
	return 0;
}

int cgroup_path(const char *configured, const char *id, const char *own, char *out, struct err *err)
{
	bool given = configured && configured[0];
	int r = 0;

	out[0] = 0;
	if (!given || configured[0] != '/') {
		r = path_append(out, own);
		if (!r)
			r = path_append(out, "..");
	}
	if (!r)
		r = path_append(out, given ? configured : id);
	if (r < 0)
		return err_set(err, ENAMETOOLONG,
			       "config.json: linux.cgroupsPath: the path is too long");
	if (!out[0])
		strcpy(out, "/");
	return 0;
}

static int own_cgroup(char *own, size_t size, struct err *err)
{
	cleanup_free char *text = NULL;
	char *line;
	ssize_t n;

	n = io_read_file(AT_FDCWD, "/proc/self/cgroup", 64 << 10, &text, err);
	if (n < 0)
		return (int)n;
	for (line = text; line && strncmp(line, "0::", 3);
	     line = strchr(line, '\n'), line = line ? line + 1 : NULL)
		;
	if (!line)
		return err_set(err, ENOTSUP, "there is no cgroup2 hierarchy");
	line += 3;
	line[strcspn(line, "\n")] = 0;
	if (strlen(line) >= size)
		return err_set(err, ENAMETOOLONG, "this process's cgroup has too long a path");
	strcpy(own, line);
	return 0;
}

/* The cgroup2 hierarchy: O_PATH descriptor, and its path */
static int hierarchy_open(const char **path, struct err *err)
{
	static const char *const candidates[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};

	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		cleanup_close int fd = open(candidates[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		struct statfs fs;

		if (fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
			continue;
		*path = candidates[i];
		return take_fd(&fd);
	}
	return err_set(err, ENOTSUP, "no cgroup2 file system is mounted on /sys/fs/cgroup");
}

/* ---- making ---- */

/* How many of the last parts of @path do not exist below @root_fd */
static unsigned int count_missing(int root_fd, const char *path)
{
	char prefix[CGROUP_PATH_MAX];
	unsigned int missing = 0;

	snprintf(prefix, sizeof(prefix), "%s", path);
	while (prefix[1] && faccessat(root_fd, prefix + 1, F_OK, 0) < 0) {
		char *slash = strrchr(prefix, '/');

		missing++;
		slash[slash == prefix] = 0;
	}
	return missing;
}

/* What the owner of a cgroup writes on it: no two state directories that exist have the same */
static size_t owner_mark(int state_fd, char *out, size_t size)
{
	struct stat st;

	if (fstat(state_fd, &st) < 0)
		return 0;
	return (size_t)snprintf(out, size, "%llu:%llu", (unsigned long long)st.st_dev,
				(unsigned long long)st.st_ino);
}

/* Is the cgroup @fd one that the container of @state_fd made and nobody else has entered? */
static bool is_only_ours(int fd, int state_fd)
{
	char ours[64], found[64];
	size_t n = owner_mark(state_fd, ours, sizeof(ours));

	return n && fgetxattr(fd, MARK_OWNER, found, sizeof(found)) == (ssize_t)n &&
	       !memcmp(ours, found, n) && fgetxattr(fd, MARK_SHARED, found, sizeof(found)) < 0;
}

/* Without the right to mark it there is no owner, and nothing is killed */
static void mark(int root_fd, const char *path, int state_fd, bool made)
{
	cleanup_close int fd = openat(root_fd, path + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char owner[64];
	size_t n = owner_mark(state_fd, owner, sizeof(owner));

	if (fd < 0)
		return;
	/* EEXIST of a second attempt may be our own */
	if (made)
		(void)fsetxattr(fd, MARK_OWNER, owner, n, XATTR_CREATE);
	else if (!is_only_ours(fd, state_fd))
		(void)fsetxattr(fd, MARK_SHARED, "1", 1, 0);
}

/*
 * One pass over the parts: -ENOENT when another container's removal took a parent away meanwhile; else whether the last one was
 * made by this
 */
static int make_parts(int root_fd, const char *path)
{
	bool made = false;
	char prefix[CGROUP_PATH_MAX];

	snprintf(prefix, sizeof(prefix), "%s", path);
	for (char *p = prefix + 1; *p; p++) {
		bool end = !p[1];

		if (*p == '/')
			*p = 0;
		else if (!end)
			continue;
		made = mkdirat(root_fd, prefix + 1, 0755) == 0;
		if (!made && errno != EEXIST)
			return -errno;
		if (!*p)
			*p = '/';
	}
	return made;
}

/* Pass all controllers on to the children of the cgroup @fd */
static void enable_controllers(int fd)
{
	cleanup_close int control = openat(fd, "cgroup.subtree_control", O_WRONLY | O_CLOEXEC);
	cleanup_free char *names = NULL;
	char *save = NULL, word[64];

	if (control < 0 || io_read_file(fd, "cgroup.controllers", 4096, &names, NULL) < 0)
		return;
	for (char *name = strtok_r(names, " \n", &save); name;
	     name = strtok_r(NULL, " \n", &save)) {
		int n = snprintf(word, sizeof(word), "+%s", name);

		if (io_write_full(control, word, (size_t)n) < 0)
			log_debug("Controller '%s' is not passed on to the container's cgroup",
				  name);
	}
}

/* In every cgroup above @path, from the root down */
static void enable_above(int root_fd, const char *path)
{
	char prefix[CGROUP_PATH_MAX];

	snprintf(prefix, sizeof(prefix), "%s", path);
	for (char *p = prefix; *p; p++) {
		cleanup_close int fd = -1;

		if (*p != '/')
			continue;
		*p = 0;
		fd = openat(root_fd, prefix[0] ? prefix + 1 : ".",
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		*p = '/';
		if (fd >= 0)
			enable_controllers(fd);
	}
}

static int enter(int root_fd, const char *path, int state_fd, struct err *err)
{
	char procs[CGROUP_PATH_MAX + 16];
	int r = -ENOENT;

	snprintf(procs, sizeof(procs), "%s%scgroup.procs", path + 1, path[1] ? "/" : "");
	for (int i = 0; i < CGROUP_ATTEMPTS && r == -ENOENT; i++) {
		cleanup_close int fd = -1;

		r = path[1] ? make_parts(root_fd, path) : 0;
		if (r < 0)
			continue;
		if (path[1])
			mark(root_fd, path, state_fd, r > 0);
		enable_above(root_fd, path);
		fd = openat(root_fd, procs, O_WRONLY | O_CLOEXEC);
		r = fd < 0 ? -errno : io_write_full(fd, "0", 1);
		if (r == -ENODEV)
			r = -ENOENT;
	}
	if (r < 0)
		return err_sys(err, -r, "cgroup '%s'", path);
	return 0;
}

int cgroup_enter(const char *configured, const char *id, int state_fd, int *out, struct err *err)
{
	char own[CGROUP_PATH_MAX], path[CGROUP_PATH_MAX], note[2 * CGROUP_PATH_MAX];
	cleanup_close int root_fd = -1;
	const char *root = NULL;
	int r, n;

	root_fd = hierarchy_open(&root, err);
	if (root_fd < 0)
		return root_fd;
	r = own_cgroup(own, sizeof(own), err);
	if (r < 0)
		return r;
	r = cgroup_path(configured, id, own, path, err);
	if (r < 0)
		return r;
	if (strchr(path, '\n'))
		return err_set(err, EINVAL, "config.json: linux.cgroupsPath holds a line break");
	n = snprintf(note, sizeof(note), "%s\n%s\n%u\n", root, path, count_missing(root_fd, path));
	r = io_write_file(state_fd, CGROUP_FILE, note, (size_t)n, 0600, err);
	if (r < 0)
		return r;
	r = enter(root_fd, path, state_fd, err);
	if (r < 0)
		return r;
	*out = openat(root_fd, path[1] ? path + 1 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *out < 0 ? err_sys(err, errno, "cgroup '%s'", path) : 0;
}

int cgroup_adopt(int state_fd, int *out, struct err *err)
{
	char own[CGROUP_PATH_MAX], note[2 * CGROUP_PATH_MAX];
	cleanup_close int root_fd = -1;
	const char *root = NULL;
	int r, n;

	root_fd = hierarchy_open(&root, err);
	if (root_fd < 0)
		return root_fd;
	r = own_cgroup(own, sizeof(own), err);
	if (r < 0)
		return r;
	n = snprintf(note, sizeof(note), "%s\n%s\n0\n", root, own);
	r = io_write_file(state_fd, CGROUP_FILE, note, (size_t)n, 0600, err);
	if (r < 0)
		return r;
	*out = openat(root_fd, own[1] ? own + 1 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *out < 0 ? err_sys(err, errno, "cgroup '%s'", own) : 0;
}

/* ---- removing ---- */

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

static int kill_all(int fd, const char *path, struct err *err)
{
	cleanup_close int kill_fd = openat(fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	int r = kill_fd < 0 ? -errno : io_write_full(kill_fd, "1", 1);

	return r < 0 ? err_sys(err, -r, "cgroup '/%s': killing what is left in it", path) : 0;
}

/*
 * Kill what is in the cgroup, if it is only ours, and wait until it is empty: the kernel marks cgroup.events as changed.
 * Return: 0, -errno, or 1 when others are in it
 */
static int empty(int root_fd, const char *path, int state_fd, struct err *err)
{
	uint64_t now = io_now_ms(), deadline;
	cleanup_close int fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int events_fd = -1;
	bool ours;
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "cgroup '/%s'", path);
	events_fd = openat(fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (events_fd < 0 || !is_populated(events_fd))
		return 0;
	ours = is_only_ours(fd, state_fd);
	deadline = now + (ours ? CGROUP_EMPTY_TIMEOUT_MS : CGROUP_SHARED_TIMEOUT_MS);
	r = ours ? kill_all(fd, path, err) : 0;
	if (r < 0)
		return r;
	for (; is_populated(events_fd) && now < deadline; now = io_now_ms()) {
		struct pollfd change = {.fd = events_fd, .events = POLLPRI};

		(void)poll(&change, 1, (int)(deadline - now));
	}
	if (is_populated(events_fd) && !ours)
		return 1;
	if (is_populated(events_fd))
		return err_set(err, EBUSY, "cgroup '/%s': processes in it do not end", path);
	return 0;
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
static int remove_parts(int root_fd, char *path, unsigned int made, struct err *err)
{
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

/* Split the note into its three lines; false when it is none of ours */
static bool parse_note(char *text, char **root, char **path, unsigned int *made)
{
	char *end;

	*root = strsep(&text, "\n");
	*path = strsep(&text, "\n");
	if (!*path || !text || (*root)[0] != '/' || (*path)[0] != '/' || strstr(*path, "/../"))
		return false;
	*made = (unsigned int)strtoul(text, &end, 10);
	return *end == '\n';
}

int monitor_cgroup_open(int state_fd, struct err *err)
{
	cleanup_free char *text = NULL;
	cleanup_close int root_fd = -1;
	char *root, *path;
	unsigned int made;
	ssize_t n = io_read_file(state_fd, CGROUP_FILE, 3 * CGROUP_PATH_MAX, &text, err);
	int fd;

	if (n < 0)
		return (int)n;
	if (!parse_note(text, &root, &path, &made))
		return err_set(err, EINVAL, "the state directory's note of the cgroup is damaged");
	root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return err_sys(err, errno, "%s", root);
	fd = openat(root_fd, path[1] ? path + 1 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, errno, "cgroup '%s'", path) : fd;
}

/* In a cgroup that is not ours to remove, too */
static void remove_remnants(int root_fd, const char *path)
{
	cleanup_close int fd = openat(root_fd, path[1] ? path + 1 : ".",
				      O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		oom_clean(fd);
}

int monitor_cgroup_remove(int state_fd, struct err *err)
{
	cleanup_free char *text = NULL;
	cleanup_close int root_fd = -1;
	char *root, *path;
	unsigned int made;
	ssize_t n;
	int r;

	r = systemd_scope_stop(state_fd, err);
	if (r < 0)
		return r;
	n = io_read_file(state_fd, CGROUP_FILE, 3 * CGROUP_PATH_MAX, &text, err);
	if (n == -ENOENT)
		return 0;
	if (n < 0)
		return (int)n;
	if (!parse_note(text, &root, &path, &made))
		return err_set(err, EINVAL, "the state directory's note of the cgroup is damaged");
	root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return err_sys(err, errno, "%s", root);
	remove_remnants(root_fd, path);
	if (made) {
		r = empty(root_fd, path + 1, state_fd, err);
		if (r < 0)
			return r;
		if (r > 0) {
			log_info("Others are in the cgroup '%s', leaving it", path);
			made = 0;
		}
		r = remove_parts(root_fd, path + 1, made, err);
		if (r < 0)
			return r;
	}
	(void)unlinkat(state_fd, CGROUP_FILE, 0);
	return 0;
}
