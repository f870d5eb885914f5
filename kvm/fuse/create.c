/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that makes a name: MKNOD, MKDIR, SYMLINK, LINK, CREATE, TMPFILE.
 *
 * What is made belongs to the requester from its first moment (creds.c). The setgid bit of a directory, its default ACL and the
 * umask are applied by the host's kernel, as for a local program.
 *
 * CREATE without O_EXCL comes only after the guest's kernel found no such name. If the host made one in between, opening it here
 * would skip the guest's permission check, and it might be a fifo: the answer is ESTALE, which makes the guest's kernel walk
 * the path once more and find it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"

/* The directory's descriptor, or -errno */
static int dir_fd(struct req *rq)
{
	return node_is(rq->node, S_IFDIR) ? node_fd(rq->server, rq->node) : -ENOTDIR;
}

/* An entry_out for what now is @name; one lookup is counted */
static int entry_of(struct req *rq, int dirfd, const char *name, struct fuse_entry_out *out,
		    struct node **node)
{
	struct statx stx;
	int fd, r;

	fd = fd_open(rq->server, dirfd, name, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	r = fd_stat(fd, &stx);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	r = node_intern(rq->server, rq->node->root, rq->node, name, &stx, fd, node);
	if (r < 0)
		return r;
	r = attr_entry(rq->server, *node, &stx, out);
	if (r < 0) {
		node_forget(rq->server, (*node)->id, 1);
		node_release(rq->server, *node);
	}
	return r;
}

static ssize_t reply_entry(struct req *rq, int dirfd, const char *name)
{
	struct fuse_entry_out out;
	struct node *node;
	int r;

	r = entry_of(rq, dirfd, name, &out, &node);
	if (r < 0)
		return r;
	if (rq->h.opcode == FUSE_MKNOD) {
		pthread_mutex_lock(&rq->server->mutex);
		node->own_socket = node_is(node, S_IFSOCK);
		pthread_mutex_unlock(&rq->server->mutex);
	}
	node_release(rq->server, node);
	return req_reply(rq, &out, sizeof(out));
}

/*
 * What MKNOD, MKDIR and CREATE have in common: the name that ends the request, room for an answer of @room bytes, the
 * requester's identity. Return: the directory's descriptor (borrowed), and creds_leave() is due; or -errno.
 */
static int make_begin(struct req *rq, uint32_t mask, size_t room, const char **name)
{
	int dirfd, r;

	r = req_name(rq, name);
	if (r < 0)
		return r;
	if (!req_end(rq) || rq->room < room)
		return -EINVAL;
	dirfd = dir_fd(rq);
	if (dirfd < 0)
		return dirfd;
	r = creds_enter(rq->h.uid, rq->h.gid, mask);
	return r < 0 ? r : dirfd;
}

static int make_node(struct req *rq, int dirfd, const char *name, const struct fuse_mknod_in *in)
{
	struct special special = {.type = in->mode & S_IFMT};
	bool whiteout = special.type == S_IFCHR && in->rdev == 0;
	int r;

	special.major = (in->rdev & 0xfff00) >> 8;
	special.minor = (in->rdev & 0xff) | ((in->rdev >> 12) & 0xfff00);
	switch (special.type) {
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
		return mknodat(dirfd, name, in->mode & (S_IFMT | 07777), 0) < 0 ? -errno : 0;
	case S_IFCHR:
	case S_IFBLK:
		break;
	default:
		return -EINVAL;
	}
	if (whiteout) { /* the one device that every user namespace may make, except on overlayfs */
		r = mknodat(dirfd, name, in->mode & (S_IFMT | 07777), 0) < 0 ? -errno : 0;
		if (r != -EPERM)
			return r;
	}
	return special_make(rq->server, dirfd, name, in->mode, &special);
}

ssize_t do_mknod(struct req *rq)
{
	struct fuse_mknod_in in;
	const char *name;
	int dirfd, r;

	if (!req_arg(rq, &in))
		return -EINVAL;
	dirfd = make_begin(rq, in.umask, sizeof(struct fuse_entry_out), &name);
	if (dirfd < 0)
		return dirfd;
	r = make_node(rq, dirfd, name, &in);
	creds_leave();
	if (r < 0)
		return r;
	if (S_ISCHR(in.mode) || S_ISBLK(in.mode))
		special_mark_dir(dirfd);
	return reply_entry(rq, dirfd, name);
}

ssize_t do_mkdir(struct req *rq)
{
	struct fuse_mkdir_in in;
	const char *name;
	int dirfd, r;

	if (!req_arg(rq, &in))
		return -EINVAL;
	dirfd = make_begin(rq, in.umask, sizeof(struct fuse_entry_out), &name);
	if (dirfd < 0)
		return dirfd;
	r = mkdirat(dirfd, name, in.mode & 07777) < 0 ? -errno : 0;
	creds_leave();
	return r < 0 ? r : reply_entry(rq, dirfd, name);
}

ssize_t do_symlink(struct req *rq)
{
	const char *name, *target;
	int dirfd, r;

	r = req_name(rq, &name);
	if (r == 0)
		r = req_string(rq, 4095, &target);
	if (r < 0)
		return r;
	if (!req_end(rq) || rq->room < sizeof(struct fuse_entry_out))
		return -EINVAL;
	dirfd = dir_fd(rq);
	if (dirfd < 0)
		return dirfd;
	r = creds_enter(rq->h.uid, rq->h.gid, 0);
	if (r < 0)
		return r;
	r = symlinkat(target, dirfd, name) < 0 ? -errno : 0;
	creds_leave();
	return r < 0 ? r : reply_entry(rq, dirfd, name);
}

/* A link to a device kept as a file brings it into another directory */
static void mark_if_special(int dirfd, int fd)
{
	struct special special;

	if (special_read(fd, &special))
		special_mark_dir(dirfd);
}

ssize_t do_link(struct req *rq)
{
	struct fuse_link_in in;
	struct node *old;
	const char *name;
	char path[16];
	int dirfd, fd, r;

	if (!req_arg(rq, &in))
		return -EINVAL;
	r = req_name(rq, &name);
	if (r < 0)
		return r;
	if (!req_end(rq) || rq->room < sizeof(struct fuse_entry_out))
		return -EINVAL;
	dirfd = dir_fd(rq);
	if (dirfd < 0)
		return dirfd;
	old = node_acquire(rq->server, in.oldnodeid, &r);
	if (!old)
		return r;
	fd = old->root == rq->node->root ? node_fd(rq->server, old) : -EXDEV;
	r = fd < 0 ? fd : 0;
	if (fd >= 0) {
		(void)snprintf(path, sizeof(path), "%d", fd);
		if (linkat(rq->server->proc_fd, path, dirfd, name, AT_SYMLINK_FOLLOW) < 0)
			r = -errno;
		else if (node_is(old, S_IFREG))
			mark_if_special(dirfd, fd);
	}
	node_release(rq->server, old);
	return r < 0 ? r : reply_entry(rq, dirfd, name);
}

/* ---- CREATE and TMPFILE: a new file, open ---- */

/* Only what matters on the host: O_APPEND and O_DIRECT are the guest kernel's business (file.c) */
static int create_flags(uint32_t flags)
{
	int out = (int)flags & (O_ACCMODE | O_SYNC | O_DSYNC | O_NOATIME);

	if ((out & O_ACCMODE) == O_ACCMODE)
		out = (out & ~O_ACCMODE) | O_RDWR;
	return out;
}

struct created {
	struct fuse_entry_out entry;
	struct fuse_open_out open;
};
_Static_assert(sizeof(struct created) ==
		       sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out),
	       "no padding");

