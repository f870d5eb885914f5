/* SPDX-License-Identifier: Apache-2.0 */
/* process.scheduler, ioPriority, execCPUAffinity; linux.personality. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "oci/config.h"

static int parse(const char *more, struct oci_process **out, struct err *err)
{
	char text[1024];
	int n = snprintf(text, sizeof(text), "{\"cwd\":\"/\",\"args\":[\"x\"],%s}", more);

	return oci_process_parse(text, (size_t)n, out, err);
}

static void refuse(const char *more, const char *words)
{
	struct oci_process *process = NULL;
	struct err err = {0};

	if (parse(more, &process, &err) != -EINVAL)
		fail_msg("'%s' was accepted", more);
	if (!strstr(err.msg, words))
		fail_msg("'%s' does not say '%s'", err.msg, words);
}

static void test_scheduler(void **state)
{
	struct oci_process *process = NULL;

	(void)state;
	assert_int_equal(parse("\"scheduler\":{\"policy\":\"SCHED_DEADLINE\",\"runtime\":1,"
			       "\"deadline\":2,\"period\":18446744073709551615,\"flags\":"
			       "[\"SCHED_FLAG_RECLAIM\",\"SCHED_FLAG_DL_OVERRUN\"]}",
			       &process, NULL),
			 0);
	assert_true(process->scheduler.present);
	assert_int_equal(process->scheduler.policy, 6);
	assert_int_equal(process->scheduler.flags, 6);
	assert_int_equal(process->scheduler.runtime_ns, 1);
	assert_int_equal(process->scheduler.deadline_ns, 2);
	assert_true(process->scheduler.period_ns == UINT64_MAX);
	oci_process_free(process);
	assert_int_equal(
		parse("\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"nice\":-20}", &process, NULL),
		0);
	assert_int_equal(process->scheduler.nice, -20);
	oci_process_free(process);
}

static void test_scheduler_refused(void **state)
{
	static const char *const cases[][2] = {
		{"{}", "process: scheduler.policy: is missing"},
		{"{\"policy\":\"SCHED_NONE\"}", "scheduler.policy: 'SCHED_NONE' is unknown"},
		{"{\"policy\":\"SCHED_OTHER\",\"nice\":20}", "nice 20 is out of range"},
		{"{\"policy\":\"SCHED_BATCH\",\"nice\":-21}", "nice -21 is out of range"},
		{"{\"policy\":\"SCHED_OTHER\",\"priority\":1}", "not for SCHED_OTHER"},
		{"{\"policy\":\"SCHED_RR\",\"period\":1}", "not for SCHED_RR"},
		{"{\"policy\":\"SCHED_IDLE\",\"flags\":[\"X\"]}", "flags[0]: 'X' is unknown"},
		{"{\"policy\":\"SCHED_IDLE\",\"flags\":\"X\"}", "scheduler.flags"},
		{"{\"policy\":\"SCHED_IDLE\",\"nice\":\"1\"}", "scheduler.nice"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char more[256];

		(void)snprintf(more, sizeof(more), "\"scheduler\":%s", cases[i][0]);
		refuse(more, cases[i][1]);
	}
}

static void test_io_priority(void **state)
{
	struct oci_process *process = NULL;

	(void)state;
	assert_int_equal(parse("\"ioPriority\":{\"class\":\"IOPRIO_CLASS_IDLE\"}", &process, NULL),
			 0);
	assert_true(process->io_priority.present);
	assert_int_equal(process->io_priority.class_, 3);
	assert_int_equal(process->io_priority.level, 0);
	oci_process_free(process);
	refuse("\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\",\"priority\":8}",
	       "ioPriority.priority");
	refuse("\"ioPriority\":{\"class\":\"IOPRIO_CLASS_NONE\",\"priority\":1}",
	       "'IOPRIO_CLASS_NONE' is unknown");
	refuse("\"ioPriority\":{\"priority\":1}", "ioPriority.class: is missing");
}

static void test_affinity(void **state)
{
	static const char *const bad[] = {",",	 " ",	  "1-", "-1",	"2-1",
					  "1 2", "1 - 2", "x",	"1024", "0-99999"};
	struct oci_process *process = NULL;
	cpu_set_t set;

	(void)state;
	assert_int_equal(parse("\"execCPUAffinity\":{\"initial\":\"\",\"final\":\"0-1,1,9\"}",
			       &process, NULL),
			 0);
	assert_string_equal(process->exec_cpu_affinity.final, "0-1,1,9");
	oci_process_free(process);
	assert_int_equal(oci_cpu_set("0-1,1,1023", &set), 0);
	assert_int_equal(CPU_COUNT(&set), 3);
	assert_true(CPU_ISSET(1023, &set));
	/* runc takes blanks and empty elements */
	assert_int_equal(oci_cpu_set(" 0-1, 5 ,,\t7,", &set), 0);
	assert_int_equal(CPU_COUNT(&set), 4);
	assert_true(CPU_ISSET(7, &set));
	assert_int_equal(oci_cpu_set("", &set), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char more[128];

		assert_int_equal(oci_cpu_set(bad[i], &set), -EINVAL);
		(void)snprintf(more, sizeof(more), "\"execCPUAffinity\":{\"final\":\"%s\"}",
			       bad[i]);
		refuse(more, "execCPUAffinity.final");
	}
	refuse("\"execCPUAffinity\":{\"initial\":\"a\"}", "execCPUAffinity.initial");
}

