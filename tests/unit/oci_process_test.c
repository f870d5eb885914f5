/* SPDX-License-Identifier: Apache-2.0 */
/* Process documents: written as they were read, for the way into the guest. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "oci/capability.h"
#include "oci/config.h"

static const char *const documents[] = {
	"{\"user\":{\"uid\":0,\"gid\":0},\"args\":[],\"env\":[],\"cwd\":\"/\"}",
	"{\"terminal\":true,\"consoleSize\":{\"height\":1,\"width\":2},\"user\":{\"uid\":"
	"4294967294,\"gid\":5,\"umask\":63,"
	"\"additionalGids\":[7,8]},\"args\":[\"a\",\"b "
	"\\\"c\\\"\",\"\\u0001\xc3\xa9\"],\"env\":[\"A=\",\"B==x\"],\"cwd\":\"/d\","
	"\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_CHECKPOINT_RESTORE\"],\"ambient\":["
	"\"CAP_BPF\"]},"
	"\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"hard\":18446744073709551615,\"soft\":0},"
	"{\"type\":\"RLIMIT_RTTIME\",\"hard\":5,\"soft\":5}],\"noNewPrivileges\":true,"
	"\"apparmorProfile\":\"x\","
	"\"oomScoreAdj\":-999,\"selinuxLabel\":\"y\"}",
	"{\"user\":{\"uid\":1,\"gid\":1},\"args\":[\"x\"],\"env\":[],\"cwd\":\"/"
	"\",\"capabilities\":{}}",
};

static void test_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		struct oci_process *process = NULL;
		struct err err = {0};
		char *text = NULL;

		if (oci_process_parse(documents[i], strlen(documents[i]), &process, &err) < 0)
			fail_msg("%s", err.msg);
		assert_int_equal(oci_process_write(process, &text, &err), strlen(documents[i]));
		assert_string_equal(text, documents[i]);
		free(text);
		oci_process_free(process);
	}
}

static void test_refused(void **state)
{
	struct oci_process *process = NULL;
	struct err err = {0};
	size_t len = OCI_PROCESS_MAX + 1;
	char *text = malloc(len);

	(void)state;
	assert_non_null(text);
	memset(text, ' ', len);
	assert_int_equal(oci_process_parse(text, len, &process, &err), -EFBIG);
	free(text);
	assert_int_equal(oci_process_parse("[]", 2, &process, &err), -EINVAL);
	assert_string_equal(err.msg, "process: not an object");
	assert_int_equal(oci_process_parse("{\"cwd\":\"x\"}", 11, &process, &err), -EINVAL);
	assert_string_equal(err.msg, "process: cwd: 'x' is not absolute");
	assert_null(process);
	oci_process_free(NULL);
}

static void test_too_large_to_write(void **state)
{
	struct oci_process process = {0};
	size_t len = OCI_PROCESS_MAX;
	char *argument = malloc(len + 1), *text = NULL;
	struct err err = {0};

	(void)state;
	assert_non_null(argument);
	memset(argument, 'x', len);
	argument[len] = '\0';
	process.args = (struct oci_strings){.items = &argument, .n = 1};
	assert_int_equal(oci_process_write(&process, &text, &err), -EMSGSIZE);
	assert_null(text);
	free(argument);
}

static void test_capabilities(void **state)
{
	(void)state;
	assert_int_equal(oci_capability_number("CAP_CHOWN"), 0);
	assert_int_equal(oci_capability_number("cap_chown"), 0);
	assert_int_equal(oci_capability_number("SYS_ADMIN"), 21);
	assert_int_equal(oci_capability_number("CAP_CHECKPOINT_RESTORE"), 40);
	assert_int_equal(oci_capability_number("CAP_"), -1);
	assert_int_equal(oci_capability_number(""), -1);
	for (int i = 0; i < OCI_CAPABILITIES; i++)
		assert_int_equal(oci_capability_number(oci_capability_name(i)), i);
	assert_null(oci_capability_name(-1));
	assert_null(oci_capability_name(OCI_CAPABILITIES));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_too_large_to_write),
		cmocka_unit_test(test_capabilities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
