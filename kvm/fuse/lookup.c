/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to nodes: LOOKUP, FORGET, and the synthetic top directory that lists the exports.
 *
 * A lookup opens exactly one component below the parent's O_PATH descriptor, without following anything: symlinks are for the guest
 * to follow, ".." never arrives here (server.c refuses it), and an export is a detached mount, so even the host's kernel
 * knows no way up from it.
 *
 * The top directory's entries are never cached (zero time-outs): exports come and go while the guest runs. Each directory
 * export is announced as a submount, so that the guest gives it a device number of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"

ssize_t do_lookup(struct req *rq)
{
	struct fuse_entry_out out;
	struct node *node;
	struct statx stx;
	const char *name;
	ssize_t answer;
	int dirfd, fd, r;

	r = req_name(rq, &name);
	if (r < 0)
		return r;
	if (!req_end(rq) || rq->room < sizeof(out))
		return -EINVAL;
	if (!node_is(rq->node, S_IFDIR))
		return -ENOTDIR;
	if (rq->node == rq->node->root->node && (rq->node->root->flags & FUSE_ROOT_COHERENT) &&
	    sockets_entry(name, &out))
		return req_reply(rq, &out, sizeof(out));
	dirfd = node_fd(rq->server, rq->node);
	if (dirfd < 0)
		return dirfd;
	fd = fd_open(rq->server, dirfd, name, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	r = fd_stat(fd, &stx);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	r = node_intern(rq->server, rq->node->root, rq->node, name, &stx, fd, &node);
	if (r < 0)
		return r;
	r = attr_entry(rq->server, node, &stx, &out);
	if (r < 0)
		node_forget(rq->server, node->id, 1);
	answer = r < 0 ? r : sockets_reply(rq, node, &out);
	node_release(rq->server, node);
	return answer;
}

ssize_t do_forget(struct req *rq)
{
	struct fuse_forget_in in;

	if (req_arg(rq, &in))
		node_forget(rq->server, rq->h.nodeid, in.nlookup);
	return 0;
}

ssize_t do_batch_forget(struct req *rq)
{
	struct fuse_batch_forget_in in;
	struct fuse_forget_one one;

	if (!req_arg(rq, &in))
		return 0;
	for (uint32_t i = 0; i < in.count && req_arg(rq, &one); i++)
		node_forget(rq->server, one.nodeid, one.nlookup);
	return 0;
}

/* ---- the top directory ---- */

static void top_attr(struct fuse_attr *attr)
{
	*attr = (struct fuse_attr){
		.ino = NODEID_TOP, .mode = S_IFDIR | 0555, .nlink = 2, .blksize = WIRE_PAGE};
}

/* The number that @name spells in its one canonical form, or SERVER_ROOTS_MAX */
static unsigned int export_number(const char *name)
{
	unsigned int id = 0;

	if (name[0] == '0' && name[1])
		return SERVER_ROOTS_MAX;
	for (const char *p = name; *p; p++) {
		if (*p < '0' || *p > '9' || p - name > 3)
			return SERVER_ROOTS_MAX;
		id = id * 10 + (unsigned int)(*p - '0');
	}
	return id < SERVER_ROOTS_MAX ? id : SERVER_ROOTS_MAX;
}

/* The node of export @id, in use, with one lookup counted; NULL when there is none */
static struct node *top_node(struct fuse_server *server, unsigned int id)
{
	struct node *node = NULL;

	pthread_mutex_lock(&server->mutex);
	if (id < SERVER_ROOTS_MAX && server->roots[id] && server->roots[id]->node) {
		node = server->roots[id]->node;
		node->users++;
		node->nlookup++;
	}
	pthread_mutex_unlock(&server->mutex);
	return node;
}

static ssize_t top_entry(struct req *rq, unsigned int id, struct fuse_entry_out *out)
{
	struct fuse_server *server = rq->server;
	struct node *node = top_node(server, id);
	struct statx stx;
	ssize_t answer;
	int r;

	if (!node)
		return -ENOENT;
	r = fd_stat(node->fd, &stx);
	if (r == 0)
		r = attr_entry(server, node, &stx, out);
	out->entry_valid = 0;
	if (r < 0)
		node_forget(server, node->id, 1);
	answer = r < 0 ? r : sockets_reply(rq, node, out);
	node_release(server, node);
	return answer;
}

ssize_t top_lookup(struct req *rq)
{
	struct fuse_entry_out out = {0};
	const char *name;
	int r;

	r = req_name(rq, &name);
	if (r < 0)
		return r;
	if (!req_end(rq) || rq->room < sizeof(out))
		return -EINVAL;
	if (!strcmp(name, CONTROL_NAME)) {
		out.nodeid = NODEID_LOCKS;
		control_attr(rq->server, &out.attr);
	} else if (!strcmp(name, EVENTS_NAME)) {
		out.nodeid = NODEID_EVENTS;
		events_attr(&out.attr);
	} else if (!sockets_entry(name, &out)) {
		return top_entry(rq, export_number(name), &out);
	}
	return req_reply(rq, &out, sizeof(out));
}

ssize_t top_getattr(struct req *rq)
{
	struct fuse_attr_out out = {0};

	top_attr(&out.attr);
	return req_reply(rq, &out, sizeof(out));
}

ssize_t top_statfs(struct req *rq)
{
	struct fuse_statfs_out out = {
		.st = {.bsize = WIRE_PAGE, .frsize = WIRE_PAGE, .namelen = WIRE_NAME_MAX}};

	return req_reply(rq, &out, sizeof(out));
}

ssize_t top_opendir(struct req *rq)
{
	struct fuse_open_out out = {.fh = FH_TOP};

	return req_reply(rq, &out, sizeof(out));
}

ssize_t top_releasedir(struct req *rq)
{
	(void)rq;
	return 0;
}

/* Offsets: 1 after ".", 2 after "..", 3 + id after export id */
static ssize_t top_list(struct req *rq, size_t entry_len)
{
	struct fuse_read_in in;
	size_t used = 0, max;

	if (!req_arg(rq, &in) || !req_end(rq))
		return -EINVAL;
	if (in.fh != FH_TOP)
		return -EBADF;
	max = in.size < rq->room ? in.size : rq->room;
	for (uint64_t off = in.offset; off < SERVER_ROOTS_MAX + 2; off++) {
		char record[sizeof(struct fuse_entry_out) + 64] = {0};
		struct fuse_dirent dirent = {
			.ino = NODEID_TOP, .off = off + 1, .type = S_IFDIR >> 12};
		char name[8] = "..";
		size_t size;

		if (off >= 2) {
			pthread_mutex_lock(&rq->server->mutex);
			if (rq->server->roots[off - 2]) {
				dirent.ino = rq->server->roots[off - 2]->node->key.ino;
				dirent.type = rq->server->roots[off - 2]->node->key.type >> 12;
				(void)snprintf(name, sizeof(name), "%u", (unsigned int)(off - 2));
			} else {
				name[0] = 0;
			}
			pthread_mutex_unlock(&rq->server->mutex);
			if (!name[0])
				continue;
		} else {
			name[off + 1] = 0;
		}
		dirent.namelen = (uint32_t)strlen(name);
		/* a zeroed entry_out (nodeid 0) makes the kernel look the name up when it needs it */
		memcpy(record + entry_len, &dirent, sizeof(dirent));
		memcpy(record + entry_len + sizeof(dirent), name, dirent.namelen);
		size = FUSE_REC_ALIGN(entry_len + sizeof(dirent) + dirent.namelen);
		if (used + size > max)
			break;
		(void)iov_copy_out(rq->request->out, rq->request->nout,
				   sizeof(struct fuse_out_header) + used, record, size);
		used += size;
	}
	return (ssize_t)used;
}

ssize_t top_readdir(struct req *rq)
{
	return top_list(rq, 0);
}

ssize_t top_readdirplus(struct req *rq)
{
	return top_list(rq, sizeof(struct fuse_entry_out));
}
