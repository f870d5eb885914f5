/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the file server, shared by the files of this folder only.
 *
 *   server.c  dispatcher, roots          node.c    inode table, descriptors, LRU       handle.c  open files
 *   lookup.c  LOOKUP, FORGET             attr.c    stat, setattr, statfs               create.c  everything that makes a name
 *   rename.c  UNLINK, RMDIR, RENAME      file.c    open, read, write, …                dir.c     directories
 *   xattr.c   extended attributes        special.c what a user namespace forbids       creds.c   whose file it becomes
 *   sockets.c Unix sockets behind which a host's program is
 *   watch.c   what the host changes      events.c  the file by which the agent hears of it, and its requests that only pretend
 *   lock.c    locks, waiters             control.c the file through which the agent ends waits
 *
 * Locking: `server->mutex` guards the tables (nodes, handles, roots) and is never held over a system call that can wait.
 * `server->locks.mutex` guards the locks and is taken first where both are needed. A node's descriptor is stable while
 * `users` > 0.
 */
#ifndef KVM_FUSE_INTERNAL_H
#define KVM_FUSE_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "kvm/fuse/server.h"
#include "kvm/fuse/wire.h"
#include "kvm/iov.h"
#include "lib/buf.h"
#include "lib/cleanup.h"
#include "lib/machine.h"

#define NODEID_TOP 1u	/* the synthetic directory of exports */
#define NODEID_LOCKS 2u /* the control file in it */
#define NODEID_SOCKETS \
	3u		 /* a directory in it, and in the root of each coherent export: sockets.c */
#define NODEID_EVENTS 4u /* events.c: what the host has changed */
#define NODEID_FIRST 16u /* ids of real nodes count up from here and are never used twice */
#define CONTROL_NAME ".caisson-locks"
#define SOCKETS_NAME MACHINE_SOCKETS_NAME
#define EVENTS_NAME ".caisson-events"
#define FH_CONTROL 1u
#define FH_TOP 2u
#define FH_EVENTS 3u
#define FH_FIRST 16u

#define SERVER_ROOTS_MAX 256u
#define SERVER_NODES_MAX \
	(1u << 21) /* inodes a guest may have looked up and not forgotten (about 250 bytes each) */
#define SERVER_HANDLES_MAX \
	(1u                \
	 << 20) /* open files; in practice RLIMIT_NOFILE says less, for which node descriptors are given up */
#define SERVER_DIR_BUFFERS_MAX 256u /* open directories that keep what was read ahead: 8 MiB */
#define SERVER_WAITERS_MAX \
	512u /* blocked lock requests; less than the virtqueue's entries, or unlocking could not pass */
#define SERVER_LOCKS_MAX 16384u		/* (inode, owner) pairs with locks, each a descriptor */
#define REQ_DEFERRED ((ssize_t)-100000) /* from a handler: the answer comes later */

struct root {
	unsigned int id;
	uint32_t flags;	   /* FUSE_ROOT_* */
	unsigned int refs; /* the table's and one per node; guarded by server->mutex */
	bool removed;	   /* guarded by server->mutex; its nodes answer ESTALE */
	struct node *node; /* held while in the table */
};

struct node_key {
	const struct root *root;
	uint64_t dev, ino, mnt_id;
	int64_t btime_sec;
	uint32_t btime_nsec;
	uint32_t type; /* S_IFMT bits on the host */
};

/* One host inode that the guest knows. All guarded by server->mutex except `fd` while users > 0, `key` but its
 * birth time, `id`, `root`. */
struct node {
	uint64_t id; /* nodeid */
	struct node_key key;
	struct root *root;		 /* referenced */
	struct node *next_id, *next_key; /* hash chains */
	struct node *lru_prev,
		*lru_next; /* among the open and closable ones; NULL when not in the list */
	struct node
		*parent;    /* held; NULL for a root, a nameless file, or a name known to be gone */
	char *name;	    /* owned; name in @parent, for reopening */
	uint64_t nlookup;   /* what the guest must forget */
	unsigned int users; /* requests under way: keeps the descriptor */
	unsigned int holds; /* children, handles, locks, roots: keeps the node */
	int fd;		    /* O_PATH, or -1 */
	bool in_lru;
	bool own_socket; /* made by the guest: there is no host's program behind it */
	bool submount;	 /* announced with FUSE_ATTR_SUBMOUNT */
	bool foreign; /* a file mounted on a file: its inode number is not its directory's device's */
};

