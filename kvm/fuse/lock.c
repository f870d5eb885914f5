/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks: fcntl(2) and flock(2) of the guest, taken on the host.
 *
 * The guest's kernel names an owner with each request: a process for POSIX locks, an open file for flock and OFD locks. Each
 * (inode, owner) pair gets an open file description of its own on the host and takes there an OFD lock or a flock. So
 * guest owners exclude one another, other guests that share the volume, and programs on the host, and the host's kernel does
 * the splitting and joining of ranges.
 *
 *   guest process A ─┐                 ┌─ description A ─ OFD lock [0,9] ─┐
 *   guest process B ─┼─ (inode, owner) ┼─ description B ─ OFD lock [20,…] ┼─ host inode
 *   flock on file F ─┘                 └─ description F ─ flock           ┘
 *
 * A POSIX lock ends when its process closes any descriptor of the file: that is FLUSH with the owner's number, and the
 * description is closed. Others end with the open file they were taken through: RELEASE.
 *
 * Nothing here waits. A request that would have to goes into the table of lockwait.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"

#define CHAIN_MAX 16u /* owners waiting for one another that we follow, as the kernel does */

int locks_init(struct fuse_server *server)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&server->locks.mutex, NULL);
	if (pthread_condattr_init(&attr) != 0)
		return -ENOMEM;
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&server->locks.wake, &attr);
	pthread_cond_init(&server->locks.delivered, NULL);
	pthread_condattr_destroy(&attr);
	return 0;
}

/* ---- owners; all with locks.mutex held ---- */

static struct lock_owner **bucket_of(struct fuse_server *server, const struct node *node)
{
	return &server->locks.owners[node->id % LOCK_BUCKETS];
}

static struct lock_owner *owner_find(struct fuse_server *server, const struct lock_waiter *lock)
{
	struct lock_owner *o = *bucket_of(server, lock->node);

	while (o &&
	       (o->node != lock->node || o->owner != lock->owner || o->is_flock != lock->is_flock))
		o = o->next;
	return o;
}

/* A description that can carry write locks where the file can be opened for writing at all */
static int open_description(struct fuse_server *server, const struct lock_waiter *lock)
{
	int path_fd, fd = -1;

	/* a waiter only holds its node: without this the descriptor could be closed, and its number used for another file */
	if (!node_use(server, lock->node))
		return -ESTALE;
	path_fd = node_fd(server, lock->node);
	if (path_fd >= 0 && !lock->is_flock && !(lock->node->root->flags & FUSE_ROOT_READ_ONLY))
		fd = fd_reopen(server, path_fd, O_RDWR);
	if (path_fd >= 0 && fd < 0)
		fd = fd_reopen(server, path_fd, O_RDONLY);
	node_release(server, lock->node);
	return path_fd < 0 ? path_fd : fd;
}

static int owner_make(struct fuse_server *server, const struct lock_waiter *lock,
		      struct lock_owner **out)
{
	struct lock_owner *o, **bucket = bucket_of(server, lock->node);
	int fd;

	if (server->locks.nowners >= SERVER_LOCKS_MAX)
		return -ENOLCK;
	fd = open_description(server, lock);
	if (fd < 0)
		return fd == -EMFILE ? -ENOLCK : fd;
	o = calloc(1, sizeof(*o));
	if (!o) {
		(void)close(fd);
		return -ENOMEM;
	}
	*o = (struct lock_owner){.next = *bucket,
				 .node = lock->node,
				 .owner = lock->owner,
				 .is_flock = lock->is_flock,
				 .fd = fd};
	node_hold(server, o->node);
	*bucket = o;
	server->locks.nowners++;
	*out = o;
	return 0;
}

/* Closing the description ends its locks */
static void owner_drop(struct fuse_server *server, struct lock_owner **slot)
{
	struct lock_owner *o = *slot;

	*slot = o->next;
	server->locks.nowners--;
	(void)close(o->fd);
	node_unhold(server, o->node);
	free(o);
}

/* ---- locking ---- */

static int to_flock(const struct fuse_file_lock *lk, struct flock *fl)
{
	*fl = (struct flock){.l_type = (short)lk->type, .l_whence = SEEK_SET};
	if (lk->start > INT64_MAX || lk->end > INT64_MAX || lk->start > lk->end)
		return -EINVAL;
	fl->l_start = (off_t)lk->start;
	fl->l_len = lk->end == INT64_MAX ? 0 : (off_t)(lk->end - lk->start + 1);
	return 0;
}

static int apply(const struct lock_owner *o, const struct fuse_file_lock *lk)
{
	struct flock fl;
	int r;

	if (o->is_flock) {
		int op = lk->type == F_RDLCK ? LOCK_SH : lk->type == F_WRLCK ? LOCK_EX : LOCK_UN;

		return flock(o->fd, op | LOCK_NB) < 0 ? -errno : 0;
	}
	r = to_flock(lk, &fl);
	if (r < 0)
		return r;
	if (fcntl(o->fd, F_OFD_SETLK, &fl) < 0)
		return errno == EACCES ? -EAGAIN : -errno;
	return 0;
}

