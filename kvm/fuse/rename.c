/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that go: UNLINK, RMDIR, RENAME.
 *
 * A node is opened again by its name (node.c). So before a name goes, the node behind it, if the guest knows it, is opened and
 * kept open: the guest may still have the file open, or unlink it and use it. After a rename the node learns its new place.
 *
 * RENAME_WHITEOUT where the host cannot leave one (overlayfs, user namespaces): an exchange with a whiteout kept as a file
 * (special.c) under a temporary name, so that the old name is at every moment either the file or the whiteout.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"

/* Keeps what @name refers to usable without the name; nothing to do when the guest does not know it */
static struct node *keep_victim(struct req *rq, struct node *dir, int dirfd, const char *name,
				bool *last)
{
	struct node *node;
	struct statx stx;

	*last = true;
	if (name_stat(dirfd, name, &stx) < 0)
		return NULL;
	node = node_of(rq->server, dir->root, &stx);
	if (node)
		(void)node_keep_open(rq->server, node);
	*last = S_ISDIR(stx.stx_mode) || stx.stx_nlink <= 1;
	return node;
}

/* After an attempt to remove @name: the node has lost this name (was it its @last one?), or is in its old place still */
static void settle_victim(struct req *rq, struct node *victim, struct node *dir, const char *name,
			  bool gone, bool last)
{
	if (!victim)
		return;
	if (gone)
		node_lose_name(rq->server, victim, dir, name, last);
	else
		node_set_place(rq->server, victim, dir, name);
	node_release(rq->server, victim);
}

static ssize_t remove_name(struct req *rq, int flags)
{
	struct node *victim;
	const char *name;
	int dirfd, r;
	bool last;

	r = req_name(rq, &name);
	if (r < 0)
		return r;
	if (!req_end(rq))
		return -EINVAL;
	if (!node_is(rq->node, S_IFDIR))
		return -ENOTDIR;
	dirfd = node_fd(rq->server, rq->node);
	if (dirfd < 0)
		return dirfd;
	victim = keep_victim(rq, rq->node, dirfd, name, &last);
	r = unlinkat(dirfd, name, flags) < 0 ? -errno : 0;
	settle_victim(rq, victim, rq->node, name, r == 0, last);
	return r;
}

ssize_t do_unlink(struct req *rq)
{
	return remove_name(rq, 0);
}

ssize_t do_rmdir(struct req *rq)
{
	return remove_name(rq, AT_REMOVEDIR);
}

/* ---- RENAME ---- */

struct rename {
	struct node *from, *to; /* in use */
	int from_fd, to_fd;	/* borrowed from the nodes */
	const char *old_name, *new_name;
	uint32_t flags;
};

static int raw_rename(int from_fd, const char *old_name, int to_fd, const char *new_name,
		      uint32_t flags)
{
	return renameat2(from_fd, old_name, to_fd, new_name, flags) < 0 ? -errno : 0;
}

static int rename_with_whiteout(struct req *rq, const struct rename *ren)
{
	struct special whiteout = {.type = S_IFCHR};
	uint32_t keep = ren->flags & ~(uint32_t)RENAME_WHITEOUT;
	uint64_t random = 0;
	char name[40];
	int r;

	if (getrandom(&random, sizeof(random), 0) < 0)
		return -errno;
	(void)snprintf(name, sizeof(name), ".caisson-%016llx", (unsigned long long)random);
	r = creds_enter(rq->h.uid, rq->h.gid, 0);
	if (r < 0)
		return r;
	r = mknodat(ren->from_fd, name, S_IFCHR, 0) < 0 ? -errno : 0;
	if (r == -EPERM)
		r = special_make(rq->server, ren->from_fd, name, 0, &whiteout);
	creds_leave();
	if (r < 0)
		return r;
	special_mark_dir(ren->from_fd);
	r = raw_rename(ren->from_fd, name, ren->from_fd, ren->old_name, RENAME_EXCHANGE);
	if (r == 0) {
		r = raw_rename(ren->from_fd, name, ren->to_fd, ren->new_name, keep);
		if (r < 0)
			(void)raw_rename(ren->from_fd, name, ren->from_fd, ren->old_name,
					 RENAME_EXCHANGE);
	}
	if (r < 0)
		(void)unlinkat(ren->from_fd, name, 0);
	return r;
}

/* What is now called @name in @dir learns so */
static void learn_place(struct req *rq, struct node *dir, int dirfd, const char *name)
{
	struct special special;
	struct node *node;
	struct statx stx;
	int fd;

	if (name_stat(dirfd, name, &stx) < 0)
		return;
	node = node_of(rq->server, dir->root, &stx);
	if (!node)
		return;
	node_set_place(rq->server, node, dir, name);
	if (S_ISREG(stx.stx_mode) && stx.stx_size == 0) {
		fd = node_fd(rq->server, node);
		if (fd >= 0 && special_read(fd, &special))
			special_mark_dir(dirfd);
	}
	node_release(rq->server, node);
}

static int rename_run(struct req *rq, const struct rename *ren)
{
	bool exchange = ren->flags & RENAME_EXCHANGE, last = true;
	struct node *victim = NULL;
	int r;

	if (!exchange)
		victim = keep_victim(rq, ren->to, ren->to_fd, ren->new_name, &last);
	r = raw_rename(ren->from_fd, ren->old_name, ren->to_fd, ren->new_name, ren->flags);
	if ((r == -EPERM || r == -EINVAL) && (ren->flags & RENAME_WHITEOUT) && !exchange)
		r = rename_with_whiteout(rq, ren);
	settle_victim(rq, victim, ren->to, ren->new_name, r == 0, last);
	if (r < 0)
		return r;
	learn_place(rq, ren->to, ren->to_fd, ren->new_name);
	if (exchange)
		learn_place(rq, ren->from, ren->from_fd, ren->old_name);
	else if ((ren->flags & RENAME_WHITEOUT))
		special_mark_dir(ren->from_fd);
	return 0;
}

static ssize_t rename_from(struct req *rq, uint64_t newdir, uint32_t flags)
{
	struct rename ren = {.from = rq->node, .flags = flags};
	int r;

	r = req_name(rq, &ren.old_name);
	if (r == 0)
		r = req_name(rq, &ren.new_name);
	if (r < 0)
		return r;
	if (!req_end(rq) ||
	    (flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)))
		return -EINVAL;
	ren.to = node_acquire(rq->server, newdir, &r);
	if (!ren.to)
		return newdir == NODEID_TOP ? -EXDEV : r;
	if (!node_is(ren.from, S_IFDIR) || !node_is(ren.to, S_IFDIR)) {
		r = -ENOTDIR;
	} else if (ren.from->root != ren.to->root) {
		r = -EXDEV;
	} else {
		ren.from_fd = node_fd(rq->server, ren.from);
		ren.to_fd = node_fd(rq->server, ren.to);
		r = ren.from_fd < 0 ? ren.from_fd
		    : ren.to_fd < 0 ? ren.to_fd
				    : rename_run(rq, &ren);
	}
	node_release(rq->server, ren.to);
	return r;
}

ssize_t do_rename(struct req *rq)
{
	struct fuse_rename_in in;

	if (!req_arg(rq, &in))
		return -EINVAL;
	return rename_from(rq, in.newdir, 0);
}

ssize_t do_rename2(struct req *rq)
{
	struct fuse_rename2_in in;

	if (!req_arg(rq, &in))
		return -EINVAL;
	return rename_from(rq, in.newdir, in.flags);
}
