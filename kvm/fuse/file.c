/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files: OPEN, READ, WRITE, FLUSH, RELEASE, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE, SYNCFS.
 *
 * Only regular files are ever opened, by /proc/self/fd from the node's O_PATH descriptor: fifos, sockets and devices are
 * the guest kernel's own, and opening one here could block or touch a host device. Data goes straight between the file and
 * guest memory.
 *
 * O_DIRECT is the guest's choice of its own cache and not passed on. O_APPEND is not set on the host's descriptor, since
 * dirty pages of a shared mapping are written at offsets; but a write(2) on a file that the guest opened with it goes to
 * the file's real end (RWF_APPEND), where another writer may have moved it. With O_DIRECT one write may come as several
 * requests at once, whose order only the offsets tell, so there the guest's offset counts.
 *
 * Coherence: below a coherent root each open drops the guest's cached pages; elsewhere they are kept as long as time and size
 * stay the same (FOPEN_KEEP_CACHE with AUTO_INVAL_DATA).
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"

#define IOV_LIMIT 1024u /* of preadv(2), and the most buffers of one request that we look at */

static int open_flags(uint32_t flags)
{
	int out = (int)flags & (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC | O_NOATIME);

	if ((out & O_ACCMODE) == O_ACCMODE)
		out = (out & ~O_ACCMODE) | O_RDWR;
	return out;
}

