/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits: the formulas, what is planned for guest and host, and the writing, with ordinary files for a cgroup's.
 *
 * LDFLAGS: -Wl,--wrap=realloc
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
#include "oci/limits.h"

#define MIB (1ull << 20)

static int reallocs_until_failure = -1;

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size)
{
	if (reallocs_until_failure >= 0 && reallocs_until_failure-- == 0)
		return NULL;
	return __real_realloc(p, size);
}

/* ---- formulas ---- */

static void test_cpu_weight(void **state)
{
	static const uint64_t cases[][2] = {
		{0, 0},		 {1, 1},
		{2, 1},		 {3, 2},
		{102, 17},	 {512, 59},
		{1024, 100},	 {2048, 174},
		{4096, 303},	 {100000, 4340},
		{262143, 10000}, {262144, 10000},
		{262145, 10000}, {UINT64_MAX, 10000},
	};
	uint64_t last = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(limits_cpu_weight(cases[i][0]), cases[i][1]);
	for (uint64_t shares = 2; shares <= 262144; shares += 7) {
		assert_true(limits_cpu_weight(shares) >= last);
		last = limits_cpu_weight(shares);
	}
}

static void test_io_weight(void **state)
{
	(void)state;
	assert_int_equal(limits_io_weight(0), 0);
	assert_int_equal(limits_io_weight(10), 1);
	assert_int_equal(limits_io_weight(100), 910);
	assert_int_equal(limits_io_weight(500), 4950);
	assert_int_equal(limits_io_weight(1000), 10000);
}

static void test_swap(void **state)
{
	static const struct {
		int64_t memory, both, swap;
		bool set;
		int r;
	} cases[] = {
		{0, 0, -1, false, 0},	{100, 0, -1, false, 0},	   {-1, 0, -1, true, 0},
		{100, -1, -1, true, 0}, {100, 100, 0, true, 0},	   {100, 150, 50, true, 0},
		{-1, 70, 70, true, 0},	{0, 70, 0, true, -EINVAL}, {100, 99, 0, true, -EINVAL},
		{0, -1, -1, true, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};
		int64_t swap = 0;
		bool set = false;

		assert_int_equal(limits_swap(cases[i].memory, cases[i].both, &swap, &set, &err),
				 cases[i].r);
		assert_int_equal(set, cases[i].set);
		if (cases[i].r == 0)
			assert_int_equal(swap, cases[i].swap);
	}
}

static void test_host(void **state)
{
	struct limits_machine small = {128 * MIB, 1}, large = {64ull << 30, 16};

	(void)state;
	assert_int_equal(limits_files_known(&small), 16384);
	assert_int_equal(limits_files_known(&large), 524288);
	assert_int_equal(limits_files_known(&(struct limits_machine){4ull << 30, 1}), 131072);
	assert_int_equal(limits_overhead(&small), 32 * MIB + MIB + MIB / 2 + 32 * MIB);
	assert_int_equal(limits_overhead(&large), 32 * MIB + 16 * MIB + 256 * MIB + 1024 * MIB);
	/* All of the guest fits, and all of the limit */
	assert_int_equal(limits_host_memory(64 * MIB, &small), 128 * MIB + limits_overhead(&small));
	assert_int_equal(limits_host_memory(1024 * MIB, &small),
			 1024 * MIB + limits_overhead(&small));
	assert_int_equal(limits_host_memory(INT64_MAX, &small), INT64_MAX);
	assert_int_equal(limits_host_pids(10, &large), 10 + 64 + 16);
	assert_int_equal(limits_host_pids(INT64_MAX, &large), INT64_MAX);
}

/* ---- plans ---- */

static const struct limits_machine machine = {128 * MIB, 2};

/* The plan as text: FILE=VALUE, with marks for what is special */
static void describe(const struct limits *limits, char *out, size_t size)
{
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < limits->n; i++) {
		const struct limits_write *w = &limits->items[i];

		len += (size_t)snprintf(out + len, size - len, "%s%s=%s%s%s%s%s", i ? " " : "",
					w->file, w->value, w->missing == LIMITS_SKIP ? "?" : "",
					w->missing == LIMITS_ALTERNATIVE ? "|" : "",
					w->keep_quota ? "+quota" : "", w->may_fail ? "~" : "");
		assert_true(len < size);
	}
}

