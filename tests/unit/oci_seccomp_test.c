/* SPDX-License-Identifier: Apache-2.0 */
/* oci/seccomp.c: every word of the specification, runc's defaults, and what is refused with its place. */
#include <errno.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "oci/config.h"
#include "oci/features.h"
#include "oci/seccomp.h"

static struct oci_config *config;

static int parse(const char *seccomp, struct err *err)
{
	char text[16384];
	int n = snprintf(
		text, sizeof(text),
		"{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"r\"},\"linux\":{\"seccomp\":%s}}",
		seccomp);

	assert_true(n > 0 && n < (int)sizeof(text));
	oci_config_free(config);
	config = NULL;
	return oci_config_parse(text, (size_t)n, &config, err);
}

static const struct oci_seccomp *parsed(const char *seccomp)
{
	struct err err = {0};

	if (parse(seccomp, &err) < 0)
		fail_msg("%s: %s", seccomp, err.msg);
	return config->linux_.seccomp;
}

static void test_whole(void **state)
{
	const struct oci_seccomp *s = parsed(
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,"
		"\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"],"
		"\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\",\"SECCOMP_FILTER_FLAG_TSYNC\"],"
		"\"listenerPath\":\"/run/l\",\"listenerMetadata\":\"m\",\"unknown\":1,"
		"\"syscalls\":[{\"names\":[\"read\",\"write\"],\"action\":\"SCMP_ACT_ALLOW\"},"
		"{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_TRACE\",\"errnoRet\":65535,\"args\":["
		"{\"index\":5,\"value\":18446744073709551615,\"valueTwo\":7,\"op\":\"SCMP_CMP_"
		"MASKED_EQ\"},"
		"{\"index\":0,\"value\":1,\"op\":\"SCMP_CMP_NE\"}]},"
		"{\"names\":[\"mount\"],\"action\":\"SCMP_ACT_ERRNO\",\"args\":null}]}");
	const struct sysfilter *f = &s->filter;

	(void)state;
	assert_int_equal(f->default_action, SYSFILTER_ERRNO);
	assert_int_equal(f->default_data, ENOSYS);
	assert_true(f->x86 && f->x32);
	assert_int_equal(s->flags, SECCOMP_FILTER_FLAG_LOG);
	assert_int_equal(f->nrules, 3);
	assert_int_equal(f->rules[0].nnames, 2);
	assert_string_equal(f->rules[0].names[1], "write");
	assert_int_equal(f->rules[0].action, SYSFILTER_ALLOW);
	assert_int_equal(f->rules[0].nargs, 0);
	assert_int_equal(f->rules[1].data, 65535);
	assert_int_equal(f->rules[1].nargs, 2);
	assert_int_equal(f->rules[1].args[0].index, 5);
	assert_true(f->rules[1].args[0].value == UINT64_MAX);
	assert_int_equal(f->rules[1].args[0].value_two, 7);
	assert_int_equal(f->rules[1].args[0].op, SYSFILTER_MASKED_EQ);
	assert_int_equal(f->rules[1].args[1].op, SYSFILTER_NE);
	assert_int_equal(f->rules[2].data, EPERM);
}

static void test_actions(void **state)
{
	static const struct {
		const char *name;
		enum sysfilter_action action;
		uint16_t data;
	} rows[] = {
		{"KILL", SYSFILTER_KILL_THREAD, 0},
		{"KILL_THREAD", SYSFILTER_KILL_THREAD, 0},
		{"KILL_PROCESS", SYSFILTER_KILL_PROCESS, 0},
		{"TRAP", SYSFILTER_TRAP, 0},
		{"ERRNO", SYSFILTER_ERRNO, EPERM},
		{"TRACE", SYSFILTER_TRACE, EPERM},
		{"ALLOW", SYSFILTER_ALLOW, 0},
		{"LOG", SYSFILTER_LOG, 0},
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct oci_seccomp *s;

		(void)snprintf(
			text, sizeof(text),
			"{\"defaultAction\":\"SCMP_ACT_%s\",\"syscalls\":[{\"names\":[\"x\"],"
			"\"action\":\"SCMP_ACT_%s\"}]}",
			rows[i].name, rows[i].name);
		s = parsed(text);
		assert_int_equal(s->filter.default_action, rows[i].action);
		assert_int_equal(s->filter.default_data, rows[i].data);
		assert_int_equal(s->filter.rules[0].action, rows[i].action);
		assert_int_equal(s->filter.rules[0].data, rows[i].data);
	}
}

