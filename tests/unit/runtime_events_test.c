/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of `events`, and the durations that it takes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "runtime/duration.h"
#include "runtime/events_json.h"

static void check(const char *type, const struct control_stats *stats, const char *line)
{
	cleanup_free char *text = NULL;
	ssize_t n = events_json(type, "c1", stats, &text, NULL);

	assert_true(n > 0);
	assert_string_equal(text, line);
}

#define CPUSET                                                                             \
	"\"cpuset\":{\"cpu_exclusive\":0,\"mem_hardwall\":0,\"mem_exclusive\":0,\"memory_" \
	"migrate\":0,\"memory_spread_page\":0,\"memory_spread_slab\":0,\"memory_pressure"  \
	"\":0,\"sched_load_balance\":0,\"sched_relax_domain_level\":0}"
#define NONE "{\"limit\":0,\"failcnt\":0}"
#define END "\"intel_rdt\":{},\"network_interfaces\":null}}"

static void test_oom(void **state)
{
	(void)state;
	check("oom", NULL, "{\"type\":\"oom\",\"id\":\"c1\"}");
}

static void test_least(void **state)
{
	const struct control_stats stats = {0};

	(void)state;
	check("stats", &stats,
	      "{\"type\":\"stats\",\"id\":\"c1\",\"data\":{\"cpu\":{\"usage\":{\"kernel\":0,"
	      "\"user\":0},"
	      "\"throttling\":{}}," CPUSET ",\"memory\":{\"usage\":" NONE ",\"swap\":" NONE
	      ",\"kernel\":" NONE ",\"kernelTCP\":" NONE
	      "},\"pids\":{},\"blkio\":{},\"hugetlb\":{}," END);
}

static void test_whole(void **state)
{
	struct control_figure figures[] = {{"anon", 5}, {"file", 7}};
	struct control_device device = {.major = 254, .read_bytes = 1, .writes = 4};
	struct control_hugetlb hugetlb = {.size = "2MB", .usage = 3, .failures = 2};
	const struct control_stats stats = {
		.cpu_total_ns = 30,
		.cpu_user_ns = 20,
		.cpu_kernel_ns = 10,
		.periods = 1,
		.throttled_periods = 2,
		.throttled_ns = 3,
		.has_memory = true,
		.has_swap = true,
		.memory = {.usage = 100, .max_usage = 200, .limit = 1000},
		.swap = {.usage = 11, .max_usage = 12, .limit = 13},
		.memory_stat = figures,
		.nmemory_stat = 2,
		.pids = 4,
		.pids_limit = 9,
		.io = &device,
		.nio = 1,
		.hugetlb = &hugetlb,
		.nhugetlb = 1,
		.memory_pressure = {.present = true,
				    .some = {1234, 50, 0},
				    .full = {100, 1, 10},
				    .some_total = 8,
				    .full_total = UINT64_MAX},
	};

	(void)state;
	check("stats", &stats,
	      "{\"type\":\"stats\",\"id\":\"c1\",\"data\":{\"cpu\":{\"usage\":{\"total\":30,"
	      "\"kernel\":10,"
	      "\"user\":20},\"throttling\":{\"periods\":1,\"throttledPeriods\":2,\"throttledTime\":"
	      "3}}," CPUSET
	      ",\"memory\":{\"cache\":7,\"usage\":{\"limit\":1000,\"usage\":100,\"max\":200,"
	      "\"failcnt\":0},\"swap\":{\"limit\":1013,\"usage\":111,\"failcnt\":0},"
	      "\"kernel\":" NONE ",\"kernelTCP\":" NONE
	      ",\"raw\":{\"anon\":5,\"file\":7},\"psi\":{\"some\":{\"avg10\":12.34,"
	      "\"avg60\":0.5,\"avg300\":0,\"total\":8},\"full\":{\"avg10\":1,\"avg60\":0.01,"
	      "\"avg300\":0.1,"
	      "\"total\":18446744073709551615}}},\"pids\":{\"current\":4,\"limit\":9},\"blkio\":{"
	      "\"ioServiceBytesRecursive\":[{\"major\":254,\"op\":\"Read\",\"value\":1},{\"major\":"
	      "254,"
	      "\"op\":\"Write\"}],\"ioServicedRecursive\":[{\"major\":254,\"op\":\"Read\"},{"
	      "\"major\":254,"
	      "\"op\":\"Write\",\"value\":4}]},\"hugetlb\":{\"2MB\":{\"usage\":3,\"failcnt\":2}}"
	      "," END);
}

static void test_no_limit(void **state)
{
	const struct control_stats stats = {
		.has_memory = true,
		.memory = {.usage = 1, .limit = UINT64_MAX},
		.swap = {.limit = UINT64_MAX},
	};
	cleanup_free char *text = NULL;

	(void)state;
	assert_true(events_json("stats", "c1", &stats, &text, NULL) > 0);
	assert_non_null(strstr(text, "\"usage\":{\"limit\":18446744073709551615,\"usage\":1,"));
	assert_non_null(strstr(text, "\"swap\":{\"limit\":18446744073709551615,\"usage\":1,"));
}

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
		{"5s", 5000000000},
		{"0", 0},
		{"0s", 0},
		{"1m30s", 90000000000},
		{"1.5h", 5400000000000},
		{".5s", 500000000},
		{"5.s", 5000000000},
		{"300ms", 300000000},
		{"1h2m3s4ms5us6ns", 3723004005006},
		{"1\xc2\xb5s", 1000},
		{"1\xce\xbcs", 1000},
		{"-5s", -5000000000},
		{"+5s", 5000000000},
		{"2562047h", 2562047 * 3600000000000},
	};
	static const char *const bad[] = {"",
					  "5",
					  "s",
					  ".s",
					  "5 s",
					  "5x",
					  "-",
					  "1.2.3s",
					  "5s5",
					  "s5",
					  "--5s",
					  "+-1s",
					  "2562048h",
					  "99999999999999999999s",
					  "1s2562047h99999999999s"};
	int64_t ns;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (duration_parse(good[i].text, &ns) < 0)
			fail_msg("'%s' is refused", good[i].text);
		assert_int_equal(ns, good[i].ns);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (duration_parse(bad[i], &ns) == 0)
			fail_msg("'%s' is taken", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oom),	  cmocka_unit_test(test_least),
		cmocka_unit_test(test_whole),	  cmocka_unit_test(test_no_limit),
		cmocka_unit_test(test_durations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
