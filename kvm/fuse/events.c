/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control file ".caisson-events": how watchers in the guest come to see what the host has changed.
 *
 *   agent's thread                            file server
 *   read()  ───────── READ ─────────────────▶ kept until there is something
 *           ◀──────── SCAN ────────────────── the guest has used a watched export
 *   /proc/PID/fdinfo ─ WRITE {nodeid, ino, mask} … ▶ watch.c watches these on the host
 *           ◀──────── CREATE "0/dir" "x" ──── the host has made one
 *   mknod()  ──────── LOOKUP x ─────────────▶ "no such name": pretended
 *            ──────── MKNOD x ──────────────▶ "done": pretended. The guest's kernel raises IN_CREATE
 *
 * FUSE has no message that raises an event, but the guest's kernel raises one for each system call that succeeds. So the agent's thread makes
 * the call, and the server, which knows the thread by the pid in its requests, says yes and does nothing. All that this
 * thread sends and that could change something is pretended or refused, never done, whatever it is: a mistake, or a guest that
 * has been taken over, changes nothing on the host by it.
 *
 * What a pretended CREATE or RENAME leaves in the guest's cache is a ghost: an inode of a number that no table knows, in an entry that is not
 * believed for any time, so the next look-up finds the truth.
 *
 * Coherence: the look-up before a change of content brings the new size and time, and with it the guest's kernel drops its pages; the
 * pretended SETATTR's answer has a time that is never the file's, so that the next read asks again and drops what came between.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "kvm/fuse/internal.h"
#include "lib/log.h"

#define GHOST (1ull << 63)
#define GHOST_DIR (1ull << 62)
#define GHOST_VALID_S 60u
#define LIST_CHUNK 64u
#define PATH_BYTES 4096u
#define GAP_MIN_MS 250u
#define GAP_MAX_MS 30000u
#define GAP_FACTOR \
	100u /* the agent spends at most a hundredth of the time on looking for watches */

/* What a READ brings; the texts follow without a NUL, in this order */
struct event_record {
	uint32_t what, bits;
	uint16_t path_len, name_len, path2_len, name2_len;
};

/* What a WRITE brings; nodeid 0 ends the list */
struct event_watch {
	uint64_t nodeid, ino;
	uint32_t mask, reserved;
};

void events_attr(struct fuse_attr *attr)
{
	*attr = (struct fuse_attr){
		.ino = NODEID_EVENTS, .mode = S_IFREG | 0600, .nlink = 1, .blksize = WIRE_PAGE};
}

ssize_t events_getattr(struct req *rq)
{
	struct fuse_attr_out out = {0};

	events_attr(&out.attr);
	return req_reply(rq, &out, sizeof(out));
}

ssize_t events_open(struct req *rq)
{
	struct fuse_open_out out = {.fh = FH_EVENTS, .open_flags = FOPEN_DIRECT_IO};

	return req_reply(rq, &out, sizeof(out));
}

/* ---- telling ---- */

/* "<export>/a/b" of a node, written from its end; Return: where it begins in @path, or NULL */
static char *path_of(struct fuse_server *server, const struct node *node, char *path)
{
	char *p = path + PATH_BYTES - 1;

	*p = 0;
	pthread_mutex_lock(&server->mutex);
	while (node && node != node->root->node) {
		size_t len = node->name ? strlen(node->name) : 0;

		/* another host mount has a super block of its own in each of the guest's mount namespaces: out of the agent's reach */
		if (!node->parent || node->submount || (size_t)(p - path) < len + 16) {
			node = NULL;
			break;
		}
		p -= len;
		memcpy(p, node->name, len);
		*--p = '/';
		node = node->parent;
	}
	if (node) {
		char id[16];
		int n = snprintf(id, sizeof(id), "%u", node->root->id);

		p -= n;
		memcpy(p, id, (size_t)n);
	}
	pthread_mutex_unlock(&server->mutex);
	return node ? p : NULL;
}

