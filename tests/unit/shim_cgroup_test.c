/* SPDX-License-Identifier: Apache-2.0 */
/* Where a container's cgroup is: the path of config.json, cleaned, as runc takes it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shim/cgroup.h"

static void test_paths(void **state)
{
	static const struct {
		const char *configured, *own, *out;
	} cases[] = {
		{"/docker/abc", "/user.slice/x", "/docker/abc"},
		{"//docker/./abc/", "/", "/docker/abc"},
		{"/../../etc", "/", "/etc"},
		{"/a/../../b/..", "/", "/"},
		{"/", "/x", "/"},
		{"/...", "/", "/..."},
		{NULL, "/user.slice/session-1.scope", "/user.slice/id-1"},
		{"", "/", "/id-1"},
		{"pod/c", "/user.slice/session-1.scope", "/user.slice/pod/c"},
		{"../../../c", "/a/b", "/c"},
		{"system.slice:docker:abc", "/", "/system.slice:docker:abc"},
	};
	char out[CGROUP_PATH_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(cgroup_path(cases[i].configured, "id-1", cases[i].own, out, NULL),
				 0);
		assert_string_equal(out, cases[i].out);
	}
}

static void test_too_long(void **state)
{
	char *path = malloc(CGROUP_PATH_MAX + 10), *out = malloc(CGROUP_PATH_MAX);

	(void)state;
	memset(path, 'x', CGROUP_PATH_MAX + 9);
	path[0] = '/';
	path[CGROUP_PATH_MAX + 9] = 0;
	assert_int_equal(cgroup_path(path, "id", "/", out, NULL), -ENAMETOOLONG);
	/* The longest that fits */
	path[CGROUP_PATH_MAX - 1] = 0;
	assert_int_equal(cgroup_path(path, "id", "/", out, NULL), 0);
	assert_string_equal(out, path);
	free(path);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