struct handle {
	uint64_t fh;
	struct handle *next; /* hash chain */
	struct node *node;   /* held */
	int fd;		     /* owned */
	unsigned int refs;   /* the table's and one per request; guarded by server->mutex */
	bool is_dir;
	bool writable;
	struct dir_stream *dir; /* owned; directories only */
};

struct table { /* of nodes by id, by key; of handles */
	void **buckets;
	size_t nbuckets, count;
};

#define LOCK_BUCKETS 256u
struct lock_table {
	pthread_mutex_t mutex;
	pthread_cond_t wake;			 /* CLOCK_MONOTONIC; the poller waits here */
	struct lock_owner *owners[LOCK_BUCKETS]; /* by node */
	unsigned int nowners;
	struct lock_waiter *waiters; /* oldest first */
	unsigned int nwaiters;
	struct fuse_request *watch; /* the agent's deferred READ of the control file, or NULL */
	uint64_t watch_unique;
	uint32_t watch_max;   /* entries it has room for */
	uint64_t reported_ms; /* when the last READ was answered */
	pthread_t poller;
	bool poller_runs, stop;
	bool delivering;	  /* the poller is answering, without the mutex */
	pthread_cond_t delivered; /* it has answered */
};

/* A Unix socket of the host's that the guest knows; see sockets.c */
struct socket_entry {
	uint32_t id; /* 0: free; never used twice */
	uint64_t nodeid;
	uint64_t used; /* counts look-ups, for finding the one not used longest */
	bool asked;    /* on_socket was called, and there was no answer yet */
	bool fixed;    /* an export itself, which is looked up once: it makes no room */
};
struct socket_waiter {
	uint32_t id; /* 0: free */
	struct fuse_request *request;
	uint64_t unique;
	struct fuse_entry_out out;
};
#define SERVER_SOCKETS_MAX 128u
#define SERVER_SOCKET_WAITERS_MAX 32u
struct socket_table {
	pthread_mutex_t mutex; /* taken before server->mutex */
	int (*on_socket)(void *arg, uint32_t id, unsigned int root, int fd);
	void *arg;
	uint32_t next_id;
	uint64_t clock;
	struct socket_entry entries[SERVER_SOCKETS_MAX];
	struct socket_waiter waiters[SERVER_SOCKET_WAITERS_MAX];
};

#define WATCHES_MAX 8192u /* inodes watched on the host for one guest */
#define EVENTS_MAX 4096u  /* changes that the guest has not been told yet */
#define WATCH_BUCKETS 1024u

/* A change on the host, on its way to the agent */
enum host_event_what { EVENT_SCAN = 1, EVENT_CONTENT, EVENT_CREATE, EVENT_DELETE, EVENT_RENAME };
struct host_event {
	uint32_t what,
		bits;	 /* enum host_event_what; IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_ISDIR */
	uint32_t cookie; /* DELETE that may yet become RENAME: 0 no */
	struct node *dir, *dir2; /* held; dir2: RENAME's new one, or NULL */
	char name[256], name2[256];
};

/* A request of the guest's own that changes something watched: what the host tells of it meanwhile is an echo */
struct echo {
	struct echo *next;
	uint32_t mask; /* IN_*; 0: not in the list */
	const struct node *dir[3], *self[2];
	const char *name[3];
	char place[256];
};

/* Guarded by its mutex, which is taken before server->mutex; but for the atomics and the thread's own */
struct watch_table {
	pthread_mutex_t mutex;
	int inotify_fd, wake_fd; /* owned; -1 before the first use */
	pthread_t thread;
	bool runs, stop, told_full, told_lost;
	_Atomic unsigned int count; /* watches */
	struct watch *by_wd[WATCH_BUCKETS], *by_node[WATCH_BUCKETS];
	unsigned int generation;	     /* of the agent's list */
	struct host_event *ring[EVENTS_MAX]; /* owned; oldest at head */
	unsigned int head, npending, nready;
	struct host_event *current;  /* what the agent is raising now */
	_Atomic uint32_t raiser;     /* its thread; 0 before its first READ */
	struct fuse_request *reader; /* its deferred READ, or NULL */
	uint64_t reader_unique;
	_Atomic uint64_t next_ghost;
	size_t reader_room;
	_Atomic bool activity; /* the guest has used a watched export since the last scan */
	uint64_t active_ms, sent_ms, gap_ms, trailing_ms; /* of scans; 0: none */
	struct echo *echoes;
};