static size_t record_of(struct fuse_server *server, const struct host_event *event, char *out,
			size_t room)
{
	char path[PATH_BYTES], path2[PATH_BYTES];
	const char *texts[4] = {path_of(server, event->dir, path), event->name, "", ""};
	struct event_record record = {.what = event->what, .bits = event->bits};
	size_t len = sizeof(record);

	if (event->dir2) {
		texts[2] = path_of(server, event->dir2, path2);
		texts[3] = event->name2;
	}
	if (!texts[0] || !texts[2])
		return 0;
	record.path_len = (uint16_t)strlen(texts[0]);
	record.name_len = (uint16_t)strlen(texts[1]);
	record.path2_len = (uint16_t)strlen(texts[2]);
	record.name2_len = (uint16_t)strlen(texts[3]);
	for (unsigned int i = 0; i < 4; i++) {
		size_t part = strlen(texts[i]);

		if (part > room - len)
			return 0;
		memcpy(out + len, texts[i], part);
		len += part;
	}
	memcpy(out, &record, sizeof(record));
	return len;
}

static void make_current(struct fuse_server *server, struct host_event *event)
{
	host_event_free(server, server->watch.current);
	server->watch.current = event;
}

bool events_answer(struct fuse_server *server, struct host_event *event)
{
	struct watch_table *t = &server->watch;
	char record[2 * PATH_BYTES + 1024];
	size_t len = record_of(server, event, record,
			       t->reader_room < sizeof(record) ? t->reader_room : sizeof(record));

	if (len == 0)
		return false;
	make_current(server, event);
	request_finish(take_ptr(&t->reader), t->reader_unique, 0, record, len);
	return true;
}

void events_scan(struct fuse_server *server)
{
	const struct event_record record = {.what = EVENT_SCAN};

	make_current(server, NULL);
	request_finish(take_ptr(&server->watch.reader), server->watch.reader_unique, 0, &record,
		       sizeof(record));
}

void events_interrupt(struct fuse_server *server, uint64_t unique)
{
	struct watch_table *t = &server->watch;

	pthread_mutex_lock(&t->mutex);
	if (t->reader && t->reader_unique == unique)
		request_finish(take_ptr(&t->reader), unique, -EINTR, NULL, 0);
	pthread_mutex_unlock(&t->mutex);
}

/* The one thread that raises is the first that reads */
static ssize_t wait_for_event(struct req *rq, size_t max)
{
	struct watch_table *t = &rq->server->watch;
	uint64_t spent;
	int r;

	if (rq->h.pid == 0 || (t->raiser && t->raiser != rq->h.pid))
		return -EPERM;
	if (t->reader)
		return -EBUSY;
	r = watch_start(rq->server);
	if (r < 0)
		return r;
	t->raiser = rq->h.pid;
	if (!t->current && t->sent_ms && !t->gap_ms) { /* it comes back from a scan */
		spent = (now_ms() - t->sent_ms) * GAP_FACTOR;
		t->gap_ms = spent < GAP_MIN_MS	 ? GAP_MIN_MS
			    : spent > GAP_MAX_MS ? GAP_MAX_MS
						 : spent;
	}
	make_current(rq->server, NULL);
	t->reader = rq->request;
	t->reader_unique = rq->h.unique;
	t->reader_room = max;
	if (t->nready > 0) {
		struct host_event *event;

		while (t->reader && (event = watch_next(rq->server)) != NULL)
			if (!events_answer(rq->server, event))
				host_event_free(rq->server, event);
	}
	if (t->reader)
		watch_wake(rq->server);
	return REQ_DEFERRED;
}

ssize_t events_read(struct req *rq)
{
	struct fuse_read_in in;
	size_t max;
	ssize_t r;

	if (!req_arg(rq, &in) || !req_end(rq))
		return -EINVAL;
	if (in.fh != FH_EVENTS)
		return -EBADF;
	max = in.size < rq->room ? in.size : rq->room;
	if (max < sizeof(struct event_record))
		return -EINVAL;
	pthread_mutex_lock(&rq->server->watch.mutex);
	r = wait_for_event(rq, max);
	pthread_mutex_unlock(&rq->server->watch.mutex);
	return r;
}

/* ---- the list ---- */

