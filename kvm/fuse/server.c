/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file server's front: roots, and one dispatcher for FUSE requests.
 *
 *   transport ──fuse_server_handle()──▶ header copied once ──▶ table of operations ──▶ handler
 *                                       arguments copied once    sizes, read-only,        one system call or two
 *                                                                node looked up
 *
 * Everything in a request is hostile. The header and the arguments are copied out of guest memory before anything is
 * decided; only file data is read and written in place. A length in the header that is not the request's real length, an
 * operation we do not know, arguments that are too long or too short, an unknown node: each is an error reply, never more.
 *
 * Node ids: 1 is a synthetic directory that lists the exports by number, 2 and 4 control files in it (control.c, events.c), 3 a
 * directory for the agent in each export (sockets.c), the others are host inodes (node.c). Writing below a read-only root is refused
 * here, before any handler runs.
 *
 * Called from any number of threads of the transport.
 */
#include "kvm/fuse/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"
#include "lib/path.h"

#define ARGS_ON_STACK 4672u /* a name and a symlink's target, or a rename's two names, and more */
#define OP_CONN (1u << 0)   /* about the connection: no node */
#define OP_WRITE (1u << 1)  /* refused on read-only roots */
#define OP_DATA (1u << 2)   /* file data follows the arguments, read in place */
#define OP_SILENT (1u << 3) /* has no answer */

struct op {
	const char *name;
	req_handler *handle;  /* for a host inode */
	req_handler *top;     /* for the synthetic directory; NULL: refused */
	req_handler *control; /* for the control file of locks; NULL: refused */
	uint32_t max;	      /* bytes of arguments */
	uint32_t flags;
};

static req_handler do_init, do_destroy, do_interrupt, do_refuse, do_no_ioctl, do_ok;