static void plan_v1(const char *json, char *out, size_t size)
{
	CLEANUP(oci_resources) struct oci_resources *resources = NULL;
	struct limits limits;
	struct err err = {0};

	if (oci_resources_parse(json, strlen(json), &resources, &err) < 0 ||
	    limits_plan_v1(resources, &machine, &limits, &err) < 0)
		fail_msg("%s", err.msg);
	describe(&limits, out, size);
	limits_release(&limits);
}

static const struct {
	const char *json, *host;
} plans_v1[] = {
	{"{}", ""},
	{"{\"pids\":{\"limit\":10}}", "pids.max=76"},
	{"{\"pids\":{\"limit\":-1}}", "pids.max=max"},
	{"{\"memory\":{\"limit\":1048576}}", "memory.limit_in_bytes=203948032"},
	{"{\"memory\":{\"limit\":-1}}",
	 "memory.limit_in_bytes=-1~ memory.memsw.limit_in_bytes=-1? memory.limit_in_bytes=-1"},
	{"{\"memory\":{\"limit\":4096,\"swap\":8192,\"reservation\":100}}",
	 "memory.limit_in_bytes=203948032~ memory.memsw.limit_in_bytes=203952128 "
	 "memory.limit_in_bytes=203948032 memory.soft_limit_in_bytes=100"},
	{"{\"memory\":{\"limit\":4096,\"swap\":4096}}",
	 "memory.limit_in_bytes=203948032~ memory.memsw.limit_in_bytes=203948032? "
	 "memory.limit_in_bytes=203948032"},
	{"{\"cpu\":{\"shares\":300,\"cpus\":\"0-1\",\"mems\":\"0\"}}",
	 "cpu.shares=300 cpuset.cpus=0-1 cpuset.mems=0"},
	{"{\"cpu\":{\"quota\":5000,\"period\":20000,\"burst\":7,\"idle\":1}}",
	 "cpu.idle=1 cpu.cfs_burst_us=7~ cpu.cfs_period_us=20000~ cpu.cfs_quota_us=5000 "
	 "cpu.cfs_period_us=20000 cpu.cfs_burst_us=7"},
	{"{\"cpu\":{\"period\":20000}}", "cpu.cfs_period_us=20000"},
	{"{\"cpu\":{\"quota\":-5}}", "cpu.cfs_quota_us=-1"},
	{"{\"blockIO\":{\"weight\":50,\"weightDevice\":[{\"major\":8,\"minor\":0,\"weight\":20}],"
	 "\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":1,\"rate\":1000}],"
	 "\"throttleWriteIOPSDevice\":[{\"major\":8,\"minor\":2,\"rate\":9}]}}",
	 "blkio.bfq.weight=50| blkio.weight=50 blkio.bfq.weight_device=8:0 20| "
	 "blkio.weight_device=8:0 20? "
	 "blkio.throttle.read_bps_device=8:1 1000 blkio.throttle.write_iops_device=8:2 9"},
	{"{\"unified\":{\"memory.high\":\"1000000\"},\"hugepageLimits\":[{\"pageSize\":\"2MB\","
	 "\"limit\":0}]}",
	 ""},
};

static void test_plans_v1(void **state)
{
	char text[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(plans_v1) / sizeof(plans_v1[0]); i++) {
		plan_v1(plans_v1[i].json, text, sizeof(text));
		assert_string_equal(text, plans_v1[i].host);
	}
}

static int plan(const char *json, enum limits_side side, char *out, size_t size, struct err *err)
{
	CLEANUP(oci_resources) struct oci_resources *resources = NULL;
	struct limits limits;
	int r;

	if (oci_resources_parse(json, strlen(json), &resources, err) < 0)
		fail_msg("%s", err->msg);
	r = limits_plan(resources, side, &machine, &limits, err);
	if (r == 0)
		describe(&limits, out, size);
	limits_release(&limits);
	return r;
}

