/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host changes where the guest watches: inotify on the host, for exactly the inodes that guest processes watch.
 *
 *   the agent's list (events.c) ──▶ watch_set() ──▶ inotify ──▶ thread, every 10 ms at most ──▶ pending events ──▶ events.c
 *
 * A watch is always on a node that the guest knows, below an export that is to be watched, in the export's own mount. The instance
 * is made with the first watch: a host has few of them (fs.inotify.max_user_instances).
 *
 * Echoes. What the guest changes itself it has seen already. The host's kernel queues an event before the system call that causes it
 * returns, so while a request of the guest's is served (echo_begin() to echo_end(), which reads all that is queued) events of its kind
 * on its name are dropped. One that somebody else caused in that moment is dropped with them; but the guest raises its own
 * event after the answer, so its watchers look again, later.
 *
 * Bounds: WATCHES_MAX, EVENTS_MAX, NREADY_MAX events told per 10 ms; equal changes of content are told once.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"
#include "lib/log.h"

#define TICK_MS 10u
#define NREADY_MAX 128u
#define LOOK_BACK 64u /* pending events that a new one is compared with */
#define SETTLE_MS 50u /* from the guest's look-up to the watch that it is for */
#define TRAILING_MS 2000u
#define CONTENT (IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE)
#define NAMES (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)

struct watch {
	struct watch *next_wd, *next_node;
	struct node *node; /* held */
	int wd;
	uint32_t mask; /* what the guest asks for, of CONTENT */
	unsigned int generation;
};

static struct watch **node_slot(struct watch_table *t, const struct node *node)
{
	struct watch **slot = &t->by_node[node->id % WATCH_BUCKETS];

	while (*slot && (*slot)->node != node)
		slot = &(*slot)->next_node;
	return slot;
}

static struct watch *wd_first(struct watch_table *t, int wd)
{
	return t->by_wd[(unsigned int)wd % WATCH_BUCKETS];
}

/* ---- events ---- */

void host_event_free(struct fuse_server *server, struct host_event *event)
{
	if (!event)
		return;
	node_unhold(server, event->dir);
	if (event->dir2)
		node_unhold(server, event->dir2);
	free(event);
}

static struct host_event *pending(struct watch_table *t, unsigned int back)
{
	return t->ring[(t->head + t->npending - 1 - back) % EVENTS_MAX];
}

static void event_add(struct fuse_server *server, uint32_t what, uint32_t bits, struct node *dir,
		      const char *name, uint32_t cookie)
{
	struct watch_table *t = &server->watch;
	struct host_event *event;

	for (unsigned int i = 0; i < t->npending && i < LOOK_BACK; i++) {
		struct host_event *old = pending(t, i);

		if (old->dir != dir || strcmp(old->name, name) != 0 || old->dir2)
			continue;
		if (old->what != what || what != EVENT_CONTENT)
			break;
		old->bits |= bits;
		return;
	}
	event = t->npending < EVENTS_MAX ? calloc(1, sizeof(*event)) : NULL;
	if (!event) {
		if (!t->told_lost)
			log_warn("More than %u changes of the host's files wait to be told to the "
				 "guest: its inotify watchers miss some",
				 EVENTS_MAX);
		t->told_lost = true;
		return;
	}
	event->what = what;
	event->bits = bits;
	event->cookie = cookie;
	event->dir = dir;
	(void)snprintf(event->name, sizeof(event->name), "%s", name);
	node_hold(server, dir);
	t->ring[(t->head + t->npending++) % EVENTS_MAX] = event;
}

/* MOVED_TO: with the MOVED_FROM that came just before it is a rename, alone a file that appears */
static void event_moved_to(struct fuse_server *server, uint32_t bits, struct node *dir,
			   const char *name, uint32_t cookie)
{
	struct watch_table *t = &server->watch;

	for (unsigned int i = 0; i < t->npending && i < LOOK_BACK; i++) {
		struct host_event *old = pending(t, i);

		if (old->what != EVENT_DELETE || old->cookie != cookie ||
		    old->dir->root != dir->root)
			continue;
		old->what = EVENT_RENAME;
		old->dir2 = dir;
		(void)snprintf(old->name2, sizeof(old->name2), "%s", name);
		node_hold(server, dir);
		return;
	}
	event_add(server, EVENT_CREATE, bits, dir, name, 0);
}

