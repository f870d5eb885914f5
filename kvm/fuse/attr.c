/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file is: GETATTR, STATX, SETATTR, STATFS, READLINK, and the attributes inside every entry reply.
 *
 * Time-outs (DESIGN.md section 4, docs/files.md): zero below a coherent root, so that the guest asks each time and a host's
 * change is seen at once; one second elsewhere.
 *
 * Set-user-id and file capabilities: the host's kernel drops both on chown, and security.capability on every write, by itself. On
 * write and truncate the guest's kernel says whether the writer has CAP_FSETID (FUSE_HANDLE_KILLPRIV_V2). If not, setuid and setgid are
 * dropped here first; if so, they are put back afterwards, because the host's kernel asks for CAP_FSETID in the initial
 * user namespace, where the server has none, and drops them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"

#define TIMEOUT_S \
	1u /* seconds for which names and attributes may be believed, below a root not coherent */

static uint64_t timeout_of(const struct node *node)
{
	return node->root->flags & FUSE_ROOT_COHERENT ? 0 : TIMEOUT_S;
}

/* The kernel's new_encode_dev(), which FUSE uses for rdev */
static uint32_t encode_dev(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | (major << 8) | ((minor & ~0xffu) << 12);
}

/*
 * A file that is itself a mount point lies in its directory's file system as the guest sees it, but has another one's inode
 * number: it gets a number of its own, far from those in use, so that it is not taken for a hard link of another file.
 */
static uint64_t foreign_ino(const struct node *node)
{
	uint64_t x = node->key.ino ^ (node->key.dev << 20) ^ ((uint64_t)node->root->id << 52);

	return (1ull << 63) | (x * 0x9e3779b97f4a7c15ull >> 1);
}

/* Turns an empty regular file that stands for a device node into it; Return: 0 or -errno */
static int apply_special(struct fuse_server *server, struct node *node, const struct statx *stx,
			 struct statx *out)
{
	struct special special;
	int fd;

	*out = *stx;
	if (!S_ISREG(stx->stx_mode) || stx->stx_size != 0)
		return 0;
	fd = node_fd(server, node);
	if (fd < 0)
		return fd;
	if (special_read(fd, &special)) {
		out->stx_mode = (uint16_t)((stx->stx_mode & 07777) | special.type);
		out->stx_rdev_major = special.major;
		out->stx_rdev_minor = special.minor;
	}
	return 0;
}

int attr_fill(struct fuse_server *server, struct node *node, const struct statx *host,
	      struct fuse_attr *attr)
{
	struct statx stx = {0};
	int r;

	r = apply_special(server, node, host, &stx);
	if (r < 0)
		return r;
	*attr = (struct fuse_attr){
		.ino = node->foreign ? foreign_ino(node) : stx.stx_ino,
		.size = stx.stx_size,
		.blocks = stx.stx_blocks,
		.atime = (uint64_t)stx.stx_atime.tv_sec,
		.mtime = (uint64_t)stx.stx_mtime.tv_sec,
		.ctime = (uint64_t)stx.stx_ctime.tv_sec,
		.atimensec = stx.stx_atime.tv_nsec,
		.mtimensec = stx.stx_mtime.tv_nsec,
		.ctimensec = stx.stx_ctime.tv_nsec,
		.mode = stx.stx_mode,
		.nlink = stx.stx_nlink,
		.uid = stx.stx_uid,
		.gid = stx.stx_gid,
		.rdev = encode_dev(stx.stx_rdev_major, stx.stx_rdev_minor),
		.blksize = stx.stx_blksize,
		.flags = node->submount && server->submounts ? FUSE_ATTR_SUBMOUNT : 0,
	};
	return 0;
}

int attr_entry(struct fuse_server *server, struct node *node, const struct statx *stx,
	       struct fuse_entry_out *out)
{
	memset(out, 0, sizeof(*out));
	out->nodeid = node->id;
	out->entry_valid = out->attr_valid = timeout_of(node);
	return attr_fill(server, node, stx, &out->attr);
}

static int change_mode(int proc_fd, int fd, mode_t mode)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "%d", fd); /* it may be O_PATH */
	return fchmodat(proc_fd, name, mode & 07777, 0) < 0 ? -errno : 0;
}

