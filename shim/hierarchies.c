/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which cgroup hierarchies a host has, and where this process is in each.
 *
 *   unified   cgroup2 on /sys/fs/cgroup, with all controllers
 *   legacy    version 1: a hierarchy for each controller or a few of them, below /sys/fs/cgroup
 *   hybrid    the same, and cgroup2 without controllers on /sys/fs/cgroup/unified
 *
 * /proc/self/cgroup has a line per hierarchy: "5:cpu,cpuacct:/path", or "0::/path" for cgroup2. Where that is mounted is in
 * /proc/self/mountinfo, whose last field has the controllers as mount options among others; a hierarchy is known by the first
 * controller of its list, since none can be in two. A mount may show only a part of its hierarchy (a container's, without a
 * cgroup namespace): then its root is a prefix of the path.
 *
 * Both texts are the kernel's.
 */
#include "shim/hierarchies.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define CGROUP_TOP "/sys/fs/cgroup"
#define TEXT_MAX (4u << 20) /* a host with thousands of containers has long mountinfo */
#define FIELDS_BEFORE_OPTIONAL 6

struct mount {
	char *root, *path, *type, *options; /* into the text */
};

bool controllers_have(const char *controllers, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = controllers; *p; p += strcspn(p, ","), p += *p == ',') {
		if (strcspn(p, ",") == len && strncmp(p, name, len) == 0)
			return true;
	}
	return false;
}

/* "\040" and its like, in place */
static void unescape(char *text)
{
	char *out = text;

	for (const char *in = text; *in; out++) {
		if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' &&
		    in[3] >= '0' && in[3] <= '7') {
			*out = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 4;
		} else {
			*out = *in++;
		}
	}
	*out = 0;
}

/* Documentation/filesystems/proc.rst, 3.5; Return: false for what is no such line */
static bool parse_mount(char *line, struct mount *out)
{
	char *fields[FIELDS_BEFORE_OPTIONAL], *field;

	for (size_t i = 0; i < FIELDS_BEFORE_OPTIONAL; i++) {
		fields[i] = strsep(&line, " ");
		if (!line)
			return false;
	}
	while ((field = strsep(&line, " ")) && strcmp(field, "-") != 0)
		;
	out->root = fields[3];
	out->path = fields[4];
	out->type = strsep(&line, " ");
	(void)strsep(&line, " "); /* the source */
	out->options = line;
	if (!line)
		return false;
	unescape(out->root);
	unescape(out->path);
	return true;
}

static bool is_below_top(const char *path)
{
	size_t len = strlen(CGROUP_TOP);

	return strncmp(path, CGROUP_TOP, len) == 0 && (path[len] == '/' || path[len] == 0);
}

/* Where the hierarchy of @controllers is mounted; of several mounts on one place the last is seen */
static bool find_mount(const char *mountinfo, const char *controllers, char **copy,
		       struct mount *out)
{
	char first[64];
	bool found = false;

	*copy = strdup(mountinfo);
	if (!*copy || strcspn(controllers, ",") >= sizeof(first))
		return false;
	memcpy(first, controllers, strcspn(controllers, ","));
	first[strcspn(controllers, ",")] = 0;
	for (char *rest = *copy, *line; (line = strsep(&rest, "\n"));) {
		struct mount mount;

		if (!parse_mount(line, &mount) || !is_below_top(mount.path))
			continue;
		if (controllers[0] ? strcmp(mount.type, "cgroup") == 0 &&
					     controllers_have(mount.options, first)
				   : strcmp(mount.type, "cgroup2") == 0) {
			*out = mount;
			found = true;
		}
	}
	return found;
}

/* The part of @path that is below the mount's root; all of it when that is elsewhere */
static const char *below_root(const char *path, const char *root)
{
	size_t len = strlen(root);

	if (strcmp(root, "/") == 0 || strncmp(path, root, len) != 0)
		return path;
	return path[len] == '/' ? path + len : path[len] ? path : "/";
}

static int append(struct hierarchies *out, const struct mount *mount, const char *controllers,
		  const char *path, struct err *err)
{
	struct hierarchy *h = &out->items[out->n++];

	h->mount = strdup(mount->path);
	h->controllers = strdup(controllers);
	h->own = strdup(below_root(path, mount->root));
	if (!h->mount || !h->controllers || !h->own)
		return err_sys(err, ENOMEM, "the host's cgroup hierarchies");
	return 0;
}

int hierarchies_parse(char *mountinfo, char *cgroups, struct hierarchies *out, struct err *err)
{
	int r = 0;

	*out = (struct hierarchies){0};
	for (char *line; r == 0 && (line = strsep(&cgroups, "\n"));) {
		cleanup_free char *copy = NULL;
		const char *controllers;
		struct mount mount;

		(void)strsep(&line, ":");
		controllers = strsep(&line, ":");
		if (!line || line[0] != '/' || !find_mount(mountinfo, controllers, &copy, &mount))
			continue;
		if (out->n == HIERARCHIES_MAX)
			return err_set(err, E2BIG, "this host has more than %d cgroup hierarchies",
				       HIERARCHIES_MAX);
		r = append(out, &mount, controllers, line, err);
	}
	return r;
}

static bool is_mounted(const char *path, long type)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == type;
}

/* Leave those out that are hidden by another mount; with cgroup2 on top, all others */
static void select_visible(struct hierarchies *h)
{
	bool unified = is_mounted(CGROUP_TOP, CGROUP2_SUPER_MAGIC);
	size_t kept = 0;

	for (size_t i = 0; i < h->n; i++) {
		struct hierarchy item = h->items[i];
		bool is_v2 = !item.controllers[0];

		if (unified ? is_v2 && strcmp(item.mount, CGROUP_TOP) == 0
			    : is_mounted(item.mount,
					 is_v2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC)) {
			h->items[i] = h->items[kept];
			h->items[kept++] = item;
		}
	}
	for (size_t i = kept; i < h->n; i++) {
		free(h->items[i].mount);
		free(h->items[i].controllers);
		free(h->items[i].own);
		h->items[i] = (struct hierarchy){0};
	}
	h->n = kept;
}

int hierarchies_find(struct hierarchies *out, struct err *err)
{
	cleanup_free char *mountinfo = NULL, *cgroups = NULL;
	ssize_t n = io_read_file(AT_FDCWD, "/proc/self/mountinfo", TEXT_MAX, &mountinfo, err);
	int r;

	*out = (struct hierarchies){0};
	if (n >= 0)
		n = io_read_file(AT_FDCWD, "/proc/self/cgroup", TEXT_MAX, &cgroups, err);
	if (n < 0)
		return (int)n;
	r = hierarchies_parse(mountinfo, cgroups, out, err);
	if (r == 0)
		select_visible(out);
	if (r == 0 && out->n == 0)
		r = err_set(err, ENOTSUP, "no cgroup file system is mounted on " CGROUP_TOP);
	if (r < 0)
		hierarchies_release(out);
	return r;
}

void hierarchies_release(struct hierarchies *hierarchies)
{
	for (size_t i = 0; i < hierarchies->n; i++) {
		free(hierarchies->items[i].mount);
		free(hierarchies->items[i].controllers);
		free(hierarchies->items[i].own);
	}
	*hierarchies = (struct hierarchies){0};
}