#define NAME_BYTES (WIRE_NAME_MAX + 1 + 256) /* longer ones get as far as ENAMETOOLONG */
static const struct op ops[] = {
	[FUSE_LOOKUP] = {"LOOKUP", do_lookup, top_lookup, NULL, 4096, 0},
	[FUSE_FORGET] = {"FORGET", do_forget, do_forget, do_forget, sizeof(struct fuse_forget_in),
			 OP_CONN | OP_SILENT},
	[FUSE_GETATTR] = {"GETATTR", do_getattr, top_getattr, control_getattr,
			  sizeof(struct fuse_getattr_in), 0},
	[FUSE_SETATTR] = {"SETATTR", do_setattr, NULL, do_ok, sizeof(struct fuse_setattr_in),
			  OP_WRITE},
	[FUSE_READLINK] = {"READLINK", do_readlink, NULL, NULL, 0, 0},
	[FUSE_SYMLINK] = {"SYMLINK", do_symlink, NULL, NULL, NAME_BYTES + 4096, OP_WRITE},
	[FUSE_MKNOD] = {"MKNOD", do_mknod, NULL, NULL, sizeof(struct fuse_mknod_in) + NAME_BYTES,
			OP_WRITE},
	[FUSE_MKDIR] = {"MKDIR", do_mkdir, NULL, NULL, sizeof(struct fuse_mkdir_in) + NAME_BYTES,
			OP_WRITE},
	[FUSE_UNLINK] = {"UNLINK", do_unlink, NULL, NULL, NAME_BYTES, OP_WRITE},
	[FUSE_RMDIR] = {"RMDIR", do_rmdir, NULL, NULL, NAME_BYTES, OP_WRITE},
	[FUSE_RENAME] = {"RENAME", do_rename, NULL, NULL,
			 sizeof(struct fuse_rename_in) + 2 * NAME_BYTES, OP_WRITE},
	[FUSE_LINK] = {"LINK", do_link, NULL, NULL, sizeof(struct fuse_link_in) + NAME_BYTES,
		       OP_WRITE},
	[FUSE_OPEN] = {"OPEN", do_open, NULL, control_open, sizeof(struct fuse_open_in), 0},
	[FUSE_READ] = {"READ", do_read, NULL, control_read, sizeof(struct fuse_read_in), 0},
	[FUSE_WRITE] = {"WRITE", do_write, NULL, control_write, sizeof(struct fuse_write_in),
			OP_WRITE | OP_DATA},
	[FUSE_STATFS] = {"STATFS", do_statfs, top_statfs, top_statfs, 0, 0},
	[FUSE_RELEASE] = {"RELEASE", do_release, NULL, do_ok, sizeof(struct fuse_release_in), 0},
	[FUSE_FSYNC] = {"FSYNC", do_fsync, NULL, do_ok, sizeof(struct fuse_fsync_in), 0},
	[FUSE_SETXATTR] = {"SETXATTR", do_setxattr, NULL, NULL,
			   sizeof(struct fuse_setxattr_in) + NAME_BYTES + WIRE_XATTR_MAX, OP_WRITE},
	[FUSE_GETXATTR] = {"GETXATTR", do_getxattr, NULL, NULL,
			   sizeof(struct fuse_getxattr_in) + NAME_BYTES, 0},
	[FUSE_LISTXATTR] = {"LISTXATTR", do_listxattr, NULL, NULL, sizeof(struct fuse_getxattr_in),
			    0},
	[FUSE_REMOVEXATTR] = {"REMOVEXATTR", do_removexattr, NULL, NULL, NAME_BYTES, OP_WRITE},
	[FUSE_FLUSH] = {"FLUSH", do_flush, NULL, do_ok, sizeof(struct fuse_flush_in), 0},
	[FUSE_INIT] = {"INIT", do_init, NULL, NULL, sizeof(struct fuse_init_in), OP_CONN},
	[FUSE_OPENDIR] = {"OPENDIR", do_opendir, top_opendir, NULL, sizeof(struct fuse_open_in), 0},
	[FUSE_READDIR] = {"READDIR", do_readdir, top_readdir, NULL, sizeof(struct fuse_read_in), 0},
	[FUSE_RELEASEDIR] = {"RELEASEDIR", do_releasedir, top_releasedir, NULL,
			     sizeof(struct fuse_release_in), 0},
	[FUSE_FSYNCDIR] = {"FSYNCDIR", do_fsyncdir, do_ok, NULL, sizeof(struct fuse_fsync_in), 0},
	[FUSE_GETLK] = {"GETLK", do_getlk, NULL, NULL, sizeof(struct fuse_lk_in), 0},
	[FUSE_SETLK] = {"SETLK", do_setlk, NULL, NULL, sizeof(struct fuse_lk_in), 0},
	[FUSE_SETLKW] = {"SETLKW", do_setlkw, NULL, NULL, sizeof(struct fuse_lk_in), 0},
	[FUSE_ACCESS] = {"ACCESS", do_refuse, do_refuse, do_refuse, sizeof(struct fuse_access_in),
			 0},
	[FUSE_CREATE] = {"CREATE", do_create, NULL, NULL,
			 sizeof(struct fuse_create_in) + NAME_BYTES, OP_WRITE},
	[FUSE_INTERRUPT] = {"INTERRUPT", do_interrupt, NULL, NULL, sizeof(struct fuse_interrupt_in),
			    OP_CONN | OP_SILENT},
	[FUSE_DESTROY] = {"DESTROY", do_destroy, NULL, NULL, 0, OP_CONN},
	[FUSE_IOCTL] = {"IOCTL", do_no_ioctl, do_no_ioctl, do_no_ioctl,
			sizeof(struct fuse_ioctl_in), OP_DATA},
	[FUSE_BATCH_FORGET] = {"BATCH_FORGET", do_batch_forget, do_batch_forget, do_batch_forget,
			       65536, OP_CONN | OP_SILENT},
	[FUSE_FALLOCATE] = {"FALLOCATE", do_fallocate, NULL, NULL, sizeof(struct fuse_fallocate_in),
			    OP_WRITE},
	[FUSE_READDIRPLUS] = {"READDIRPLUS", do_readdirplus, top_readdirplus, NULL,
			      sizeof(struct fuse_read_in), 0},
	[FUSE_RENAME2] = {"RENAME2", do_rename2, NULL, NULL,
			  sizeof(struct fuse_rename2_in) + 2 * NAME_BYTES, OP_WRITE},
	[FUSE_LSEEK] = {"LSEEK", do_lseek, NULL, NULL, sizeof(struct fuse_lseek_in), 0},
	[FUSE_COPY_FILE_RANGE] = {"COPY_FILE_RANGE", do_copy_file_range, NULL, NULL,
				  sizeof(struct fuse_copy_file_range_in), 0},
	[FUSE_SYNCFS] = {"SYNCFS", do_syncfs, do_ok, do_ok, sizeof(struct fuse_syncfs_in), 0},
	[FUSE_TMPFILE] = {"TMPFILE", do_tmpfile, NULL, NULL,
			  sizeof(struct fuse_create_in) + NAME_BYTES, OP_WRITE},
	[WIRE_OP_STATX] = {"STATX", do_statx, NULL, NULL, sizeof(struct wire_statx_in), 0},
	/*
	 * Not here, thus ENOSYS, which the kernel remembers: POLL and BMAP (it then behaves as on a disk), SETUPMAPPING and
	 * REMOVEMAPPING (no DAX window is offered yet), NOTIFY_REPLY (we notify of nothing).
	 */
};