int attr_modify_begin(int proc_fd, int fd, bool kill, mode_t *restore)
{
	struct stat st;
	mode_t mode;

	*restore = 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || !(st.st_mode & (S_ISUID | S_ISGID)))
		return 0;
	if (!kill) {
		*restore = st.st_mode;
		return 0;
	}
	mode = st.st_mode & ~(mode_t)S_ISUID;
	if (mode & S_IXGRP)
		mode &= ~(mode_t)S_ISGID;
	return mode == st.st_mode ? 0 : change_mode(proc_fd, fd, mode);
}

void attr_modify_end(int proc_fd, int fd, mode_t restore)
{
	struct stat st;

	/* only what the host took off: another mode by now is somebody's chmod */
	if (restore && fstat(fd, &st) == 0 && st.st_mode != restore &&
	    (st.st_mode | (restore & (S_ISUID | S_ISGID))) == restore)
		(void)change_mode(proc_fd, fd, restore);
}

/* statx by open file @fh if @by_fh, else by node */
static int stat_target(struct req *rq, bool by_fh, uint64_t fh, struct statx *stx)
{
	struct handle *handle;
	int fd, r;

	if (by_fh) {
		handle = handle_acquire(rq->server, fh, rq->node, node_is(rq->node, S_IFDIR));
		if (!handle)
			return -EBADF;
		r = fd_stat(handle->fd, stx);
		handle_release(rq->server, handle);
		return r;
	}
	fd = node_fd(rq->server, rq->node);
	return fd < 0 ? fd : fd_stat(fd, stx);
}

static ssize_t reply_attr(struct req *rq, const struct statx *stx)
{
	struct fuse_attr_out out = {.attr_valid = timeout_of(rq->node)};
	int r;

	r = attr_fill(rq->server, rq->node, stx, &out.attr);
	return r < 0 ? r : req_reply(rq, &out, sizeof(out));
}

ssize_t do_getattr(struct req *rq)
{
	struct fuse_getattr_in in;
	struct statx stx = {0};
	int r;

	if (!req_arg(rq, &in) || !req_end(rq))
		return -EINVAL;
	r = stat_target(rq, in.getattr_flags & FUSE_GETATTR_FH, in.fh, &stx);
	return r < 0 ? r : reply_attr(rq, &stx);
}

static struct wire_sx_time sx_time(const struct statx_timestamp *t)
{
	return (struct wire_sx_time){.tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec};
}

ssize_t do_statx(struct req *rq)
{
	struct wire_statx_out out = {.attr_valid = timeout_of(rq->node)};
	struct wire_statx_in in;
	struct statx host = {0}, stx = {0};
	int r;

	if (!req_arg(rq, &in) || !req_end(rq))
		return -EINVAL;
	r = stat_target(rq, in.getattr_flags & FUSE_GETATTR_FH, in.fh, &host);
	if (r == 0)
		r = apply_special(rq->server, rq->node, &host, &stx);
	if (r < 0)
		return r;
	out.stat = (struct wire_statx){
		.mask = stx.stx_mask & (STATX_BASIC_STATS | STATX_BTIME),
		.blksize = stx.stx_blksize,
		.attributes = stx.stx_attributes &
			      (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_NODUMP |
			       STATX_ATTR_COMPRESSED | STATX_ATTR_ENCRYPTED),
		.nlink = stx.stx_nlink,
		.uid = stx.stx_uid,
		.gid = stx.stx_gid,
		.mode = stx.stx_mode,
		.ino = rq->node->foreign ? foreign_ino(rq->node) : stx.stx_ino,
		.size = stx.stx_size,
		.blocks = stx.stx_blocks,
		.atime = sx_time(&stx.stx_atime),
		.btime = sx_time(&stx.stx_btime),
		.ctime = sx_time(&stx.stx_ctime),
		.mtime = sx_time(&stx.stx_mtime),
		.rdev_major = stx.stx_rdev_major,
		.rdev_minor = stx.stx_rdev_minor,
		.dev_major = stx.stx_dev_major,
		.dev_minor = stx.stx_dev_minor,
	};
	out.stat.attributes_mask = stx.stx_attributes_mask &
				   (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_NODUMP |
				    STATX_ATTR_COMPRESSED | STATX_ATTR_ENCRYPTED);
	return req_reply(rq, &out, sizeof(out));
}

/* ---- SETATTR ---- */

