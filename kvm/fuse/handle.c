/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files and directories: what the guest calls by fh.
 *
 * Like nodeids, handles are a counter's values and table keys. A handle is only good together with the node it was opened
 * on. A request takes a reference, so that a RELEASE that overtakes it (a hostile guest's only) closes nothing under it.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"

#define HANDLES_FIRST 256u /* buckets */

int handle_tables_init(struct fuse_server *server)
{
	server->handles = (struct table){calloc(HANDLES_FIRST, sizeof(void *)), HANDLES_FIRST, 0};
	return server->handles.buckets ? 0 : -ENOMEM;
}

void handle_tables_release(struct fuse_server *server)
{
	free(server->handles.buckets);
	server->handles.buckets = NULL;
}

static struct handle **slot_of(struct fuse_server *server, uint64_t fh)
{
	return (struct handle **)&server->handles.buckets[fh & (server->handles.nbuckets - 1)];
}

static void table_grow(struct table *t)
{
	size_t n = t->nbuckets * 2;
	void **buckets;

	if (t->count < n)
		return;
	buckets = calloc(n, sizeof(*buckets));
	if (!buckets)
		return;
	for (size_t i = 0; i < t->nbuckets; i++) {
		for (struct handle *h = t->buckets[i], *next; h; h = next) {
			struct handle **slot = (struct handle **)&buckets[h->fh & (n - 1)];

			next = h->next;
			h->next = *slot;
			*slot = h;
		}
	}
	free(t->buckets);
	t->buckets = buckets;
	t->nbuckets = n;
}

int handle_add(struct fuse_server *server, struct node *node, int fd, bool writable,
	       struct dir_stream *dir, uint64_t *fh)
{
	struct handle *h = calloc(1, sizeof(*h)), **slot;

	if (!h)
		return -ENOMEM;
	*h = (struct handle){
		.node = node, .fd = fd, .refs = 1, .is_dir = dir, .writable = writable, .dir = dir};
	pthread_mutex_lock(&server->mutex);
	if (server->handles.count >= SERVER_HANDLES_MAX || node->root->removed) {
		int error = node->root->removed ? -ESTALE : -ENFILE;

		pthread_mutex_unlock(&server->mutex);
		free(h);
		return error;
	}
	h->fh = server->next_fh++;
	*fh = h->fh;
	node->holds++;
	server->handles.count++;
	table_grow(&server->handles);
	slot = slot_of(server, h->fh);
	h->next = *slot;
	*slot = h;
	pthread_mutex_unlock(&server->mutex);
	return 0;
}

static struct handle **find(struct fuse_server *server, uint64_t fh, const struct node *node,
			    bool is_dir)
{
	struct handle **slot = slot_of(server, fh);

	while (*slot && ((*slot)->fh != fh || (*slot)->node != node || (*slot)->is_dir != is_dir))
		slot = &(*slot)->next;
	return slot;
}

struct handle *handle_acquire(struct fuse_server *server, uint64_t fh, const struct node *node,
			      bool is_dir)
{
	struct handle *h;

	pthread_mutex_lock(&server->mutex);
	h = *find(server, fh, node, is_dir);
	if (h)
		h->refs++;
	pthread_mutex_unlock(&server->mutex);
	return h;
}

void handle_release(struct fuse_server *server, struct handle *h)
{
	unsigned int refs;

	if (!h)
		return;
	pthread_mutex_lock(&server->mutex);
	refs = --h->refs;
	pthread_mutex_unlock(&server->mutex);
	if (refs > 0)
		return;
	close_fd(&h->fd); /* may wait for the disk: without the mutex */
	dir_stream_free(server, h->dir);
	node_unhold(server, h->node);
	free(h);
}

int handle_remove(struct fuse_server *server, uint64_t fh, const struct node *node, bool is_dir)
{
	struct handle **slot, *h;

	pthread_mutex_lock(&server->mutex);
	slot = find(server, fh, node, is_dir);
	h = *slot;
	if (h) {
		*slot = h->next;
		server->handles.count--;
	}
	pthread_mutex_unlock(&server->mutex);
	if (!h)
		return -EBADF;
	handle_release(server, h);
	return 0;
}

/* Takes the open files of @root (all if NULL) out of the table, as a list */
static struct handle *take_handles(struct fuse_server *server, const struct root *root)
{
	struct handle *taken = NULL;

	pthread_mutex_lock(&server->mutex);
	for (size_t i = 0; i < server->handles.nbuckets; i++) {
		struct handle **slot = (struct handle **)&server->handles.buckets[i];

		while (*slot) {
			struct handle *h = *slot;

			if (root && h->node->root != root) {
				slot = &h->next;
				continue;
			}
			*slot = h->next;
			h->next = taken;
			taken = h;
			server->handles.count--;
		}
	}
	pthread_mutex_unlock(&server->mutex);
	return taken;
}

void handle_drop(struct fuse_server *server, const struct root *root)
{
	struct handle *h = take_handles(server, root);

	while (h) {
		struct handle *next = h->next;

		handle_release(server, h);
		h = next;
	}
}
