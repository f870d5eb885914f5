/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says of a process; lines of cgroup files; children that work. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/loop.h"

#include "guest/cgroup.h"
#include "guest/ps.h"
#include "guest/work.h"

#define STAT                                                                         \
	" S 4 77 70 34816 77 4194560 1 2 3 4 150 50 7 8 20 -5 3 0 12345 8192000 25 " \
	"18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 3 0 0 0 0 0"

static void test_stat(void **state)
{
	struct ps_entry entry = {0};

	(void)state;
	assert_int_equal(ps_parse_stat("77 (a) b) (c"
				       ") "
				       "S 4",
				       100, 4096, &entry),
			 -EINVAL);
	assert_int_equal(ps_parse_stat("77 (evil) (name)" STAT, 100, 4096, &entry), 0);
	assert_string_equal(entry.name, "evil) (name");
	assert_int_equal(entry.info.name.len, strlen("evil) (name"));
	assert_int_equal(entry.info.state, 'S');
	assert_int_equal(entry.agent_parent, 4);
	assert_int_equal(entry.info.terminal, 34816);
	assert_true(entry.info.foreground);
	assert_int_equal(entry.info.cpu_ms, 2000);
	assert_int_equal(entry.info.nice, -5);
	assert_int_equal(entry.info.threads, 3);
	assert_int_equal(entry.start_ticks, 12345);
	assert_int_equal(entry.info.virtual_bytes, 8192000);
	assert_int_equal(entry.info.resident_bytes, 25 * 4096);
	/* A name longer than the kernel's is cut, not written past the end */
	assert_int_equal(ps_parse_stat("1 (0123456789012345678901234567890123456789)" STAT, 100,
				       4096, &entry),
			 0);
	assert_int_equal(strlen(entry.name), 15);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(ps_parse_stat((const char *const[]){"", "1 x S 1", ") ("}[i], 100,
					       4096, &entry),
				 -EINVAL);
}

static void test_status(void **state)
{
	static const char text[] = "Name:\tsh\nUmask:\t0022\nPid:\t900\nUid:\t1\t2\t3\t4\n"
				   "Gid:\t5\t6\t7\t8\nNSpid:\t900\t31\t1\nNSpgid:\t900\t30\t1\n"
				   "NSsid:\t800\t29\t0\n";
	struct ps_entry entry = {0};

	(void)state;
	assert_int_equal(ps_parse_status(text, 1, &entry), 0);
	assert_int_equal(entry.info.pid, 31);
	assert_int_equal(entry.info.group_id, 30);
	assert_int_equal(entry.info.session_id, 29);
	assert_int_equal(entry.info.uid, 2);
	assert_int_equal(entry.info.gid, 6);
	assert_int_equal(ps_parse_status(text, 0, &entry), 0);
	assert_int_equal(entry.info.pid, 900);
	assert_int_equal(ps_parse_status(text, 3, &entry), -ESRCH);
	assert_int_equal(ps_parse_status("Name:\tx\nNSpid:\t1\n", 0, &entry), -EINVAL);
	assert_int_equal(ps_parse_status("", 0, &entry), -EINVAL);
	/* Uid: of a name is not the line's */
	assert_int_equal(
		ps_parse_status("Name:\tUid: 9 9\nUid:\t1\t2\nGid:\t1\t2\nNSpid:\t5\n", 0, &entry),
		0);
	assert_int_equal(entry.info.uid, 2);
}

static void test_values(void **state)
{
	static const char text[] = "low 0\noom 3\noom_kill 2\noom_group_kill 1\nbad x\n";
	uint64_t value = 9;

	(void)state;
	assert_int_equal(cgroup_value(text, "oom", &value), 0);
	assert_int_equal(value, 3);
	assert_int_equal(cgroup_value(text, "oom_kill", &value), 0);
	assert_int_equal(value, 2);
	assert_int_equal(cgroup_value(text, "low", &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(cgroup_value(text, "kill", &value), -ENOENT);
	assert_int_equal(cgroup_value(text, "bad", &value), -EINVAL);
	assert_int_equal(cgroup_value("", "oom", &value), -ENOENT);
}

/* ---- work ---- */

static struct {
	struct loop *loop;
	struct work work;
	int calls, error;
	char text[64];
	size_t len;
} test;

static void on_done(struct work *work, int error, const uint8_t *data, size_t len)
{
	assert_ptr_equal(work, &test.work);
	assert_false(work->running);
	test.calls++;
	test.error = error;
	test.len = len;
	(void)snprintf(test.text, sizeof(test.text), "%.*s", (int)len,
		       len ? (const char *)data : "");
}

static int say(int fd, void *arg)
{
	return io_write_full(fd, arg, strlen(arg));
}

static int fail_late(int fd, void *arg)
{
	return say(fd, arg) < 0 ? -EIO : -EINVAL;
}

static int hang(int fd, void *arg)
{
	int r = say(fd, arg);

	while (r == 0)
		(void)pause();
	return r;
}

static int count_fds(int fd, void *arg)
{
	char text[16] = "";
	int n = 0;

	for (int i = 0; i < 1000; i++)
		n += fcntl(i, F_GETFD) >= 0;
	(void)snprintf(text, sizeof(text), "%d", n);
	(void)arg;
	return io_write_full(fd, text, strlen(text));
}

static void go(int (*run)(int fd, void *arg), size_t max, uint64_t timeout_ms, int keep)
{
	const struct work_job job = {.run = run,
				     .arg = (char *)"text",
				     .max = max,
				     .timeout_ms = timeout_ms,
				     .keep = keep};
	struct err err = {0};

	test.work.on_done = on_done;
	test.calls = 0;
	assert_int_equal(work_start(&test.work, test.loop, &job, &err), 0);
	assert_int_equal(work_start(&test.work, test.loop, &job, &err), -EBUSY);
	while (!test.calls)
		assert_true(loop_step(test.loop, 60000) > 0);
	assert_int_equal(test.calls, 1);
}

static void test_work(void **state)
{
	cleanup_close int kept = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	test.loop = loop_new(NULL);
	go(say, 4, 60000, -1);
	assert_int_equal(test.error, 0);
	assert_string_equal(test.text, "text");
	go(say, 3, 60000, -1);
	assert_int_equal(test.error, -EMSGSIZE);
	go(fail_late, 100, 60000, -1);
	assert_int_equal(test.error, -EIO);
	assert_int_equal(test.len, 0);
	go(hang, 100, 50, -1);
	assert_int_equal(test.error, -ETIMEDOUT);
	go(count_fds, 100, 60000, -1);
	assert_string_equal(test.text, "1");
	go(count_fds, 100, 60000, kept);
	assert_string_equal(test.text, "2");
	loop_free(test.loop);
}

static void test_cancel(void **state)
{
	const struct work_job job = {.run = hang, .arg = (char *)"", .max = 10, .keep = -1};

	(void)state;
	test.loop = loop_new(NULL);
	test.calls = 0;
	work_cancel(&test.work);
	assert_int_equal(work_start(&test.work, test.loop, &job, NULL), 0);
	work_cancel(&test.work);
	work_cancel(&test.work);
	assert_int_equal(loop_step(test.loop, 50), 0);
	assert_int_equal(test.calls, 0);
	go(say, 4, 0, -1);
	assert_string_equal(test.text, "text");
	loop_free(test.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stat),   cmocka_unit_test(test_status),
		cmocka_unit_test(test_values), cmocka_unit_test(test_work),
		cmocka_unit_test(test_cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