struct fuse_server {
	pthread_mutex_t mutex;
	int proc_fd; /* borrowed */
	unsigned int node_max;
	struct table by_id, by_key, handles;
	struct node *lru_head, *lru_tail; /* least recently used first */
	unsigned int nopen;		  /* nodes with a descriptor */
	uint64_t next_id, next_fh;
	struct root *roots[SERVER_ROOTS_MAX]; /* referenced */
	bool initialised;		      /* INIT was answered; guarded by mutex */
	bool submounts; /* the guest knows FUSE_ATTR_SUBMOUNT; set by INIT, before any other request */
	unsigned int ndir_buffers; /* atomic */
	struct lock_table locks;
	struct socket_table sockets;
	struct watch_table watch;
};

/* One request being served; lives on its worker's stack */
struct req {
	struct fuse_server *server;
	struct fuse_request *request;
	struct fuse_in_header h; /* the only copy that is looked at */
	struct buf_reader
		args;	 /* a copy of what follows the header; of WRITE its fixed part only */
	size_t in_total; /* readable bytes, header included */
	size_t room;	 /* writable bytes after the out header */
	struct node *
		node; /* the node of h.nodeid, in use; NULL for the top directory and the control file */
};

typedef ssize_t req_handler(struct req *rq);

/* ---- server.c: decoding and answering ---- */

/** req_arg() - The next @len bytes of arguments copied to @out; false when the request is too short */
#define req_arg(rq, out) buf_copy(&(rq)->args, (out), sizeof(*(out)))
/**
 * req_name() - The next argument as one path component
 * Return: 0, -EINVAL ("", ".", "..", a slash, not terminated) or -ENAMETOOLONG; @name points into the arguments.
 */
int req_name(struct req *rq, const char **name);
/** req_string() - The next NUL-terminated argument of 1 to @max bytes; Return: 0, -EINVAL or -ENAMETOOLONG */
int req_string(struct req *rq, size_t max, const char **string);
/** req_end() - True when all arguments were read: a longer request than its operation allows is refused */
bool req_end(const struct req *rq);
/** req_reply() - Put an answer of @len bytes; Return: @len or -EINVAL when the guest left no room */
ssize_t req_reply(struct req *rq, const void *data, size_t len);
/** req_out_iov() - The writable buffers after the header, at most @len bytes, in @iov (room for nout); Return: their number */
unsigned int req_out_iov(const struct req *rq, size_t len, struct iovec *iov);
/** req_in_iov() - The readable buffers from byte @skip on, at most @len bytes */
unsigned int req_in_iov(const struct req *rq, size_t skip, size_t len, struct iovec *iov);
/** request_finish() - Write the header (and @data) of a deferred request's answer and complete it */
void request_finish(struct fuse_request *request, uint64_t unique, int error, const void *data,
		    size_t len);

/* ---- node.c ---- */

struct statx;
int node_tables_init(struct fuse_server *server);
void node_tables_release(struct fuse_server *server);
/** node_acquire() - The node of @id in use, or NULL with *@error -ESTALE (removed root) or -ENOENT; node_release() it */
struct node *node_acquire(struct fuse_server *server, uint64_t id, int *error);
/** node_use() - Use a node that is in use or held; node_release() it; false: its root was removed */
bool node_use(struct fuse_server *server, struct node *node);
void node_release(struct fuse_server *server, struct node *node);
/** node_hold() / node_unhold() - Keep the node, not its descriptor */
void node_hold(struct fuse_server *server, struct node *node);
void node_unhold(struct fuse_server *server, struct node *node);
/** node_fd() - The O_PATH descriptor of a node in use, reopened if need be; Return: it (borrowed), or -errno (-ESTALE: gone) */
int node_fd(struct fuse_server *server, struct node *node);
/**
 * node_intern() - The node for what @stx describes, made if it is new; in use and with one lookup counted
 * @parent:	Directory it was found in (in use), or NULL for a file without a name
 * @fd:		Its O_PATH descriptor, owned from now on, also on failure; -1: opened when needed
 * Return: 0 or -ENOMEM, -ENFILE; -EACCES for a mount of the host kernel's own interfaces, and for any mount without a descriptor
 */
int node_intern(struct fuse_server *server, struct root *root, struct node *parent,
		const char *name, const struct statx *stx, int fd, struct node **out);
