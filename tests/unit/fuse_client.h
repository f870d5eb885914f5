/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the file server for its unit tests (kvm_fuse_*_test.c): one export with one file in it, and requests built by hand.
 *
 * A request is built in memory, cut into three buffers, and handed to fuse_server_handle() directly; answers are checked for their
 * length and for bytes written behind the room they were given. Needs no rights: everything is made as the user who runs it.
 */
#ifndef TESTS_UNIT_FUSE_CLIENT_H
#define TESTS_UNIT_FUSE_CLIENT_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvm/fuse/internal.h"

#define ROOM 8192u
#define CANARY 0x5a

struct call {
	struct fuse_request request;
	struct iovec in[3], out[2];
	struct fuse_in_header h;
	uint8_t args[70000];
	size_t len;
	uint8_t answer[ROOM + 16];
	size_t room;
	ssize_t written; /* FUSE_DEFERRED while it waits */
	bool done;
};

static pthread_mutex_t done_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done_cond = PTHREAD_COND_INITIALIZER;

struct world {
	char dir[64];
	int dirfd, proc_fd;
	struct fuse_server *server;
	uint64_t root; /* nodeid of export 0 */
	struct call call;
};

static uint64_t next_unique = 100;

static inline void on_complete(struct fuse_request *request, size_t written)
{
	struct call *c = container_of(request, struct call, request);

	pthread_mutex_lock(&done_mutex);
	c->written = (ssize_t)written;
	c->done = true;
	pthread_cond_broadcast(&done_cond);
	pthread_mutex_unlock(&done_mutex);
}

static inline void begin(struct call *c, uint32_t opcode, uint64_t nodeid)
{
	c->h = (struct fuse_in_header){.opcode = opcode,
				       .nodeid = nodeid,
				       .unique = next_unique++,
				       .uid = geteuid(),
				       .gid = getegid(),
				       .pid = 7};
	c->len = 0;
	c->room = ROOM;
	c->done = false;
}

static inline void add(struct call *c, const void *data, size_t len)
{
	memcpy(c->args + c->len, data, len);
	c->len += len;
}

static inline void add_name(struct call *c, const char *name)
{
	add(c, name, strlen(name) + 1);
}

/* Sends it; Return: the error of the answer (<= 0), 1 for no answer, 2 for deferred */
static inline int send_call(struct fuse_server *server, struct call *c)
{
	const struct fuse_out_header *out = (const struct fuse_out_header *)c->answer;
	size_t first = c->len < 3 ? c->len : 3;

	if (!c->h.len)
		c->h.len = (uint32_t)(sizeof(c->h) + c->len);
	memset(c->answer, CANARY, sizeof(c->answer));
	c->in[0] = (struct iovec){&c->h, sizeof(c->h)};
	c->in[1] = (struct iovec){c->args, first};
	c->in[2] = (struct iovec){c->args + first, c->len - first};
	c->out[0] = (struct iovec){c->answer, c->room < 20 ? c->room : 20};
	c->out[1] = (struct iovec){c->answer + 20, c->room < 20 ? 0 : c->room - 20};
	c->request = (struct fuse_request){
		.in = c->in, .nin = 3, .out = c->out, .nout = 2, .complete = on_complete};
	c->written = fuse_server_handle(server, &c->request);
	if (c->written == FUSE_DEFERRED)
		return 2;
	for (size_t i = c->room; i < sizeof(c->answer); i++)
		assert_int_equal(c->answer[i], CANARY);
	if (c->written == 0)
		return 1;
	assert_true((size_t)c->written <= c->room);
	assert_int_equal(out->len, c->written);
	assert_true(out->unique == c->h.unique);
	assert_true(out->error <= 0 && out->error > -512);
	return out->error;
}

static inline const void *payload(const struct call *c)
{
	return c->answer + sizeof(struct fuse_out_header);
}

static inline int init_server(struct world *w, struct call *c)
{
	struct fuse_init_in in = {.major = 7,
				  .minor = 41,
				  .max_readahead = 131072,
				  .flags = 0x7fffffff,
				  .flags2 = ~0u};

	begin(c, FUSE_INIT, 0);
	add(c, &in, sizeof(in));
	return send_call(w->server, c);
}

