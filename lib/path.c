/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths below a root that somebody else controls: see lib/path.h.
 *
 * The root may be a container's: its owner can plant symlinks and rename directories while we walk. Hence no path is ever
 * put together and trusted: each open is one openat2(2) whose resolution the kernel confines to the root, and everything that
 * is made is made relative to a directory descriptor obtained that way. Used by the short-lived commands, the monitor's
 * set-up and the agent. No state.
 *
 * path_make_beneath() walks by hand because the last existing part may be a dangling symlink that points to something
 * that has to be made (/etc/resolv.conf -> ../run/resolv.conf in many images): the link is read as text and walked on from
 * there. Whatever a race turns that text into, the kernel keeps it below the root.
 *
 * path_remove_tree() never holds more than TREE_DEPTH_MAX descriptors: a directory deeper than that is renamed to the
 * top of the tree first, so that depth is no way to make removal fail.
 */
#include "lib/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>
#include <linux/openat2.h>

#include "lib/cleanup.h"

#define RACE_RETRIES 64	  /* openat2() says EAGAIN when a rename crossed its way */
#define SYMLINKS_MAX 40	  /* as in the kernel */
#define TREE_DEPTH_MAX 32 /* open directories during removal */
#define TREE_PASSES_MAX (1u << 20)

static int open2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	bool creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
	struct open_how how = {
		.flags = (uint64_t)(unsigned int)flags | O_CLOEXEC,
		.mode = creates ? mode & 07777 : 0,
		.resolve = resolve,
	};

	for (int i = 0; i < RACE_RETRIES; i++) {
		long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return -EAGAIN;
}

