/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.resources as a document of its own: each field's good, absent, mistyped and impossible value, whole documents there and
 * back, no memory.
 *
 * LDFLAGS: -Wl,--wrap=calloc -Wl,--wrap=strdup
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "oci/config.h"

/* ---- a row per field ---- */

#define MEMORY "{\"memory\":{", "}}", "memory."
#define CPU "{\"cpu\":{", "}}", "cpu."
#define PIDS "{\"pids\":{", "}}", "pids."
#define IO "{\"blockIO\":{", "}}", "blockIO."
#define WEIGHT "{\"blockIO\":{\"weightDevice\":[{", ",\"x\":0}]}}", "blockIO.weightDevice[0]."
#define HUGE_ "{\"hugepageLimits\":[{", ",\"x\":0}]}", "hugepageLimits[0]."
#define RULE "{\"devices\":[{", ",\"x\":0}]}", "devices[0]."
#define UNIFIED "{\"unified\":{", "}}", "unified."
#define NETWORK "{\"network\":{", "}}", "network."
#define PRIORITY "{\"network\":{\"priorities\":[{", ",\"x\":0}]}}", "network.priorities[0]."
#define RDMA "{\"rdma\":{\"mlx\":{", "}}}", "rdma.mlx."
#define RATE(name) "{\"blockIO\":{\"" name "\":[{", ",\"x\":0}]}}", "blockIO." name "[0]."

#define NUMBER "a string, not a number"
#define BOOLEAN "a string, not a boolean"
#define RANGE " is out of range"