static int personality(const char *value, struct oci_config **out, struct err *err)
{
	char text[512];
	int n = snprintf(text, sizeof(text),
			 "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"},\"linux\":{"
			 "\"personality\":%s}}",
			 value);

	return oci_config_parse(text, (size_t)n, out, err);
}

static void test_personality(void **state)
{
	static const char *const bad[][2] = {
		{"{}", "linux.personality.domain: is missing"},
		{"{\"domain\":\"BSD\"}", "'BSD' is unknown"},
		{"{\"domain\":\"LINUX\",\"flags\":[\"X\"]}", "linux.personality.flags"},
	};
	struct oci_config *config = NULL;

	(void)state;
	assert_int_equal(personality("{\"domain\":\"LINUX32\",\"flags\":[]}", &config, NULL), 0);
	assert_true(config->linux_.has_personality);
	assert_int_equal(config->linux_.personality, 8);
	oci_config_free(config);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {0};

		assert_int_equal(personality(bad[i][0], &config, &err), -EINVAL);
		assert_non_null(strstr(err.msg, bad[i][1]));
	}
}

static void test_written(void **state)
{
	static const char text[] =
		"{\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"x\"],\"env\":[],\"cwd\":\"/\","
		"\"scheduler\":{\"policy\":\"SCHED_BATCH\",\"nice\":-3,\"flags\":["
		"\"SCHED_FLAG_RESET_ON_FORK\",\"SCHED_FLAG_KEEP_PARAMS\"]},"
		"\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\",\"priority\":0},"
		"\"execCPUAffinity\":{\"initial\":\"0\",\"final\":\"0-2\"}}";
	static const char deadline[] =
		"{\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"x\"],\"env\":[],\"cwd\":\"/\","
		"\"scheduler\":{\"policy\":\"SCHED_DEADLINE\",\"runtime\":1,\"deadline\":2,"
		"\"period\":3}}";
	static const char *const documents[] = {text, deadline};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		struct oci_process *process = NULL;
		char *out = NULL;

		assert_int_equal(
			oci_process_parse(documents[i], strlen(documents[i]), &process, NULL), 0);
		assert_int_equal(oci_process_write(process, &out, NULL), strlen(documents[i]));
		assert_string_equal(out, documents[i]);
		free(out);
		oci_process_free(process);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scheduler),   cmocka_unit_test(test_scheduler_refused),
		cmocka_unit_test(test_io_priority), cmocka_unit_test(test_affinity),
		cmocka_unit_test(test_personality), cmocka_unit_test(test_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
