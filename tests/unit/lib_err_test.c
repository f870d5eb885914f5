/* SPDX-License-Identifier: Apache-2.0 */
/* lib/err.c: codes, prefixes, cutting, and words that engines must not take for a fault of the container's program. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/err.h"

static void set_returns_minus_code(void **state)
{
	struct err err = {0};

	(void)state;
	errno = EBADF;
	assert_int_equal(err_set(&err, EINVAL, "value %d of '%s'", 7, "x"), -EINVAL);
	assert_int_equal(err.code, EINVAL);
	assert_string_equal(err.msg, "value 7 of 'x'");
	assert_int_equal(errno, EBADF);
}

static void null_is_allowed(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, EIO, "x"), -EIO);
	assert_int_equal(err_sys(NULL, EIO, "x"), -EIO);
	err_prefix(NULL, "x");
}

static void sys_appends_the_reason(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(err_sys(&err, ENOENT, "cannot open '%s'", "f"), -ENOENT);
	assert_string_equal(err.msg, "cannot open 'f': missing");
}

static void prefix_needs_an_error(void **state)
{
	struct err err = {0};

	(void)state;
	err_prefix(&err, "outer");
	assert_string_equal(err.msg, "");
	(void)err_set(&err, EIO, "inner");
	err_prefix(&err, "outer %d", 1);
	err_prefix(&err, "outermost");
	assert_string_equal(err.msg, "outermost: outer 1: inner");
	assert_int_equal(err.code, EIO);
}

static void own_message_as_argument(void **state)
{
	struct err err = {0};

	(void)state;
	(void)err_set(&err, EIO, "inner");
	(void)err_set(&err, EINVAL, "again: %s", err.msg);
	assert_string_equal(err.msg, "again: inner");
}

static void long_text_is_cut_visibly(void **state)
{
	char text[3 * ERR_MSG_MAX];
	struct err err = {0};

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	(void)err_set(&err, EIO, "%s", text);
	assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
	assert_string_equal(err.msg + ERR_MSG_MAX - 4, "...");
	err_prefix(&err, "p");
	assert_int_equal(strncmp(err.msg, "p: aaa", 6), 0);
	assert_true(strlen(err.msg) < ERR_MSG_MAX);
}

static void cut_leaves_no_half_character(void **state)
{
	char text[2 * ERR_MSG_MAX];

	(void)state;
	for (size_t shift = 0; shift < 3; shift++) {
		struct err err = {0};
		size_t end;

		memset(text, 'a', shift);
		for (size_t i = shift; i + 3 < sizeof(text); i += 3)
			memcpy(text + i, "\xe2\x82\xac", 4);
		(void)err_set(&err, EIO, "%s", text);
		end = strlen(err.msg);
		assert_string_equal(err.msg + end - 3, "...");
		assert_int_equal((end - 3 - shift) % 3, 0);
	}
}

static void reasons_mislead_no_engine(void **state)
{
	static const char *const searched[] = {
		"permission denied",
		"operation not permitted",
		"no such file or directory",
		"does not exist",
		"not a directory",
		"is a directory",
		"executable file not found",
		"exec format error",
		"no such process",
		"already finished",
		"not running",
	};

	(void)state;
	for (int code = 1; code < 134; code++) {
		const char *reason = err_reason(code);

		assert_non_null(reason);
		assert_true(reason[0] != '\0');
		for (size_t i = 0; i < ARRAY_SIZE(searched); i++)
			assert_null(strcasestr(reason, searched[i]));
	}
	assert_string_equal(err_reason(99999), "unknown error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_returns_minus_code),
		cmocka_unit_test(null_is_allowed),
		cmocka_unit_test(sys_appends_the_reason),
		cmocka_unit_test(prefix_needs_an_error),
		cmocka_unit_test(own_message_as_argument),
		cmocka_unit_test(long_text_is_cut_visibly),
		cmocka_unit_test(cut_leaves_no_half_character),
		cmocka_unit_test(reasons_mislead_no_engine),
	};

	return cmocka_run_group_tests_name("lib/err", tests, NULL, NULL);
}