static bool open_writes(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

static int open_file(struct req *rq, const struct fuse_open_in *in)
{
	bool writes = open_writes(in->flags);
	mode_t restore;
	int fd, r;

	if (!node_is(rq->node, S_IFREG))
		return node_is(rq->node, S_IFDIR) ? -EISDIR : -EACCES;
	if (writes && (rq->node->root->flags & FUSE_ROOT_READ_ONLY))
		return -EROFS;
	fd = node_fd(rq->server, rq->node);
	if (fd < 0)
		return fd;
	if (!(in->flags & O_TRUNC))
		return fd_reopen(rq->server, fd, open_flags(in->flags));
	r = attr_modify_begin(rq->server->proc_fd, fd, in->open_flags & FUSE_OPEN_KILL_SUIDGID,
			      &restore);
	if (r < 0)
		return r;
	r = fd_reopen(rq->server, fd, open_flags(in->flags));
	attr_modify_end(rq->server->proc_fd, fd, restore);
	return r;
}

ssize_t do_open(struct req *rq)
{
	struct fuse_open_out out = {0};
	struct fuse_open_in in;
	int fd, r;

	if (!req_arg(rq, &in) || !req_end(rq) || rq->room < sizeof(out))
		return -EINVAL;
	fd = open_file(rq, &in);
	if (fd < 0)
		return fd;
	r = handle_add(rq->server, rq->node, fd, (in.flags & O_ACCMODE) != O_RDONLY, NULL, &out.fh);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	if (!(rq->node->root->flags & FUSE_ROOT_COHERENT))
		out.open_flags = FOPEN_KEEP_CACHE;
	return req_reply(rq, &out, sizeof(out));
}

ssize_t do_read(struct req *rq)
{
	struct iovec iov[IOV_LIMIT];
	struct fuse_read_in in;
	struct handle *handle;
	size_t size;
	ssize_t n;

	if (!req_arg(rq, &in) || !req_end(rq) || in.offset > INT64_MAX ||
	    rq->request->nout > IOV_LIMIT)
		return -EINVAL;
	handle = handle_acquire(rq->server, in.fh, rq->node, false);
	if (!handle)
		return -EBADF;
	size = in.size < rq->room ? in.size : rq->room;
	n = preadv(handle->fd, iov, (int)req_out_iov(rq, size, iov), (off_t)in.offset);
	if (n < 0)
		n = -errno;
	handle_release(rq->server, handle);
	return n;
}

static ssize_t write_data(struct req *rq, struct handle *handle, const struct fuse_write_in *in)
{
	bool append = (in->flags & O_APPEND) && !(in->flags & O_DIRECT) &&
		      !(in->write_flags & FUSE_WRITE_CACHE);
	struct iovec iov[IOV_LIMIT];
	unsigned int niov;
	mode_t restore;
	ssize_t n;
	int r;

	r = attr_modify_begin(rq->server->proc_fd, handle->fd,
			      in->write_flags & FUSE_WRITE_KILL_SUIDGID, &restore);
	if (r < 0)
		return r;
	niov = req_in_iov(rq, sizeof(rq->h) + sizeof(*in), in->size, iov);
	n = pwritev2(handle->fd, iov, (int)niov, (off_t)in->offset, append ? RWF_APPEND : 0);
	if (n < 0)
		n = -errno;
	attr_modify_end(rq->server->proc_fd, handle->fd, restore);
	return n;
}

ssize_t do_write(struct req *rq)
{
	struct fuse_write_out out = {0};
	struct fuse_write_in in;
	struct handle *handle;
	ssize_t n;

	if (!req_arg(rq, &in) || rq->room < sizeof(out) || in.offset > INT64_MAX ||
	    rq->request->nin > IOV_LIMIT || in.size != rq->in_total - sizeof(rq->h) - sizeof(in))
		return -EINVAL;
	handle = handle_acquire(rq->server, in.fh, rq->node, false);
	if (!handle)
		return -EBADF;
	n = write_data(rq, handle, &in);
	handle_release(rq->server, handle);
	if (n < 0)
		return n;
	out.size = (uint32_t)n;
	return req_reply(rq, &out, sizeof(out));
}

/*
 * One close(2) of possibly several of the same open file. Errors that only a close reports (network file systems) come out
 * of closing a duplicate.
 */
ssize_t do_flush(struct req *rq)
{
	struct fuse_flush_in in;
	struct handle *handle;
	int fd, r = 0;

	if (!req_arg(rq, &in) || !req_end(rq))
		return -EINVAL;
	handle = handle_acquire(rq->server, in.fh, rq->node, false);
	if (!handle)
		return -EBADF;
	locks_flush(rq->server, rq->node, in.lock_owner);
	if (handle->writable) {
		fd = fcntl(handle->fd, F_DUPFD_CLOEXEC, 0);
		if (fd >= 0)
			r = close(fd) < 0 ? -errno : 0;
	}
	handle_release(rq->server, handle);
	return r == -EINTR ? 0 : r;
}

ssize_t do_release(struct req *rq)
{
	struct fuse_release_in in;
	int r;

	if (!req_arg(rq, &in) || !req_end(rq))
		return -EINVAL;
	r = handle_remove(rq->server, in.fh, rq->node, false);
	if (r == 0)
		locks_close(rq->server, rq->node, in.fh);
	return r;
}

static ssize_t sync_handle(struct req *rq, bool is_dir)
{
	struct fuse_fsync_in in;
	struct handle *handle;
	int r;

	if (!req_arg(rq, &in) || !req_end(rq))
		return -EINVAL;
	handle = handle_acquire(rq->server, in.fh, rq->node, is_dir);
	if (!handle)
		return -EBADF;
	r = in.fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(handle->fd) : fsync(handle->fd);
	r = r < 0 ? -errno : 0;
	handle_release(rq->server, handle);
	return r;
}

ssize_t do_fsync(struct req *rq)
{
	return sync_handle(rq, false);
}

ssize_t do_fsyncdir(struct req *rq)
{
	return sync_handle(rq, true);
}

/* FALLOCATE and COPY_FILE_RANGE have no kill flag, and the guest's kernel leaves set-id bits to us: whose it is must do */
static bool kills_by_uid(const struct req *rq)
{
	return rq->h.uid != 0;
}

ssize_t do_fallocate(struct req *rq)
{
	struct fuse_fallocate_in in;
	struct handle *handle;
	mode_t restore;
	int r;

	if (!req_arg(rq, &in) || !req_end(rq) || in.offset > INT64_MAX || in.length > INT64_MAX)
		return -EINVAL;
	handle = handle_acquire(rq->server, in.fh, rq->node, false);
	if (!handle)
		return -EBADF;
	r = attr_modify_begin(rq->server->proc_fd, handle->fd, kills_by_uid(rq), &restore);
	if (r == 0) {
		r = fallocate(handle->fd, (int)in.mode, (off_t)in.offset, (off_t)in.length) < 0
			    ? -errno
			    : 0;
		attr_modify_end(rq->server->proc_fd, handle->fd, restore);
	}
	handle_release(rq->server, handle);
	return r;
}

ssize_t do_lseek(struct req *rq)
{
	struct fuse_lseek_out out;
	struct fuse_lseek_in in;
	struct handle *handle;
	off_t offset;

	if (!req_arg(rq, &in) || !req_end(rq) || in.offset > INT64_MAX || rq->room < sizeof(out) ||
	    (in.whence != SEEK_DATA && in.whence != SEEK_HOLE))
		return -EINVAL;
	handle = handle_acquire(rq->server, in.fh, rq->node, false);
	if (!handle)
		return -EBADF;
	/* moves the descriptor's position, which nothing uses */
	offset = lseek(handle->fd, (off_t)in.offset, (int)in.whence);
	out.offset = (uint64_t)offset;
	handle_release(rq->server, handle);
	return offset < 0 ? -errno : req_reply(rq, &out, sizeof(out));
}

static ssize_t copy_range(struct req *rq, const struct fuse_copy_file_range_in *in, struct node *to)
{
	struct handle *source = handle_acquire(rq->server, in->fh_in, rq->node, false);
	struct handle *sink = handle_acquire(rq->server, in->fh_out, to, false);
	off_t from = (off_t)in->off_in, at = (off_t)in->off_out;
	size_t len = in->len < (1u << 30) ? in->len : 1u << 30;
	struct fuse_write_out out = {0};
	ssize_t n = -EBADF;
	mode_t restore;

	if (source && sink)
		n = attr_modify_begin(rq->server->proc_fd, sink->fd, kills_by_uid(rq), &restore);
	if (n == 0) {
		n = copy_file_range(source->fd, &from, sink->fd, &at, len, 0);
		if (n < 0)
			n = -errno;
		attr_modify_end(rq->server->proc_fd, sink->fd, restore);
	}
	handle_release(rq->server, source);
	handle_release(rq->server, sink);
	if (n < 0)
		return n;
	out.size = (uint32_t)n;
	return req_reply(rq, &out, sizeof(out));
}

/* Refused on a read-only target by the handle: it could not be opened for writing */
ssize_t do_copy_file_range(struct req *rq)
{
	struct fuse_copy_file_range_in in;
	struct node *to;
	ssize_t n;
	int error;

	if (!req_arg(rq, &in) || !req_end(rq) || in.off_in > INT64_MAX || in.off_out > INT64_MAX ||
	    in.flags != 0 || rq->room < sizeof(struct fuse_write_out))
		return -EINVAL;
	to = node_acquire(rq->server, in.nodeid_out, &error);
	if (!to)
		return error;
	n = to->root->flags & FUSE_ROOT_READ_ONLY ? -EROFS : copy_range(rq, &in, to);
	node_release(rq->server, to);
	return n;
}

ssize_t do_syncfs(struct req *rq)
{
	struct fuse_syncfs_in in;
	int fd, r;

	if (!req_arg(rq, &in) || !req_end(rq))
		return -EINVAL;
	if (rq->node->root->flags & FUSE_ROOT_READ_ONLY)
		return 0;
	fd = node_fd(rq->server, rq->node);
	if (fd < 0)
		return fd;
	if (!node_is(rq->node, S_IFDIR) && !node_is(rq->node, S_IFREG))
		return -EINVAL;
	fd = fd_reopen(rq->server, fd, O_RDONLY);
	if (fd < 0)
		return fd;
	r = syncfs(fd) < 0 ? -errno : 0;
	(void)close(fd);
	return r;
}