/** node_forget() - The guest forgets @n lookups of @id */
void node_forget(struct fuse_server *server, uint64_t id, uint64_t n);
/** node_of() - The known node of what @stx describes, in use, or NULL */
struct node *node_of(struct fuse_server *server, struct root *root, const struct statx *stx);
/** node_set_place() - @node is now called @name in @parent (NULL: has no name any more) */
void node_set_place(struct fuse_server *server, struct node *node, struct node *parent,
		    const char *name);
/** node_lose_name() - @node is no longer called @name in @dir: it keeps the place it has under another name, unless that was the @last */
void node_lose_name(struct fuse_server *server, struct node *node, struct node *dir,
		    const char *name, bool last);
/** node_keep_open() - Make sure that @node, about to lose its name, has a descriptor; Return: 0 or -errno */
int node_keep_open(struct fuse_server *server, struct node *node);
/** node_drop_all() - The guest forgets everything */
void node_drop_all(struct fuse_server *server);
/** node_drop_root() - Close the descriptors of a removed root's nodes; of those in use, node_release() does */
void node_drop_root(struct fuse_server *server, const struct root *root);
/** fd_stat() - statx of an open descriptor with all that a key needs; Return: 0 or -errno */
int fd_stat(int fd, struct statx *stx);
int name_stat(int dirfd, const char *name, struct statx *stx);
/** fd_open() - openat() that makes room in the descriptor table when it is full; Return: fd or -errno */
int fd_open(struct fuse_server *server, int dirfd, const char *name, int flags, mode_t mode);
/** fd_reopen() - Open what O_PATH descriptor @fd refers to with @flags; the caller has checked the type */
int fd_reopen(struct fuse_server *server, int fd, int flags);

static inline bool node_is(const struct node *node, mode_t type)
{
	return node->key.type == type;
}

/* ---- handle.c ---- */

int handle_tables_init(struct fuse_server *server);
void handle_tables_release(struct fuse_server *server);
/**
 * handle_add() - Remember an open file
 * @node:	In use by the caller; held by the handle
 * @fd, @dir:	Owned by the handle on success
 * Return: 0 with *@fh, or -ENFILE, -ENOMEM, -ESTALE (removed root)
 */
int handle_add(struct fuse_server *server, struct node *node, int fd, bool writable,
	       struct dir_stream *dir, uint64_t *fh);
/** handle_acquire() - The open file @fh of @node, or NULL: EBADF */
struct handle *handle_acquire(struct fuse_server *server, uint64_t fh, const struct node *node,
			      bool is_dir);
void handle_release(struct fuse_server *server, struct handle *handle);
/** handle_remove() - RELEASE: forget @fh; Return: 0 or -EBADF */
int handle_remove(struct fuse_server *server, uint64_t fh, const struct node *node, bool is_dir);
/** handle_drop() - Forget the open files of @root, or all if it is NULL */
void handle_drop(struct fuse_server *server, const struct root *root);
/** dir_stream_free() - dir.c: what a directory handle keeps between READDIRs; NULL is allowed */
void dir_stream_free(struct fuse_server *server, struct dir_stream *dir);

/* ---- attr.c ---- */

/** attr_fill() - Host's statx to the guest's attributes, with what special.c stores; Return: 0 or -errno */
int attr_fill(struct fuse_server *server, struct node *node, const struct statx *stx,
	      struct fuse_attr *attr);
/** attr_entry() - An entry_out for an interned node */
int attr_entry(struct fuse_server *server, struct node *node, const struct statx *stx,
	       struct fuse_entry_out *out);
/**
 * attr_modify_begin() - Before file @fd's content changes: what becomes of its setuid and setgid bits
 * @kill:	The one who changes it has no CAP_FSETID: take them off now
 * @restore:	Set to the mode to put back afterwards, or 0
 */
int attr_modify_begin(int proc_fd, int fd, bool kill, mode_t *restore);
void attr_modify_end(int proc_fd, int fd, mode_t restore);

/* ---- creds.c ---- */

/** creds_thread_init() - Once per thread: an own umask and working directory (@proc_fd); Return: 0 or -errno */
int creds_thread_init(int proc_fd);
/** creds_enter() - Make what is created next belong to @uid and @gid, with @mask as umask; Return: 0 or -errno */
int creds_enter(uint32_t uid, uint32_t gid, uint32_t mask);
void creds_leave(void);

/* ---- special.c ---- */