/* ---- buffers ---- */

static size_t iov_total(const struct iovec *iov, unsigned int n)
{
	size_t total = 0;

	for (unsigned int i = 0; i < n; i++)
		total += iov[i].iov_len;
	return total;
}

static unsigned int iov_slice(const struct iovec *in, unsigned int n, size_t skip, size_t len,
			      struct iovec *out)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < n && len > 0; i++) {
		size_t part;

		if (skip >= in[i].iov_len) {
			skip -= in[i].iov_len;
			continue;
		}
		part = in[i].iov_len - skip;
		if (part > len)
			part = len;
		out[count++] = (struct iovec){(char *)in[i].iov_base + skip, part};
		len -= part;
		skip = 0;
	}
	return count;
}

unsigned int req_out_iov(const struct req *rq, size_t len, struct iovec *iov)
{
	return iov_slice(rq->request->out, rq->request->nout, sizeof(struct fuse_out_header), len,
			 iov);
}

unsigned int req_in_iov(const struct req *rq, size_t skip, size_t len, struct iovec *iov)
{
	return iov_slice(rq->request->in, rq->request->nin, skip, len, iov);
}

ssize_t req_reply(struct req *rq, const void *data, size_t len)
{
	if (len > rq->room)
		return -EINVAL;
	(void)iov_copy_out(rq->request->out, rq->request->nout, sizeof(struct fuse_out_header),
			   data, len);
	return (ssize_t)len;
}

static size_t write_header(const struct fuse_request *request, uint64_t unique, ssize_t r)
{
	struct fuse_out_header out = {.len = sizeof(out), .unique = unique};

	if (r < 0)
		out.error = (int32_t)r;
	else
		out.len += (uint32_t)r;
	if (iov_copy_out(request->out, request->nout, 0, &out, sizeof(out)) < sizeof(out))
		return 0;
	return out.len;
}

void request_finish(struct fuse_request *request, uint64_t unique, int error, const void *data,
		    size_t len)
{
	size_t written;

	if (!error && len > 0 &&
	    iov_copy_out(request->out, request->nout, sizeof(struct fuse_out_header), data, len) <
		    len)
		error = -EINVAL;
	written = write_header(request, unique, error ? error : (ssize_t)len);
	request->complete(request, written);
}

/* ---- arguments ---- */

int req_string(struct req *rq, size_t max, const char **string)
{
	size_t left = buf_left(&rq->args);
	const char *s = (const char *)rq->args.data + rq->args.pos;
	const char *end = left ? memchr(s, 0, left) : NULL;

	if (!end || end == s)
		return -EINVAL;
	if ((size_t)(end - s) > max)
		return -ENAMETOOLONG;
	(void)buf_take(&rq->args, (size_t)(end - s) + 1);
	*string = s;
	return 0;
}

int req_name(struct req *rq, const char **name)
{
	const char *s;
	int r;

	r = req_string(rq, WIRE_NAME_MAX, &s);
	if (r < 0)
		return r;
	if (strchr(s, '/') || !strcmp(s, ".") || !strcmp(s, ".."))
		return -EINVAL;
	*name = s;
	return 0;
}

bool req_end(const struct req *rq)
{
	return buf_reader_ok(&rq->args) && buf_left(&rq->args) == 0;
}

/* ---- operations on the connection ---- */

static uint64_t init_flags(uint64_t offered)
{
	uint64_t wanted = FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC |
			  FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_FLOCK_LOCKS |
			  FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
			  FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_POSIX_ACL | FUSE_MAX_PAGES |
			  FUSE_CACHE_SYMLINKS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT |
			  FUSE_SUBMOUNTS | FUSE_INIT_EXT | WIRE_INIT_NO_EXPORT_SUPPORT;

	return wanted & offered;
}

