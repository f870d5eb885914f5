/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets that the guest looks up (kvm/fuse/sockets.c): who is told, what waits, and the directory in which nothing is made. */
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/unit/fuse_client.h"

static uint32_t told[SERVER_SOCKETS_MAX * 2];
static unsigned int ntold;
static int tell_fails;

static int on_socket(void *arg, uint32_t id, unsigned int root, int fd)
{
	struct stat st;

	(void)arg;
	assert_int_equal(root, 1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	if (tell_fails)
		return -EAGAIN;
	told[ntold++] = id;
	return 0;
}

/* Export 1 is coherent, as bind mounts are; export 0 of the same directory is not */
static uint64_t coherent(struct world *w)
{
	uint64_t id;

	assert_int_equal(fuse_server_add_root(w->server, 1, open(w->dir, O_PATH | O_DIRECTORY),
					      FUSE_ROOT_COHERENT, NULL),
			 0);
	assert_int_equal(lookup(w, NODEID_TOP, "1", &id), 0);
	fuse_server_on_socket(w->server, on_socket, w);
	ntold = 0;
	tell_fails = 0;
	return id;
}

static void make_socket(struct world *w, const char *name)
{
	assert_int_equal(mknodat(w->dirfd, name, S_IFSOCK | 0666, 0), 0);
}

static int mknod_at(struct world *w, uint64_t dir, const char *name, mode_t mode, uint64_t *id)
{
	struct fuse_mknod_in in = {.mode = mode};
	int r;

	begin(&w->call, FUSE_MKNOD, dir);
	add(&w->call, &in, sizeof(in));
	add_name(&w->call, name);
	r = send_call(w->server, &w->call);
	*id = r == 0 ? ((const struct fuse_entry_out *)payload(&w->call))->nodeid : 0;
	return r;
}

static uint64_t finished_node(const struct call *c)
{
	const struct fuse_out_header *out = (const struct fuse_out_header *)c->answer;

	assert_true(c->done);
	assert_int_equal(out->error, 0);
	return ((const struct fuse_entry_out *)payload(c))->nodeid;
}

static void test_bind(void **state)
{
	struct world *w = *state;
	static struct call first, second;
	uint64_t root = coherent(w), node, dir, same;

	make_socket(w, "s");
	begin(&first, FUSE_LOOKUP, root);
	add_name(&first, "s");
	assert_int_equal(send_call(w->server, &first), 2);
	begin(&second, FUSE_LOOKUP, root);
	add_name(&second, "s");
	assert_int_equal(send_call(w->server, &second), 2);
	assert_int_equal(ntold, 1);
	/* the agent's part, while both wait */
	fuse_server_socket_done(w->server, told[0] + 1, true);
	assert_false(first.done);
	assert_int_equal(lookup(w, root, SOCKETS_NAME, &dir), 0);
	assert_int_equal(dir, NODEID_SOCKETS);
	assert_int_equal(lookup(w, dir, "bind-1", NULL), -ENOENT);
	assert_int_equal(mknod_at(w, dir, "bind-2", S_IFSOCK | 0755, &same), -ENOENT);
	assert_int_equal(mknod_at(w, dir, "1", S_IFSOCK | 0755, &same), -ENOENT);
	assert_int_equal(mknod_at(w, dir, "bind-01", S_IFSOCK | 0755, &same), -ENOENT);
	assert_int_equal(mknod_at(w, dir, "bind-4294967297", S_IFSOCK | 0755, &same), -ENOENT);
	assert_int_equal(mknod_at(w, dir, "bind-1", S_IFREG | 0755, &same), -EINVAL);
	assert_int_equal(mknod_at(w, dir, "bind-1", S_IFSOCK | 0755, &same), 0);
	fuse_server_socket_done(w->server, told[0], true);
	node = finished_node(&first);
	assert_true(node == same);
	assert_true(finished_node(&second) == node);
	/* known now: nothing waits, and nothing was made */
	assert_int_equal(lookup(w, root, "s", &same), 0);
	assert_true(node == same);
	assert_int_equal(ntold, 1);
	assert_int_equal(faccessat(w->dirfd, SOCKETS_NAME, F_OK, 0), -1);
	/* its program has gone: asked anew, by another number */
	fuse_server_socket_done(w->server, told[0], false);
	w->call = (struct call){0};
	assert_int_equal(lookup(w, root, "s", NULL), 2);
	assert_int_equal(ntold, 2);
	assert_int_not_equal(told[0], told[1]);
	fuse_server_socket_done(w->server, told[1], false);
	assert_true(finished_node(&w->call) == node);
}

static void test_not_told(void **state)
{
	struct world *w = *state;
	uint64_t root = coherent(w), id;

	make_socket(w, "s");
	/* the rootfs's */
	assert_int_equal(lookup(w, w->root, "s", NULL), 0);
	assert_int_equal(lookup(w, w->root, SOCKETS_NAME, NULL), -ENOENT);
	/* one of the guest's own */
	assert_int_equal(mknod_at(w, root, "own", S_IFSOCK | 0600, &id), 0);
	assert_int_equal(lookup(w, root, "own", NULL), 0);
	/* a monitor that does not read */
	tell_fails = 1;
	assert_int_equal(lookup(w, root, "s", NULL), 0);
	assert_int_equal(ntold, 0);
	tell_fails = 0;
	assert_int_equal(lookup(w, root, "s", NULL), 2);
	assert_int_equal(ntold, 1);
	/* the driver is reset: nothing waits for ever */
	fuse_server_reset(w->server);
	assert_true(w->call.done);
	assert_int_equal(((const struct fuse_out_header *)w->call.answer)->error, -ENOTCONN);
}

static void test_bounds(void **state)
{
	static struct call calls[SERVER_SOCKET_WAITERS_MAX];
	struct world *w = *state;
	uint64_t root = coherent(w);
	char name[16];

	for (unsigned int i = 0; i < SERVER_SOCKETS_MAX + 8; i++) {
		(void)snprintf(name, sizeof(name), "s%u", i);
		make_socket(w, name);
	}
	for (unsigned int i = 0; i < SERVER_SOCKET_WAITERS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "s%u", i);
		begin(&calls[i], FUSE_LOOKUP, root);
		add_name(&calls[i], name);
		assert_int_equal(send_call(w->server, &calls[i]), 2);
	}
	/* one more is answered at once */
	assert_int_equal(lookup(w, root, "s100", NULL), 0);
	assert_int_equal(ntold, SERVER_SOCKET_WAITERS_MAX);
	for (unsigned int i = 0; i < SERVER_SOCKET_WAITERS_MAX; i++)
		fuse_server_socket_done(w->server, told[i], true);
	/* the one not used longest makes room */
	for (unsigned int i = SERVER_SOCKET_WAITERS_MAX; i < SERVER_SOCKETS_MAX + 8; i++) {
		w->call = (struct call){0};
		(void)snprintf(name, sizeof(name), "s%u", i);
		assert_int_equal(lookup(w, root, name, NULL), 2);
		fuse_server_socket_done(w->server, told[ntold - 1], true);
		assert_true(w->call.done);
	}
	w->call = (struct call){0};
	assert_int_equal(lookup(w, root, "s0", NULL), 2);
	fuse_server_socket_done(w->server, told[ntold - 1], true);
	assert_int_equal(lookup(w, root, "s120", NULL), 0);
}

static void test_directory(void **state)
{
	struct world *w = *state;
	uint64_t dir;

	(void)coherent(w);
	assert_int_equal(lookup(w, NODEID_TOP, SOCKETS_NAME, &dir), 0);
	assert_int_equal(dir, NODEID_SOCKETS);
	assert_int_equal(getattr(w, dir), 0);
	assert_int_equal(((const struct fuse_attr_out *)payload(&w->call))->attr.mode,
			 S_IFDIR | 0700);
	for (uint32_t opcode = 1; opcode < 60; opcode++) {
		if (opcode == FUSE_GETATTR || opcode == FUSE_INIT || opcode == FUSE_DESTROY)
			continue;
		w->call = (struct call){0};
		begin(&w->call, opcode, dir);
		assert_int_not_equal(send_call(w->server, &w->call), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bind, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_directory, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
