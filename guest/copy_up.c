/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small recursive copy, run in the child before pivot_root, as root. The source is an image's, the target a fresh tmpfs: nobody
 * else writes to either, still nothing is followed: every step is one component, O_NOFOLLOW.
 */
#define _GNU_SOURCE
#include "guest/copy_up.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)

struct copy {
	unsigned int entries, depth;
};

static int copy_dir(struct copy *copy, int from, int to);

static int copy_owner(int to, const char *name, const struct stat *st)
{
	if (fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* After the owner, since that clears setuid bits */
	if (!S_ISLNK(st->st_mode) && fchmodat(to, name, st->st_mode & 07777, 0) < 0)
		return -errno;
	return 0;
}

static int copy_file(int from, int to, const char *name)
{
	cleanup_close int in = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	cleanup_close int out = openat(to, name,
				       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	ssize_t n;

	if (in < 0 || out < 0)
		return -errno;
	while ((n = sendfile(out, in, NULL, 1u << 20)) > 0)
		;
	return n < 0 ? -errno : 0;
}

static int copy_link(int from, int to, const char *name)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(from, name, text, sizeof(text) - 1);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	return symlinkat(text, to, name) < 0 ? -errno : 0;
}

static int copy_subdir(struct copy *copy, int from, int to, const char *name)
{
	cleanup_close int in = openat(from, name, DIR_FLAGS);
	cleanup_close int out = -1;

	if (in < 0 || mkdirat(to, name, 0700) < 0)
		return -errno;
	out = openat(to, name, DIR_FLAGS);
	return out < 0 ? -errno : copy_dir(copy, in, out);
}

static int copy_entry(struct copy *copy, int from, int to, const char *name)
{
	struct stat st;
	int r = 0;

	if (++copy->entries > COPY_UP_ENTRIES_MAX)
		return -E2BIG;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		r = copy_subdir(copy, from, to, name);
	else if (S_ISREG(st.st_mode))
		r = copy_file(from, to, name);
	else if (S_ISLNK(st.st_mode))
		r = copy_link(from, to, name);
	else
		return 0;
	return r < 0 ? r : copy_owner(to, name, &st);
}

static int copy_dir(struct copy *copy, int from, int to)
{
	int again = openat(from, ".", DIR_FLAGS);
	DIR *dir = again < 0 ? NULL : fdopendir(again);
	struct dirent *entry;
	int r = 0;

	if (!dir) {
		close_fd(&again);
		return -errno;
	}
	if (++copy->depth > COPY_UP_DEPTH_MAX)
		r = -ELOOP;
	while (r == 0 && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = copy_entry(copy, from, to, entry->d_name);
	}
	copy->depth--;
	(void)closedir(dir);
	return r;
}

int copy_up(int from, const char *to, struct err *err)
{
	cleanup_close int out = open(to, DIR_FLAGS);
	struct copy copy = {0};
	int r = out < 0 ? -errno : copy_dir(&copy, from, out);

	return r < 0 ? err_sys(err, -r, "cannot copy the directory that a tmpfs covers") : 0;
}