static inline int lookup(struct world *w, uint64_t parent, const char *name, uint64_t *id)
{
	int r;

	begin(&w->call, FUSE_LOOKUP, parent);
	add_name(&w->call, name);
	r = send_call(w->server, &w->call);
	if (id)
		*id = r == 0 ? ((const struct fuse_entry_out *)payload(&w->call))->nodeid : 0;
	return r;
}

static inline int getattr(struct world *w, uint64_t id)
{
	struct fuse_getattr_in in = {0};

	begin(&w->call, FUSE_GETATTR, id);
	add(&w->call, &in, sizeof(in));
	return send_call(w->server, &w->call);
}

static inline int open_node(struct world *w, uint64_t id, uint32_t flags, uint64_t *fh)
{
	struct fuse_open_in in = {.flags = flags};
	int r;

	begin(&w->call, FUSE_OPEN, id);
	add(&w->call, &in, sizeof(in));
	r = send_call(w->server, &w->call);
	*fh = r == 0 ? ((const struct fuse_open_out *)payload(&w->call))->fh : 0;
	return r;
}

static inline void host_file(struct world *w, const char *name, const char *text)
{
	int fd = openat(w->dirfd, name, O_CREAT | O_WRONLY | O_TRUNC, 0644);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static inline void forget(struct world *w, uint64_t id, uint64_t n)
{
	struct fuse_forget_in in = {n};

	begin(&w->call, FUSE_FORGET, id);
	add(&w->call, &in, sizeof(in));
	w->call.room = 0;
	assert_int_equal(send_call(w->server, &w->call), 1);
}

static inline int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	strcpy(w->dir, "/tmp/caisson-fuse-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->dirfd = open(w->dir, O_PATH | O_DIRECTORY);
	w->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY);
	w->server = fuse_server_new(w->proc_fd, 64, NULL);
	assert_int_equal(fuse_server_add_root(w->server, 0, dup(w->dirfd), 0, NULL), 0);
	assert_int_equal(init_server(w, &w->call), 0);
	assert_int_equal(lookup(w, NODEID_TOP, "0", &w->root), 0);
	host_file(w, "file", "content");
	*state = w;
	return 0;
}

static inline int tear_down(void **state)
{
	struct world *w = *state;
	char command[128];

	fuse_server_free(w->server);
	close(w->dirfd);
	close(w->proc_fd);
	snprintf(command, sizeof(command), "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

static inline unsigned int open_descriptors(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static inline int getxattr_of(struct world *w, uint64_t id, const char *name)
{
	struct fuse_getxattr_in in = {.size = 100};

	begin(&w->call, FUSE_GETXATTR, id);
	add(&w->call, &in, sizeof(in));
	add_name(&w->call, name);
	return send_call(w->server, &w->call);
}

static inline int setxattr_of(struct world *w, uint64_t id, const char *name, const char *value)
{
	struct fuse_setxattr_in in = {.size = (uint32_t)strlen(value)};

	begin(&w->call, FUSE_SETXATTR, id);
	add(&w->call, &in, sizeof(in));
	add_name(&w->call, name);
	add(&w->call, value, strlen(value));
	return send_call(w->server, &w->call);
}

static inline int lock(struct world *w, struct call *c, uint32_t opcode, uint64_t id, uint64_t fh,
		       uint64_t owner, uint32_t type, uint64_t start, uint64_t end)
{
	struct fuse_lk_in in = {
		.fh = fh,
		.owner = owner,
		.lk = {.start = start, .end = end, .type = type, .pid = (uint32_t)owner}};

	begin(c, opcode, id);
	add(c, &in, sizeof(in));
	return send_call(w->server, c);
}

static inline int wait_for(struct call *c)
{
	struct timespec deadline;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 60;
	pthread_mutex_lock(&done_mutex);
	while (!c->done && r == 0)
		r = pthread_cond_timedwait(&done_cond, &done_mutex, &deadline);
	pthread_mutex_unlock(&done_mutex);
	assert_int_equal(r, 0);
	return ((const struct fuse_out_header *)c->answer)->error;
}

#endif