int lock_try(struct fuse_server *server, const struct lock_waiter *lock)
{
	struct lock_owner *o = owner_find(server, lock), **slot;
	bool made = !o;
	int r;

	if (!o && lock->lk.type == F_UNLCK)
		return 0;
	if (!o) {
		r = owner_make(server, lock, &o);
		if (r < 0)
			return r;
	}
	r = apply(o, &lock->lk);
	if (r == 0) {
		o->fh = lock->fh;
		o->pid = lock->lk.pid;
	}
	if ((r < 0 && made) ||
	    (r == 0 && lock->lk.type == F_UNLCK &&
	     (o->is_flock || (lock->lk.start == 0 && lock->lk.end == INT64_MAX)))) {
		slot = bucket_of(server, lock->node);
		while (*slot != o)
			slot = &(*slot)->next;
		owner_drop(server, slot);
	}
	return r;
}

/* ---- who is in the way ---- */

/* The lock of another that @lock meets, seen from @fd; l_type F_UNLCK: none */
static int probe(int fd, const struct fuse_file_lock *lk, struct flock *out)
{
	int r = to_flock(lk, out);

	if (r < 0)
		return r;
	return fcntl(fd, F_OFD_GETLK, out) < 0 ? -errno : 0;
}

/* The guest owner of conflicting lock @found: the one for whom nobody stands there. NULL: the host's, or several readers. */
static struct lock_owner *owner_of(struct fuse_server *server, const struct node *node,
				   const struct flock *found)
{
	for (struct lock_owner *o = *bucket_of(server, node); o; o = o->next) {
		struct flock fl = {.l_type = F_WRLCK,
				   .l_whence = SEEK_SET,
				   .l_start = found->l_start,
				   .l_len = found->l_len};

		if (o->node == node && !o->is_flock && fcntl(o->fd, F_OFD_GETLK, &fl) == 0 &&
		    fl.l_type == F_UNLCK)
			return o;
	}
	return NULL;
}

/* The guest owner that holds what @lock wants; NULL: none known */
static struct lock_owner *blocker_of(struct fuse_server *server, const struct lock_waiter *lock)
{
	struct lock_owner *own = owner_find(server, lock);
	struct flock found;
	int fd, r;

	if (own) {
		r = probe(own->fd, &lock->lk, &found);
	} else {
		fd = open_description(server, lock);
		if (fd < 0)
			return NULL;
		r = probe(fd, &lock->lk, &found);
		(void)close(fd);
	}
	return r < 0 || found.l_type == F_UNLCK ? NULL : owner_of(server, lock->node, &found);
}

bool lock_deadlocks(struct fuse_server *server, const struct lock_waiter *lock)
{
	const struct lock_waiter *at = lock;

	if (lock->is_flock) /* the kernel finds circles of POSIX locks only */
		return false;
	for (unsigned int i = 0; i < CHAIN_MAX; i++) {
		struct lock_owner *holder = blocker_of(server, at);

		if (!holder)
			return false;
		if (holder->owner == lock->owner)
			return true;
		at = server->locks.waiters;
		while (at && (at->is_flock || at->owner != holder->owner))
			at = at->next;
		if (!at)
			return false;
	}
	return false;
}

/* ---- requests ---- */

static int read_request(struct req *rq, struct lock_waiter *lock)
{
	struct handle *handle;
	struct fuse_lk_in in;

	if (!req_arg(rq, &in) || !req_end(rq))
		return -EINVAL;
	if ((in.lk.type != F_RDLCK && in.lk.type != F_WRLCK && in.lk.type != F_UNLCK) ||
	    in.lk.start > INT64_MAX || in.lk.end > INT64_MAX || in.lk.start > in.lk.end)
		return -EINVAL;
	if (!node_is(rq->node, S_IFREG))
		return -EINVAL;
	handle = handle_acquire(rq->server, in.fh, rq->node, false);
	if (!handle)
		return -EBADF;
	handle_release(rq->server, handle);
	*lock = (struct lock_waiter){.node = rq->node,
				     .owner = in.owner,
				     .fh = in.fh,
				     .lk = in.lk,
				     .is_flock = in.lk_flags & FUSE_LK_FLOCK,
				     .request = rq->request,
				     .unique = rq->h.unique,
				     .pid = rq->h.pid};
	return 0;
}

