/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories: OPENDIR, READDIR, READDIRPLUS, RELEASEDIR.
 *
 * Each open directory keeps one buffer of getdents64(2) records. An entry's offset is the host file system's own cookie,
 * passed through, so that a guest may stop and go on anywhere; when it asks for another place than where the buffer goes on, the
 * host's position is set and the buffer filled anew. "." and ".." are passed on as names only.
 *
 * READDIRPLUS gives attributes with each entry. Its nodes get no descriptor until something needs one: listing a directory of
 * 100,000 files opens none of them.
 *
 * Buffers are 32 KiB of the host's memory per directory, so only SERVER_DIR_BUFFERS_MAX are kept between requests, and none for
 * one that has been read to its end. A stream without one goes on at the offset that the guest names.
 *
 * In a directory marked by special.c, a plain file may be a device to the guest; there (only) each one is looked at.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"

#define DIR_BUFFER 32768u

struct host_dirent { /* struct linux_dirent64 */
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

struct dir_stream {
	pthread_mutex_t
		mutex;	 /* one READDIR at a time; guards all below and the descriptor's position */
	uint8_t *buffer; /* owned, DIR_BUFFER bytes, allocated when first read */
	size_t pos, len; /* unread records: buffer[pos..len) */
	int64_t next;	 /* offset at which buffer[pos] begins; -1: nowhere */
	bool special;	 /* marked: see special.c */
};

static void stream_drop(struct fuse_server *server, struct dir_stream *dir)
{
	if (!dir->buffer)
		return;
	free(dir->buffer);
	dir->buffer = NULL;
	dir->pos = dir->len = 0;
	dir->next = -1;
	__atomic_sub_fetch(&server->ndir_buffers, 1, __ATOMIC_RELAXED);
}

void dir_stream_free(struct fuse_server *server, struct dir_stream *dir)
{
	if (!dir)
		return;
	pthread_mutex_destroy(&dir->mutex);
	stream_drop(server, dir);
	free(dir);
}

ssize_t do_opendir(struct req *rq)
{
	struct fuse_open_out out = {0};
	struct fuse_open_in in;
	struct dir_stream *dir;
	int path_fd, fd, r;

	if (!req_arg(rq, &in) || !req_end(rq) || rq->room < sizeof(out))
		return -EINVAL;
	if (!node_is(rq->node, S_IFDIR))
		return -ENOTDIR;
	path_fd = node_fd(rq->server, rq->node);
	if (path_fd < 0)
		return path_fd;
	dir = calloc(1, sizeof(*dir));
	if (!dir)
		return -ENOMEM;
	pthread_mutex_init(&dir->mutex, NULL);
	dir->special = special_dir_is_marked(path_fd);
	fd = fd_open(rq->server, path_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	r = fd < 0 ? fd : handle_add(rq->server, rq->node, fd, false, dir, &out.fh);
	if (r < 0) {
		close_fd(&fd);
		dir_stream_free(rq->server, dir);
		return r;
	}
	return req_reply(rq, &out, sizeof(out));
}

ssize_t do_releasedir(struct req *rq)
{
	struct fuse_release_in in;

	if (!req_arg(rq, &in) || !req_end(rq))
		return -EINVAL;
	return handle_remove(rq->server, in.fh, rq->node, true);
}

/* ---- the stream of host records ---- */

static int stream_seek(struct fuse_server *server, struct dir_stream *dir, int fd, int64_t offset)
{
	if (!dir->buffer) {
		dir->buffer = malloc(DIR_BUFFER);
		if (!dir->buffer)
			return -ENOMEM;
		__atomic_add_fetch(&server->ndir_buffers, 1, __ATOMIC_RELAXED);
	}
	if (offset == dir->next && offset != 0)
		return 0;
	if (lseek(fd, offset, SEEK_SET) < 0)
		return -errno;
	dir->pos = dir->len = 0;
	dir->next = offset;
	return 0;
}

/* The record at the stream's position; Return: 1, 0 at the end, or -errno */
static int stream_peek(struct dir_stream *dir, int fd, const struct host_dirent **entry)
{
	if (dir->pos == dir->len) {
		long n = syscall(SYS_getdents64, fd, dir->buffer, DIR_BUFFER);

		if (n < 0)
			return -errno;
		dir->pos = 0;
		dir->len = (size_t)n;
		if (n == 0)
			return 0;
	}
	*entry = (const struct host_dirent *)(dir->buffer + dir->pos);
	return 1;
}

static void stream_next(struct dir_stream *dir, const struct host_dirent *entry)
{
	dir->next = entry->off;
	dir->pos += entry->reclen;
}

/* ---- entries for the guest ---- */

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* In a marked directory: what a plain file is to the guest */
static uint32_t special_type(struct req *rq, int dirfd, const char *name)
{
	struct special special;
	uint32_t type = DT_REG;
	struct statx stx;
	int fd;

	if (name_stat(dirfd, name, &stx) < 0 || stx.stx_size != 0)
		return type;
	fd = fd_open(rq->server, dirfd, name, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return type;
	if (special_read(fd, &special))
		type = special.type >> 12;
	(void)close(fd);
	return type;
}

/* Looks an entry up for READDIRPLUS; Return: its node, in use, one lookup counted, or NULL: an entry without attributes */
static struct node *entry_node(struct req *rq, int dirfd, const char *name,
			       struct fuse_entry_out *out)
{
	struct node *node;
	struct statx stx;

	if (is_dots(name) || name_stat(dirfd, name, &stx) < 0 ||
	    node_intern(rq->server, rq->node->root, rq->node, name, &stx, -1, &node) < 0)
		return NULL;
	if (attr_entry(rq->server, node, &stx, out) < 0) {
		node_forget(rq->server, node->id, 1);
		node_release(rq->server, node);
		memset(out, 0, sizeof(*out));
		return NULL;
	}
	return node;
}

struct listing {
	struct handle *handle;
	size_t used, max; /* bytes of the answer */
	bool plus;
};

/* Puts one record into the answer; Return: 1, or 0 when it does not fit */
static int put_entry(struct req *rq, struct listing *list, const struct host_dirent *entry)
{
	size_t head = list->plus ? sizeof(struct fuse_entry_out) : 0, len = strlen(entry->name);
	struct fuse_dirent dirent = {.ino = entry->ino,
				     .off = (uint64_t)entry->off,
				     .namelen = (uint32_t)len,
				     .type = entry->type};
	size_t size = FUSE_REC_ALIGN(head + sizeof(dirent) + len);
	uint64_t record[(sizeof(struct fuse_entry_out) + sizeof(dirent) + WIRE_NAME_MAX + 8) / 8] =
		{0};
	struct fuse_entry_out out = {0};
	struct node *node = NULL;

	if (len > WIRE_NAME_MAX)
		return 1; /* no guest could name it */
	if (list->used + size > list->max)
		return 0;
	if (list->plus)
		node = entry_node(rq, list->handle->fd, entry->name, &out);
	if (node) {
		dirent.type = out.attr.mode >> 12;
		dirent.ino = out.attr.ino;
	} else if (dirent.type == DT_REG && list->handle->dir->special) {
		dirent.type = special_type(rq, list->handle->fd, entry->name);
	}
	memcpy(record, &out, head);
	memcpy((char *)record + head, &dirent, sizeof(dirent));
	memcpy((char *)record + head + sizeof(dirent), entry->name, len);
	(void)iov_copy_out(rq->request->out, rq->request->nout,
			   sizeof(struct fuse_out_header) + list->used, record, size);
	list->used += size;
	node_release(rq->server, node);
	return 1;
}

static int list_entries(struct req *rq, struct listing *list, int64_t offset)
{
	struct dir_stream *dir = list->handle->dir;
	const struct host_dirent *entry = NULL;
	int r;

	r = stream_seek(rq->server, dir, list->handle->fd, offset);
	if (r < 0)
		return r;
	for (;;) {
		r = stream_peek(dir, list->handle->fd, &entry);
		if (r <= 0)
			return list->used > 0 ? 0 : r; /* an error shows again at the next call */
		if (!put_entry(rq, list, entry))
			return list->used > 0 ? 0 : -EINVAL;
		stream_next(dir, entry);
	}
}

static ssize_t read_dir(struct req *rq, bool plus)
{
	struct listing list = {.plus = plus};
	struct fuse_read_in in;
	int r;

	if (!req_arg(rq, &in) || !req_end(rq) || in.offset > INT64_MAX)
		return -EINVAL;
	list.handle = handle_acquire(rq->server, in.fh, rq->node, true);
	if (!list.handle)
		return -EBADF;
	list.max = in.size < rq->room ? in.size : rq->room;
	pthread_mutex_lock(&list.handle->dir->mutex);
	r = list_entries(rq, &list, (int64_t)in.offset);
	if (r < 0 || list.handle->dir->len == 0 ||
	    __atomic_load_n(&rq->server->ndir_buffers, __ATOMIC_RELAXED) > SERVER_DIR_BUFFERS_MAX)
		stream_drop(rq->server, list.handle->dir);
	pthread_mutex_unlock(&list.handle->dir->mutex);
	handle_release(rq->server, list.handle);
	return r < 0 ? r : (ssize_t)list.used;
}

ssize_t do_readdir(struct req *rq)
{
	return read_dir(rq, false);
}

ssize_t do_readdirplus(struct req *rq)
{
	return read_dir(rq, true);
}
