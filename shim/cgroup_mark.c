/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose a cgroup is: extended attributes that only root can set (cgroup.c tells why). Without the right to set them there is no owner, and
 * nothing is killed.
 */
#include "shim/cgroup_mark.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "lib/cleanup.h"

#define MARK_OWNER "trusted.caisson.owner"
#define MARK_SHARED "trusted.caisson.shared"

/* What the owner of a cgroup writes on it: no two state directories that exist have the same */
static size_t owner_mark(int state_fd, char *out, size_t size)
{
	struct stat st;

	if (fstat(state_fd, &st) < 0)
		return 0;
	return (size_t)snprintf(out, size, "%llu:%llu", (unsigned long long)st.st_dev,
				(unsigned long long)st.st_ino);
}

bool cgroup_is_only_ours(int fd, int state_fd)
{
	char ours[64], found[64];
	size_t n = owner_mark(state_fd, ours, sizeof(ours));

	return n && fgetxattr(fd, MARK_OWNER, found, sizeof(found)) == (ssize_t)n &&
	       !memcmp(ours, found, n) && fgetxattr(fd, MARK_SHARED, found, sizeof(found)) < 0;
}

void cgroup_mark(int root_fd, const char *path, int state_fd, bool made)
{
	cleanup_close int fd = openat(root_fd, path + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char owner[64];
	size_t n = owner_mark(state_fd, owner, sizeof(owner));

	if (fd < 0)
		return;
	/* EEXIST of a second attempt may be our own */
	if (made)
		(void)fsetxattr(fd, MARK_OWNER, owner, n, XATTR_CREATE);
	else if (!cgroup_is_only_ours(fd, state_fd))
		(void)fsetxattr(fd, MARK_SHARED, "1", 1, 0);
}
