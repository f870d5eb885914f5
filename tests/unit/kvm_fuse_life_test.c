/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file server over time: nodes, handles, locks and waiters that are dropped, taken away or changed while something uses them.
 *
 * Races are made certain: the wrapped calls run a hook at the very place where another thread could come in between.
 * How requests are built and sent: tests/unit/fuse_client.h.
 *
 * LDFLAGS: -Wl,--wrap=openat -Wl,--wrap=pwritev2
 */
#include <stdatomic.h>
#include <sys/uio.h>

#include "tests/unit/fuse_client.h"

int __real_openat(int dirfd, const char *name, int flags, mode_t mode);
int __wrap_openat(int dirfd, const char *name, int flags, mode_t mode);
ssize_t __real_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags);

/* Run before the next reopening by /proc/self/fd, and before the next write; then forgotten */
static _Atomic(void (*)(struct world *w, int fd)) on_reopen, on_write;
static struct world *world;

int __wrap_openat(int dirfd, const char *name, int flags, mode_t mode)
{
	void (*hook)(struct world *, int) = NULL;

	if (world && dirfd == world->proc_fd)
		hook = atomic_exchange(&on_reopen, NULL);
	if (hook)
		hook(world, atoi(name));
	return __real_openat(dirfd, name, flags, mode);
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	void (*hook)(struct world *, int) = atomic_exchange(&on_write, NULL);

	if (hook)
		hook(world, fd);
	return __real_pwritev2(fd, iov, n, offset, flags);
}

static int set_up_world(void **state)
{
	int r = set_up(state);

	world = *state;
	return r;
}

static int tear_down_world(void **state)
{
	world = NULL;
	return tear_down(state);
}

/* ---- a descriptor in use is not closed ---- */

static _Atomic bool hook_ran;
static struct stat seen;

/* So many lookups that a descriptor which nobody keeps is closed, and its number used again */
static void look_up_many(struct world *w, int fd)
{
	struct call *c = calloc(1, sizeof(*c));
	char name[16];

	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		begin(c, FUSE_LOOKUP, w->root);
		add_name(c, name);
		(void)send_call(w->server, c);
	}
	memset(&seen, 0, sizeof(seen));
	(void)fstat(fd, &seen);
	free(c);
	hook_ran = true;
}

static void test_waiter_keeps_descriptor(void **state)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct call *waiting = calloc(1, sizeof(*waiting));
	struct world *w = *state;
	uint64_t id, fh;
	struct stat st;
	char name[16];
	int fd;

	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		host_file(w, name, name);
	}
	fd = openat(w->dirfd, "file", O_RDWR, 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(lookup(w, w->root, "file", &id), 0);
	assert_int_equal(open_node(w, id, O_RDWR, &fh), 0);
	assert_int_equal(lock(w, waiting, FUSE_SETLKW, id, fh, 1, F_WRLCK, 0, 0), 2);
	hook_ran = false;
	on_reopen = look_up_many; /* when the poller tries again */
	while (!hook_ran)
		usleep(1000);
	close(fd);
	assert_int_equal(wait_for(waiting), 0);
	assert_int_equal(seen.st_ino, st.st_ino);
	free(waiting);
}

/* ---- overlayfs: a file that is copied up gets another birth time, and stays the same file ---- */

static void test_copied_up(void **state)
{
	struct world *w = *state;
	struct node *parent, *first, *second;
	struct statx stx;
	int error, fd;

	parent = node_acquire(w->server, w->root, &error);
	assert_non_null(parent);
	fd = openat(w->dirfd, "file", O_PATH, 0);
	assert_int_equal(fd_stat(fd, &stx), 0);
	stx.stx_mask |= STATX_BTIME;
	assert_int_equal(node_intern(w->server, parent->root, parent, "file", &stx, fd, &first), 0);
	stx.stx_btime.tv_sec += 100;
	assert_int_equal(node_intern(w->server, parent->root, parent, "file", &stx, -1, &second),
			 0);
	assert_ptr_equal(first, second);
	node_release(w->server, second);
	second = node_of(w->server, parent->root, &stx);
	assert_ptr_equal(first, second);
	node_release(w->server, second);
	/* while it is not open, the number may have been given to another file */
	node_release(w->server, first);
	look_up_many(w, -1);
	for (int i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "g%d", i);
		host_file(w, name, name);
		assert_int_equal(lookup(w, w->root, name, NULL), 0);
	}
	assert_int_equal(first->fd, -1);
	stx.stx_btime.tv_sec += 100;
	assert_int_equal(node_intern(w->server, parent->root, parent, "file", &stx, -1, &second),
			 0);
	assert_ptr_not_equal(first, second);
	node_release(w->server, second);
	node_release(w->server, parent);
}

