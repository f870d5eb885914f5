/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user namespace forbids, stored.
 *
 * In the server's user namespace the host refuses to make device nodes, and trusted.* and most security.* attributes; on
 * overlayfs whiteouts (character device 0:0) too. The guest's root expects all of them to work. So:
 *
 *   guest                                   host
 *   character or block device               empty regular file, mode as given, user.caisson.node = "c 1:3" or "b 8:0"
 *   trusted.NAME                            user.caisson.trusted.NAME     (files and directories only, as all user.*)
 *   security.NAME, except capability        user.caisson.security.NAME    (likewise; the host's own labels are hidden)
 *   security.capability, system.posix_acl_* themselves
 *   user.caisson.*                          hidden: not listed, not readable, EPERM to set
 *
 * A directory in which such a device file was made or moved carries user.caisson.special, so that READDIR can give the right
 * type in its entries (overlayfs in the guest finds whiteouts by it) without looking into every file of every directory.
 *
 * Where attributes of the user class are not supported at all, making a device fails with EPERM. The server itself never opens a
 * real device node: it opens O_PATH, and reopens regular files and directories only.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"

#define PREFIX "user.caisson."
#define NODE_XATTR PREFIX "node"
#define DIR_XATTR PREFIX "special"
#define KEEP_CAPABILITY "security.capability"

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

int special_xattr_name(const char *name, char *out)
{
	int n;

	if (starts_with(name, PREFIX))
		return -EPERM;
	if (starts_with(name, "trusted.") ||
	    (starts_with(name, "security.") && strcmp(name, KEEP_CAPABILITY) != 0))
		n = snprintf(out, WIRE_NAME_MAX + 1, PREFIX "%s", name);
	else if (starts_with(name, "user.") || !strcmp(name, KEEP_CAPABILITY) ||
		 starts_with(name, "system.posix_acl_"))
		n = snprintf(out, WIRE_NAME_MAX + 1, "%s", name);
	else
		return -EOPNOTSUPP;
	return n > (int)WIRE_NAME_MAX ? -ENAMETOOLONG : 0;
}

const char *special_xattr_guest_name(const char *name)
{
	if (starts_with(name, PREFIX)) {
		name += strlen(PREFIX);
		if (starts_with(name, "trusted.") || starts_with(name, "security."))
			return name;
		return NULL;
	}
	if (starts_with(name, "user.") || !strcmp(name, KEEP_CAPABILITY) ||
	    starts_with(name, "system.posix_acl_"))
		return name;
	return NULL;
}

int special_read(int fd, struct special *out)
{
	char path[16], value[32], type, end;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%d", fd);
	n = getxattr(path, NODE_XATTR, value, sizeof(value) - 1);
	if (n <= 0)
		return 0;
	value[n] = 0;
	if (sscanf(value, "%c %u:%u%c", &type, &out->major, &out->minor, &end) != 3 ||
	    (type != 'c' && type != 'b') || out->major > 0xfff || out->minor > 0xfffff)
		return 0;
	out->type = type == 'c' ? S_IFCHR : S_IFBLK;
	return 1;
}

static int write_node_xattr(int fd, const struct special *special)
{
	char value[32];
	int n = snprintf(value, sizeof(value), "%c %u:%u", special->type == S_IFCHR ? 'c' : 'b',
			 special->major, special->minor);

	if (fsetxattr(fd, NODE_XATTR, value, (size_t)n, XATTR_CREATE) < 0)
		return errno == EOPNOTSUPP ? -EPERM : -errno;
	return 0;
}

/* For file systems without O_TMPFILE: the name exists for a moment as a plain file that nobody may open */
static int make_named(int dirfd, const char *name, mode_t mode, const struct special *special)
{
	cleanup_close int fd = openat(
		dirfd, name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, mode & 07777);
	int r;

	if (fd < 0)
		return -errno;
	r = write_node_xattr(fd, special);
	if (r < 0)
		(void)unlinkat(dirfd, name, 0);
	return r;
}

int special_make(struct fuse_server *server, int dirfd, const char *name, mode_t mode,
		 const struct special *special)
{
	char path[16];
	cleanup_close int fd = fd_open(server, dirfd, ".", O_TMPFILE | O_RDWR, mode & 07777);
	int r;

	if (fd == -EOPNOTSUPP || fd == -EISDIR)
		return make_named(dirfd, name, mode, special);
	if (fd < 0)
		return fd;
	r = write_node_xattr(fd, special);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%d", fd);
	return linkat(server->proc_fd, path, dirfd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

void special_mark_dir(int dirfd)
{
	char path[16];

	(void)snprintf(path, sizeof(path), "%d", dirfd);
	/* If this fails READDIR says "file" and stat says "device": worth less than failing what is already done */
	(void)setxattr(path, DIR_XATTR, "1", 1, 0);
}

bool special_dir_is_marked(int dirfd)
{
	char path[16], value;

	(void)snprintf(path, sizeof(path), "%d", dirfd);
	return getxattr(path, DIR_XATTR, &value, 1) == 1;
}