static const struct {
	const char *json, *guest, *host;
} plans[] = {
	{"{}", "", ""},
	{"{\"pids\":{\"limit\":0},\"memory\":{\"limit\":0,\"swap\":0},\"cpu\":{\"shares\":0,"
	 "\"quota\":"
	 "0,\"period\":0,\"cpus\":\"\"},\"blockIO\":{\"weight\":0}}",
	 "", ""},
	{"{\"pids\":{\"limit\":10}}", "pids.max=10", "pids.max=76"},
	{"{\"pids\":{\"limit\":-1}}", "pids.max=max", "pids.max=max"},
	{"{\"memory\":{\"limit\":1048576}}", "memory.max=1048576", "memory.max=203948032"},
	{"{\"memory\":{\"limit\":-1}}", "memory.swap.max=max? memory.max=max",
	 "memory.swap.max=max? memory.max=max"},
	{"{\"memory\":{\"limit\":4096,\"swap\":8192,\"reservation\":100}}",
	 "memory.swap.max=4096? memory.max=4096 memory.low=100",
	 "memory.swap.max=4096 memory.max=203948032 memory.low=100"},
	{"{\"memory\":{\"limit\":4096,\"swap\":4096}}", "memory.swap.max=0? memory.max=4096",
	 "memory.swap.max=0? memory.max=203948032"},
	{"{\"cpu\":{\"shares\":1024}}", "cpu.weight=100", "cpu.weight=100"},
	{"{\"cpu\":{\"quota\":5000}}", "cpu.max=5000", "cpu.max=5000"},
	{"{\"cpu\":{\"quota\":-1,\"period\":50000}}", "cpu.max=max 50000", "cpu.max=max 50000"},
	{"{\"cpu\":{\"period\":50000}}", "cpu.max=50000+quota", "cpu.max=50000+quota"},
	{"{\"cpu\":{\"burst\":0}}", "cpu.max.burst=0", "cpu.max.burst=0"},
	{"{\"cpu\":{\"idle\":1,\"quota\":5000,\"burst\":1000}}",
	 "cpu.idle=1 cpu.max.burst=1000~ cpu.max=5000 cpu.max.burst=1000",
	 "cpu.idle=1 cpu.max.burst=1000~ cpu.max=5000 cpu.max.burst=1000"},
	{"{\"cpu\":{\"cpus\":\"3,7-9\",\"mems\":\"1\"}}", "cpuset.cpus=0-1 cpuset.mems=0",
	 "cpuset.cpus=3,7-9 cpuset.mems=1"},
	{"{\"cpu\":{\"cpus\":\"5\"}}", "cpuset.cpus=0-0", "cpuset.cpus=5"},
	{"{\"blockIO\":{\"weight\":500}}", "io.bfq.weight=500| io.weight=4950",
	 "io.bfq.weight=500| io.weight=4950"},
	{"{\"blockIO\":{\"weightDevice\":[{\"major\":8,\"minor\":0,\"weight\":300}],"
	 "\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":5}],"
	 "\"throttleWriteBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":6}],"
	 "\"throttleReadIOPSDevice\":[{\"major\":8,\"minor\":16,\"rate\":7}],"
	 "\"throttleWriteIOPSDevice\":[{\"major\":8,\"minor\":0,\"rate\":8}]}}",
	 "",
	 "io.bfq.weight=8:0 300? io.max=8:0 rbps=5 io.max=8:0 wbps=6 io.max=8:16 riops=7 "
	 "io.max=8:0 "
	 "wiops=8"},
	{"{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":4}]}",
	 "hugetlb.2MB.max=4? hugetlb.2MB.rsvd.max=4?", ""},
	{"{\"pids\":{\"limit\":9},\"unified\":{\"pids.max\":\"5\",\"cpuset.cpus\":\"4-8\",\"cpuset."
	 "mems\":"
	 "\"2\",\"io.max\":\"8:0 "
	 "rbps=1\",\"memory.high\":\"1M\",\"memory.low\":\"7\",\"memory.swap.max\":"
	 "\"3\",\"misc.max\":\"x 1\",\"cpu.idle\":\"1\",\"cgroup.max.depth\":\"2\"}}",
	 "pids.max=9 cgroup.max.depth=2 cpu.idle=1 cpuset.cpus=0-1 cpuset.mems=0 memory.high=1M "
	 "memory.low=7 memory.swap.max=3? misc.max=x 1 pids.max=5",
	 "pids.max=75 cpu.idle=1 cpuset.cpus=4-8 cpuset.mems=2 io.max=8:0 rbps=1 "
	 "memory.high=203948032 memory.low=7 memory.swap.max=3 pids.max=71"},
	{"{\"unified\":{\"memory.max\":\"max\",\"pids.max\":\"max\"}}",
	 "memory.max=max pids.max=max", "memory.max=max pids.max=max"},
};

