/* SPDX-License-Identifier: Apache-2.0 */
/* The unit that linux.cgroupsPath names. What is done with it: tests/vm/systemd.bats. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "shim/systemd.h"

static void test_units(void **state)
{
	static const struct {
		const char *path;
		bool user;
		const char *slice, *name;
	} cases[] = {
		{"system.slice:docker:abc", false, "system.slice", "docker-abc.scope"},
		{":crio:abc", false, "system.slice", "crio-abc.scope"},
		{":crio:abc", true, "user.slice", "crio-abc.scope"},
		{"kubepods-burstable-pod1.slice::abc", false, "kubepods-burstable-pod1.slice",
		 "abc.scope"},
		{NULL, false, "system.slice", "caisson-id-1.scope"},
		{"", true, "user.slice", "caisson-id-1.scope"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct systemd_unit unit;

		assert_int_equal(
			systemd_unit_parse(cases[i].path, "id-1", cases[i].user, &unit, NULL), 0);
		assert_string_equal(unit.slice, cases[i].slice);
		assert_string_equal(unit.name, cases[i].name);
	}
}

static void test_bad_units(void **state)
{
	static const char *const cases[] = {
		"/a/b",	      "a.slice:b",     "a.slice:b:c:d", "a:b:c",
		"a.slice:b:", "a.slice:b/x:c", "a/b.slice:c:d", "a.slice:b:c d",
	};
	char name[600];
	struct systemd_unit unit;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (systemd_unit_parse(cases[i], "id", false, &unit, NULL) != -EINVAL)
			fail_msg("'%s' is taken", cases[i]);
	}
	memset(name, 'x', sizeof(name));
	memcpy(name, "a.slice:b:", 10);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(systemd_unit_parse(name, "id", false, &unit, NULL), -EINVAL);
}

/* A state directory without a note has no scope; one with a damaged note is an error, not a unit */
static void test_notes(void **state)
{
	char dir[] = "/tmp/caisson-unit-XXXXXX", path[64];
	struct limits limits = {0};
	struct err err = {0};
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(systemd_scope_stop(fd, &err), 0);
	assert_int_equal(systemd_scope_set(fd, -1, &limits, &err), 0);
	assert_int_equal(io_write_file(fd, "unit", "--help", 6, 0600, NULL), 0);
	assert_int_equal(systemd_scope_stop(fd, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "damaged"));
	/* The test has no such program beside it */
	assert_int_equal(io_write_file(fd, "unit", "a.scope", 7, 0600, NULL), 0);
	assert_true(systemd_scope_stop(fd, &err) < 0);
	assert_non_null(strstr(err.msg, "caisson-systemd"));
	(void)close(fd);
	(void)snprintf(path, sizeof(path), "%s/unit", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_bad_units),
		cmocka_unit_test(test_notes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
