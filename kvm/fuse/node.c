/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inode table: what the guest calls by nodeid.
 *
 *   nodeid ──by_id──▶ node ◀──by_key── (export, mount, device, inode, birth time)
 *                      │ fd (O_PATH)     kept open while used; closed by the LRU above node_max
 *                      └ parent, name    to open it again
 *
 * A nodeid is a counter's value, never a pointer, and never used twice. A node lives while the guest remembers it (nlookup, counted
 * as FUSE demands), while a request uses it (users) or while something of ours needs it (holds: children, open files, locks).
 *
 * Only O_PATH descriptors are kept: they cannot block, need no permission, and do not touch what they name. The guest may know
 * more inodes than we may have descriptors, so above node_max the least recently used is closed. It is opened again by parent
 * and name, and what is found must be the same device, inode and birth time, else the node is stale (ESTALE makes the
 * guest's kernel look up again). A node whose name is about to go is opened first and stays open (node_keep_open), so
 * that an unlinked file stays usable. The mount is part of the key, because a descriptor carries its mount's read-only flag,
 * and because the guest must see a bind mount of the same device as another file system.
 *
 * An inode number may be given to a new file once no descriptor holds the old one; the birth time tells them apart. While
 * we hold a descriptor the number is enough, and then a new birth time is only noted: overlayfs gives one to a file that it copies
 * up, and two nodes for one file would be two page caches in the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"
#include "lib/path.h"

#define TABLE_FIRST 1024u /* buckets; doubles as nodes come */
#define DEPTH_MAX 4096u	  /* closed directories above one another */
#define EVICT_SCAN 64u	  /* nodes in use that an eviction passes over */
#define EMFILE_EVICT 32u  /* descriptors given up when the process has no more */

/* ---- hash tables, guarded by server->mutex ---- */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	return x;
}

static uint64_t key_hash(const struct node_key *key)
{
	return mix(key->ino ^ mix(key->dev ^ mix(key->mnt_id ^ (uint64_t)(uintptr_t)key->root)));
}

/* The same number in the same place: the same file, unless the number was used again */
static bool key_alike(const struct node_key *a, const struct node_key *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->mnt_id == b->mnt_id &&
	       a->root == b->root && a->type == b->type;
}

static bool key_equal(const struct node_key *a, const struct node_key *b)
{
	return key_alike(a, b) && a->btime_sec == b->btime_sec && a->btime_nsec == b->btime_nsec;
}

static struct node **id_slot(struct fuse_server *server, uint64_t id)
{
	return (struct node **)&server->by_id.buckets[id & (server->by_id.nbuckets - 1)];
}

static struct node **key_slot(struct fuse_server *server, const struct node_key *key)
{
	return (struct node **)&server->by_key
		.buckets[key_hash(key) & (server->by_key.nbuckets - 1)];
}

/* Doubles both tables; without memory they stay as they are and only get slower */
static void tables_grow(struct fuse_server *server)
{
	size_t old = server->by_id.nbuckets, n = old * 2;
	void **ids, **keys;
	void **old_ids = server->by_id.buckets;

	if (server->by_id.count < n)
		return;
	ids = calloc(n, sizeof(*ids));
	keys = calloc(n, sizeof(*keys));
	if (!ids || !keys) {
		free(ids);
		free(keys);
		return;
	}
	free(server->by_key.buckets);
	server->by_id = (struct table){ids, n, server->by_id.count};
	server->by_key = (struct table){keys, n, server->by_id.count};
	for (size_t i = 0; i < old; i++) {
		for (struct node *node = old_ids[i], *next; node; node = next) {
			struct node **slot = id_slot(server, node->id);

			next = node->next_id;
			node->next_id = *slot;
			*slot = node;
			slot = key_slot(server, &node->key);
			node->next_key = *slot;
			*slot = node;
		}
	}
	free(old_ids);
}

static struct node *find_id(struct fuse_server *server, uint64_t id)
{
	struct node *node = *id_slot(server, id);

	while (node && node->id != id)
		node = node->next_id;
	return node;
}

static struct node *find_key(struct fuse_server *server, const struct node_key *key)
{
	struct node *node = *key_slot(server, key);