struct special {
	mode_t type; /* S_IFCHR, S_IFBLK */
	uint32_t major, minor;
};
/** special_read() - What the empty regular file @fd (O_PATH) stands for; Return: 1 filled, 0 it is a plain file */
int special_read(int fd, struct special *out);
/** special_make() - Make @name in @dirfd such a file with @mode, under the current identity; Return: 0 or -errno */
int special_make(struct fuse_server *server, int dirfd, const char *name, mode_t mode,
		 const struct special *special);
/** special_mark_dir() - Remember that a directory may contain such files: its READDIR looks closer */
void special_mark_dir(int dirfd);
bool special_dir_is_marked(int dirfd);
/**
 * special_xattr_name() - Where the guest's attribute @name is kept on the host
 * @out:	XATTR_NAME_MAX + 1 bytes
 * Return: 0, -EPERM (hidden or foreign prefix), -EOPNOTSUPP, -ENAMETOOLONG
 */
int special_xattr_name(const char *name, char *out);
/** special_xattr_guest_name() - The guest's name for host attribute @name (may point into it), or NULL when it is hidden */
const char *special_xattr_guest_name(const char *name);

/* ---- lock.c, lockwait.c, control.c ---- */

/* Who holds locks on one inode: an open file description of the host per guest owner */
struct lock_owner {
	struct lock_owner *next;
	struct node *node; /* held */
	uint64_t owner;	   /* the guest kernel's number: a process, or an open file */
	bool is_flock;
	int fd;	     /* owned */
	uint64_t fh; /* through which open file it last locked */
	uint32_t pid;
};

/* A lock request as it came, and, when it waits, the waiter */
struct lock_waiter {
	struct lock_waiter *next;
	struct node *node; /* in use, or held once it waits */
	uint64_t owner, fh;
	bool is_flock;
	struct fuse_file_lock lk;
	struct fuse_request *request; /* the transport's, until finished */
	uint64_t unique;
	uint32_t pid;
	int result;
	uint64_t since_ms, next_ms;
	uint32_t delay_ms;
};

/* One waiter, as the control file tells it (docs/files.md) */
struct control_waiter {
	uint64_t unique;
	uint32_t pid; /* thread id in the pid namespace of the guest's mount */
	uint32_t reserved;
};
struct control_report {
	struct fuse_request *request; /* NULL: nothing is due */
	uint64_t unique;
	unsigned int count;
	struct control_waiter waiters[SERVER_WAITERS_MAX];
};

int locks_init(struct fuse_server *server);
/** locks_drop_all() - Forget all locks and end all waits with ENOTCONN; when it returns no answer of the poller's is under way */
void locks_drop_all(struct fuse_server *server);
/** locks_drop_root() - Forget the locks of a removed root and end its waits with ESTALE */
void locks_drop_root(struct fuse_server *server, const struct root *root);
/** locks_release() - As locks_drop_all(), and end the poller */
void locks_release(struct fuse_server *server);
/** locks_flush() - A process closed a descriptor of @node: its POSIX locks there end */
void locks_flush(struct fuse_server *server, struct node *node, uint64_t owner);
/** locks_close() - Open file @fh is gone: what was locked through it ends */
void locks_close(struct fuse_server *server, struct node *node, uint64_t fh);
/** lock_try() - Take, change or drop a lock without waiting; locks.mutex held; Return: 0, -EAGAIN or -errno */
int lock_try(struct fuse_server *server, const struct lock_waiter *lock);
/** lock_deadlocks() - Would waiting for @lock close a circle of waiting owners? locks.mutex held */
bool lock_deadlocks(struct fuse_server *server, const struct lock_waiter *lock);

/** waiters_add() - Keep @lock (copied) until it can be had; locks.mutex held; Return: 0 or -ENOLCK, -ENOMEM */
int waiters_add(struct fuse_server *server, const struct lock_waiter *lock);
/** waiters_take() - Take the waiters of @root (all if NULL) off the list; locks.mutex held */
struct lock_waiter *waiters_take(struct fuse_server *server, const struct root *root);
/** waiters_retry() - A lock on @node ended: take the waiters that can go on off the list; locks.mutex held */
struct lock_waiter *waiters_retry(struct fuse_server *server, const struct node *node);
/** waiters_finish() - Answer and free a list of them; no mutex held */
void waiters_finish(struct fuse_server *server, struct lock_waiter *list);
/** waiters_cancel() - End the wait of request @unique with EINTR; Return: 0 or -ENOENT */
int waiters_cancel(struct fuse_server *server, uint64_t unique);
/** waiters_wake() - There is something new for the poller; starts it; locks.mutex held; Return: 0 or -errno */
int waiters_wake(struct fuse_server *server);
uint64_t now_ms(void);

