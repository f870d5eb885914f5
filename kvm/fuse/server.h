/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file server: FUSE requests of a guest, answered from a table of roots (DESIGN.md section 4).
 *
 * It knows nothing of virtio: a request is a list of buffers to read from and one to write to, both in guest memory and both
 * hostile. The transport calls fuse_server_handle() from as many threads as it likes. A request that must wait (a blocking lock)
 * returns FUSE_DEFERRED and is completed later, from another thread, through its own `complete`.
 */
#ifndef KVM_FUSE_SERVER_H
#define KVM_FUSE_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "lib/err.h"

#define FUSE_DEFERRED ((ssize_t)-1)
#define FUSE_ROOT_READ_ONLY \
	(1u << 0) /* every write is refused with EROFS, whatever the guest believes */
#define FUSE_ROOT_COHERENT \
	(1u << 1) /* host changes are seen by the next open, stat, read: zero time-outs; else 1 s */

#define FUSE_ROOT_WATCH \
	(1u             \
	 << 2) /* the agent is told what the host changes where the guest has inotify watches (watch.c) */

struct fuse_server;

struct fuse_request {
	const struct iovec *in; /* guest memory, readable; may change while it is read: copy once */
	unsigned int nin;
	const struct iovec *out; /* guest memory, writable */
	unsigned int nout;
	/* For FUSE_DEFERRED: called exactly once from any thread with the bytes written; then the request may be freed */
	void (*complete)(struct fuse_request *request, size_t written);
};

/**
 * fuse_server_new() - An empty server
 * @proc_fd:	A /proc/self/fd directory of this process, O_PATH or O_RDONLY, borrowed; reopening nodes and extended attributes
 *		go through it
 * @node_max:	Inodes held open at a time (each costs a descriptor and about 2 KB of kernel memory)
 */
struct fuse_server *fuse_server_new(int proc_fd, unsigned int node_max, struct err *err);
/** fuse_server_free() - After the transport has stopped; cancels what waits */
void fuse_server_free(struct fuse_server *server);

/**
 * fuse_server_add_root() - Export @fd under number @id (name "<id>" in the top directory)
 * @fd:		Detached mount (directory or regular file), owned by the server on success
 * Return: 0, -EEXIST, -EINVAL (id out of range, or not a directory or file) or -errno; any thread, at any time
 */
int fuse_server_add_root(struct fuse_server *server, unsigned int id, int fd, uint32_t flags,
			 struct err *err);
/** fuse_server_remove_root() - Requests below it get ESTALE from now on, waiters too; its files are closed, its locks end */
int fuse_server_remove_root(struct fuse_server *server, unsigned int id, struct err *err);

/**
 * fuse_server_handle() - Serve one request
 * Return: bytes written to @request->out (0: this request has no answer, e.g. FORGET), or FUSE_DEFERRED
 */
ssize_t fuse_server_handle(struct fuse_server *server, struct fuse_request *request);

/**
 * fuse_server_on_socket() - Tell of Unix sockets below coherent roots as the guest looks them up (kvm/fuse/sockets.c)
 * @on_socket:	From any thread; must not wait. @fd: O_PATH, borrowed. Return: 0, then fuse_server_socket_done() is due, or -errno
 */
void fuse_server_on_socket(struct fuse_server *server,
			   int (*on_socket)(void *arg, uint32_t id, unsigned int root, int fd),
			   void *arg);
/** fuse_server_socket_done() - The guest has something to connect to in its place (@relayed), or has not; may come again */
void fuse_server_socket_done(struct fuse_server *server, uint32_t id, bool relayed);

/** fuse_server_reset() - The driver was reset or unmounted: drop every node, handle, lock and waiter */
void fuse_server_reset(struct fuse_server *server);

#endif