	while (node &&
	       !(key_equal(&node->key, key) || (node->fd >= 0 && key_alike(&node->key, key))))
		node = node->next_key;
	if (node) { /* hashed without the birth time */
		node->key.btime_sec = key->btime_sec;
		node->key.btime_nsec = key->btime_nsec;
	}
	return node;
}

int node_tables_init(struct fuse_server *server)
{
	server->by_id = (struct table){calloc(TABLE_FIRST, sizeof(void *)), TABLE_FIRST, 0};
	server->by_key = (struct table){calloc(TABLE_FIRST, sizeof(void *)), TABLE_FIRST, 0};
	return server->by_id.buckets && server->by_key.buckets ? 0 : -ENOMEM;
}

void node_tables_release(struct fuse_server *server)
{
	free(server->by_id.buckets);
	free(server->by_key.buckets);
	server->by_id.buckets = server->by_key.buckets = NULL;
}

/* ---- the list of closable descriptors, least recently used first; guarded by server->mutex ---- */

static void lru_remove(struct fuse_server *server, struct node *node)
{
	if (!node->in_lru)
		return;
	if (node->lru_prev)
		node->lru_prev->lru_next = node->lru_next;
	else
		server->lru_head = node->lru_next;
	if (node->lru_next)
		node->lru_next->lru_prev = node->lru_prev;
	else
		server->lru_tail = node->lru_prev;
	node->lru_prev = node->lru_next = NULL;
	node->in_lru = false;
}

/* Puts an open node at the end, if it could be opened again */
static void lru_touch(struct fuse_server *server, struct node *node)
{
	if (node->in_lru && server->lru_tail == node)
		return;
	lru_remove(server, node);
	if (node->fd < 0 || !node->parent)
		return;
	node->lru_prev = server->lru_tail;
	if (server->lru_tail)
		server->lru_tail->lru_next = node;
	else
		server->lru_head = node;
	server->lru_tail = node;
	node->in_lru = true;
}

/* Takes up to @n descriptors of unused nodes into @fds, to be closed without the mutex; Return: their number */
static unsigned int lru_take(struct fuse_server *server, unsigned int n, int *fds)
{
	unsigned int count = 0, passed = 0;

	for (struct node *node = server->lru_head, *next; node && count < n && passed < EVICT_SCAN;
	     node = next) {
		next = node->lru_next;
		if (node->users > 0) {
			passed++;
			continue;
		}
		lru_remove(server, node);
		fds[count++] = take_fd(&node->fd);
		server->nopen--;
	}
	return count;
}

static void fds_close(const int *fds, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		(void)close(fds[i]);
}

/* Gives @fd (owned) to a node that has none; Return: a descriptor to close after unlocking, or -1 */
static int install_fd(struct fuse_server *server, struct node *node, int fd)
{
	int victim = -1;

	if (fd < 0)
		return -1;
	if (node->fd >= 0)
		return fd;
	node->fd = fd;
	server->nopen++;
	lru_touch(server, node);
	if (server->nopen > server->node_max)
		(void)lru_take(server, 1, &victim);
	return victim;
}

/* ---- life ---- */

static void node_unhold_locked(struct fuse_server *server, struct node *node);

static void unlink_from(struct node **slot, struct node *node, bool by_id)
{
	while (*slot && *slot != node)
		slot = by_id ? &(*slot)->next_id : &(*slot)->next_key;
	if (*slot)
		*slot = by_id ? node->next_id : node->next_key;
}

/* Frees @node if nobody needs it, and then perhaps its parent, and so on; closing an O_PATH descriptor does not wait */
static void node_maybe_free(struct fuse_server *server, struct node *node)
{
	while (node && node->nlookup == 0 && node->users == 0 && node->holds == 0) {
		struct node *parent = node->parent;

		lru_remove(server, node);
		unlink_from(id_slot(server, node->id), node, true);
		unlink_from(key_slot(server, &node->key), node, false);
		server->by_id.count--;
		if (node->fd >= 0) {
			(void)close(node->fd);
			server->nopen--;
		}
		if (--node->root->refs == 0)
			free(node->root);
		free(node->name);
		free(node);
		if (parent)
			parent->holds--;
		node = parent;
	}
}