static const struct {
	const char *before, *after, *path; /* what is around the field, and how errors name it */
	const char *others;		   /* what its object needs besides */
	const char *key, *good;
	const char *mistyped;	     /* what a string is said to be, NULL: a number is given */
	const char *bad, *sentence;  /* an impossible value, NULL: there is none */
	const char *absent_sentence; /* NULL: it may be absent */
} rows[] = {
	{MEMORY, "", "limit", "1048576", NUMBER, "-2", "-2" RANGE, NULL},
	{MEMORY, "", "limit", "-1", NUMBER, "9223372036854775808", "9223372036854775808" RANGE,
	 NULL},
	{MEMORY, "", "reservation", "0", NUMBER, "-2", "-2" RANGE, NULL},
	{MEMORY, "", "swap", "5", NUMBER, "1.5", "1.5 is not an integer", NULL},
	{MEMORY, ",\"limit\":2", "swap", "2", NUMBER, "1",
	 "memory+swap limit should be >= memory limit", NULL},
	{MEMORY, "", "kernel", "9223372036854775807", NUMBER, "-5", "-5" RANGE, NULL},
	{MEMORY, "", "kernelTCP", "-1", NUMBER, "-2", "-2" RANGE, NULL},
	{MEMORY, "", "swappiness", "100", NUMBER, "101", "101" RANGE, NULL},
	{MEMORY, "", "swappiness", "0", NUMBER, "-1", "-1" RANGE, NULL},
	{MEMORY, "", "disableOOMKiller", "true", BOOLEAN, NULL, NULL, NULL},
	{MEMORY, "", "disableOOMKiller", "false", BOOLEAN, NULL, NULL, NULL},
	{MEMORY, "", "useHierarchy", "true", BOOLEAN, NULL, NULL, NULL},
	{MEMORY, "", "checkBeforeUpdate", "true", BOOLEAN, NULL, NULL, NULL},
	{CPU, "", "shares", "18446744073709551615", NUMBER, "-1", "-1" RANGE, NULL},
	{CPU, "", "quota", "-1", NUMBER, "999", "less than 1000 us", NULL},
	{CPU, "", "quota", "1000", NUMBER, "9223372036854775808", "9223372036854775808" RANGE,
	 NULL},
	{CPU, "", "burst", "7", NUMBER, "-1", "-1" RANGE, NULL},
	{CPU, ",\"quota\":1000", "burst", "1000", NUMBER, "1001", "larger than the quota", NULL},
	{CPU, ",\"quota\":-1", "burst", "1001", NUMBER, "1e3", "1e3 is not an integer", NULL},
	{CPU, "", "period", "1000", NUMBER, "999", "not between 1000 and 1000000 us", NULL},
	{CPU, "", "period", "1000000", NUMBER, "1000001", "not between 1000 and 1000000 us", NULL},
	{CPU, "", "period", "0", NUMBER, "-1", "-1" RANGE, NULL},
	{CPU, "", "realtimeRuntime", "-1", NUMBER, "9223372036854775808",
	 "9223372036854775808" RANGE, NULL},
	{CPU, "", "realtimePeriod", "1", NUMBER, "-1", "-1" RANGE, NULL},
	{CPU, "", "cpus", "\"0-3,7\"", NULL, "\"3-0\"", "'3-0' is not a list like \"0-3,7\"", NULL},
	{CPU, "", "cpus", "\"\"", NULL, "\"8192\"", "'8192' is not a list like \"0-3,7\"", NULL},
	{CPU, "", "mems", "\"0\"", NULL, "\",\"", "',' is not a list like \"0-3,7\"", NULL},
	{CPU, "", "idle", "1", NUMBER, "2", "2" RANGE, NULL},
	{CPU, "", "idle", "0", NUMBER, "-1", "-1" RANGE, NULL},
	{PIDS, "", "limit", "-1", NUMBER, "-2", "-2" RANGE, NULL},
	{PIDS, "", "limit", "0", NUMBER, "9223372036854775808", "9223372036854775808" RANGE, NULL},
	{IO, "", "weight", "10", NUMBER, "9", "not between 10 and 1000", NULL},
	{IO, "", "weight", "0", NUMBER, "1001", "1001" RANGE, NULL},
	{IO, "", "leafWeight", "1000", NUMBER, "1", "not between 10 and 1000", NULL},
	{WEIGHT, ",\"major\":8,\"minor\":0,\"leafWeight\":10", "weight", "500", NUMBER, "9",
	 "not between 10 and 1000", NULL},
	{WEIGHT, ",\"major\":8,\"minor\":0,\"weight\":10", "leafWeight", "500", NUMBER, "65536",
	 "65536" RANGE, NULL},
	{WEIGHT, ",\"minor\":0,\"weight\":10", "major", "8", NUMBER, "-1", "-1" RANGE,
	 "is missing"},
	{WEIGHT, ",\"major\":8,\"weight\":10", "minor", "16", NUMBER, "4294967296",
	 "4294967296" RANGE, "is missing"},
	{RATE("throttleReadBpsDevice"), ",\"minor\":0,\"rate\":1", "major", "8", NUMBER, "-1",
	 "-1" RANGE, "is missing"},
	{RATE("throttleReadBpsDevice"), ",\"major\":0,\"rate\":1", "minor", "8", NUMBER, "-1",
	 "-1" RANGE, "is missing"},
	{RATE("throttleReadBpsDevice"), ",\"major\":8,\"minor\":0", "rate", "18446744073709551615",
	 NUMBER, "-1", "-1" RANGE, "is missing"},
	{RATE("throttleWriteBpsDevice"), ",\"major\":8,\"minor\":0", "rate", "0", NUMBER, "-1",
	 "-1" RANGE, "is missing"},
	{RATE("throttleReadIOPSDevice"), ",\"major\":8,\"minor\":0", "rate", "3", NUMBER, "-1",
	 "-1" RANGE, "is missing"},
	{RATE("throttleWriteIOPSDevice"), ",\"major\":8,\"minor\":0", "rate", "4", NUMBER, "-1",
	 "-1" RANGE, "is missing"},
	{HUGE_, ",\"limit\":1", "pageSize", "\"2MB\"", NULL, "\"2M\"",
	 "'2M' is not a size like \"2MB\"", "is missing"},
	{HUGE_, ",\"limit\":1", "pageSize", "\"1GB\"", NULL, "\"02MB\"",
	 "'02MB' is not a size like \"2MB\"", "is missing"},
	{HUGE_, ",\"limit\":1", "pageSize", "\"64KB\"", NULL, "\"\"", "is empty", "is missing"},
	{HUGE_, ",\"limit\":1", "pageSize", "\"999999999GB\"", NULL, "\"1000000000GB\"",
	 "'1000000000GB' is not a size like \"2MB\"", "is missing"},
	{HUGE_, ",\"pageSize\":\"2MB\"", "limit", "209715200", NUMBER, "-1", "-1" RANGE,
	 "is missing"},
	{RULE, ",\"access\":\"r\"", "allow", "false", BOOLEAN, NULL, NULL, "is missing"},
	{RULE, ",\"access\":\"r\",\"allow\":true", "type", "\"c\"", NULL, "\"u\"",
	 "'u' is none of a, b, c", NULL},
	{RULE, ",\"access\":\"r\",\"allow\":true", "type", "\"b\"", NULL, "\"bc\"",
	 "'bc' is none of a, b, c", NULL},
	{RULE, ",\"access\":\"r\",\"allow\":true", "major", "10", NUMBER, "-2", "-2" RANGE, NULL},
	{RULE, ",\"access\":\"r\",\"allow\":true", "minor", "-1", NUMBER, "4294967296",
	 "4294967296" RANGE, NULL},
	{RULE, ",\"allow\":true", "access", "\"rwm\"", NULL, "\"rx\"",
	 "'rx' is not made of r, w, m", "device access cannot be empty"},
	{RULE, ",\"allow\":true", "access", "\"m\"", NULL, "\"\"", "device access cannot be empty",
	 "device access cannot be empty"},
	{UNIFIED, "", "memory.high", "\"1M\"", NULL, NULL, NULL, NULL},
	{NETWORK, "", "classID", "4294967295", NUMBER, "4294967296", "4294967296" RANGE, NULL},
	{PRIORITY, ",\"priority\":1", "name", "\"eth0\"", NULL, "\"\"", "is empty", "is missing"},
	{PRIORITY, ",\"name\":\"x\"", "priority", "500", NUMBER, "-1", "-1" RANGE, "is missing"},
	{RDMA, ",\"hcaObjects\":0", "hcaHandles", "3", NUMBER, "4294967296", "4294967296" RANGE,
	 NULL},
	{RDMA, ",\"hcaHandles\":0", "hcaObjects", "3", NUMBER, "-1", "-1" RANGE, NULL},
};

