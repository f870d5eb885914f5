/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket's messages: what is refused, and how; foreign text made fit to print. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "oci/config.h"
#include "shim/protocol.h"

static int check(const struct control_request *request, size_t nfds)
{
	struct err err = {0};
	int r = control_request_check(request, sizeof(*request), nfds, &err);

	assert_int_equal(r, -err.code);
	return r;
}

static struct control_request request_of(enum control_type type)
{
	struct control_request request;

	control_request_init(&request, type);
	return request;
}

static void test_good(void **state)
{
	struct control_request request;

	(void)state;
	for (enum control_type type = CONTROL_PING; type < CONTROL_TYPE_END; type++) {
		request = request_of(type);
		if (type == CONTROL_SIGNAL)
			request.args[0] = 64;
		if (type == CONTROL_GROW_MEMORY)
			request.args[0] = CONTROL_MEMORY_MAX;
		if (type == CONTROL_EXEC)
			request.payload_len = OCI_PROCESS_MAX;
		if (type == CONTROL_EXEC)
			request.args[0] = CONTROL_PID_MAX;
		if (type == CONTROL_UPDATE)
			request.payload_len = OCI_RESOURCES_MAX;
		assert_int_equal(check(&request, type == CONTROL_EXEC || type == CONTROL_UPDATE),
				 0);
		assert_string_not_equal(control_type_name(type), "?");
	}
	assert_string_equal(control_type_name(0), "?");
	assert_string_equal(control_type_name(UINT32_MAX), "?");
}

static void test_size_and_magic(void **state)
{
	struct control_request request = request_of(CONTROL_PING);
	struct err err = {0};

	(void)state;
	assert_int_equal(control_request_check(&request, sizeof(request) - 1, 0, &err), -EPROTO);
	assert_int_equal(control_request_check(&request, 0, 0, &err), -EPROTO);
	request.magic++;
	assert_int_equal(check(&request, 0), -EPROTO);
}

static void test_version(void **state)
{
	struct control_request request = request_of(CONTROL_PING);
	struct err err = {0};

	(void)state;
	request.version = CONTROL_VERSION + 1;
	assert_int_equal(check(&request, 0), -EPROTONOSUPPORT);
	/* Also when that version's message has another size */
	assert_int_equal(control_request_check(&request, 8, 0, &err), -EPROTONOSUPPORT);
}

static void test_fields(void **state)
{
	struct control_request request;

	(void)state;
	request = request_of(CONTROL_TYPE_END);
	assert_int_equal(check(&request, 0), -ENOSYS);
	request = request_of(0);
	assert_int_equal(check(&request, 0), -ENOSYS);
	request = request_of(CONTROL_PING);
	request.reserved = 1;
	assert_int_equal(check(&request, 0), -EINVAL);
	request = request_of(CONTROL_PING);
	assert_int_equal(check(&request, 1), -EINVAL);
	request.flags = 1;
	assert_int_equal(check(&request, 0), -EINVAL);
	request = request_of(CONTROL_START);
	memset(request.exec_id, 'x', sizeof(request.exec_id));
	assert_int_equal(check(&request, 0), -EINVAL);
	request = request_of(CONTROL_START);
	request.exec_id[0] = 'x';
	assert_int_equal(check(&request, 0), -EINVAL);
	request = request_of(CONTROL_PAUSE);
	request.cgroup[0] = 'x';
	assert_int_equal(check(&request, 0), -EINVAL);
	request = request_of(CONTROL_EVENTS);
	memset(request.cgroup, 'x', sizeof(request.cgroup));
	assert_int_equal(check(&request, 0), -EINVAL);
	request = request_of(CONTROL_STOP);
	request.payload_len = 1;
	assert_int_equal(check(&request, 0), -EINVAL);
	request = request_of(CONTROL_SIGNAL);
	assert_int_equal(check(&request, 0), -EINVAL);
	request.args[0] = 65;
	assert_int_equal(check(&request, 0), -EINVAL);
	request = request_of(CONTROL_RESIZE);
	request.args[1] = 65536;
	assert_int_equal(check(&request, 0), -EINVAL);
	request = request_of(CONTROL_GROW_MEMORY);
	assert_int_equal(check(&request, 0), -EINVAL);
	request.args[0] = CONTROL_MEMORY_MAX + 1;
	assert_int_equal(check(&request, 0), -EINVAL);
}