static void node_unhold_locked(struct fuse_server *server, struct node *node)
{
	node->holds--;
	node_maybe_free(server, node);
}

struct node *node_acquire(struct fuse_server *server, uint64_t id, int *error)
{
	struct node *node;

	pthread_mutex_lock(&server->mutex);
	node = find_id(server, id);
	if (!node || node->nlookup == 0) {
		*error = -ENOENT;
		node = NULL;
	} else if (node->root->removed) {
		*error = -ESTALE;
		node = NULL;
	} else {
		node->users++;
		lru_touch(server, node);
	}
	pthread_mutex_unlock(&server->mutex);
	return node;
}

struct node *node_know(struct fuse_server *server, uint64_t id)
{
	struct node *node;

	pthread_mutex_lock(&server->mutex);
	node = find_id(server, id);
	if (node && (node->nlookup == 0 || node->root->removed))
		node = NULL;
	if (node) {
		node->nlookup++;
		node->users++;
	}
	pthread_mutex_unlock(&server->mutex);
	return node;
}

bool node_use(struct fuse_server *server, struct node *node)
{
	bool usable;

	pthread_mutex_lock(&server->mutex);
	usable = !node->root->removed;
	node->users += usable;
	pthread_mutex_unlock(&server->mutex);
	return usable;
}

/* Of a removed root no descriptor is kept; closing an O_PATH descriptor does not wait */
static void close_removed(struct fuse_server *server, struct node *node)
{
	if (!node->root->removed || node->users > 0 || node->fd < 0)
		return;
	lru_remove(server, node);
	close_fd(&node->fd);
	server->nopen--;
}

void node_release(struct fuse_server *server, struct node *node)
{
	if (!node)
		return;
	pthread_mutex_lock(&server->mutex);
	node->users--;
	close_removed(server, node);
	node_maybe_free(server, node);
	pthread_mutex_unlock(&server->mutex);
}

void node_hold(struct fuse_server *server, struct node *node)
{
	pthread_mutex_lock(&server->mutex);
	node->holds++;
	pthread_mutex_unlock(&server->mutex);
}

void node_unhold(struct fuse_server *server, struct node *node)
{
	pthread_mutex_lock(&server->mutex);
	node_unhold_locked(server, node);
	pthread_mutex_unlock(&server->mutex);
}

void node_forget(struct fuse_server *server, uint64_t id, uint64_t n)
{
	struct node *node;

	pthread_mutex_lock(&server->mutex);
	node = find_id(server, id);
	if (node) {
		node->nlookup -= n < node->nlookup ? n : node->nlookup;
		node_maybe_free(server, node);
	}
	pthread_mutex_unlock(&server->mutex);
}

/* ---- finding and making ---- */

int fd_stat(int fd, struct statx *stx)
{
	if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
		  STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, stx) < 0)
		return -errno;
	return 0;
}

int name_stat(int dirfd, const char *name, struct statx *stx)
{
	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
		  STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, stx) < 0)
		return -errno;
	return 0;
}

static struct node_key key_of(const struct root *root, const struct statx *stx)
{
	struct node_key key = {.root = root, .ino = stx->stx_ino, .type = stx->stx_mode & S_IFMT};

	key.dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);
	if (stx->stx_mask & STATX_MNT_ID)
		key.mnt_id = stx->stx_mnt_id;
	if (stx->stx_mask & STATX_BTIME) {
		key.btime_sec = stx->stx_btime.tv_sec;
		key.btime_nsec = stx->stx_btime.tv_nsec;
	}
	return key;
}

static struct node *node_make(struct fuse_server *server, struct root *root,
			      const struct node_key *key)
{
	struct node *node, **slot;

	if (server->by_id.count >= SERVER_NODES_MAX)
		return NULL;
	node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	node->id = server->next_id++;
	node->key = *key;
	node->root = root;
	root->refs++;
	node->fd = -1;
	server->by_id.count++;
	tables_grow(server);
	slot = id_slot(server, node->id);
	node->next_id = *slot;
	*slot = node;
	slot = key_slot(server, key);
	node->next_key = *slot;
	*slot = node;
	return node;
}