struct host_event *watch_next(struct fuse_server *server)
{
	struct watch_table *t = &server->watch;
	struct host_event *event;

	if (t->nready == 0 || t->npending == 0)
		return NULL;
	event = t->ring[t->head];
	t->head = (t->head + 1) % EVENTS_MAX;
	t->npending--;
	t->nready--;
	return event;
}

/* ---- echoes ---- */

static bool is_echo(const struct watch_table *t, const struct node *node, const char *name,
		    uint32_t mask)
{
	for (const struct echo *e = t->echoes; e; e = e->next) {
		if (!(e->mask & mask))
			continue;
		for (unsigned int i = 0; name[0] && i < 3; i++)
			if (e->dir[i] == node && strcmp(e->name[i], name) == 0)
				return true;
		for (unsigned int i = 0; !name[0] && i < 2; i++)
			if (e->self[i] == node)
				return true;
	}
	return false;
}

/* ---- what inotify says; watch.mutex held ---- */

static void forget_watch(struct fuse_server *server, struct watch *w)
{
	struct watch_table *t = &server->watch;
	struct watch **slot = node_slot(t, w->node);

	*slot = w->next_node;
	for (slot = &t->by_wd[(unsigned int)w->wd % WATCH_BUCKETS]; *slot != w;)
		slot = &(*slot)->next_wd;
	*slot = w->next_wd;
	node_unhold(server, w->node);
	free(w);
	t->count--;
}

/* Of the inode itself: told by the name under which the guest knows it, so that it is one with what its directory's watch says */
static void self_event(struct fuse_server *server, struct node *node, uint32_t bits)
{
	struct node *parent;
	char name[256] = "";

	pthread_mutex_lock(&server->mutex);
	parent = node == node->root->node ? node : node->parent;
	if (parent && parent != node)
		(void)snprintf(name, sizeof(name), "%s", node->name);
	if (parent)
		parent->holds++;
	pthread_mutex_unlock(&server->mutex);
	if (!parent)
		return;
	event_add(server, EVENT_CONTENT, bits, parent, name, 0);
	node_unhold(server, parent);
}

static void one_event(struct fuse_server *server, struct watch *w, const struct inotify_event *e,
		      const char *name)
{
	uint32_t dir = e->mask & IN_ISDIR, content = e->mask & CONTENT & w->mask;

	if (is_echo(&server->watch, w->node, name, e->mask))
		return;
	if (content && name[0])
		event_add(server, EVENT_CONTENT, content | dir, w->node, name, 0);
	else if (content)
		self_event(server, w->node, content | dir);
	if (!name[0])
		return;
	if (e->mask & IN_CREATE)
		event_add(server, EVENT_CREATE, dir, w->node, name, 0);
	if (e->mask & (IN_DELETE | IN_MOVED_FROM))
		event_add(server, EVENT_DELETE, dir, w->node, name, e->cookie);
	if (e->mask & IN_MOVED_TO)
		event_moved_to(server, dir, w->node, name, e->cookie);
}

static void take_event(struct fuse_server *server, const struct inotify_event *e)
{
	struct watch_table *t = &server->watch;
	struct watch *w, *next;

	if (e->mask & IN_Q_OVERFLOW) {
		if (!t->told_lost)
			log_warn("The host's inotify queue has overflowed: watchers in the guest "
				 "miss changes");
		t->told_lost = true;
		return;
	}
	for (w = wd_first(t, e->wd); w; w = next) {
		next = w->next_wd;
		if (w->wd != e->wd)
			continue;
		if (e->mask & IN_IGNORED)
			forget_watch(server, w);
		else
			one_event(server, w, e, e->len ? e->name : "");
	}
}

/* Reads what is queued now, not what comes meanwhile */
static void drain(struct fuse_server *server)
{
	uint8_t buffer[16384] __attribute__((aligned(8)));
	int queued = 0;

	if (server->watch.inotify_fd < 0 || ioctl(server->watch.inotify_fd, FIONREAD, &queued) < 0)
		return;
	while (queued > 0) {
		ssize_t n = read(server->watch.inotify_fd, buffer, sizeof(buffer));

		if (n <= 0)
			return;
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(buffer + at);

			take_event(server, e);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
		queued -= (int)n;
	}
}