static int open_in_root(int dirfd, const char *path, int flags, mode_t mode)
{
	return open2(dirfd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int path_open_beneath(int dirfd, const char *path, int flags, mode_t mode, struct err *err)
{
	int fd = open_in_root(dirfd, path, flags, mode);

	if (fd < 0)
		return err_sys(err, -fd, "cannot open '%s'", path);
	return fd;
}

/* ---- making ---- */

struct walk {
	int root;		 /* borrowed */
	char done[PATH_MAX];	 /* where we are, from the root, without symlinks; "" is the root */
	char rest[PATH_MAX];	 /* what is still to be walked */
	char name[NAME_MAX + 1]; /* the component being walked */
	unsigned int links;
};

/* Moves the next component from rest to name; false at the end */
static bool next_component(struct walk *w, int *error)
{
	size_t skip = strspn(w->rest, "/"), len = strcspn(w->rest + skip, "/");

	if (len == 0)
		return false;
	if (len > NAME_MAX) {
		*error = -ENAMETOOLONG;
		return false;
	}
	memcpy(w->name, w->rest + skip, len);
	w->name[len] = '\0';
	memmove(w->rest, w->rest + skip + len, strlen(w->rest + skip + len) + 1);
	return true;
}

static bool is_last(const struct walk *w)
{
	return w->rest[strspn(w->rest, "/")] == '\0';
}

static int enter(struct walk *w)
{
	size_t at = strlen(w->done);
	int n = snprintf(w->done + at, sizeof(w->done) - at, "/%s", w->name);

	return n < 0 || (size_t)n >= sizeof(w->done) - at ? -ENAMETOOLONG : 0;
}

static void leave(struct walk *w)
{
	char *slash = strrchr(w->done, '/');

	if (slash)
		*slash = '\0';
}

/* Replaces the component that is a symlink by its target */
static int follow(struct walk *w, int link)
{
	char target[PATH_MAX], joined[2 * PATH_MAX];
	ssize_t n = readlinkat(link, "", target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	if (++w->links > SYMLINKS_MAX)
		return -ELOOP;
	target[n] = '\0';
	(void)snprintf(joined, sizeof(joined), "%s/%s", target, w->rest);
	if (strlen(joined) >= sizeof(w->rest))
		return -ENAMETOOLONG;
	if (target[0] == '/')
		w->done[0] = '\0';
	memcpy(w->rest, joined, strlen(joined) + 1);
	return 0;
}

static int open_here(const struct walk *w, int flags)
{
	return open_in_root(w->root, w->done[0] ? w->done : "/", flags, 0);
}

/* Makes the component in the directory we are in; Return: 0 (also if somebody was faster) or -errno */
static int make_one(const struct walk *w, bool is_dir, mode_t mode)
{
	cleanup_close int parent = open_here(w, O_PATH | O_DIRECTORY);
	int fd;

	if (parent < 0)
		return parent;
	if (is_dir)
		return mkdirat(parent, w->name, mode) < 0 && errno != EEXIST ? -errno : 0;
	fd = openat(parent, w->name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	(void)close(fd);
	return 0;
}

/* Opens the component, making it when it is missing; *is_link tells a symlink, opened itself */
static int open_or_make(struct walk *w, bool is_dir, mode_t mode, bool *is_link)
{
	cleanup_close int parent = open_here(w, O_PATH | O_DIRECTORY);
	cleanup_close int fd = -1;
	struct stat st;
	int r;

	if (parent < 0)
		return parent;
	fd = openat(parent, w->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		r = is_last(w) ? make_one(w, is_dir, mode) : make_one(w, true, 0755);
		if (r < 0)
			return r;
		fd = openat(parent, w->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	*is_link = S_ISLNK(st.st_mode);
	return take_fd(&fd);
}

static int make_walk(struct walk *w, bool is_dir, mode_t mode)
{
	cleanup_close int fd = open_here(w, O_PATH | O_DIRECTORY);
	int r = 0;

	while (fd >= 0 && next_component(w, &r)) {
		bool is_link = false;

		if (strcmp(w->name, ".") == 0)
			continue;
		close_fd(&fd);
		if (strcmp(w->name, "..") == 0) {
			leave(w);
			fd = open_here(w, O_PATH | O_DIRECTORY);
			continue;
		}
		fd = open_or_make(w, is_dir, mode, &is_link);
		if (fd < 0)
			break;
		r = is_link ? follow(w, fd) : enter(w);
		if (r < 0)
			return r;
		if (is_link) { /* possibly the last component: then where we are is the answer */
			close_fd(&fd);
			fd = open_here(w, O_PATH);
		}
	}
	if (r < 0)
		return r;
	return take_fd(&fd);
}

int path_make_beneath(int dirfd, const char *path, bool is_dir, mode_t mode, struct err *err)
{
	struct walk w = {.root = dirfd};
	int fd;

	if (strlen(path) >= sizeof(w.rest))
		return err_sys(err, ENAMETOOLONG, "cannot make '%.100s…'", path);
	memcpy(w.rest, path, strlen(path) + 1);
	fd = make_walk(&w, is_dir, mode);
	if (fd < 0)
		return err_sys(err, -fd, "cannot make '%s'", path);
	return fd;
}

/* ---- removing ---- */

struct removal {
	int top;	     /* the tree's own directory, borrowed */
	unsigned int serial; /* names for what is moved to the top */
	bool progress;
};

static int open_plain_dir(int dirfd, const char *name)
{
	return open2(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
		     RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

static int empty_dir(struct removal *rm, int dirfd, unsigned int depth);

/* Moves a directory that is too deep to the top, where a later pass finds it */
static int raise_dir(struct removal *rm, int dirfd, const char *name)
{
	char to[48];

	for (int i = 0; i < RACE_RETRIES; i++) {
		(void)snprintf(to, sizeof(to), ".raised-%d-%u", (int)getpid(), rm->serial++);
		if (syscall(SYS_renameat2, dirfd, name, rm->top, to, 1 /* RENAME_NOREPLACE */) ==
		    0) {
			rm->progress = true;
			return 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static int remove_entry(struct removal *rm, int dirfd, const char *name, unsigned int depth)
{
	cleanup_close int fd = -1;
	int r;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT) {
		rm->progress = true;
		return 0;
	}
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	r = -errno;
	if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0) {
		rm->progress = true;
		return 0;
	}
	if (errno == ENOTDIR)
		return r;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return -errno;
	if (depth >= TREE_DEPTH_MAX)
		return raise_dir(rm, dirfd, name);
	fd = open_plain_dir(dirfd, name);
	if (fd < 0)
		return fd;
	r = empty_dir(rm, fd, depth + 1);
	if (r < 0)
		return r;
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTEMPTY)
		return -errno;
	return 0;
}

/* One pass over a directory; a directory that is being filled meanwhile is left for the next pass */
static int empty_dir(struct removal *rm, int dirfd, unsigned int depth)
{
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	DIR *dir;
	int r = 0;

	if (copy < 0)
		return -errno;
	dir = fdopendir(copy);
	if (!dir) {
		r = -errno;
		(void)close(copy);
		return r;
	}
	while (r == 0) {
		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			r = -errno;
			break;
		}
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = remove_entry(rm, dirfd, entry->d_name, depth);
	}
	(void)closedir(dir);
	return r;
}

static int remove_tree(int dirfd, const char *name)
{
	cleanup_close int top = -1;
	struct removal rm = {0};

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	top = openat(dirfd, name,
		     O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
			     O_CLOEXEC); /* a mount point fails below: EBUSY */
	if (top < 0)
		return -errno;
	rm.top = top;
	for (unsigned int pass = 0; pass < TREE_PASSES_MAX; pass++) {
		int r;

		if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		if (errno != ENOTEMPTY && errno != EEXIST)
			return -errno;
		rm.progress = false;
		r = empty_dir(&rm, top, 0);
		if (r < 0)
			return r;
		if (!rm.progress)
			return -ENOTEMPTY;
	}
	return -ENOTEMPTY;
}

int path_remove_tree(int dirfd, const char *name, struct err *err)
{
	int r = remove_tree(dirfd, name);

	if (r < 0)
		return err_sys(err, -r, "cannot remove '%s'", name);
	return 0;
}

bool path_is_kernel_interface(int fd)
{
	static const unsigned int magic[] = {
		PROC_SUPER_MAGIC,
		SYSFS_MAGIC,
		CGROUP_SUPER_MAGIC,
		CGROUP2_SUPER_MAGIC,
		DEBUGFS_MAGIC,
		TRACEFS_MAGIC,
		SECURITYFS_MAGIC,
		BPF_FS_MAGIC,
		PSTOREFS_MAGIC,
		SELINUX_MAGIC,
		SMACK_MAGIC,
		EFIVARFS_MAGIC,
		BINFMTFS_MAGIC,
		RDTGROUP_SUPER_MAGIC,
		0x62656570 /* configfs */,
		0x65735543 /* fusectl */,
	};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(magic); i++)
		if ((unsigned int)fs.f_type == magic[i])
			return true;
	return false;
}