/* The node of the very file that @fd (borrowed) is, whatever @name may refer to by now; in use, one lookup counted */
static int created_node(struct req *rq, const char *name, int fd, struct fuse_entry_out *entry,
			struct node **node)
{
	cleanup_close int path_fd = fd_reopen(rq->server, fd, O_PATH);
	struct statx stx;
	int r;

	if (path_fd < 0)
		return path_fd;
	r = fd_stat(path_fd, &stx);
	if (r < 0)
		return r;
	r = node_intern(rq->server, rq->node->root, name ? rq->node : NULL, name, &stx,
			take_fd(&path_fd), node);
	if (r < 0)
		return r;
	return attr_entry(rq->server, *node, &stx, entry);
}

/* Answers with the new file's node and a handle; @fd is owned; @name is NULL for a file without one */
static ssize_t reply_created(struct req *rq, const char *name, int fd, uint32_t flags)
{
	struct node *node = NULL;
	struct created out;
	int r;

	memset(&out, 0, sizeof(out));
	if (!(rq->node->root->flags & FUSE_ROOT_COHERENT))
		out.open.open_flags = FOPEN_KEEP_CACHE;
	r = created_node(rq, name, fd, &out.entry, &node);
	if (r == 0) {
		uint64_t fh;

		r = handle_add(rq->server, node, fd, (flags & O_ACCMODE) != O_RDONLY, NULL, &fh);
		out.open.fh = fh;
	}
	if (r < 0) {
		(void)close(fd);
		if (node)
			node_forget(rq->server, node->id, 1);
	}
	node_release(rq->server, node);
	return r < 0 ? r : req_reply(rq, &out, sizeof(out));
}

ssize_t do_create(struct req *rq)
{
	struct fuse_create_in in;
	const char *name;
	int dirfd, fd;

	if (!req_arg(rq, &in))
		return -EINVAL;
	dirfd = make_begin(rq, in.umask, sizeof(struct created), &name);
	if (dirfd < 0)
		return dirfd;
	fd = fd_open(rq->server, dirfd, name,
		     create_flags(in.flags) | O_CREAT | O_EXCL | O_NOFOLLOW, in.mode & 07777);
	creds_leave();
	if (fd == -EEXIST && !(in.flags & O_EXCL))
		return -ESTALE;
	if (fd < 0)
		return fd;
	return reply_created(rq, name, fd, in.flags);
}

ssize_t do_tmpfile(struct req *rq)
{
	struct fuse_create_in in;
	const char *unused;
	int dirfd, fd, r;

	if (!req_arg(rq, &in) || rq->room < sizeof(struct created))
		return -EINVAL;
	r = req_string(rq, WIRE_NAME_MAX, &unused); /* the kernel's placeholder, "/" */
	if (r < 0 || !req_end(rq))
		return -EINVAL;
	dirfd = dir_fd(rq);
	if (dirfd < 0)
		return dirfd;
	r = creds_enter(rq->h.uid, rq->h.gid, in.umask);
	if (r < 0)
		return r;
	fd = fd_open(rq->server, dirfd, ".",
		     create_flags(in.flags) | O_TMPFILE | ((int)in.flags & O_EXCL),
		     in.mode & 07777);
	creds_leave();
	if (fd < 0)
		return fd == -EISDIR ? -EOPNOTSUPP : fd;
	return reply_created(rq, NULL, fd, in.flags);
}