static int parse(const char *text, struct oci_resources **out, struct err *err)
{
	return oci_resources_parse(text, strlen(text), out, err);
}

static void document(size_t row, const char *value, char *out, size_t size)
{
	(void)snprintf(out, size, "%s\"%s\":%s%s%s", rows[row].before, rows[row].key, value,
		       rows[row].others, rows[row].after);
}

static void refused(size_t row, const char *value, const char *sentence)
{
	struct oci_resources *resources = NULL;
	struct err err = {0};
	char text[512], wanted[512];

	document(row, value, text, sizeof(text));
	(void)snprintf(wanted, sizeof(wanted), "resources: %s%s: %s", rows[row].path, rows[row].key,
		       sentence);
	if (parse(text, &resources, &err) != -EINVAL || resources || strcmp(err.msg, wanted) != 0)
		fail_msg("%s\n   gave '%s', not '%s'", text, err.msg, wanted);
}

/* Accepted, and in what is written the field is there or not */
static void accepted(size_t row, const char *value, bool there)
{
	CLEANUP(oci_resources) struct oci_resources *resources = NULL;
	cleanup_free char *written = NULL;
	struct err err = {0};
	char text[512], member[128];

	document(row, value, text, sizeof(text));
	(void)snprintf(member, sizeof(member), "\"%s\":%s", rows[row].key, there ? value : "");
	if (parse(text, &resources, &err) < 0)
		fail_msg("%s\n   %s", text, err.msg);
	assert_true(oci_resources_write(resources, &written, &err) > 0);
	/* A device rule's "all" is written out; others are left away */
	if ((strstr(written, member) != NULL) != there &&
	    strncmp(rows[row].path, "devices", 7) != 0)
		fail_msg("%s\n   gave %s", text, written);
}

static void test_fields(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		accepted(i, rows[i].good, true);
		if (rows[i].mistyped)
			refused(i, "\"1\"", rows[i].mistyped);
		else
			refused(i, "1", "a number, not a string");
		if (rows[i].bad)
			refused(i, rows[i].bad, rows[i].sentence);
		if (rows[i].absent_sentence)
			refused(i, "null", rows[i].absent_sentence);
		else if (strcmp(rows[i].before, "{\"unified\":{") != 0)
			accepted(i, "null", false);
	}
}

/* ---- what is no field's ---- */

