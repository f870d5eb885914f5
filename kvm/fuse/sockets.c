/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets of the host's, below bind mounts: connections to them, from the guest.
 *
 * A socket's node is no more than a name for what a program has bound to that inode. The guest's kernel finds who has bound by its own
 * inode, so somebody in the guest has to be bound to it: the agent, which takes the connections to the host. But binding
 * makes a node, and this one exists. So the server has a directory, NODEID_SOCKETS, in which a MKNOD makes none:
 *
 *   program ── connect("/vol/db.sock") ─▶ LOOKUP of a socket ─▶ not known: kept; on_socket() tells the monitor
 *                                                                 monitor: does anybody listen? ─▶ RelaySocket to the agent
 *   agent ── bind(".caisson-sockets/bind-7") ─▶ MKNOD ─────────▶ answered with the node of db.sock: the guest's kernel
 *                                                               takes it for the new node, and binds the agent to its inode
 *   program ◀── the answer: connect() finds the agent's socket ◀─ fuse_server_socket_done(7)
 *
 * This holds for every mount and name of that inode, and permission is what the guest's kernel says of it. The directory is in the top
 * directory (for exports that are sockets) and in the root of each coherent export, because the guest has a superblock for each,
 * and inodes are a superblock's. It is root's alone, cannot be listed, and all that can be done in it is to bind to what
 * the guest has looked up already.
 *
 * Bounded: entries (the one not used longest makes room) and waiting requests (more are answered at once). Sockets that the guest has
 * made itself have their own program. Below a mount of the host's inside an export (a superblock more) sockets are not relayed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kvm/fuse/internal.h"

#define VALID_S 3600 /* it never changes */

static void directory_attr(struct fuse_attr *attr)
{
	*attr = (struct fuse_attr){
		.ino = NODEID_SOCKETS, .mode = S_IFDIR | 0700, .nlink = 2, .blksize = WIRE_PAGE};
}

bool sockets_entry(const char *name, struct fuse_entry_out *out)
{
	if (strcmp(name, SOCKETS_NAME) != 0)
		return false;
	*out = (struct fuse_entry_out){
		.nodeid = NODEID_SOCKETS, .entry_valid = VALID_S, .attr_valid = VALID_S};
	directory_attr(&out->attr);
	return true;
}

/* ---- the table; its mutex is held ---- */

static struct socket_entry *find_node(struct socket_table *table, uint64_t nodeid)
{
	for (unsigned int i = 0; i < SERVER_SOCKETS_MAX; i++) {
		if (table->entries[i].id && table->entries[i].nodeid == nodeid)
			return &table->entries[i];
	}
	return NULL;
}

static struct socket_entry *find_socket(struct socket_table *table, uint32_t id)
{
	for (unsigned int i = 0; id && i < SERVER_SOCKETS_MAX; i++) {
		if (table->entries[i].id == id)
			return &table->entries[i];
	}
	return NULL;
}

/* NULL: all are being asked about or fixed, or there are no more numbers */
static struct socket_entry *make_entry(struct socket_table *table, const struct node *node)
{
	struct socket_entry *entry = NULL;

	for (unsigned int i = 0; i < SERVER_SOCKETS_MAX; i++) {
		struct socket_entry *e = &table->entries[i];

		if (!e->id ||
		    (!e->asked && !e->fixed && (!entry || (entry->id && e->used < entry->used))))
			entry = e;
		if (!e->id)
			break;
	}
	if (!entry || table->next_id == UINT32_MAX)
		return NULL;
	*entry = (struct socket_entry){.id = ++table->next_id,
				       .nodeid = node->id,
				       .asked = true,
				       .fixed = node == node->root->node};
	return entry;
}

static struct socket_waiter *free_waiter(struct socket_table *table)
{
	for (unsigned int i = 0; i < SERVER_SOCKET_WAITERS_MAX; i++) {
		if (!table->waiters[i].id)
			return &table->waiters[i];
	}
	return NULL;
}

/* Return: whether the answer has to wait */
static bool keep(struct req *rq, struct node *node, int fd, const struct fuse_entry_out *out)
{
	struct socket_table *table = &rq->server->sockets;
	struct socket_entry *entry = find_node(table, node->id);
	struct socket_waiter *waiter = free_waiter(table);

	if (entry)
		entry->used = ++table->clock;
	if (!waiter || (entry && !entry->asked))
		return false;
	if (!entry) {
		entry = make_entry(table, node);
		if (!entry)
			return false;
		entry->used = ++table->clock;
		if (table->on_socket(table->arg, entry->id, node->root->id, fd) < 0) {
			entry->id = 0;
			return false;
		}
	}
	*waiter = (struct socket_waiter){
		.id = entry->id, .request = rq->request, .unique = rq->h.unique, .out = *out};
	return true;
}