/*
 * No write-back cache: the host and other guests must see a write when it returns. No EXPORT_SUPPORT: a lookup of ".." is
 * refused. No CREATE_SUPP_GROUP: see creds.c. No HAS_INODE_DAX and MAP_ALIGNMENT until there is a DAX window.
 */
static ssize_t do_init(struct req *rq)
{
	struct fuse_init_in in = {0};
	struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = WIRE_MINOR_MAX};
	uint64_t flags;

	if (!buf_copy(&rq->args, &in, offsetof(struct fuse_init_in, flags2)))
		return -EINVAL;
	if (buf_left(&rq->args) >= sizeof(in) - offsetof(struct fuse_init_in, flags2))
		(void)buf_copy(&rq->args, &in.flags2,
			       sizeof(in) - offsetof(struct fuse_init_in, flags2));
	if (in.major > FUSE_KERNEL_VERSION) /* the kernel asks again with ours */
		return req_reply(rq, &out, sizeof(out));
	if (in.major < FUSE_KERNEL_VERSION || in.minor < WIRE_MINOR_MIN)
		return -EPROTO;
	if (rq->room < sizeof(out))
		return -EINVAL;
	fuse_server_reset(rq->server); /* a new mount knows nothing of the last one's nodes */
	flags = init_flags(in.flags | ((in.flags & FUSE_INIT_EXT) ? (uint64_t)in.flags2 << 32 : 0));
	out.minor = in.minor < WIRE_MINOR_MAX ? in.minor : WIRE_MINOR_MAX;
	out.max_readahead = in.max_readahead < WIRE_IO_MAX ? in.max_readahead : WIRE_IO_MAX;
	out.flags = (uint32_t)flags;
	out.flags2 = (uint32_t)(flags >> 32);
	out.max_background = 64;
	out.congestion_threshold = 48;
	out.max_write = WIRE_IO_MAX;
	out.time_gran = 1;
	out.max_pages = WIRE_PAGES_MAX;
	pthread_mutex_lock(&rq->server->mutex);
	rq->server->initialised = true;
	rq->server->submounts = flags & FUSE_SUBMOUNTS;
	pthread_mutex_unlock(&rq->server->mutex);
	return req_reply(rq, &out, sizeof(out));
}

static ssize_t do_destroy(struct req *rq)
{
	fuse_server_reset(rq->server);
	return 0;
}

/* virtio-fs does not send it (control.c stands in for it), other transports do; only lock requests wait */
static ssize_t do_interrupt(struct req *rq)
{
	struct fuse_interrupt_in in;

	if (req_arg(rq, &in) && waiters_cancel(rq->server, in.unique) < 0) {
		control_interrupt(rq->server, in.unique);
		events_interrupt(rq->server, in.unique);
	}
	return 0;
}

/* With default_permissions the kernel answers access(2) itself; after one ENOSYS it does not ask again */
static ssize_t do_refuse(struct req *rq)
{
	(void)rq;
	return -ENOSYS;
}

static ssize_t do_no_ioctl(struct req *rq)
{
	(void)rq;
	return -ENOTTY;
}

static ssize_t do_ok(struct req *rq)
{
	if (rq->h.opcode == FUSE_SETATTR) /* O_TRUNC of the control file */
		return control_getattr(rq);
	return 0;
}

/* ---- dispatch ---- */

static req_handler *events_handler(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		return events_getattr;
	case FUSE_OPEN:
		return events_open;
	case FUSE_READ:
		return events_read;
	case FUSE_WRITE:
		return events_write;
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_FSYNC:
		return do_ok;
	default:
		return NULL;
	}
}

/* As the requester asks, or as the thread that raises events needs it */
static ssize_t serve_node(struct req *rq, const struct op *op)
{
	struct watch_table *t = &rq->server->watch;
	struct echo echo;
	ssize_t r;

	if (t->raiser && rq->h.pid == t->raiser) {
		if (pretend(rq, op->flags & OP_WRITE, &r))
			return r;
		return op->handle(rq);
	}
	if ((op->flags & OP_WRITE) && (rq->node->root->flags & FUSE_ROOT_READ_ONLY))
		return -EROFS;
	if (t->raiser && (rq->node->root->flags & FUSE_ROOT_WATCH) && !t->activity) {
		t->activity = true;
		watch_wake(rq->server);
	}
	echo_begin(rq, &echo);
	r = op->handle(rq);
	echo_end(rq->server, &echo);
	return r;
}