static void test_defaults(void **state)
{
	(void)state;
	assert_int_equal(parsed("{\"defaultAction\":\"SCMP_ACT_ALLOW\"}")->flags,
			 SECCOMP_FILTER_FLAG_SPEC_ALLOW);
	assert_int_equal(parsed("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[]}")->flags, 0);
	assert_int_equal(parsed("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":["
				"\"SECCOMP_FILTER_FLAG_SPEC_ALLOW\",\"SECCOMP_FILTER_FLAG_LOG\"]}")
				 ->flags,
			 SECCOMP_FILTER_FLAG_SPEC_ALLOW | SECCOMP_FILTER_FLAG_LOG);
	assert_false(parsed("{\"defaultAction\":\"SCMP_ACT_ALLOW\"}")->filter.x86);
	assert_null(parsed("{}"));
	assert_null(parsed("null"));
	assert_null(parsed("{\"defaultAction\":\"\",\"syscalls\":[]}"));
	assert_null(parsed("{\"architectures\":[\"SCMP_ARCH_X86\"]}"));
}

#define DEFAULT "\"defaultAction\":\"SCMP_ACT_ERRNO\""
#define RULE(text) \
	"{" DEFAULT ",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\"}," text "]}"
#define ARG(text) RULE("{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[" text "]}")

static void test_refused(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{"[]", "linux.seccomp: an array, not an object"},
		{"{\"defaultAction\":\"allow\"}",
		 "linux.seccomp.defaultAction: 'allow' is unknown"},
		{"{\"syscalls\":[{}]}", "linux.seccomp.defaultAction: is missing"},
		{"{\"defaultAction\":\"\",\"syscalls\":[{}]}",
		 "linux.seccomp.defaultAction: '' is unknown"},
		{"{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}",
		 "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY is for a listener"},
		{"{\"defaultAction\":\"SCMP_ACT_KILL\",\"defaultErrnoRet\":1}",
		 "linux.seccomp.defaultErrnoRet: SCMP_ACT_KILL has no errno"},
		{"{" DEFAULT ",\"defaultErrnoRet\":4095}",
		 "linux.seccomp.defaultErrnoRet: 4095 is out of range"},
		{"{" DEFAULT ",\"defaultErrnoRet\":-1}",
		 "linux.seccomp.defaultErrnoRet: -1 is out of range"},
		{"{" DEFAULT ",\"defaultErrnoRet\":\"EPERM\"}", "linux.seccomp.defaultErrnoRet: "},
		{"{" DEFAULT ",\"architectures\":[\"SCMP_ARCH_X86\",\"amd64\"]}",
		 "linux.seccomp.architectures[1]: 'amd64' is unknown"},
		{"{" DEFAULT ",\"flags\":[\"SECCOMP_FILTER_FLAG_NEW_LISTENER\"]}",
		 "linux.seccomp.flags[0]: 'SECCOMP_FILTER_FLAG_NEW_LISTENER' is unknown"},
		{"{" DEFAULT ",\"flags\":[\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"]}",
		 "linux.seccomp.flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is for a "
		 "listener"},
		{"{" DEFAULT ",\"listenerPath\":\"\",\"listenerMetadata\":\"m\"}",
		 "linux.seccomp.listenerMetadata: is given without listenerPath"},
		{"{" DEFAULT ",\"listenerPath\":1}", "linux.seccomp.listenerPath: "},
		{RULE("{\"action\":\"SCMP_ACT_ALLOW\"}"),
		 "linux.seccomp.syscalls[1].names: is missing"},
		{RULE("{\"name\":\"read\",\"action\":\"SCMP_ACT_ALLOW\"}"),
		 "linux.seccomp.syscalls[1].names: is missing"},
		{RULE("{\"names\":[],\"action\":\"SCMP_ACT_ALLOW\"}"),
		 "linux.seccomp.syscalls[1].names: is empty"},
		{RULE("{\"names\":[\"a\",\"\"],\"action\":\"SCMP_ACT_ALLOW\"}"),
		 "linux.seccomp.syscalls[1].names[1]: is empty"},
		{RULE("{\"names\":[\"a\"]}"), "linux.seccomp.syscalls[1].action: is missing"},
		{RULE("{\"names\":[\"a\"],\"action\":\"SCMP_ACT_NOTIFY\"}"),
		 "linux.seccomp.syscalls[1].action: SCMP_ACT_NOTIFY is for a listener"},
		{RULE("{\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\",\"errnoRet\":1}"),
		 "linux.seccomp.syscalls[1].errnoRet: SCMP_ACT_ALLOW has no errno"},
		{RULE("{\"names\":[\"a\"],\"action\":\"SCMP_ACT_TRACE\",\"errnoRet\":65536}"),
		 "linux.seccomp.syscalls[1].errnoRet: 65536 is out of range"},
		{RULE("\"read\""), "linux.seccomp.syscalls[1]: a string, not an object"},
		{ARG("{\"index\":6,\"value\":0,\"op\":\"SCMP_CMP_EQ\"}"),
		 "linux.seccomp.syscalls[1].args[0].index: 6 is out of range"},
		{ARG("{\"value\":0,\"op\":\"SCMP_CMP_EQ\"}"),
		 "linux.seccomp.syscalls[1].args[0].index: is missing"},
		{ARG("{\"index\":0,\"op\":\"SCMP_CMP_EQ\"}"),
		 "linux.seccomp.syscalls[1].args[0].value: is missing"},
		{ARG("{\"index\":0,\"value\":-1,\"op\":\"SCMP_CMP_EQ\"}"),
		 "linux.seccomp.syscalls[1].args[0].value: -1 is out of range"},
		{ARG("{\"index\":0,\"value\":0,\"op\":\"==\"}"),
		 "linux.seccomp.syscalls[1].args[0].op: '==' is unknown"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err err = {0};

		assert_int_equal(parse(rows[i].text, &err), -EINVAL);
		if (!strstr(err.msg, rows[i].words))
			fail_msg("'%s' does not say '%s'", err.msg, rows[i].words);
		assert_null(config);
	}
}