static int set_size(struct req *rq, const struct fuse_setattr_in *in, const char *name, int fd)
{
	struct handle *handle = NULL;
	mode_t restore;
	int r;

	if (in->size > INT64_MAX)
		return -EINVAL;
	if (!node_is(rq->node, S_IFREG))
		return node_is(rq->node, S_IFDIR) ? -EISDIR : -EINVAL;
	r = attr_modify_begin(rq->server->proc_fd, fd, in->valid & FATTR_KILL_SUIDGID, &restore);
	if (r < 0)
		return r;
	/* ftruncate() through the open file works even where its mode would no longer let us open it, e.g. on NFS */
	if (in->valid & FATTR_FH)
		handle = handle_acquire(rq->server, in->fh, rq->node, false);
	if ((in->valid & FATTR_FH) && !handle)
		return -EBADF;
	if (handle && handle->writable)
		r = ftruncate(handle->fd, (off_t)in->size) < 0 ? -errno : 0;
	else
		r = truncate(name, (off_t)in->size) < 0
			    ? -errno
			    : 0; /* the working directory is /proc/self/fd */
	handle_release(rq->server, handle);
	attr_modify_end(rq->server->proc_fd, fd, restore);
	return r;
}

static struct timespec time_arg(uint32_t valid, uint32_t set, uint32_t now, uint64_t sec,
				uint32_t nsec)
{
	if (valid & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	if (valid & set)
		return (struct timespec){.tv_sec = (time_t)sec, .tv_nsec = nsec};
	return (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int set_times(const struct fuse_setattr_in *in, int fd)
{
	struct timespec times[2] = {
		time_arg(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		time_arg(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};

	if (((in->valid & FATTR_ATIME) && in->atimensec >= 1000000000) ||
	    ((in->valid & FATTR_MTIME) && in->mtimensec >= 1000000000))
		return -EINVAL;
	return utimensat(fd, "", times, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_attributes(struct req *rq, const struct fuse_setattr_in *in, int fd)
{
	char name[16];
	int r;

	(void)snprintf(name, sizeof(name), "%d", fd);
	/* chown first: it takes setuid and setgid away, and a mode in the same request is meant to stay */
	if (in->valid & (FATTR_UID | FATTR_GID)) {
		uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
		gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

		if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	}
	if (in->valid & FATTR_MODE) {
		if (node_is(rq->node, S_IFLNK))
			return -EOPNOTSUPP;
		if (fchmodat(rq->server->proc_fd, name, in->mode & 07777, 0) < 0)
			return -errno;
	}
	if (in->valid & FATTR_SIZE) {
		r = set_size(rq, in, name, fd);
		if (r < 0)
			return r;
	}
	if (in->valid & (FATTR_ATIME | FATTR_MTIME))
		return set_times(in, fd);
	return 0;
}

ssize_t do_setattr(struct req *rq)
{
	struct fuse_setattr_in in;
	struct statx stx = {0};
	int fd, r;

	if (!req_arg(rq, &in) || !req_end(rq) || rq->room < sizeof(struct fuse_attr_out))
		return -EINVAL;
	fd = node_fd(rq->server, rq->node);
	if (fd < 0)
		return fd;
	r = set_attributes(rq, &in, fd);
	if (r == 0)
		r = fd_stat(fd, &stx);
	return r < 0 ? r : reply_attr(rq, &stx);
}

/* ---- the rest ---- */

ssize_t do_statfs(struct req *rq)
{
	struct fuse_statfs_out out = {0};
	struct statfs st;
	int fd;

	fd = node_fd(rq->server, rq->node);
	if (fd < 0)
		return fd;
	if (fstatfs(fd, &st) < 0)
		return -errno;
	out.st = (struct fuse_kstatfs){
		.blocks = st.f_blocks,
		.bfree = st.f_bfree,
		.bavail = st.f_bavail,
		.files = st.f_files,
		.ffree = st.f_ffree,
		.bsize = (uint32_t)st.f_bsize,
		.frsize = (uint32_t)(st.f_frsize ? st.f_frsize : st.f_bsize),
		.namelen = (uint32_t)st.f_namelen,
	};
	return req_reply(rq, &out, sizeof(out));
}

ssize_t do_readlink(struct req *rq)
{
	char target[4096];
	ssize_t n;
	int fd;

	if (!node_is(rq->node, S_IFLNK))
		return -EINVAL;
	fd = node_fd(rq->server, rq->node);
	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", target, sizeof(target));
	if (n < 0)
		return -errno;
	return req_reply(rq, target, (size_t)n);
}
