/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of /proc that say which cgroup hierarchies a host has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "shim/hierarchies.h"

/* "CONTROLLERS@MOUNT:OWN …" */
static void parse(const char *mountinfo, const char *cgroups, char *out, size_t size)
{
	cleanup_free char *m = strdup(mountinfo), *c = strdup(cgroups);
	struct hierarchies found;
	struct err err = {0};
	size_t len = 0;

	out[0] = 0;
	assert_int_equal(hierarchies_parse(m, c, &found, &err), 0);
	for (size_t i = 0; i < found.n; i++)
		len += (size_t)snprintf(out + len, size - len, "%s%s@%s:%s", i ? " " : "",
					found.items[i].controllers, found.items[i].mount,
					found.items[i].own);
	hierarchies_release(&found);
}

#define V1(name, options) \
	"31 30 0:28 / /sys/fs/cgroup/" name " rw,nosuid shared:9 - cgroup cgroup rw," options "\n"

static const struct {
	const char *mountinfo, *cgroups, *out;
} cases[] = {
	/* unified */
	{"20 1 0:5 / /proc rw - proc proc rw\n"
	 "30 22 0:27 / /sys/fs/cgroup rw,relatime shared:4 master:2 - cgroup2 cgroup2 "
	 "rw,nsdelegate\n",
	 "0::/user.slice/x\n", "@/sys/fs/cgroup:/user.slice/x"},
	/* hybrid */
	{V1("cpu,cpuacct", "cpu,cpuacct") V1("systemd", "xattr,name=systemd")
		 V1("pids", "pids") "40 30 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
	 "9:name=systemd:/s\n4:cpu,cpuacct:/a:b\n3:pids:/\n0::/s\n",
	 "name=systemd@/sys/fs/cgroup/systemd:/s cpu,cpuacct@/sys/fs/cgroup/cpu,cpuacct:/a:b "
	 "pids@/sys/fs/cgroup/pids:/ @/sys/fs/cgroup/unified:/s"},
	/* not mounted, or elsewhere */
	{V1("cpuset", "cpuset") "32 30 0:29 / /mnt/cpu rw - cgroup cgroup rw,cpu\n",
	 "5:cpu:/\n4:freezer:/\n3:cpuset:/\n0::/\n", "cpuset@/sys/fs/cgroup/cpuset:/"},
	/* a part of a hierarchy, as in a container without a cgroup namespace; a blank in its name */
	{"31 30 0:28 /docker/a\\040b /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
	 "4:memory:/docker/a b/c\n", "memory@/sys/fs/cgroup/memory:/c"},
	{"31 30 0:28 /docker/a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
	 "4:memory:/docker/a\n", "memory@/sys/fs/cgroup/memory:/"},
	{"31 30 0:28 /docker/a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
	 "4:memory:/docker/abc\n", "memory@/sys/fs/cgroup/memory:/docker/abc"},
	/* a controller whose name begins with another's */
	{V1("cpuset", "cpuset"), "4:cpu:/\n", ""},
	/* what is no such text */
	{"", "", ""},
	{"31 30\n1 2 3 4 5 6 -\n1 2 3 4 5 6 7 8\n", "\n4\n4:\n4:cpu\n4:cpu:relative\n", ""},
};

static void test_parse(void **state)
{
	char text[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		parse(cases[i].mountinfo, cases[i].cgroups, text, sizeof(text));
		assert_string_equal(text, cases[i].out);
	}
}

static void test_too_many(void **state)
{
	cleanup_free char *mounts = calloc(1, 8192), *cgroups = calloc(1, 1024);
	struct hierarchies found;
	struct err err = {0};
	size_t m = 0, c = 0;

	(void)state;
	for (int i = 0; i <= HIERARCHIES_MAX; i++) {
		m += (size_t)sprintf(mounts + m,
				     "31 30 0:28 / /sys/fs/cgroup/c%d rw - cgroup cgroup rw,c%d\n",
				     i, i);
		c += (size_t)sprintf(cgroups + c, "%d:c%d:/\n", i, i);
	}
	assert_int_equal(hierarchies_parse(mounts, cgroups, &found, &err), -E2BIG);
	hierarchies_release(&found);
}

static void test_lists(void **state)
{
	(void)state;
	assert_true(controllers_have("cpu,cpuacct", "cpuacct"));
	assert_true(controllers_have("cpu", "cpu"));
	assert_false(controllers_have("cpuacct", "cpu"));
	assert_false(controllers_have("", "cpu"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
