/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's cgroups on the host: one in each hierarchy that there is (shim/hierarchies.h), which on a current system is one
 * of cgroup2.
 *
 * The monitor moves itself in before it starts the vmm, so that the vmm is born there and the engine finds the container's
 * statistics where it looks for them. Limits are no business of this file, but that their controllers are passed on by the
 * cgroups above is: each one for itself, as far as those above let us. In version 1 every cgroup has its controllers' files; only a new one
 * of cpuset has neither CPUs nor memory, and takes no process before it has got its parent's.
 *
 * What is made is noted before (shim/cgroup_note.c), and removed by cgroup_remove.c. A cgroup that existed is entered and left alone.
 *
 * What is left in a cgroup is killed only if it is certain that it is this container's alone: whoever makes the
 * innermost one marks it with its state directory's number, in an extended attribute that only root can set, and whoever enters one
 * that existed marks it as shared. (The monitor's own processes have died with its pid namespace; they only need to be waited for.)
 *
 * The path comes from config.json; it is cleaned before use, and cgroup file systems have no symlinks that lead out of them.
 */
#include "shim/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "shim/cgroup_mark.h"
#include "shim/cgroup_note.h"
#include "shim/control.h"
#include "shim/hierarchies.h"

#define CGROUP_ATTEMPTS 16

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

int cgroup_path(const char *configured, const char *id, const char *own, bool beside, char *out,
		struct err *err)
{
	bool given = configured && configured[0];
	int r = 0;

	out[0] = 0;
	if (!given || configured[0] != '/') {
		r = path_append(out, own);
		if (!r && beside)
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

static void inherit_file(int parent_fd, int fd, const char *file)
{
	cleanup_free char *mine = NULL, *theirs = NULL;
	cleanup_close int out = -1;

	if (io_read_file(fd, file, 4096, &mine, NULL) < 0 || (mine[0] && mine[0] != '\n') ||
	    io_read_file(parent_fd, file, 4096, &theirs, NULL) < 0)
		return;
	out = openat(fd, file, O_WRONLY | O_CLOEXEC);
	if (out >= 0)
		(void)io_write_full(out, theirs, strlen(theirs));
}

/* Give a cpuset that has none its parent's, from the root down */
static void inherit_cpusets(int root_fd, const char *path)
{
	static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
	char prefix[CGROUP_PATH_MAX];
	cleanup_close int parent = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	snprintf(prefix, sizeof(prefix), "%s", path);
	for (char *p = prefix + 1; parent >= 0 && p[-1]; p++) {
		char end = *p;
		int fd;

		if (end && end != '/')
			continue;
		*p = 0;
		fd = openat(root_fd, prefix + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		for (size_t i = 0; fd >= 0 && i < ARRAY_SIZE(files); i++)
			inherit_file(parent, fd, files[i]);
		close_fd(&parent);
		parent = fd;
		*p = end;
	}
}

/* What the hierarchy wants before a process can be put into the cgroup */
static void prepare(int root_fd, const struct cgroup_place *place)
{
	if (!place->controllers[0])
		enable_above(root_fd, place->path);
	else if (controllers_have(place->controllers, "cpuset") && place->path[1])
		inherit_cpusets(root_fd, place->path);
}

static int enter(int root_fd, const struct cgroup_place *place, int state_fd, struct err *err)
{
	const char *path = place->path;
	char procs[CGROUP_PATH_MAX + 16];
	int r = -ENOENT;

	snprintf(procs, sizeof(procs), "%s%scgroup.procs", path + 1, path[1] ? "/" : "");
	for (int i = 0; i < CGROUP_ATTEMPTS && r == -ENOENT; i++) {
		cleanup_close int fd = -1;

		r = path[1] ? make_parts(root_fd, path) : 0;
		if (r < 0)
			continue;
		if (path[1])
			cgroup_mark(root_fd, path, state_fd, r > 0);
		prepare(root_fd, place);
		fd = openat(root_fd, procs, O_WRONLY | O_CLOEXEC);
		r = fd < 0 ? -errno : io_write_full(fd, "0", 1);
		if (r == -ENODEV)
			r = -ENOENT;
	}
	if (r < 0)
		return err_sys(err, -r, "cgroup '%s%s'", place->mount, path);
	return 0;
}

/* ---- all hierarchies ---- */

/* Where the container goes in each; the paths are put into @paths */
static int plan(const struct hierarchies *hierarchies, const char *configured, const char *id,
		char (*paths)[CGROUP_PATH_MAX], struct cgroup_note *note, struct err *err)
{
	*note = (struct cgroup_note){.n = hierarchies->n};
	for (size_t i = 0; i < hierarchies->n; i++) {
		const struct hierarchy *h = &hierarchies->items[i];
		cleanup_close int root_fd = open(h->mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
		int r;

		if (root_fd < 0)
			return err_sys(err, errno, "%s", h->mount);
		r = cgroup_path(configured, id, h->own, !h->controllers[0], paths[i], err);
		if (r < 0)
			return r;
		if (strchr(paths[i], '\n') || strchr(h->mount, '\n'))
			return err_set(err, EINVAL,
				       "config.json: linux.cgroupsPath holds a line break");
		note->items[i] = (struct cgroup_place){.mount = h->mount,
						       .path = paths[i],
						       .controllers = h->controllers,
						       .made = count_missing(root_fd, paths[i])};
	}
	return 0;
}

/*
 * systemd puts processes into its own hierarchy, cgroup2 if there is one, and into those of controllers that it was asked for;
 * where it put this one
 */
static bool is_systemds(const char *controllers)
{
	return !controllers[0] || strcmp(controllers, "name=systemd") == 0;
}

/* One that this process may not write to is left out, as by a rootless runc */
static int enter_all(struct cgroup_note *note, bool adopted, int state_fd, struct err *err)
{
	struct err why = {0};
	size_t entered = 0;
	int r = 0;

	for (size_t i = 0; i < note->n; i++) {
		struct cgroup_place *place = &note->items[i];
		cleanup_close int root_fd = open(place->mount, O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (adopted && is_systemds(place->controllers))
			r = 0;
		else
			r = root_fd < 0 ? err_sys(&why, errno, "%s", place->mount)
					: enter(root_fd, place, state_fd, &why);
		if (r == -EACCES || r == -EPERM || r == -EROFS) {
			log_debug("%s", why.msg);
			place->controllers = CGROUP_UNUSED;
		} else if (r < 0) {
			return err_set(err, -r, "%s", why.msg);
		}
		entered += r == 0;
	}
	if (!entered)
		return err_set(err, -r, "%s", why.msg);
	return entered < note->n ? cgroup_note_write(state_fd, note, err) : 0;
}

static int open_first(const struct cgroup_note *note, struct err *err)
{
	for (size_t i = 0; i < note->n; i++) {
		if (strcmp(note->items[i].controllers, CGROUP_UNUSED) != 0)
			return cgroup_place_open(&note->items[i], err);
	}
	return err_set(err, ENOENT, "the container is in no cgroup on the host");
}

static int enter_planned(const struct hierarchies *hierarchies, const char *configured,
			 const char *id, bool adopted, int state_fd, int *out, struct err *err)
{
	cleanup_free char(*paths)[CGROUP_PATH_MAX] = calloc(HIERARCHIES_MAX, sizeof(*paths));
	struct cgroup_note note;
	int r;

	if (!paths)
		return err_sys(err, ENOMEM, "the container's cgroups");
	r = plan(hierarchies, configured, id, paths, &note, err);
	if (r == 0)
		r = cgroup_note_write(state_fd, &note, err);
	if (r == 0)
		r = enter_all(&note, adopted, state_fd, err);
	if (r < 0)
		return r;
	*out = open_first(&note, err);
	return *out < 0 ? *out : 0;
}

int cgroup_enter(const char *configured, const char *id, int state_fd, int *out, struct err *err)
{
	struct hierarchies hierarchies;
	int r = hierarchies_find(&hierarchies, err);

	if (r == 0)
		r = enter_planned(&hierarchies, configured, id, false, state_fd, out, err);
	hierarchies_release(&hierarchies);
	return r;
}

static const char *own_scope(const struct hierarchies *hierarchies)
{
	const char *own = NULL;

	for (size_t i = 0; i < hierarchies->n; i++) {
		const struct hierarchy *h = &hierarchies->items[i];

		if (is_systemds(h->controllers))
			own = h->own;
	}
	return own;
}

int cgroup_adopt(int state_fd, int *out, struct err *err)
{
	struct hierarchies hierarchies;
	const char *own;
	int r = hierarchies_find(&hierarchies, err);

	if (r < 0)
		return r;
	own = own_scope(&hierarchies);
	r = own ? enter_planned(&hierarchies, own, NULL, true, state_fd, out, err)
		: err_set(err, ENOTSUP, "systemd has no cgroup hierarchy on this host");
	hierarchies_release(&hierarchies);
	return r;
}

int monitor_cgroup_open(int state_fd, struct err *err)
{
	struct cgroup_note note;
	int r = cgroup_note_read(state_fd, &note, err);

	if (r == 0)
		r = open_first(&note, err);
	cgroup_note_release(&note);
	return r;
}