/* ---- the list of watches; watch.mutex held ---- */

static uint32_t host_mask(struct fuse_server *server, const struct node *node, int wd,
			  uint32_t mask)
{
	for (struct watch *w = wd < 0 ? NULL : wd_first(&server->watch, wd); w; w = w->next_wd)
		if (w->wd == wd)
			mask |= w->mask;
	return mask | (node_is(node, S_IFDIR) ? NAMES | IN_ONLYDIR : 0) | IN_DELETE_SELF;
}

static int add_to_host(struct fuse_server *server, struct node *node, uint32_t mask)
{
	int fd = node_fd(server, node), wd;
	char name[16];

	if (fd < 0)
		return fd;
	(void)snprintf(name, sizeof(name), "%d", fd); /* the thread's directory is /proc/self/fd */
	wd = inotify_add_watch(server->watch.inotify_fd, name, host_mask(server, node, -1, mask));
	if (wd < 0)
		return -errno;
	/* one inode in two exports is one watch of the host's */
	if (inotify_add_watch(server->watch.inotify_fd, name, host_mask(server, node, wd, mask)) <
	    0)
		return -errno;
	return wd;
}

int watch_set(struct fuse_server *server, struct node *node, uint32_t mask)
{
	struct watch_table *t = &server->watch;
	struct watch *w = *node_slot(t, node);
	int wd;

	mask &= CONTENT;
	if (w && w->generation == t->generation)
		mask |= w->mask;
	if (w && w->mask == mask) {
		w->generation = t->generation;
		return 0;
	}
	if (!w && t->count >= WATCHES_MAX)
		return -ENOSPC;
	if (t->inotify_fd < 0)
		t->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (t->inotify_fd < 0)
		return -errno;
	wd = add_to_host(server, node, mask);
	if (wd < 0)
		return wd;
	if (w) {
		w->mask = mask;
		w->generation = t->generation;
		return 0;
	}
	w = malloc(sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = (struct watch){.node = node, .wd = wd, .mask = mask, .generation = t->generation};
	node_hold(server, node);
	w->next_node = t->by_node[node->id % WATCH_BUCKETS];
	t->by_node[node->id % WATCH_BUCKETS] = w;
	w->next_wd = wd_first(t, wd);
	t->by_wd[(unsigned int)wd % WATCH_BUCKETS] = w;
	t->count++;
	return 0;
}

static void drop_watch(struct fuse_server *server, struct watch *w)
{
	int wd = w->wd;

	forget_watch(server, w);
	for (w = wd_first(&server->watch, wd); w; w = w->next_wd)
		if (w->wd == wd)
			return;
	(void)inotify_rm_watch(server->watch.inotify_fd, wd);
}

static void drop_watches(struct fuse_server *server, bool all)
{
	struct watch_table *t = &server->watch;

	for (unsigned int i = 0; i < WATCH_BUCKETS; i++)
		for (struct watch *w = t->by_node[i], *next; w; w = next) {
			next = w->next_node;
			if (all || w->generation != t->generation)
				drop_watch(server, w);
		}
	if (t->count == 0) /* others of this host need it more */
		close_fd(&t->inotify_fd);
}

void watch_sweep(struct fuse_server *server)
{
	drop_watches(server, false);
	server->watch.generation++;
}

/* ---- the guest's own changes ---- */

/* The next name among the arguments that have not been read, without reading them; "" when there is none */
static const char *peek_name(const struct req *rq, size_t skip, unsigned int nth)
{
	const char *p = (const char *)rq->args.data + rq->args.pos;
	size_t left = buf_left(&rq->args);

	for (;; nth--) {
		const char *end;

		if (skip >= left)
			return "";
		p += skip;
		left -= skip;
		end = memchr(p, 0, left);
		if (!end)
			return "";
		if (nth == 0)
			return p;
		skip = (size_t)(end - p) + 1;
	}
}

static void content_echo(struct req *rq, struct echo *e, const struct node *node)
{
	e->self[0] = node;
	pthread_mutex_lock(&rq->server->mutex);
	if (node->parent) {
		(void)snprintf(e->place, sizeof(e->place), "%s", node->name);
		e->dir[2] = node->parent;
	}
	pthread_mutex_unlock(&rq->server->mutex);
	e->name[2] = e->place;
	e->mask |= CONTENT;
}

/* A node by the id that the arguments begin with, only to be compared with */
static const struct node *peek_node(struct req *rq, size_t at)
{
	struct node *node;
	uint64_t id;
	int error;

	if (buf_left(&rq->args) < at + sizeof(id))
		return NULL;
	memcpy(&id, rq->args.data + rq->args.pos + at, sizeof(id));
	node = node_acquire(rq->server, id, &error);
	node_release(rq->server, node);
	return node;
}

static void name_echo(struct req *rq, struct echo *e, size_t skip, uint32_t mask)
{
	e->dir[0] = rq->node;
	e->name[0] = peek_name(rq, skip, 0);
	e->mask |= mask;
}

static void fill_echo(struct req *rq, struct echo *e)
{
	switch (rq->h.opcode) {
	case FUSE_OPEN:
	case FUSE_WRITE:
	case FUSE_SETATTR:
	case FUSE_SETXATTR:
	case FUSE_REMOVEXATTR:
	case FUSE_FALLOCATE:
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_TMPFILE:
		content_echo(rq, e, rq->node);
		return;
	case FUSE_COPY_FILE_RANGE: {
		const struct node *to = peek_node(
			rq, offsetof(struct fuse_copy_file_range_in, nodeid_out));

		if (to)
			content_echo(rq, e, to);
		return;
	}
	case FUSE_MKNOD:
		name_echo(rq, e, sizeof(struct fuse_mknod_in), IN_CREATE | CONTENT);
		return;
	case FUSE_MKDIR:
		name_echo(rq, e, sizeof(struct fuse_mkdir_in), IN_CREATE | CONTENT);
		return;
	case FUSE_CREATE:
		name_echo(rq, e, sizeof(struct fuse_create_in), IN_CREATE | CONTENT);
		return;
	case FUSE_SYMLINK:
		name_echo(rq, e, 0, IN_CREATE | CONTENT);
		return;
	case FUSE_LINK:
		name_echo(rq, e, sizeof(struct fuse_link_in), IN_CREATE | IN_ATTRIB);
		e->self[0] = peek_node(rq, 0);
		return;
	case FUSE_UNLINK:
	case FUSE_RMDIR:
		name_echo(rq, e, 0, IN_DELETE);
		return;
	case FUSE_RENAME:
	case FUSE_RENAME2: {
		size_t skip = rq->h.opcode == FUSE_RENAME ? sizeof(struct fuse_rename_in)
							  : sizeof(struct fuse_rename2_in);

		name_echo(rq, e, skip,
			  IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ATTRIB);
		e->dir[1] = peek_node(rq, 0);
		e->name[1] = peek_name(rq, skip, 1);
		return;
	}
	default:
		return;
	}
}

void echo_begin(struct req *rq, struct echo *echo)
{
	struct watch_table *t = &rq->server->watch;

	echo->mask = 0;
	if (t->count == 0 || !(rq->node->root->flags & FUSE_ROOT_WATCH))
		return;
	*echo = (struct echo){.name = {"", "", ""}};
	fill_echo(rq, echo);
	if (!echo->mask)
		return;
	pthread_mutex_lock(&t->mutex);
	drain(rq->server); /* those from before are nobody's echo */
	echo->next = t->echoes;
	t->echoes = echo;
	pthread_mutex_unlock(&t->mutex);
}

void echo_end(struct fuse_server *server, struct echo *echo)
{
	struct echo **slot = &server->watch.echoes;

	if (!echo->mask)
		return;
	pthread_mutex_lock(&server->watch.mutex);
	drain(server);
	while (*slot != echo)
		slot = &(*slot)->next;
	*slot = echo->next;
	if (server->watch.npending > 0)
		watch_wake(server);
	pthread_mutex_unlock(&server->watch.mutex);
}

/* ---- the thread ---- */

void watch_wake(struct fuse_server *server)
{
	const uint64_t one = 1;

	if (server->watch.wake_fd >= 0)
		(void)!write(server->watch.wake_fd, &one, sizeof(one));
}

/* When the agent has to look for watches; UINT64_MAX: not now. After use of an export, and once more later */
static uint64_t scan_due(struct watch_table *t, uint64_t now)
{
	uint64_t due = UINT64_MAX;

	if (t->activity && t->active_ms == 0)
		t->active_ms = now;
	if (t->active_ms)
		due = t->active_ms + SETTLE_MS;
	else if (t->trailing_ms)
		due = t->trailing_ms;
	return due != UINT64_MAX && due < t->sent_ms + t->gap_ms ? t->sent_ms + t->gap_ms : due;
}

static void tell(struct fuse_server *server, uint64_t now)
{
	struct watch_table *t = &server->watch;
	struct host_event *event;

	if (!t->reader)
		return;
	if (scan_due(t, now) <= now) {
		t->trailing_ms = t->active_ms ? now + TRAILING_MS : 0;
		t->active_ms = 0;
		t->activity = false;
		t->sent_ms = now;
		t->gap_ms = 0; /* set when the agent is done */
		events_scan(server);
		return;
	}
	while ((event = watch_next(server)) != NULL && !events_answer(server, event))
		host_event_free(server, event);
}

static int next_timeout(struct watch_table *t, uint64_t now)
{
	uint64_t due = scan_due(t, now);

	if (t->npending > 0 && t->reader)
		return (int)TICK_MS;
	if (!t->reader || due == UINT64_MAX)
		return -1;
	return due <= now ? 0 : (int)(due - now);
}

static void *watch_main(void *arg)
{
	struct fuse_server *server = arg;
	struct watch_table *t = &server->watch;

	(void)creds_thread_init(server->proc_fd);
	pthread_mutex_lock(&t->mutex);
	while (!t->stop) {
		struct pollfd fds[2] = {{.fd = t->wake_fd, .events = POLLIN},
					{.fd = t->inotify_fd, .events = POLLIN}};
		int timeout = next_timeout(t, now_ms());
		uint64_t count;

		pthread_mutex_unlock(&t->mutex);
		(void)poll(fds, 2, timeout);
		if (fds[1].revents) /* let equal events come together, in the kernel's bounded queue */
			(void)usleep(TICK_MS * 1000);
		if (fds[0].revents)
			(void)!read(t->wake_fd, &count, sizeof(count));
		pthread_mutex_lock(&t->mutex);
		drain(server);
		t->nready = t->npending < NREADY_MAX ? t->npending : NREADY_MAX;
		tell(server, now_ms());
	}
	pthread_mutex_unlock(&t->mutex);
	return NULL;
}

int watch_start(struct fuse_server *server)
{
	struct watch_table *t = &server->watch;
	sigset_t all, old;
	int r;

	if (t->runs)
		return 0;
	if (t->wake_fd < 0)
		t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->wake_fd < 0)
		return -errno;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&t->thread, NULL, watch_main, server);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	t->runs = r == 0;
	return -r;
}