/* @name is owned from now on; guarded by server->mutex */
static void place_locked(struct fuse_server *server, struct node *node, struct node *parent,
			 char *name)
{
	struct node *old = node->parent;

	if (parent)
		parent->holds++;
	node->parent = parent;
	free(node->name);
	node->name = name;
	if (parent)
		lru_touch(server, node);
	else
		lru_remove(server, node);
	if (old)
		node_unhold_locked(server, old);
}

/* True if @node is @dir or above it: such a place would be a circle (the host moved a directory below its own child) */
static bool is_above(const struct node *node, const struct node *dir)
{
	for (unsigned int depth = 0; dir; dir = dir->parent, depth++) {
		if (dir == node || depth > DEPTH_MAX)
			return true;
	}
	return false;
}

int node_intern(struct fuse_server *server, struct root *root, struct node *parent,
		const char *name, const struct statx *stx, int fd, struct node **out)
{
	struct node_key key = key_of(root, stx);
	char *copy = name ? strdup(name) : NULL;
	int victim = fd;
	struct node *node;

	if (name && !copy) {
		close_fd(&victim);
		return -ENOMEM;
	}
	/*
	 * The files of the host's proc name processes, us among them, and those of others act on the host: no guest gets there. Without
	 * a descriptor (READDIRPLUS) nobody knows, and a LOOKUP has to follow.
	 */
	if (parent && key.mnt_id != parent->key.mnt_id &&
	    (fd < 0 || path_is_kernel_interface(fd))) {
		close_fd(&victim);
		free(copy);
		return -EACCES;
	}
	pthread_mutex_lock(&server->mutex);
	node = root->removed ? NULL : find_key(server, &key);
	if (!node && !root->removed) {
		node = node_make(server, root, &key);
		if (node && parent &&
		    (key.mnt_id != parent->key.mnt_id || key.dev != parent->key.dev)) {
			node->submount = node_is(node, S_IFDIR);
			node->foreign = !node->submount;
		}
	}
	if (node) {
		node->nlookup++;
		node->users++;
		/* a root keeps no place: it is open for good */
		if (parent && node != root->node &&
		    !(node->parent == parent && !strcmp(node->name, copy)) &&
		    !(node_is(node, S_IFDIR) && is_above(node, parent)))
			place_locked(server, node, parent, take_ptr(&copy));
		victim = install_fd(server, node, fd);
		*out = node;
	}
	pthread_mutex_unlock(&server->mutex);
	free(copy);
	close_fd(&victim);
	return node ? 0 : root->removed ? -ESTALE : -ENFILE;
}

struct node *node_of(struct fuse_server *server, struct root *root, const struct statx *stx)
{
	struct node_key key = key_of(root, stx);
	struct node *node;

	pthread_mutex_lock(&server->mutex);
	node = find_key(server, &key);
	if (node)
		node->users++;
	pthread_mutex_unlock(&server->mutex);
	return node;
}

void node_set_place(struct fuse_server *server, struct node *node, struct node *parent,
		    const char *name)
{
	char *copy = name ? strdup(name) : NULL;

	if (name && !copy)
		return; /* the old name is checked when it is used */
	pthread_mutex_lock(&server->mutex);
	if (node == node->root->node ||
	    (parent && node_is(node, S_IFDIR) && is_above(node, parent)))
		free(copy);
	else
		place_locked(server, node, parent, copy);
	pthread_mutex_unlock(&server->mutex);
}

void node_lose_name(struct fuse_server *server, struct node *node, struct node *dir,
		    const char *name, bool last)
{
	pthread_mutex_lock(&server->mutex);
	if (last || !node->parent || (node->parent == dir && !strcmp(node->name, name)))
		place_locked(server, node, NULL, NULL);
	else
		lru_touch(server, node);
	pthread_mutex_unlock(&server->mutex);
}

/* ---- descriptors ---- */

