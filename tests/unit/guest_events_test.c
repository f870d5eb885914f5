/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's look for inotify watches: what it takes from a line of fdinfo. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guest/events.h"

#define HANDLE "fhandle-bytes:c fhandle-type:81 f_handle:"

static void test_watch(void **state)
{
	struct events_watch w;

	(void)state;
	assert_int_equal(
		events_parse_line("inotify wd:1 ino:2a sdev:2d mask:fc6 ignored_mask:0 " HANDLE
				  "010000001234000000000000\n",
				  &w),
		1);
	assert_true(w.nodeid == 0x100003412ull && w.ino == 0x2a && w.mask == 0xfc6);
	assert_int_equal(
		events_parse_line("fanotify ino:2a sdev:2d mflags:0 mask:2 ignored_mask:0 " HANDLE
				  "000000001000000000000000\n",
				  &w),
		1);
	assert_true(w.nodeid == 16 && w.ino == 0x2a && w.mask == 2);
}

static void test_none(void **state)
{
	static const char *const lines[] = {
		"",
		"pos:\t0\n",
		"inotify wd:1 ino:2a sdev:2d mask:fc6 ignored_mask:0 \n",
		"inotify wd:1 ino:2a sdev:2d mask:fc6 ignored_mask:0 " HANDLE "0000\n",
		"inotify wd:1 ino:2a sdev:2d mask:fc6 ignored_mask:0 " HANDLE
		"000000000000000000000000\n",
		"inotify wd:1 ino:2a mask:2 fhandle-bytes:8 fhandle-type:1 "
		"f_handle:0000000010000000\n",
		"inotify wd:1 ino:2a mask:2 fhandle-bytes:c fhandle-type:1 f_handle:"
		"000000001000000000000000\n",
		"fanotify mnt_id:2a mflags:0 mask:2 ignored_mask:0\n",
		"inotify ino:zz mask:2 " HANDLE "000000001000000000000000\n",
	};
	struct events_watch w;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(events_parse_line(lines[i], &w), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