/** control_due() - When the pending READ may be answered, in now_ms() time; UINT64_MAX: not yet; locks.mutex held */
uint64_t control_due(const struct fuse_server *server);
/** control_take() - Fill @out if it is due; locks.mutex held */
void control_take(struct fuse_server *server, uint64_t now, struct control_report *out);
/** control_interrupt() - End the pending READ if it is request @unique */
void control_interrupt(struct fuse_server *server, uint64_t unique);
void control_attr(struct fuse_server *server, struct fuse_attr *attr);

/* ---- sockets.c ---- */
/** sockets_reply() - Answer a LOOKUP with @out; if @node is a socket of the host's, once it is known whether it is relayed */
ssize_t sockets_reply(struct req *rq, struct node *node, struct fuse_entry_out *out);
/** sockets_entry() - Is @name the agent's directory? Then @out is its entry */
bool sockets_entry(const char *name, struct fuse_entry_out *out);
/** sockets_handle() - An operation on that directory */
ssize_t sockets_handle(struct req *rq);
/** sockets_drop_all() - Forget all, and end all waits */
void sockets_drop_all(struct fuse_server *server);
/** node_know() - The node of @id if the guest knows it, in use and with one more lookup counted; or NULL */
struct node *node_know(struct fuse_server *server, uint64_t id);
/* ---- watch.c, events.c ---- */

void watch_init(struct fuse_server *server);
/** watch_reset() - Forget all watches and events, and who raises them */
void watch_reset(struct fuse_server *server);
/** watch_release() - As watch_reset(), and end the thread */
void watch_release(struct fuse_server *server);
/** watch_start() - Start the thread; watch.mutex held; Return: 0 or -errno */
int watch_start(struct fuse_server *server);
void watch_wake(struct fuse_server *server);
/** watch_set() - Watch @node (in use), for what @mask of the guest's inotify says; watch.mutex held; Return: 0 or -errno */
int watch_set(struct fuse_server *server, struct node *node, uint32_t mask);
/** watch_sweep() - The list is complete: drop what is not in it; watch.mutex held */
void watch_sweep(struct fuse_server *server);
/** watch_next() - Take the oldest event that may be told, or NULL; watch.mutex held; owned by the caller */
struct host_event *watch_next(struct fuse_server *server);
void host_event_free(struct fuse_server *server, struct host_event *event);
/** echo_begin() - Before @rq is served; echo_end() afterwards, always */
void echo_begin(struct req *rq, struct echo *echo);
void echo_end(struct fuse_server *server, struct echo *echo);
/** events_answer() - Write @event as the answer to the deferred READ and keep it as the current one; false: nobody can be told of it */
bool events_answer(struct fuse_server *server, struct host_event *event);
/** events_scan() - Answer the deferred READ: look for watches */
void events_scan(struct fuse_server *server);
/** events_interrupt() - End the deferred READ if it is request @unique */
void events_interrupt(struct fuse_server *server, uint64_t unique);
void events_attr(struct fuse_attr *attr);
/** pretend() - Serve a request of the agent's raising thread that must not act; Return: true when it was, with *@r its answer */
bool pretend(struct req *rq, bool writes, ssize_t *r);

/* ---- handlers ---- */
req_handler do_lookup, do_forget, do_batch_forget, do_getattr, do_setattr, do_statx, do_readlink,
	do_symlink, do_mknod, do_mkdir, do_unlink, do_rmdir, do_rename, do_rename2, do_link,
	do_open, do_read, do_write, do_statfs, do_release, do_fsync, do_setxattr, do_getxattr,
	do_listxattr, do_removexattr, do_flush, do_opendir, do_readdir, do_readdirplus,
	do_releasedir, do_fsyncdir, do_getlk, do_setlk, do_setlkw, do_create, do_tmpfile,
	do_fallocate, do_lseek, do_copy_file_range, do_syncfs;
/* the synthetic top directory and the control file */
req_handler top_lookup, top_getattr, top_opendir, top_readdir, top_readdirplus, top_releasedir,
	top_statfs;
req_handler control_open, control_read, control_write, control_getattr;
req_handler events_open, events_read, events_write, events_getattr;

#endif