static void test_plans(void **state)
{
	char text[2048];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(plans); i++) {
		struct err err = {0};

		assert_int_equal(plan(plans[i].json, LIMITS_GUEST, text, sizeof(text), &err), 0);
		assert_string_equal(text, plans[i].guest);
		assert_int_equal(plan(plans[i].json, LIMITS_HOST, text, sizeof(text), &err), 0);
		assert_string_equal(text, plans[i].host);
	}
}

static void test_bad_plans(void **state)
{
	static const struct {
		const char *json, *words;
	} cases[] = {
		{"{\"memory\":{\"swap\":5}}", "unable to set swap limit without memory limit"},
		{"{\"unified\":{\"nodot\":\"1\"}}",
		 "\"nodot\" must be in the form CONTROLLER.PARAMETER"},
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {0};

		assert_int_equal(plan(cases[i].json, LIMITS_GUEST, text, sizeof(text), &err),
				 -EINVAL);
		assert_non_null(strstr(err.msg, cases[i].words));
	}
}

static void test_plan_memory(void **state)
{
	const char *json = "{\"pids\":{\"limit\":1},\"cpu\":{\"shares\":5,\"burst\":1}}";
	char text[256];

	(void)state;
	for (int i = 0; i < 3; i++) {
		CLEANUP(oci_resources) struct oci_resources *resources = NULL;
		struct limits limits;
		int r;

		assert_int_equal(oci_resources_parse(json, strlen(json), &resources, NULL), 0);
		reallocs_until_failure = i;
		r = limits_plan(resources, LIMITS_GUEST, &machine, &limits, NULL);
		reallocs_until_failure = -1;
		limits_release(&limits);
		assert_int_equal(r, -ENOMEM);
	}
	assert_int_equal(plan(json, LIMITS_GUEST, text, sizeof(text), NULL), 0);
}

static void test_without_effect(void **state)
{
	const char *json =
		"{\"memory\":{\"kernel\":1,\"kernelTCP\":1,\"swappiness\":0,\"disableOOMKiller\":"
		"true},\"cpu\":{\"realtimeRuntime\":5},\"network\":{\"classID\":1,\"priorities\":[{"
		"\"name\":\"e\",\"priority\":1}]},\"blockIO\":{\"leafWeight\":10},\"rdma\":{\"m\":{"
		"\"hcaHandles\":1}}}";
	const char *none =
		"{\"memory\":{\"limit\":5,\"disableOOMKiller\":false,\"useHierarchy\":true}}";
	CLEANUP(oci_resources) struct oci_resources *all = NULL;
	CLEANUP(oci_resources) struct oci_resources *nothing = NULL;
	size_t n = 0;

	(void)state;
	assert_int_equal(oci_resources_parse(json, strlen(json), &all, NULL), 0);
	assert_int_equal(oci_resources_parse(none, strlen(none), &nothing, NULL), 0);
	while (limits_without_effect(all, n))
		n++;
	assert_int_equal(n, 9);
	assert_non_null(strstr(limits_without_effect(all, 2), "swappiness"));
	assert_null(limits_without_effect(nothing, 0));
}

/* ---- writing ---- */

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
	put("cgroup.controllers", "cpu memory pids\n");
	put("pids.max", "max\n");
	put("memory.max", "max\n");
	put("memory.current", "5000000\n");
	put("cpu.max", "7000 100000\n");
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