/* ---- life ---- */

void watch_init(struct fuse_server *server)
{
	pthread_mutex_init(&server->watch.mutex, NULL);
	server->watch.inotify_fd = server->watch.wake_fd = -1;
}

void watch_reset(struct fuse_server *server)
{
	struct watch_table *t = &server->watch;

	pthread_mutex_lock(&t->mutex);
	if (t->reader)
		request_finish(take_ptr(&t->reader), t->reader_unique, -ENOTCONN, NULL, 0);
	drop_watches(server, true);
	for (; t->npending > 0; t->npending--, t->head = (t->head + 1) % EVENTS_MAX)
		host_event_free(server, t->ring[t->head]);
	host_event_free(server, take_ptr(&t->current));
	t->raiser = 0;
	t->nready = 0;
	t->active_ms = t->trailing_ms = t->sent_ms = t->gap_ms = 0;
	t->activity = false;
	pthread_mutex_unlock(&t->mutex);
}

void watch_release(struct fuse_server *server)
{
	struct watch_table *t = &server->watch;

	watch_reset(server);
	pthread_mutex_lock(&t->mutex);
	t->stop = true;
	watch_wake(server);
	pthread_mutex_unlock(&t->mutex);
	if (t->runs)
		(void)pthread_join(t->thread, NULL);
	close_fd(&t->wake_fd);
	pthread_mutex_destroy(&t->mutex);
}