ssize_t do_getlk(struct req *rq)
{
	struct fuse_lk_out out = {.lk = {.type = F_UNLCK}};
	struct lock_owner *own, *holder;
	struct lock_waiter lock;
	struct flock found;
	int fd = -1, r;

	r = read_request(rq, &lock);
	if (r < 0)
		return r;
	if (lock.is_flock || lock.lk.type == F_UNLCK)
		return -EINVAL;
	pthread_mutex_lock(&rq->server->locks.mutex);
	own = owner_find(rq->server, &lock);
	if (!own)
		fd = open_description(rq->server, &lock);
	r = own ? probe(own->fd, &lock.lk, &found) : fd < 0 ? fd : probe(fd, &lock.lk, &found);
	if (r == 0 && found.l_type != F_UNLCK) {
		holder = owner_of(rq->server, rq->node, &found);
		out.lk.type = (uint32_t)found.l_type;
		out.lk.start = (uint64_t)found.l_start;
		out.lk.end = found.l_len ? (uint64_t)(found.l_start + found.l_len - 1) : INT64_MAX;
		out.lk.pid = holder ? holder->pid : 0;
	}
	pthread_mutex_unlock(&rq->server->locks.mutex);
	close_fd(&fd);
	return r < 0 ? r : req_reply(rq, &out, sizeof(out));
}

static ssize_t set_lock(struct req *rq, bool wait)
{
	struct lock_waiter lock, *done = NULL;
	int r;

	r = read_request(rq, &lock);
	if (r < 0)
		return r;
	pthread_mutex_lock(&rq->server->locks.mutex);
	r = lock_try(rq->server, &lock);
	if (r == 0) /* less of it, or none, may be what others wait for */
		done = waiters_retry(rq->server, lock.node);
	if (r == -EAGAIN && wait) {
		r = lock_deadlocks(rq->server, &lock) ? -EDEADLK : waiters_add(rq->server, &lock);
		if (r == 0)
			r = (int)REQ_DEFERRED;
	}
	pthread_mutex_unlock(&rq->server->locks.mutex);
	waiters_finish(rq->server, done);
	return r;
}

ssize_t do_setlk(struct req *rq)
{
	return set_lock(rq, false);
}

ssize_t do_setlkw(struct req *rq)
{
	return set_lock(rq, true);
}

/* ---- the ends of locks ---- */

/* Drops owners of @node: by @owner (POSIX only) or by @fh */
static void drop_some(struct fuse_server *server, struct node *node, const uint64_t *owner,
		      const uint64_t *fh)
{
	struct lock_waiter *done = NULL;
	bool dropped = false;

	pthread_mutex_lock(&server->locks.mutex);
	for (struct lock_owner **slot = bucket_of(server, node); *slot;) {
		struct lock_owner *o = *slot;

		if (o->node == node &&
		    ((owner && !o->is_flock && o->owner == *owner) || (fh && o->fh == *fh))) {
			owner_drop(server, slot);
			dropped = true;
		} else {
			slot = &o->next;
		}
	}
	if (dropped)
		done = waiters_retry(server, node);
	pthread_mutex_unlock(&server->locks.mutex);
	waiters_finish(server, done);
}

void locks_flush(struct fuse_server *server, struct node *node, uint64_t owner)
{
	drop_some(server, node, &owner, NULL);
}

void locks_close(struct fuse_server *server, struct node *node, uint64_t fh)
{
	drop_some(server, node, NULL, &fh);
}

/* Drops the owners of @root (all if NULL) and takes its waiters off the list, to be answered with @error */
static struct lock_waiter *drop_locks(struct fuse_server *server, const struct root *root,
				      int error)
{
	struct lock_waiter *done = waiters_take(server, root);

	for (struct lock_waiter *w = done; w; w = w->next)
		w->result = error;
	for (unsigned int i = 0; i < LOCK_BUCKETS; i++) {
		for (struct lock_owner **slot = &server->locks.owners[i]; *slot;) {
			if (!root || (*slot)->node->root == root)
				owner_drop(server, slot);
			else
				slot = &(*slot)->next;
		}
	}
	return done;
}

void locks_drop_root(struct fuse_server *server, const struct root *root)
{
	struct lock_waiter *done;

	pthread_mutex_lock(&server->locks.mutex);
	done = drop_locks(server, root, -ESTALE);
	pthread_mutex_unlock(&server->locks.mutex);
	waiters_finish(server, done);
}

void locks_drop_all(struct fuse_server *server)
{
	struct lock_waiter *done;
	struct fuse_request *watch;
	uint64_t unique;

	pthread_mutex_lock(&server->locks.mutex);
	done = drop_locks(server, NULL, -ENOTCONN);
	watch = take_ptr(&server->locks.watch);
	unique = server->locks.watch_unique;
	pthread_mutex_unlock(&server->locks.mutex);
	waiters_finish(server, done);
	if (watch)
		request_finish(watch, unique, -ENOTCONN, NULL, 0);
	/* what the poller has taken off the list is answered, too: afterwards the transport may be gone */
	pthread_mutex_lock(&server->locks.mutex);
	while (server->locks.delivering)
		pthread_cond_wait(&server->locks.delivered, &server->locks.mutex);
	pthread_mutex_unlock(&server->locks.mutex);
}