static const struct {
	const char *text, *message;
} bad[] = {
	{"[]", "not an object"},
	{"{\"memory\":[]}", "memory: an array, not an object"},
	{"{\"cpu\":1}", "cpu: a number, not an object"},
	{"{\"pids\":1}", "pids: a number, not an object"},
	{"{\"blockIO\":1}", "blockIO: a number, not an object"},
	{"{\"blockIO\":{\"weightDevice\":{}}}", "blockIO.weightDevice: an object, not an array"},
	{"{\"blockIO\":{\"weightDevice\":[{\"major\":1,\"minor\":2}]}}",
	 "blockIO.weightDevice[0]: neither weight nor leafWeight is given"},
	{"{\"blockIO\":{\"throttleReadIOPSDevice\":1}}",
	 "blockIO.throttleReadIOPSDevice: a number, not an array"},
	{"{\"hugepageLimits\":{}}", "hugepageLimits: an object, not an array"},
	{"{\"devices\":[1]}", "devices[0]: a number, not an object"},
	{"{\"unified\":[]}", "unified: an array, not an object"},
	{"{\"unified\":{\"\":\"1\"}}", "unified.: an empty key"},
	{"{\"unified\":{\"a/b\":\"1\"}}", "unified.a/b: must be a file name (no slashes)"},
	{"{\"unified\":{\"..\":\"1\"}}", "unified...: must be a file name (no slashes)"},
	{"{\"unified\":{\".\":\"1\"}}", "unified..: must be a file name (no slashes)"},
	{"{\"network\":[]}", "network: an array, not an object"},
	{"{\"network\":{\"priorities\":{}}}", "network.priorities: an object, not an array"},
	{"{\"rdma\":[]}", "rdma: an array, not an object"},
	{"{\"rdma\":{\"a\":1}}", "rdma.a: a number, not an object"},
	{"{\"rdma\":{\"\":{}}}", "rdma.: an empty key"},
	{"{\"rdma\":{\"a\":{}}}", "rdma.a: neither hcaHandles nor hcaObjects is given"},
	{"{", "line 1, column 2: premature EOF"},
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct oci_resources *resources = NULL;
		struct err err = {0};
		int r = parse(bad[i].text, &resources, &err);

		if (r != -EINVAL || resources || strncmp(err.msg, "resources: ", 11) != 0 ||
		    strcmp(err.msg + 11, bad[i].message) != 0)
			fail_msg("%s\n   gave %d '%s', not '%s'", bad[i].text, r, err.msg,
				 bad[i].message);
	}
}

static const char whole[] =
	"{\"memory\":{\"limit\":1048576,\"reservation\":5,\"swap\":2097152,\"kernel\":-1,"
	"\"kernelTCP\":"
	"-1,\"swappiness\":60,\"disableOOMKiller\":true,\"useHierarchy\":false,"
	"\"checkBeforeUpdate\":true},"
	"\"cpu\":{\"shares\":1024,\"quota\":50000,\"burst\":1000,\"period\":100000,"
	"\"realtimeRuntime\":950000,\"realtimePeriod\":1000000,\"cpus\":\"0-3,7\",\"mems\":\"0\","
	"\"idle\":0},"
	"\"pids\":{\"limit\":32771},"
	"\"blockIO\":{\"weight\":10,\"leafWeight\":20,\"weightDevice\":[{\"major\":8,\"minor\":0,"
	"\"weight\":500,\"leafWeight\":300},{\"major\":8,\"minor\":16,\"weight\":500}],"
	"\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":600}],"
	"\"throttleWriteBpsDevice\":[{\"major\":8,\"minor\":1,\"rate\":601}],"
	"\"throttleReadIOPSDevice\":[{\"major\":8,\"minor\":2,\"rate\":602}],"
	"\"throttleWriteIOPSDevice\":[{\"major\":8,\"minor\":3,\"rate\":603}]},"
	"\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":209715200}],"
	"\"devices\":[{\"allow\":false,\"major\":-1,\"minor\":-1,\"type\":\"a\",\"access\":\"rwm\"}"
	","
	"{\"allow\":true,\"major\":10,\"minor\":229,\"type\":\"c\",\"access\":\"rw\"},"
	"{\"allow\":true,\"major\":8,\"minor\":0,\"type\":\"b\",\"access\":\"r\"}],"
	"\"unified\":{\"hugetlb.1GB.max\":\"1073741824\",\"io.max\":\"259:0 rbps=1\\n253:0 "
	"wiops=2\"},"
	"\"network\":{\"classID\":1048577,\"priorities\":[{\"name\":\"eth0\",\"priority\":500},"
	"{\"name\":\"eth1\",\"priority\":1000}]},"
	"\"rdma\":{\"mlx4_0\":{\"hcaObjects\":1000},\"mlx5_1\":{\"hcaHandles\":3,\"hcaObjects\":"
	"10000}"
	"}}";

