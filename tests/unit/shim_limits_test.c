/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of limits where the host lacks controllers, with ordinary files for a cgroup's. The rest: tests/vm/limits.bats.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "shim/cgroup_note.h"
#include "shim/control.h"
#include "shim/limits.h"

static char dir[64];
static int dir_fd = -1;

static void put(const char *file, const char *text)
{
	int fd = openat(dir_fd, file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
	(void)close(fd);
}

static void assert_file(const char *file, const char *wanted)
{
	cleanup_free char *text = NULL;

	assert_true(io_read_file(dir_fd, file, 4096, &text, NULL) >= 0);
	assert_string_equal(text, wanted);
}

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/caisson-limits-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put("cgroup.controllers", "cpu pidsy\n");
	put("cpu.weight", "100\n");
	return 0;
}

static int remove_dir(void **state)
{
	char command[128];

	(void)state;
	(void)close(dir_fd);
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static int limit(const char *json, struct limits *undo, struct err *err)
{
	CLEANUP(oci_resources) struct oci_resources *resources = NULL;
	const struct limits_machine machine = {128u << 20, 1};

	assert_int_equal(oci_resources_parse(json, strlen(json), &resources, err), 0);
	/* The directory stands for the state directory, too: it has no note of a unit */
	return monitor_cgroup_limit(dir_fd, dir_fd, resources, &machine, undo, err);
}

static void test_missing_controllers(void **state)
{
	struct limits undo = {0};
	struct err err = {0};

	(void)state;
	/* The guest holds to these */
	assert_int_equal(
		limit("{\"pids\":{\"limit\":5},\"memory\":{\"limit\":5,\"swap\":9},\"cpu\":{"
		      "\"shares\":512,\"cpus\":\"0\"}}",
		      &undo, &err),
		0);
	assert_file("cpu.weight", "59");
	assert_int_equal(undo.n, 1);
	monitor_cgroup_restore(dir_fd, dir_fd, &undo);
	limits_release(&undo);
	assert_file("cpu.weight", "100");
	/* To this only the host can */
	assert_int_equal(limit("{\"cpu\":{\"shares\":512},\"blockIO\":{\"throttleReadBpsDevice\":[{"
			       "\"major\":8,\"minor\":0,\"rate\":1}]}}",
			       &undo, &err),
			 -ENOENT);
	assert_non_null(strstr(err.msg, "controller \"io\" not available"));
}

static void test_missing_file(void **state)
{
	struct limits undo = {0};
	struct err err = {0};

	(void)state;
	/* The controller is there, what it should have is not */
	assert_int_equal(limit("{\"cpu\":{\"shares\":512,\"burst\":5}}", &undo, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "cpu.max.burst"));
	assert_int_equal(undo.n, 0);
}

/* ---- version 1 ---- */

#define NOTE                                                                          \
	"%s\n/mem\n0\nmemory\n%s\n/\n0\ncpu,cpuacct\n/no/such\n/x\n0\n" CGROUP_UNUSED \
	"\n%s\n/sd\n0\n"                                                              \
	"name=systemd\n"

static void put_note(void)
{
	char note[1024];

	snprintf(note, sizeof(note), NOTE, dir, dir, dir);
	put("cgroup", note);
	assert_int_equal(mkdirat(dir_fd, "mem", 0700), 0);
	put("mem/memory.limit_in_bytes", "100\n");
	put("mem/memory.memsw.limit_in_bytes", "200\n");
	put("cpu.shares", "1024\n");
}

static void test_v1(void **state)
{
	struct limits undo = {0};
	struct err err = {0};

	(void)state;
	put_note();
	assert_int_equal(
		limit("{\"pids\":{\"limit\":5},\"memory\":{\"limit\":4096,\"swap\":8192},\"cpu\":{"
		      "\"shares\":512,\"cpus\":\"0\"},\"unified\":{\"cpu.weight\":\"7\"}}",
		      &undo, &err),
		0);
	assert_file("mem/memory.limit_in_bytes", "202899456");
	assert_file("mem/memory.memsw.limit_in_bytes", "202903552");
	assert_file("cpu.shares", "512");
	assert_file("cpu.weight", "100\n");
	monitor_cgroup_restore(dir_fd, dir_fd, &undo);
	limits_release(&undo);
	assert_file("mem/memory.limit_in_bytes", "100");
	assert_file("mem/memory.memsw.limit_in_bytes", "200");
	assert_file("cpu.shares", "1024");
}

static void test_v1_needs_the_host(void **state)
{
	struct err err = {0};

	(void)state;
	put_note();
	assert_int_equal(limit("{\"cpu\":{\"shares\":512},\"blockIO\":{\"throttleReadBpsDevice\":[{"
			       "\"major\":8,\"minor\":0,\"rate\":1}]}}",
			       NULL, &err),
			 -ENOTSUP);
	assert_non_null(strstr(err.msg, "blkio.throttle.read_bps_device"));
	assert_file("cpu.shares", "1024\n");
	/* The controller is there, what it should have is not; what was written before is back */
	assert_int_equal(limit("{\"memory\":{\"limit\":4096},\"cpu\":{\"idle\":1}}", NULL, &err),
			 -ENOENT);
	assert_non_null(strstr(err.msg, "cpu.idle"));
	assert_file("mem/memory.limit_in_bytes", "100");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_missing_controllers, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_missing_file, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_v1, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_v1_needs_the_host, make_dir, remove_dir),
	};

	log_set_fd(-1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