ssize_t sockets_reply(struct req *rq, struct node *node, struct fuse_entry_out *out)
{
	struct socket_table *table = &rq->server->sockets;
	bool kept = false;
	int fd;

	if (node_is(node, S_IFSOCK) && (node->root->flags & FUSE_ROOT_COHERENT) &&
	    !node->own_socket && table->on_socket) {
		fd = node_fd(rq->server, node);
		pthread_mutex_lock(&table->mutex);
		kept = fd >= 0 && keep(rq, node, fd, out);
		pthread_mutex_unlock(&table->mutex);
	}
	return kept ? REQ_DEFERRED : req_reply(rq, out, sizeof(*out));
}

/* ---- answers ---- */

/* @id 0: all of them */
static void finish(struct fuse_server *server, uint32_t id, int error)
{
	struct socket_waiter waiters[SERVER_SOCKET_WAITERS_MAX];
	unsigned int n = 0;

	pthread_mutex_lock(&server->sockets.mutex);
	for (unsigned int i = 0; i < SERVER_SOCKET_WAITERS_MAX; i++) {
		struct socket_waiter *waiter = &server->sockets.waiters[i];

		if (!waiter->id || (id && waiter->id != id))
			continue;
		waiters[n++] = *waiter;
		waiter->id = 0;
	}
	pthread_mutex_unlock(&server->sockets.mutex);
	for (unsigned int i = 0; i < n; i++)
		request_finish(waiters[i].request, waiters[i].unique, error, &waiters[i].out,
			       sizeof(waiters[i].out));
}

void fuse_server_socket_done(struct fuse_server *server, uint32_t id, bool relayed)
{
	struct socket_entry *entry;

	pthread_mutex_lock(&server->sockets.mutex);
	entry = find_socket(&server->sockets, id);
	if (entry) {
		entry->asked = false;
		if (!relayed)
			entry->id = 0; /* the next look-up asks again */
	}
	pthread_mutex_unlock(&server->sockets.mutex);
	if (entry)
		finish(server, id, 0);
}

void fuse_server_on_socket(struct fuse_server *server,
			   int (*on_socket)(void *arg, uint32_t id, unsigned int root, int fd),
			   void *arg)
{
	server->sockets.on_socket = on_socket;
	server->sockets.arg = arg;
}

void sockets_drop_all(struct fuse_server *server)
{
	finish(server, 0, -ENOTCONN);
	pthread_mutex_lock(&server->sockets.mutex);
	memset(server->sockets.entries, 0, sizeof(server->sockets.entries));
	pthread_mutex_unlock(&server->sockets.mutex);
}

/* ---- the directory ---- */

/* The number in "bind-7"; 0: none */
static uint32_t bind_number(const char *name)
{
	size_t len = strlen(MACHINE_SOCKETS_BIND);
	unsigned long long id;
	char *end;

	if (strncmp(name, MACHINE_SOCKETS_BIND, len) != 0 || name[len] < '1' || name[len] > '9')
		return 0;
	id = strtoull(name + len, &end, 10);
	return *end || id > UINT32_MAX ? 0 : (uint32_t)id;
}

static ssize_t bind_to(struct req *rq)
{
	struct fuse_entry_out out;
	struct fuse_mknod_in in;
	struct socket_entry *entry;
	struct node *node = NULL;
	const char *name;
	struct statx stx;
	int fd, r;

	if (!req_arg(rq, &in))
		return -EINVAL;
	r = req_name(rq, &name);
	if (r < 0)
		return r;
	if (!req_end(rq) || rq->room < sizeof(out) || !S_ISSOCK(in.mode))
		return -EINVAL;
	pthread_mutex_lock(&rq->server->sockets.mutex);
	entry = find_socket(&rq->server->sockets, bind_number(name));
	if (entry)
		node = node_know(rq->server, entry->nodeid);
	pthread_mutex_unlock(&rq->server->sockets.mutex);
	if (!node)
		return -ENOENT;
	fd = node_fd(rq->server, node);
	r = fd < 0 ? fd : fd_stat(fd, &stx);
	if (r == 0)
		r = attr_entry(rq->server, node, &stx, &out);
	if (r < 0)
		node_forget(rq->server, node->id, 1);
	node_release(rq->server, node);
	return r < 0 ? r : req_reply(rq, &out, sizeof(out));
}

ssize_t sockets_handle(struct req *rq)
{
	struct fuse_attr_out out = {.attr_valid = VALID_S};

	switch (rq->h.opcode) {
	case FUSE_LOOKUP:
		return -ENOENT;
	case FUSE_GETATTR:
		directory_attr(&out.attr);
		return req_reply(rq, &out, sizeof(out));
	case FUSE_MKNOD:
		return bind_to(rq);
	case FUSE_GETXATTR:
		return -ENODATA;
	case WIRE_OP_STATX:
	case FUSE_LISTXATTR:
		return -EOPNOTSUPP;
	default:
		return -EACCES;
	}
}
