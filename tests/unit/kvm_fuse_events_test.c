/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host changes, told by the file server, and requests that only pretend.
 *
 * How requests are built and sent: tests/unit/fuse_client.h. Requests with pid RAISER are those of the agent's thread.
 */
#include <sys/inotify.h>

#include "tests/unit/fuse_client.h"

#define RAISER 77u

struct list_entry {
	uint64_t nodeid, ino;
	uint32_t mask, reserved;
};
struct record {
	uint32_t what, bits;
	uint16_t path_len, name_len, path2_len, name2_len;
	char text[512];
};

/* READ of the control file, waited for */
static const struct record *next_record(struct world *w)
{
	struct fuse_read_in in = {.fh = FH_EVENTS, .size = 4096};

	begin(&w->call, FUSE_READ, NODEID_EVENTS);
	w->call.h.pid = RAISER;
	add(&w->call, &in, sizeof(in));
	if (send_call(w->server, &w->call) == 2) {
		pthread_mutex_lock(&done_mutex);
		while (!w->call.done)
			pthread_cond_wait(&done_cond, &done_mutex);
		pthread_mutex_unlock(&done_mutex);
	}
	return payload(&w->call);
}

/* The next that is no SCAN */
static const struct record *next_event(struct world *w)
{
	const struct record *record;

	do {
		record = next_record(w);
	} while (record->what == EVENT_SCAN);
	return record;
}

static int send_list(struct world *w, uint32_t pid, uint64_t nodeid, uint64_t ino)
{
	struct list_entry list[2] = {{nodeid, ino, IN_MODIFY | IN_ATTRIB, 0}, {0}};
	struct fuse_write_in in = {.fh = FH_EVENTS, .size = sizeof(list)};

	begin(&w->call, FUSE_WRITE, NODEID_EVENTS);
	w->call.h.pid = pid;
	add(&w->call, &in, sizeof(in));
	add(&w->call, list, sizeof(list));
	return send_call(w->server, &w->call);
}

static uint64_t ino_of(struct world *w)
{
	struct stat st;

	assert_int_equal(fstat(w->dirfd, &st), 0);
	return st.st_ino;
}

/* A root that may be watched, in use, so that the first READ brings SCAN; its list */
static int set_up_watch(void **state)
{
	struct world *w;

	set_up(state);
	w = *state;
	w->server->roots[0]->flags |= FUSE_ROOT_COHERENT | FUSE_ROOT_WATCH;
	w->server->watch.activity = true;
	assert_int_equal(next_record(w)->what, EVENT_SCAN);
	assert_int_equal(send_list(w, RAISER, w->root, ino_of(w)), 0);
	assert_int_equal(w->server->watch.count, 1);
	return 0;
}

static int by_name(struct world *w, uint32_t opcode, const void *fixed, size_t len,
		   const char *name)
{
	begin(&w->call, opcode, w->root);
	w->call.h.pid = RAISER;
	add(&w->call, fixed, len);
	add_name(&w->call, name);
	return send_call(w->server, &w->call);
}

static void test_told_and_pretended(void **state)
{
	struct world *w = *state;
	struct fuse_mknod_in mknod_in = {.mode = S_IFREG | 0600};
	const struct record *record;

	host_file(w, "new", "x");
	record = next_event(w);
	assert_int_equal(record->what, EVENT_CREATE);
	assert_int_equal(record->path_len, 1);
	assert_memory_equal(record->text, "0new", 4);
	/* it is there, but not for the one who is to raise the event */
	assert_int_equal(by_name(w, FUSE_LOOKUP, "", 0, "new"), -ENOENT);
	assert_int_equal(lookup(w, w->root, "new", NULL), 0);
	assert_int_equal(by_name(w, FUSE_MKNOD, &mknod_in, sizeof(mknod_in), "other"), -EPERM);
	assert_int_equal(by_name(w, FUSE_MKNOD, &mknod_in, sizeof(mknod_in), "new"), 0);
	assert_int_equal(by_name(w, FUSE_UNLINK, "", 0, "new"), -EPERM);
	assert_int_equal(by_name(w, FUSE_UNLINK, "", 0, "file"), -EPERM);
	assert_int_equal(faccessat(w->dirfd, "new", F_OK, 0), 0);
	assert_int_equal(faccessat(w->dirfd, "other", F_OK, 0), -1);
	record = next_event(w);
	assert_int_equal(record->what, EVENT_CONTENT);
	unlinkat(w->dirfd, "new", 0);
	do {
		record = next_event(w);
	} while (record->what == EVENT_CONTENT);
	assert_int_equal(record->what, EVENT_DELETE);
	host_file(w, "new", "again"); /* meanwhile */
	assert_int_equal(by_name(w, FUSE_LOOKUP, "", 0, "new"), 0);
	assert_int_equal(by_name(w, FUSE_UNLINK, "", 0, "new"), 0);
	assert_int_equal(faccessat(w->dirfd, "new", F_OK, 0), 0);
}

/* A rename is one event; what the guest does itself is none */
static void test_rename_and_echo(void **state)
{
	struct world *w = *state;
	struct fuse_mkdir_in in = {.mode = 0755};
	const struct record *record;

	begin(&w->call, FUSE_MKDIR, w->root);
	add(&w->call, &in, sizeof(in));
	add_name(&w->call, "own");
	assert_int_equal(send_call(w->server, &w->call), 0);
	begin(&w->call, FUSE_RMDIR, w->root);
	add_name(&w->call, "own");
	assert_int_equal(send_call(w->server, &w->call), 0);
	assert_int_equal(renameat(w->dirfd, "file", w->dirfd, "moved"), 0);
	record = next_event(w);
	assert_int_equal(record->what, EVENT_RENAME);
	assert_memory_equal(record->text, "0file0moved", 11);
}

static void test_refused(void **state)
{
	struct world *w = *state;
	struct fuse_read_in in = {.fh = FH_EVENTS, .size = 4096};

	/* another thread neither reads nor writes it */
	begin(&w->call, FUSE_READ, NODEID_EVENTS);
	add(&w->call, &in, sizeof(in));
	assert_int_equal(send_call(w->server, &w->call), -EPERM);
	assert_int_equal(send_list(w, 7, w->root, ino_of(w)), -EPERM);
	/* not what has another number there, is unknown, or may not be watched */
	assert_int_equal(send_list(w, RAISER, 4711, 1), 0);
	assert_int_equal(w->server->watch.count, 0);
	assert_int_equal(w->server->watch.inotify_fd, -1);
	w->server->roots[0]->flags &= ~FUSE_ROOT_WATCH;
	assert_int_equal(send_list(w, RAISER, w->root, ino_of(w)), 0);
	assert_int_equal(w->server->watch.count, 0);
	/* a driver that starts anew has no raiser */
	assert_int_equal(init_server(w, &w->call), 0);
	assert_int_equal(w->server->watch.raiser, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_told_and_pretended, set_up_watch, tear_down),
		cmocka_unit_test_setup_teardown(test_rename_and_echo, set_up_watch, tear_down),
		cmocka_unit_test_setup_teardown(test_refused, set_up_watch, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