static void test_round_trip(void **state)
{
	CLEANUP(oci_resources) struct oci_resources *r = NULL;
	cleanup_free char *text = NULL;
	struct err err = {0};

	(void)state;
	if (parse(whole, &r, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(oci_resources_write(r, &text, &err), sizeof(whole) - 1);
	assert_string_equal(text, whole);
	assert_true(r->memory.disable_oom_killer.value);
	assert_true(r->memory.use_hierarchy.given);
	assert_false(r->memory.use_hierarchy.value);
	assert_int_equal(r->cpu.quota.value, 50000);
	assert_int_equal(r->pids_limit.value, 32771);
	assert_int_equal(r->io.devices[1].minor, 16);
	assert_false(r->io.devices[1].leaf_weight.given);
	assert_int_equal(r->io.rates[OCI_WRITE_IOPS].items[0].rate, 603);
	assert_int_equal(r->hugepages[0].page_bytes, 2 << 20);
	assert_int_equal(r->devices[0].access,
			 OCI_ACCESS_READ | OCI_ACCESS_WRITE | OCI_ACCESS_MKNOD);
	assert_int_equal(r->devices[2].access, OCI_ACCESS_READ);
	assert_int_equal(r->network.priorities[1].priority, 1000);
	assert_string_equal(r->rdma[1].device, "mlx5_1");
	oci_resources_free(NULL);
}

/* Unknown members pass, the last of two counts, what is absent is not given */
static void test_lenient(void **state)
{
	CLEANUP(oci_resources) struct oci_resources *r = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(
		parse("{\"new\":1,\"rdma\":{\"b\":{\"hcaHandles\":1},\"a\":{\"hcaHandles\":2},"
		      "\"b\":{\"hcaHandles\":3,\"new\":4}},\"devices\":[{\"allow\":true,"
		      "\"access\":\"mm\",\"type\":\"\"}]}",
		      &r, &err),
		0);
	assert_int_equal(r->nrdma, 2);
	assert_string_equal(r->rdma[0].device, "a");
	assert_int_equal(r->rdma[1].handles.value, 3);
	assert_int_equal(r->devices[0].type, 'a');
	assert_int_equal(r->devices[0].major, -1);
	assert_int_equal(r->devices[0].access, OCI_ACCESS_MKNOD);
	assert_false(r->memory.limit.given);
	assert_false(r->pids_limit.given);
	assert_null(r->cpu.cpus);
}

static void test_size(void **state)
{
	static char text[OCI_RESOURCES_MAX + 1];
	struct oci_resources *r = NULL;
	struct err err = {0};

	(void)state;
	memset(text, ' ', sizeof(text));
	text[0] = '{';
	text[1] = '}';
	assert_int_equal(oci_resources_parse(text, sizeof(text), &r, &err), -EFBIG);
	assert_int_equal(oci_resources_parse(text, sizeof(text) - 1, &r, &err), 0);
	oci_resources_free(r);
}

static void test_list(void **state)
{
	static const struct {
		const char *list;
		int count;
	} lists[] = {
		{"0", 1},
		{"7", 1},
		{"0-3,7", 5},
		{"0-3,2-4,3", 5},
		{"8191", 1},
		{"0-8191", 8192},
		{"063-64", 2},
		{"", -EINVAL},
		{",", -EINVAL},
		{"1,", 1},
		{",1", 1},
		{"1,,2", 2},
		{" 0-3, 7\t, ", 5},
		{" , ", -EINVAL},
		{"0 -3", -EINVAL},
		{"1\n", -EINVAL},
		{"-1", -EINVAL},
		{"1-", -EINVAL},
		{"3-1", -EINVAL},
		{"1 2", -EINVAL},
		{"a", -EINVAL},
		{"8192", -EINVAL},
		{"0-8192", -EINVAL},
		{"1-2-3", -EINVAL},
		{"99999999999999999999", -EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		if (oci_list_count(lists[i].list) != lists[i].count)
			fail_msg("'%s' gave %d", lists[i].list, oci_list_count(lists[i].list));
	}
}

/* Allocations that succeed before one fails; -1: all do */
static int allowed = -1;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

static bool may_allocate(void)
{
	return allowed < 0 || allowed-- > 0;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return may_allocate() ? __real_calloc(n, size) : NULL;
}

char *__wrap_strdup(const char *text)
{
	return may_allocate() ? __real_strdup(text) : NULL;
}

static void test_no_memory(void **state)
{
	int failures = 0;

	(void)state;
	for (int n = 0;; n++) {
		struct oci_resources *resources = NULL;
		struct err err = {0};
		int r;

		allowed = n;
		r = parse(whole, &resources, &err);
		allowed = -1;
		oci_resources_free(resources);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_null(resources);
		failures++;
	}
	assert_true(failures > 20);
}

/* Cut anywhere, it is refused and nothing leaks (the sanitizers see) */
static void test_cut(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		struct oci_resources *resources = NULL;

		assert_int_equal(oci_resources_parse(whole, len, &resources, NULL), -EINVAL);
		assert_null(resources);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),	   cmocka_unit_test(test_bad),
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_lenient),
		cmocka_unit_test(test_size),	   cmocka_unit_test(test_list),
		cmocka_unit_test(test_no_memory),  cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