/* What `features` lists is accepted, and nothing else is listed */
static void test_features(void **state)
{
	CLEANUP(json_doc) struct json_doc *doc = NULL;
	cleanup_free char *text = NULL;
	struct json_at root, linux_at, seccomp, list, it = {0};
	ssize_t n = oci_features_write("0", &text, NULL);
	size_t archs = 0, actions = 0;
	char profile[256];

	(void)state;
	assert_true(n > 0);
	assert_int_equal(json_parse("features", text, (size_t)n, 1 << 20, &doc, NULL), 0);
	root = json_root(doc);
	assert_int_equal(json_member(&root, "linux", JSON_OBJECT, &linux_at, NULL), 1);
	assert_int_equal(json_member(&linux_at, "seccomp", JSON_OBJECT, &seccomp, NULL), 1);
	assert_int_equal(json_member(&seccomp, "archs", JSON_ARRAY, &list, NULL), 1);
	for (; json_each(&list, JSON_STRING, &it, NULL) > 0; archs++) {
		(void)snprintf(profile, sizeof(profile), "{" DEFAULT ",\"architectures\":[\"%s\"]}",
			       it.node->text);
		assert_non_null(parsed(profile));
	}
	assert_int_equal(archs, 23);
	it = (struct json_at){0};
	assert_int_equal(json_member(&seccomp, "actions", JSON_ARRAY, &list, NULL), 1);
	for (; json_each(&list, JSON_STRING, &it, NULL) > 0; actions++) {
		(void)snprintf(profile, sizeof(profile), "{\"defaultAction\":\"%s\"}",
			       it.node->text);
		assert_non_null(parsed(profile));
	}
	assert_int_equal(actions, 8);
}

static int tear_down(void **state)
{
	(void)state;
	oci_config_free(config);
	config = NULL;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),	 cmocka_unit_test(test_actions),
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_features),
	};

	return cmocka_run_group_tests(tests, NULL, tear_down);
}