static int apply(const char *json, struct limits *undo, struct err *err)
{
	CLEANUP(oci_resources) struct oci_resources *resources = NULL;
	struct limits limits;
	int r;

	assert_int_equal(oci_resources_parse(json, strlen(json), &resources, err), 0);
	assert_int_equal(limits_plan(resources, LIMITS_GUEST, &machine, &limits, err), 0);
	r = limits_apply(dir_fd, &limits, undo, err);
	limits_release(&limits);
	return r;
}

static void test_apply(void **state)
{
	struct limits undo = {0};

	(void)state;
	assert_int_equal(
		apply("{\"pids\":{\"limit\":5},\"memory\":{\"limit\":9000000,\"swap\":9000001},"
		      "\"cpu\":{\"period\":50000}}",
		      &undo, NULL),
		0);
	assert_file("pids.max", "5");
	assert_file("memory.max", "9000000");
	assert_file("cpu.max", "7000 50000");
	assert_int_equal(undo.n, 3);
	limits_restore(dir_fd, &undo);
	limits_release(&undo);
	assert_file("pids.max", "max");
	assert_file("memory.max", "max");
	assert_file("cpu.max", "7000 100000");
}

static void test_apply_all_or_nothing(void **state)
{
	struct limits undo = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(
		apply("{\"pids\":{\"limit\":5},\"cpu\":{\"shares\":2,\"idle\":1}}", &undo, &err),
		-ENOENT);
	assert_int_equal(undo.n, 0);
	assert_file("pids.max", "max");
	assert_file("cpu.weight", "100\n");
	assert_non_null(strstr(err.msg, "unable to set the limit \"cpu.idle\" to '1'"));
	assert_null(strstr(err.msg, "o such file"));
	assert_int_equal(
		apply("{\"pids\":{\"limit\":5},\"unified\":{\"tea.pot\":\"1\"}}", NULL, &err),
		-ENOENT);
	assert_string_equal(err.msg,
			    "unified resource \"tea.pot\" can't be set: controller \"tea\" not "
			    "available");
	assert_int_equal(apply("{\"unified\":{\"memory.nope\":\"1\"}}", NULL, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "unable to set unified resource \"memory.nope\""));
	assert_file("pids.max", "max");
	/* A file that was empty: an empty line empties it again */
	put("cpuset.cpus", "\n");
	assert_int_equal(
		apply("{\"cpu\":{\"cpus\":\"0\"},\"unified\":{\"tea.pot\":\"1\"}}", NULL, &err),
		-ENOENT);
	assert_file("cpuset.cpus", "\n");
}

static void test_apply_alternative(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(apply("{\"blockIO\":{\"weight\":100}}", NULL, &err), -ENOENT);
	put("io.weight", "default 100\n");
	assert_int_equal(apply("{\"blockIO\":{\"weight\":100}}", NULL, &err), 0);
	assert_file("io.weight", "910");
	put("io.bfq.weight", "default 100\n");
	put("io.weight", "default 100\n");
	assert_int_equal(apply("{\"blockIO\":{\"weight\":100}}", NULL, &err), 0);
	assert_file("io.bfq.weight", "100");
	assert_file("io.weight", "default 100\n");
}

static void test_apply_usage(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(
		apply("{\"memory\":{\"limit\":4096,\"checkBeforeUpdate\":true}}", NULL, &err),
		-EBUSY);
	assert_string_equal(err.msg, "rejecting memory limit 4096 <= usage 5000000");
	assert_int_equal(apply("{\"memory\":{\"limit\":4096}}", NULL, &err), 0);
	assert_int_equal(
		apply("{\"memory\":{\"limit\":6000000,\"checkBeforeUpdate\":true}}", NULL, &err),
		0);
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cpu_weight),
		cmocka_unit_test(test_io_weight),
		cmocka_unit_test(test_swap),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_plans),
		cmocka_unit_test(test_plans_v1),
		cmocka_unit_test(test_bad_plans),
		cmocka_unit_test(test_plan_memory),
		cmocka_unit_test(test_without_effect),
		WITH_DIR(test_apply),
		WITH_DIR(test_apply_all_or_nothing),
		WITH_DIR(test_apply_alternative),
		WITH_DIR(test_apply_usage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
