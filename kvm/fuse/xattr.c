/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes: names are mapped by special.c, values pass unchanged.
 *
 * security.capability works natively in the server's user namespace. The host's kernel stores it with the namespace's root as its
 * owner; the namespace is identity-mapped, so a program on the host sees the plain form. POSIX ACLs are attributes
 * here; the guest's kernel enforces them, and asks by flag to take setgid off where chmod would.
 *
 * There is no getxattrat(2) on the kernels we support: an O_PATH descriptor is named relative to the thread's working directory,
 * /proc/self/fd (creds.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "kvm/fuse/internal.h"

/* The node as a path relative to the working directory */
static int node_path(struct req *rq, char path[16])
{
	int fd = node_fd(rq->server, rq->node);

	if (fd < 0)
		return fd;
	(void)snprintf(path, 16, "%d", fd);
	return fd;
}

static int clear_setgid(struct req *rq, int fd, const char *path)
{
	struct statx stx;
	int r = fd_stat(fd, &stx);

	if (r < 0 || !(stx.stx_mode & S_ISGID))
		return r;
	return fchmodat(rq->server->proc_fd, path, stx.stx_mode & 07777 & ~(mode_t)S_ISGID, 0) < 0
		       ? -errno
		       : 0;
}

ssize_t do_setxattr(struct req *rq)
{
	char path[16], host_name[WIRE_NAME_MAX + 1];
	struct fuse_setxattr_in in;
	const char *name;
	const void *value;
	int fd, r;

	if (!req_arg(rq, &in) || (in.flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE)))
		return -EINVAL;
	r = req_string(rq, WIRE_NAME_MAX, &name);
	if (r < 0)
		return r;
	value = buf_take(&rq->args, in.size);
	if (!req_end(rq) || in.size > WIRE_XATTR_MAX)
		return -EINVAL;
	r = special_xattr_name(name, host_name);
	if (r < 0)
		return r;
	fd = node_path(rq, path);
	if (fd < 0)
		return fd;
	if (setxattr(path, host_name, value, in.size, (int)in.flags) < 0)
		return -errno;
	return in.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID ? clear_setgid(rq, fd, path) : 0;
}

static ssize_t reply_size(struct req *rq, size_t size)
{
	struct fuse_getxattr_out out = {.size = (uint32_t)size};

	return req_reply(rq, &out, sizeof(out));
}

ssize_t do_getxattr(struct req *rq)
{
	char path[16], host_name[WIRE_NAME_MAX + 1];
	cleanup_free void *value = NULL;
	struct fuse_getxattr_in in;
	const char *name;
	ssize_t n;
	int r;

	if (!req_arg(rq, &in))
		return -EINVAL;
	r = req_string(rq, WIRE_NAME_MAX, &name);
	if (r < 0)
		return r;
	if (!req_end(rq) || in.size > WIRE_XATTR_MAX)
		return -EINVAL;
	r = special_xattr_name(name, host_name);
	if (r < 0)
		return r == -EPERM ? -ENODATA : r;
	r = node_path(rq, path);
	if (r < 0)
		return r;
	if (in.size > 0) {
		value = malloc(in.size);
		if (!value)
			return -ENOMEM;
	}
	n = getxattr(path, host_name, value, in.size);
	if (n < 0)
		return -errno;
	return in.size == 0 ? reply_size(rq, (size_t)n) : req_reply(rq, value, (size_t)n);
}

/* Rewrites the host's list in place into the guest's; a guest's name is never longer than the host's */
static size_t translate_list(char *list, size_t len)
{
	size_t out = 0;

	for (size_t in = 0; in < len;) {
		const char *name = list + in, *guest = special_xattr_guest_name(name);

		in += strlen(name) + 1;
		if (!guest)
			continue;
		memmove(list + out, guest, strlen(guest) + 1);
		out += strlen(list + out) + 1;
	}
	return out;
}

ssize_t do_listxattr(struct req *rq)
{
	cleanup_free char *list = NULL;
	struct fuse_getxattr_in in;
	char path[16];
	ssize_t n;
	size_t len;
	int r;

	if (!req_arg(rq, &in) || !req_end(rq))
		return -EINVAL;
	r = node_path(rq, path);
	if (r < 0)
		return r;
	list = malloc(WIRE_XATTR_MAX + 1);
	if (!list)
		return -ENOMEM;
	n = listxattr(path, list, WIRE_XATTR_MAX);
	if (n < 0)
		return -errno;
	list[n] = 0;
	len = translate_list(list, (size_t)n);
	if (in.size == 0)
		return reply_size(rq, len);
	return len > in.size ? -ERANGE : req_reply(rq, list, len);
}

ssize_t do_removexattr(struct req *rq)
{
	char path[16], host_name[WIRE_NAME_MAX + 1];
	const char *name;
	int r;

	r = req_string(rq, WIRE_NAME_MAX, &name);
	if (r < 0)
		return r;
	if (!req_end(rq))
		return -EINVAL;
	r = special_xattr_name(name, host_name);
	if (r < 0)
		return r;
	r = node_path(rq, path);
	if (r < 0)
		return r;
	return removexattr(path, host_name) < 0 ? -errno : 0;
}