static void add_watch(struct fuse_server *server, const struct event_watch *watch)
{
	struct watch_table *t = &server->watch;
	struct node *node;
	int error, r = 0;

	node = node_acquire(server, watch->nodeid, &error);
	if (!node)
		return; /* of another file system that numbers its files alike, or forgotten */
	if ((node->root->flags & FUSE_ROOT_WATCH) &&
	    node->key.mnt_id == node->root->node->key.mnt_id &&
	    (node->foreign || node->key.ino == watch->ino) &&
	    (node_is(node, S_IFDIR) || node_is(node, S_IFREG)))
		r = watch_set(server, node, watch->mask);
	node_release(server, node);
	if (r < 0 && !t->told_full)
		log_warn("Not all of the guest's inotify watches are heard of the host's changes: "
			 "%s "
			 "(at most %u; fs.inotify.max_user_instances, max_user_watches)",
			 err_reason(-r), WATCHES_MAX);
	t->told_full = t->told_full || r < 0;
}

ssize_t events_write(struct req *rq)
{
	struct fuse_write_out out = {0};
	struct fuse_write_in in;
	struct event_watch list[LIST_CHUNK];
	size_t offset = sizeof(rq->h) + sizeof(in);

	if (!req_arg(rq, &in) || rq->room < sizeof(out) || in.size != rq->in_total - offset ||
	    in.size % sizeof(list[0]) || in.size > WATCHES_MAX * sizeof(list[0]))
		return -EINVAL;
	if (in.fh != FH_EVENTS)
		return -EBADF;
	if (rq->h.pid == 0 || rq->h.pid != rq->server->watch.raiser)
		return -EPERM;
	pthread_mutex_lock(&rq->server->watch.mutex);
	while (out.size < in.size) {
		size_t len = in.size - out.size < sizeof(list) ? in.size - out.size : sizeof(list);

		if (iov_copy_in(rq->request->in, rq->request->nin, offset + out.size, list, len) <
		    len)
			break;
		for (size_t i = 0; i < len / sizeof(list[0]); i++) {
			if (list[i].nodeid)
				add_watch(rq->server, &list[i]);
			else
				watch_sweep(rq->server);
		}
		out.size += (uint32_t)len;
	}
	watch_wake(rq->server); /* there may be an instance to listen to */
	pthread_mutex_unlock(&rq->server->watch.mutex);
	return req_reply(rq, &out, sizeof(out));
}

/* ---- pretending ---- */

static void ghost_attr(uint64_t id, struct fuse_attr *attr)
{
	bool dir = id & GHOST_DIR;

	*attr = (struct fuse_attr){.ino = id,
				   .mode = dir ? S_IFDIR | 0700 : S_IFREG | 0600,
				   .nlink = dir ? 2 : 1,
				   .blksize = WIRE_PAGE};
}

static ssize_t reply_ghost(struct req *rq, bool dir)
{
	struct fuse_entry_out out = {.attr_valid = GHOST_VALID_S};

	out.nodeid = GHOST | (dir ? GHOST_DIR : 0) | ++rq->server->watch.next_ghost;
	ghost_attr(out.nodeid, &out.attr);
	return req_reply(rq, &out, sizeof(out));
}

static ssize_t ghost_getattr(struct req *rq)
{
	struct fuse_attr_out out = {.attr_valid = GHOST_VALID_S};

	ghost_attr(rq->h.nodeid, &out.attr);
	return req_reply(rq, &out, sizeof(out));
}

/* The true attributes, but for a time that is never the file's */
static ssize_t pretend_setattr(struct req *rq)
{
	struct fuse_attr_out out = {0};
	struct statx stx = {0};
	int fd = node_fd(rq->server, rq->node), r;

	if (fd < 0)
		return fd;
	r = fd_stat(fd, &stx);
	if (r == 0)
		r = attr_fill(rq->server, rq->node, &stx, &out.attr);
	out.attr.mtimensec ^= 1;
	return r < 0 ? r : req_reply(rq, &out, sizeof(out));
}