/* ---- what a removed export leaves behind: nothing ---- */

static void test_removed_root(void **state)
{
	struct world *w = *state;
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct fuse_release_in release = {0};
	struct call *waiting = calloc(1, sizeof(*waiting));
	unsigned int before;
	uint64_t root, id, gone, fh, dir_fh;
	struct stat st;
	int fd, r;

	fd = openat(w->dirfd, "file", O_RDWR, 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
	host_file(w, "gone", "unlinked");
	before = open_descriptors();
	assert_int_equal(fuse_server_add_root(w->server, 9, dup(w->dirfd), 0, NULL), 0);
	assert_int_equal(lookup(w, NODEID_TOP, "9", &root), 0);
	assert_int_equal(lookup(w, root, "file", &id), 0);
	assert_int_equal(open_node(w, id, O_RDWR, &fh), 0);
	assert_int_equal(lookup(w, root, "gone", &gone), 0);
	begin(&w->call, FUSE_UNLINK, root);
	add_name(&w->call, "gone");
	assert_int_equal(send_call(w->server, &w->call), 0);
	begin(&w->call, FUSE_OPENDIR, root);
	add(&w->call, &(struct fuse_open_in){0}, sizeof(struct fuse_open_in));
	assert_int_equal(send_call(w->server, &w->call), 0);
	dir_fh = ((const struct fuse_open_out *)payload(&w->call))->fh;
	r = lock(w, &w->call, FUSE_SETLK, id, fh, 1, F_RDLCK, 0, 0);
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(lock(w, waiting, FUSE_SETLKW, id, fh, 2, F_WRLCK, 0, 0), 2);
	/* the export goes first, what was open below it is closed later */
	assert_int_equal(fuse_server_remove_root(w->server, 9, NULL), 0);
	assert_int_equal(wait_for(waiting), -ESTALE);
	release.fh = fh;
	begin(&w->call, FUSE_RELEASE, id);
	add(&w->call, &release, sizeof(release));
	assert_int_equal(send_call(w->server, &w->call), -ESTALE);
	release.fh = dir_fh;
	begin(&w->call, FUSE_RELEASEDIR, root);
	add(&w->call, &release, sizeof(release));
	assert_int_equal(send_call(w->server, &w->call), -ESTALE);
	assert_int_equal(open_descriptors(), before);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	free(waiting);
}

/* ---- a reset waits for answers that are under way ---- */

static _Atomic bool reset_done;

static void *reset_main(void *arg)
{
	fuse_server_reset(arg);
	reset_done = true;
	return NULL;
}

static void test_reset_waits(void **state)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct call *waiting = calloc(1, sizeof(*waiting));
	struct world *w = *state;
	unsigned int left = 1;
	pthread_t thread;
	uint64_t id, fh;
	bool early;
	int fd;

	fd = openat(w->dirfd, "file", O_RDWR, 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
	assert_int_equal(lookup(w, w->root, "file", &id), 0);
	assert_int_equal(open_node(w, id, O_RDWR, &fh), 0);
	assert_int_equal(lock(w, waiting, FUSE_SETLKW, id, fh, 1, F_WRLCK, 0, 0), 2);
	pthread_mutex_lock(&done_mutex); /* on_complete() waits for us */
	close(fd);
	while (left > 0) {
		usleep(1000);
		pthread_mutex_lock(&w->server->locks.mutex);
		left = w->server->locks.nwaiters;
		pthread_mutex_unlock(&w->server->locks.mutex);
	}
	reset_done = false;
	assert_int_equal(pthread_create(&thread, NULL, reset_main, w->server), 0);
	usleep(100000); /* long enough to see one that does not wait; nothing breaks if it is not */
	early = reset_done;
	pthread_mutex_unlock(&done_mutex);
	pthread_join(thread, NULL);
	assert_false(early);
	assert_true(waiting->done);
	free(waiting);
}

/* ---- one of several names ---- */

static void test_other_name(void **state)
{
	struct world *w = *state;
	unsigned int before = open_descriptors();
	char from[16], to[16];
	uint64_t ids[300];

	for (int i = 0; i < 300; i++) {
		snprintf(from, sizeof(from), "from%d", i);
		snprintf(to, sizeof(to), "to%d", i);
		host_file(w, from, from);
		assert_int_equal(lookup(w, w->root, from, &ids[i]), 0);
		begin(&w->call, FUSE_LINK, w->root);
		add(&w->call, &(struct fuse_link_in){ids[i]}, sizeof(struct fuse_link_in));
		add_name(&w->call, to);
		assert_int_equal(send_call(w->server, &w->call), 0);
		begin(&w->call, FUSE_UNLINK, w->root);
		add_name(&w->call, from);
		assert_int_equal(send_call(w->server, &w->call), 0);
	}
	assert_true(open_descriptors() <= before + 66);
	for (int i = 0; i < 300; i++)
		assert_int_equal(getattr(w, ids[i]), 0);
}

/* ---- memory for open directories ---- */

static ssize_t read_dir(struct world *w, uint64_t fh, uint64_t offset)
{
	struct fuse_read_in in = {.fh = fh, .offset = offset, .size = 64};

	begin(&w->call, FUSE_READDIR, w->root);
	add(&w->call, &in, sizeof(in));
	assert_int_equal(send_call(w->server, &w->call), 0);
	return w->call.written - (ssize_t)sizeof(struct fuse_out_header);
}

/* Entries of the directory, read one or two at a time */
static unsigned int count_entries(struct world *w, uint64_t fh)
{
	unsigned int count = 0;
	uint64_t offset = 0;
	ssize_t n;

	while ((n = read_dir(w, fh, offset)) > 0) {
		const uint8_t *at = payload(&w->call), *end = at + n;

		for (; at < end; count++) {
			struct fuse_dirent entry;

			memcpy(&entry, at, sizeof(entry));
			offset = entry.off;
			at += FUSE_DIRENT_ALIGN(sizeof(entry) + entry.namelen);
		}
	}
	return count;
}

static void test_many_open_directories(void **state)
{
	struct world *w = *state;
	uint64_t fhs[SERVER_DIR_BUFFERS_MAX + 100];
	char name[16];

	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		host_file(w, name, name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fhs); i++) {
		begin(&w->call, FUSE_OPENDIR, w->root);
		add(&w->call, &(struct fuse_open_in){0}, sizeof(struct fuse_open_in));
		assert_int_equal(send_call(w->server, &w->call), 0);
		fhs[i] = ((const struct fuse_open_out *)payload(&w->call))->fh;
		assert_true(read_dir(w, fhs[i], 0) > 0);
	}
	assert_int_equal(w->server->ndir_buffers, SERVER_DIR_BUFFERS_MAX);
	assert_int_equal(count_entries(w, fhs[ARRAY_SIZE(fhs) - 1]), 53);
	assert_int_equal(count_entries(w, fhs[0]), 53);
	assert_int_equal(count_entries(w, fhs[0]), 53);
	/* one that has been read to its end needs none */
	assert_int_equal(w->server->ndir_buffers, SERVER_DIR_BUFFERS_MAX - 1);
	fuse_server_reset(w->server);
	assert_int_equal(w->server->ndir_buffers, 0);
}