static ssize_t dispatch_node(struct req *rq, const struct op *op)
{
	int error = -ENOENT;
	ssize_t r;

	if (rq->h.nodeid == NODEID_EVENTS) {
		req_handler *handle = events_handler(rq->h.opcode);

		return handle ? handle(rq) : op->flags & OP_WRITE ? -EROFS : -EINVAL;
	}
	if (rq->server->watch.raiser && rq->h.pid == rq->server->watch.raiser &&
	    pretend(rq, op->flags & OP_WRITE, &r))
		return r; /* without a node: one that nobody else knows */

	if (rq->h.nodeid == NODEID_TOP || rq->h.nodeid == NODEID_LOCKS) {
		req_handler *handle = rq->h.nodeid == NODEID_TOP ? op->top : op->control;

		if (handle)
			return handle(rq);
		if (rq->h.opcode == WIRE_OP_STATX || rq->h.opcode == FUSE_GETXATTR ||
		    rq->h.opcode == FUSE_LISTXATTR)
			return -EOPNOTSUPP;
		return op->flags & OP_WRITE ? -EROFS : -EINVAL;
	}
	if (rq->h.nodeid == NODEID_SOCKETS)
		return sockets_handle(rq);
	rq->node = node_acquire(rq->server, rq->h.nodeid, &error);
	if (!rq->node)
		return error;
	r = serve_node(rq, op);
	node_release(rq->server, rq->node);
	return r;
}

static ssize_t dispatch(struct req *rq, const struct op *op)
{
	bool ready;

	pthread_mutex_lock(&rq->server->mutex);
	ready = rq->server->initialised;
	pthread_mutex_unlock(&rq->server->mutex);
	if (!ready && rq->h.opcode != FUSE_INIT)
		return -EIO;
	if (op->flags & OP_CONN)
		return op->handle(rq);
	return dispatch_node(rq, op);
}

/* Copies the arguments and runs the operation */
static ssize_t serve(struct req *rq, const struct op *op)
{
	uint8_t small[ARGS_ON_STACK];
	cleanup_free uint8_t *large = NULL;
	size_t len = rq->in_total - sizeof(rq->h), ext = (size_t)rq->h.total_extlen * 8;
	uint8_t *args = small;

	if (rq->h.len != rq->in_total || ext > len)
		return -EINVAL;
	len -= ext; /* extensions come last; we asked for none and look at none */
	if (len > op->max) {
		if (!(op->flags & OP_DATA))
			return -EINVAL;
		len = op->max;
	}
	if (len > sizeof(small)) {
		large = malloc(len);
		if (!large)
			return -ENOMEM;
		args = large;
	}
	if (iov_copy_in(rq->request->in, rq->request->nin, sizeof(rq->h), args, len) < len)
		return -EINVAL;
	rq->args = buf_reader_of(args, len);
	return dispatch(rq, op);
}

ssize_t fuse_server_handle(struct fuse_server *server, struct fuse_request *request)
{
	struct req rq = {.server = server, .request = request};
	const struct op *op = NULL;
	size_t out_total;
	ssize_t r;

	rq.in_total = iov_total(request->in, request->nin);
	if (iov_copy_in(request->in, request->nin, 0, &rq.h, sizeof(rq.h)) < sizeof(rq.h))
		return 0;
	if (rq.h.opcode < ARRAY_SIZE(ops) && ops[rq.h.opcode].handle)
		op = &ops[rq.h.opcode];
	out_total = iov_total(request->out, request->nout);
	if (!op || !(op->flags & OP_SILENT)) {
		if (out_total < sizeof(struct fuse_out_header))
			return 0;
		rq.room = out_total - sizeof(struct fuse_out_header);
	}
	r = creds_thread_init(server->proc_fd);
	if (r >= 0)
		r = op ? serve(&rq, op) : -ENOSYS;
	if (r == REQ_DEFERRED)
		return FUSE_DEFERRED;
	if (op && (op->flags & OP_SILENT))
		return 0;
	return (ssize_t)write_header(request, rq.h.unique, r);
}

/* ---- the server and its roots ---- */

void fuse_server_free(struct fuse_server *server)
{
	if (!server)
		return;
	fuse_server_reset(server);
	for (unsigned int id = 0; id < SERVER_ROOTS_MAX; id++) {
		if (server->roots[id])
			(void)fuse_server_remove_root(server, id, NULL);
	}
	watch_release(server);
	locks_release(server);
	pthread_mutex_destroy(&server->sockets.mutex);
	handle_tables_release(server);
	node_tables_release(server);
	pthread_mutex_destroy(&server->mutex);
	free(server);
}