/* The file is opened for reading: its close in the guest is what counts */
static ssize_t pretend_open(struct req *rq)
{
	struct fuse_open_out out = {0};
	int fd, r;

	if (!node_is(rq->node, S_IFREG) || rq->room < sizeof(out))
		return -EACCES;
	fd = node_fd(rq->server, rq->node);
	if (fd >= 0)
		fd = fd_reopen(rq->server, fd, O_RDONLY);
	if (fd < 0)
		return fd;
	r = handle_add(rq->server, rq->node, fd, false, NULL, &out.fh);
	if (r < 0)
		close_fd(&fd);
	return r < 0 ? r : req_reply(rq, &out, sizeof(out));
}

static bool is_place(const struct req *rq, const struct node *dir, const char *event_name,
		     const char *name)
{
	return dir && dir == rq->node && event_name[0] && strcmp(event_name, name) == 0;
}

/* LOOKUP of a name that the event is about; Return: false: as for anybody */
static bool pretend_lookup(struct req *rq, const struct host_event *event, const char *name,
			   ssize_t *r)
{
	if (event->dir2 && is_place(rq, event->dir2, event->name2, name))
		*r = -ENOENT;
	else if (!is_place(rq, event->dir, event->name, name) || event->what == EVENT_CONTENT)
		return false;
	else if (event->what == EVENT_CREATE)
		*r = -ENOENT;
	else
		*r = reply_ghost(rq, event->bits & IN_ISDIR);
	return true;
}

/* What makes, removes or renames just what the event says */
static ssize_t pretend_change(struct req *rq, const struct host_event *event)
{
	const char *args = (const char *)rq->args.data;
	bool dir = event->bits & IN_ISDIR;
	size_t len = buf_left(&rq->args), skip;

	if (event->dir != rq->node)
		return -EPERM;
	switch (rq->h.opcode) {
	case FUSE_MKNOD:
	case FUSE_MKDIR:
		skip = dir ? sizeof(struct fuse_mkdir_in) : sizeof(struct fuse_mknod_in);
		if (event->what == EVENT_CREATE && dir == (rq->h.opcode == FUSE_MKDIR) &&
		    len == skip + strlen(event->name) + 1 &&
		    !memcmp(args + skip, event->name, len - skip))
			return reply_ghost(rq, dir);
		return -EPERM;
	case FUSE_UNLINK:
	case FUSE_RMDIR:
		return event->what == EVENT_DELETE && dir == (rq->h.opcode == FUSE_RMDIR) &&
				       len == strlen(event->name) + 1 &&
				       !memcmp(args, event->name, len)
			       ? 0
			       : -EPERM;
	case FUSE_RENAME:
	case FUSE_RENAME2:
		return event->what == EVENT_RENAME ? 0 : -EPERM;
	default:
		return -EPERM;
	}
}

static bool pretend_with(struct req *rq, bool writes, ssize_t *r)
{
	struct watch_table *t = &rq->server->watch;
	struct host_event copy, *event; /* a guest that lies may read the next one meanwhile */
	const char *name = (const char *)rq->args.data;
	size_t len = buf_left(&rq->args);

	pthread_mutex_lock(&t->mutex);
	event = t->current ? memcpy(&copy, t->current, sizeof(copy)) : NULL;
	pthread_mutex_unlock(&t->mutex);
	if (rq->h.opcode == FUSE_LOOKUP)
		return event && len > 1 && !name[len - 1] && strlen(name) == len - 1 &&
		       pretend_lookup(rq, event, name, r);
	if (rq->h.opcode == FUSE_SETATTR)
		*r = pretend_setattr(rq);
	else if (rq->h.opcode == FUSE_OPEN)
		*r = pretend_open(rq);
	else if (writes || rq->h.opcode == FUSE_COPY_FILE_RANGE)
		*r = event ? pretend_change(rq, event) : -EPERM;
	else
		return false;
	return true;
}

/* The event stays: only this thread's next READ ends it */
bool pretend(struct req *rq, bool writes, ssize_t *r)
{
	if (rq->h.nodeid & GHOST) {
		*r = rq->h.opcode == FUSE_GETATTR ? ghost_getattr(rq) : -ENOENT;
		return true;
	}
	return rq->node && pretend_with(rq, writes, r);
}