static void test_exec(void **state)
{
	struct control_request request = request_of(CONTROL_EXEC);

	(void)state;
	assert_int_equal(check(&request, 1), -EINVAL);
	request.payload_len = OCI_PROCESS_MAX + 1;
	assert_int_equal(check(&request, 1), -EINVAL);
	request.payload_len = 10;
	assert_int_equal(check(&request, 1), -EINVAL); /* who stands for it? */
	request.args[0] = CONTROL_PID_MAX + 1;
	assert_int_equal(check(&request, 1), -EINVAL);
	request.args[0] = 4711;
	assert_int_equal(check(&request, 0), -EINVAL);
	assert_int_equal(check(&request, 1), 0);
	strcpy(request.cgroup, "a/b");
	request.flags = CONTROL_EXEC_TERMINAL | CONTROL_EXEC_IGNORE_PAUSED;
	assert_int_equal(check(&request, 1), 0);
	request.flags = 4;
	assert_int_equal(check(&request, 1), -EINVAL);
}

static void test_update(void **state)
{
	struct control_request request = request_of(CONTROL_UPDATE);

	(void)state;
	assert_int_equal(check(&request, 1), -EINVAL);
	request.payload_len = OCI_RESOURCES_MAX + 1;
	assert_int_equal(check(&request, 1), -EINVAL);
	request.payload_len = 2;
	assert_int_equal(check(&request, 0), -EINVAL);
	assert_int_equal(check(&request, 1), 0);
	request.flags = CONTROL_EXEC_TERMINAL;
	assert_int_equal(check(&request, 1), -EINVAL);
	request.flags = 0;
	request.exec_id[0] = 'x';
	assert_int_equal(check(&request, 1), -EINVAL);
}

static void test_reply(void **state)
{
	struct control_reply reply = {
		.magic = CONTROL_MAGIC, .version = CONTROL_VERSION, .type = CONTROL_REPLY_DONE};
	struct err err = {0};

	(void)state;
	assert_int_equal(control_reply_check(&reply, sizeof(reply), &err), 0);
	assert_int_equal(control_reply_check(&reply, sizeof(reply) - 1, &err), -EPROTO);
	reply.code = 1;
	assert_int_equal(control_reply_check(&reply, sizeof(reply), &err), -EPROTO);
	reply.code = INT32_MIN;
	assert_int_equal(control_reply_check(&reply, sizeof(reply), &err), -EPROTO);
	reply.type = CONTROL_REPLY_EXIT;
	assert_int_equal(control_reply_check(&reply, sizeof(reply), &err), -EPROTO);
	reply.code = 255;
	assert_int_equal(control_reply_check(&reply, sizeof(reply), &err), 0);
	reply.code = 256;
	assert_int_equal(control_reply_check(&reply, sizeof(reply), &err), -EPROTO);
	reply.type = CONTROL_REPLY_EVENT;
	reply.code = 0;
	assert_int_equal(control_reply_check(&reply, sizeof(reply), &err), -EPROTO);
	reply.code = CONTROL_EVENT_OOM;
	assert_int_equal(control_reply_check(&reply, sizeof(reply), &err), 0);
	reply.type = CONTROL_REPLY_EVENT + 1;
	assert_int_equal(control_reply_check(&reply, sizeof(reply), &err), -EPROTO);
	reply.type = 0;
	assert_int_equal(control_reply_check(&reply, sizeof(reply), &err), -EPROTO);
	reply.type = CONTROL_REPLY_DONE;
	reply.code = 0;
	reply.payload_len = CONTROL_ANSWER_MAX;
	assert_int_equal(control_reply_check(&reply, sizeof(reply), &err), 0);
	reply.payload_len++;
	assert_int_equal(control_reply_check(&reply, sizeof(reply), &err), -EPROTO);
	reply.payload_len = 0;
	memset(reply.text, 'x', sizeof(reply.text));
	assert_int_equal(control_reply_check(&reply, sizeof(reply), &err), -EPROTO);
}

static void test_text_clean(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"", ""},
		{"plain text", "plain text"},
		{"a\nb\033[31m\177", "a?b?[31m?"},
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{"\xe2\x82\xac \xf0\x9f\x90\xb3", "\xe2\x82\xac \xf0\x9f\x90\xb3"},
		{"\xc2\x9b"
		 "31m",
		 "??31m"},     /* a C1 control */
		{"\xc3", "?"}, /* cut */
		{"\xe2\x82", "??"},
		{"\xf0\x9f\x90", "???"},
		{"\xc0\xaf\xff", "???"},      /* overlong, never valid */
		{"\xed\xa0\x80", "???"},      /* a surrogate */
		{"\xf4\x90\x80\x80", "????"}, /* above U+10FFFF */
		{"\xe0\x80\x80\xf0\x80\x80\x80", "???????"},
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		strcpy(text, cases[i].in);
		text_clean(text);
		assert_string_equal(text, cases[i].out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	cmocka_unit_test(test_size_and_magic),
		cmocka_unit_test(test_version), cmocka_unit_test(test_fields),
		cmocka_unit_test(test_update),	cmocka_unit_test(test_exec),
		cmocka_unit_test(test_reply),	cmocka_unit_test(test_text_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