/* ---- set-id bits ---- */

static void change_mode(struct world *w, int fd)
{
	(void)fd;
	(void)!fchmodat(w->dirfd, "file", 0600, 0);
}

static void test_mode_changed_meanwhile(void **state)
{
	struct fuse_write_in in = {.size = 5};
	struct world *w = *state;
	struct stat st;
	uint64_t id;

	assert_int_equal(fchmodat(w->dirfd, "file", 04755, 0), 0);
	assert_int_equal(lookup(w, w->root, "file", &id), 0);
	assert_int_equal(open_node(w, id, O_RDWR, &in.fh), 0);
	on_write = change_mode;
	begin(&w->call, FUSE_WRITE, id);
	add(&w->call, &in, sizeof(in));
	add(&w->call, "12345", 5);
	assert_int_equal(send_call(w->server, &w->call), 0);
	assert_int_equal(fstatat(w->dirfd, "file", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_waiter_keeps_descriptor, set_up_world,
						tear_down_world),
		cmocka_unit_test_setup_teardown(test_copied_up, set_up_world, tear_down_world),
		cmocka_unit_test_setup_teardown(test_removed_root, set_up_world, tear_down_world),
		cmocka_unit_test_setup_teardown(test_reset_waits, set_up_world, tear_down_world),
		cmocka_unit_test_setup_teardown(test_other_name, set_up_world, tear_down_world),
		cmocka_unit_test_setup_teardown(test_many_open_directories, set_up_world,
						tear_down_world),
		cmocka_unit_test_setup_teardown(test_mode_changed_meanwhile, set_up_world,
						tear_down_world),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