int fd_open(struct fuse_server *server, int dirfd, const char *name, int flags, mode_t mode)
{
	for (int attempt = 0;; attempt++) {
		int fds[EMFILE_EVICT], fd = openat(dirfd, name, flags | O_CLOEXEC | O_NOCTTY, mode);
		unsigned int n;

		if (fd >= 0)
			return fd;
		if (errno != EMFILE || attempt == 3)
			return -errno;
		pthread_mutex_lock(&server->mutex);
		n = lru_take(server, EMFILE_EVICT, fds);
		pthread_mutex_unlock(&server->mutex);
		fds_close(fds, n);
	}
}

int fd_reopen(struct fuse_server *server, int fd, int flags)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "%d", fd);
	return fd_open(server, server->proc_fd, name, flags & ~O_NOFOLLOW, 0);
}

/* Opens @node, whose @parent is open and in use */
static int open_child(struct fuse_server *server, struct node *node, struct node *parent,
		      const char *name)
{
	struct node_key key;
	struct statx stx;
	bool same;
	int fd, r;

	fd = fd_open(server, parent->fd, name, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? -ESTALE : fd;
	r = fd_stat(fd, &stx);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	key = key_of(node->root, &stx);
	pthread_mutex_lock(&server->mutex);
	same = node->fd >= 0 || key_equal(&key, &node->key);
	if (same)
		fd = install_fd(server, node, fd);
	pthread_mutex_unlock(&server->mutex);
	close_fd(&fd);
	return same ? 0 : -ESTALE;
}

/*
 * One step towards an open @node: finds the highest closed node on its way up whose parent is open, and opens that.
 * Return: 1 if @node is open now, 0 to be called again, or -errno.
 */
static int open_step(struct fuse_server *server, struct node *node)
{
	char name[WIRE_NAME_MAX + 1];
	struct node *child = node, *parent;
	unsigned int depth = 0;
	int r;

	pthread_mutex_lock(&server->mutex);
	if (node->fd >= 0) {
		pthread_mutex_unlock(&server->mutex);
		return 1;
	}
	while (child->parent && child->parent->fd < 0 && depth++ < DEPTH_MAX)
		child = child->parent;
	parent = child->parent;
	if (!parent || depth > DEPTH_MAX) {
		pthread_mutex_unlock(&server->mutex);
		return -ESTALE;
	}
	(void)snprintf(name, sizeof(name), "%s", child->name);
	child->users++;
	parent->users++;
	pthread_mutex_unlock(&server->mutex);
	r = open_child(server, child, parent, name);
	node_release(server, child);
	node_release(server, parent);
	return r;
}

int node_fd(struct fuse_server *server, struct node *node)
{
	for (unsigned int step = 0; step <= 2 * DEPTH_MAX; step++) {
		int r = open_step(server, node);

		if (r < 0)
			return r;
		if (r > 0)
			return node->fd;
	}
	return -ESTALE;
}

int node_keep_open(struct fuse_server *server, struct node *node)
{
	int fd = node_fd(server, node);

	if (fd < 0)
		return fd;
	pthread_mutex_lock(&server->mutex);
	lru_remove(server, node);
	pthread_mutex_unlock(&server->mutex);
	return 0;
}

/* ---- forgetting everything ---- */

void node_drop_root(struct fuse_server *server, const struct root *root)
{
	pthread_mutex_lock(&server->mutex);
	for (size_t i = 0; i < server->by_id.nbuckets; i++) {
		for (struct node *node = server->by_id.buckets[i]; node; node = node->next_id)
			if (node->root == root)
				close_removed(server, node);
	}
	pthread_mutex_unlock(&server->mutex);
}

/* Frees the first node in @bucket that can go; Return: true if there was one (the chains have changed) */
static bool drop_one(struct fuse_server *server, size_t bucket)
{
	for (struct node *node = server->by_id.buckets[bucket]; node; node = node->next_id) {
		node->nlookup = 0;
		if (node->users == 0 && node->holds == 0) {
			node_maybe_free(server, node);
			return true;
		}
	}
	return false;
}

void node_drop_all(struct fuse_server *server)
{
	pthread_mutex_lock(&server->mutex);
	for (size_t i = 0; i < server->by_id.nbuckets; i++) {
		while (drop_one(server, i))
			;
	}
	pthread_mutex_unlock(&server->mutex);
}