struct fuse_server *fuse_server_new(int proc_fd, unsigned int node_max, struct err *err)
{
	struct fuse_server *server = calloc(1, sizeof(*server));

	if (!server) {
		err_sys(err, ENOMEM, "file server");
		return NULL;
	}
	server->proc_fd = proc_fd;
	server->node_max = node_max > 64 ? node_max : 64;
	server->next_id = NODEID_FIRST;
	server->next_fh = FH_FIRST;
	pthread_mutex_init(&server->mutex, NULL);
	pthread_mutex_init(&server->sockets.mutex, NULL);
	if (node_tables_init(server) < 0 || handle_tables_init(server) < 0 ||
	    locks_init(server) < 0) {
		err_sys(err, ENOMEM, "file server");
		handle_tables_release(server);
		node_tables_release(server);
		free(server);
		return NULL;
	}
	watch_init(server);
	return server;
}

int fuse_server_add_root(struct fuse_server *server, unsigned int id, int fd, uint32_t flags,
			 struct err *err)
{
	cleanup_free struct root *root = NULL;
	struct node *node = NULL;
	struct statx stx;
	bool taken;
	int own, r;

	if (id >= SERVER_ROOTS_MAX)
		return err_set(err, EINVAL, "export %u: the highest number is %u", id,
			       SERVER_ROOTS_MAX - 1);
	r = fd_stat(fd, &stx);
	if (r < 0)
		return err_sys(err, -r, "export %u", id);
	if (!S_ISDIR(stx.stx_mode) && !S_ISREG(stx.stx_mode) && !S_ISSOCK(stx.stx_mode) &&
	    !S_ISFIFO(stx.stx_mode))
		return err_set(err, EINVAL, "export %u is a device", id);
	if (path_is_kernel_interface(fd))
		return err_set(err, EACCES, "export %u is an interface of the host's kernel", id);
	root = calloc(1, sizeof(*root));
	if (!root)
		return err_sys(err, ENOMEM, "export %u", id);
	root->id = id;
	root->flags = flags;
	root->refs = 1;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* the caller keeps its own on failure */
	if (own < 0)
		return err_sys(err, errno, "export %u", id);
	r = node_intern(server, root, NULL, NULL, &stx, own, &node);
	if (r < 0)
		return err_sys(err, -r, "export %u", id);
	node_hold(server, node);
	node_forget(server, node->id, 1);
	pthread_mutex_lock(&server->mutex);
	taken = server->roots[id];
	root->node = node;
	node->submount = node_is(node, S_IFDIR);
	node->foreign = !node->submount;
	if (!taken)
		server->roots[id] = root;
	pthread_mutex_unlock(&server->mutex);
	if (taken) {
		struct root *mine = take_ptr(&root);

		node_unhold(server, node);
		node_release(server, node); /* drops the node's reference to the root */
		free(mine);
		return err_set(err, EEXIST, "export %u exists", id);
	}
	node_release(server, node);
	(void)take_ptr(&root);
	close(fd);
	return 0;
}

int fuse_server_remove_root(struct fuse_server *server, unsigned int id, struct err *err)
{
	struct root *root = NULL;
	struct node *node;

	pthread_mutex_lock(&server->mutex);
	if (id < SERVER_ROOTS_MAX)
		root = take_ptr(&server->roots[id]);
	if (!root) {
		pthread_mutex_unlock(&server->mutex);
		return err_set(err, ENOENT, "there is no export %u", id);
	}
	root->removed = true;
	node = root->node;
	pthread_mutex_unlock(&server->mutex);
	locks_drop_root(server, root);
	handle_drop(server, root);
	node_drop_root(server, root);
	node_unhold(server, node);
	pthread_mutex_lock(&server->mutex);
	if (--root->refs == 0)
		free(root);
	pthread_mutex_unlock(&server->mutex);
	return 0;
}

void fuse_server_reset(struct fuse_server *server)
{
	watch_reset(server);
	locks_drop_all(server);
	sockets_drop_all(server);
	handle_drop(server, NULL);
	node_drop_all(server);
	pthread_mutex_lock(&server->mutex);
	server->initialised = false;
	pthread_mutex_unlock(&server->mutex);
}
