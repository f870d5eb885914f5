/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/buf.h: the reader never passes its end, the writer never passes its cap, and no failure changes the content.
 *
 * LDFLAGS: -Wl,--wrap=realloc
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);

static bool no_memory;

void *__wrap_realloc(void *p, size_t size)
{
	return no_memory ? NULL : __real_realloc(p, size);
}

static void reader_stops_at_its_end(void **state)
{
	struct buf_reader r = buf_reader_of("abcdef", 6);
	char out[8] = "";

	(void)state;
	assert_true(buf_copy(&r, out, 4));
	assert_memory_equal(out, "abcd", 4);
	assert_int_equal(buf_left(&r), 2);
	assert_null(buf_take(&r, 3));
	assert_false(buf_reader_ok(&r));
	assert_null(buf_take(&r, 1)); /* the first failure is final */
	assert_int_equal(buf_left(&r), 0);
}

static void reader_refuses_huge_lengths(void **state)
{
	struct buf_reader r = buf_reader_of("abc", 3);

	(void)state;
	assert_non_null(buf_take(&r, 1));
	assert_null(buf_take(&r, SIZE_MAX));
	assert_false(buf_reader_ok(&r));
}

static void reader_of_nothing(void **state)
{
	struct buf_reader r = buf_reader_of("", 0);

	(void)state;
	assert_non_null(buf_take(&r, 0));
	assert_true(buf_reader_ok(&r));
	assert_null(buf_take(&r, 1));
}

static void writer_grows_up_to_its_cap(void **state)
{
	struct buf b = {.max = 1000};
	char byte;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		byte = (char)i;
		assert_int_equal(buf_append(&b, &byte, 1), 0);
	}
	assert_int_equal(buf_append(&b, "x", 1), -EMSGSIZE);
	assert_int_equal(buf_append(&b, "x", SIZE_MAX), -EMSGSIZE);
	assert_int_equal(buf_append(&b, NULL, 0), 0);
	assert_int_equal(b.len, 1000);
	assert_true(b.cap <= 1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal((char)b.data[i], (char)i);
	buf_release(&b);
	assert_null(b.data);
	assert_int_equal(b.len + b.cap, 0);
}

static void writer_with_huge_cap_does_not_overflow(void **state)
{
	struct buf b = {.max = SIZE_MAX};

	(void)state;
	assert_int_equal(buf_append(&b, "abc", 3), 0);
	no_memory = true;
	assert_int_equal(buf_append(&b, "x", SIZE_MAX - 3), -ENOMEM);
	no_memory = false;
	assert_int_equal(b.len, 3);
	buf_release(&b);
}

static void failure_keeps_the_content(void **state)
{
	struct buf b = {.max = 4096};
	char much[1024] = {0};

	(void)state;
	no_memory = true;
	assert_int_equal(buf_append(&b, "x", 1), -ENOMEM);
	no_memory = false;
	assert_int_equal(buf_append(&b, "abc", 3), 0);
	no_memory = true;
	assert_int_equal(buf_append(&b, much, sizeof(much)), -ENOMEM);
	no_memory = false;
	assert_int_equal(b.len, 3);
	assert_memory_equal(b.data, "abc", 3);
	buf_release(&b);
}

static void consume_drops_from_the_front(void **state)
{
	struct buf b = {.max = 64};

	(void)state;
	assert_int_equal(buf_append(&b, "abcdef", 6), 0);
	buf_consume(&b, 0);
	buf_consume(&b, 2);
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.data, "cdef", 4);
	buf_consume(&b, 100);
	assert_int_equal(b.len, 0);
	buf_release(&b);
	buf_consume(&b, 1);
	buf_release(&b);
}

static void printf_appends_and_obeys_the_cap(void **state)
{
	struct buf b = {.max = 8};

	(void)state;
	assert_int_equal(buf_printf(&b, "%d-%s", 12, "ab"), 0);
	assert_int_equal(b.len, 5);
	assert_memory_equal(b.data, "12-ab", 5);
	assert_int_equal(buf_printf(&b, "%s", "too long"), -EMSGSIZE);
	assert_int_equal(b.len, 5);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reader_stops_at_its_end),
		cmocka_unit_test(reader_refuses_huge_lengths),
		cmocka_unit_test(reader_of_nothing),
		cmocka_unit_test(writer_grows_up_to_its_cap),
		cmocka_unit_test(writer_with_huge_cap_does_not_overflow),
		cmocka_unit_test(failure_keeps_the_content),
		cmocka_unit_test(consume_drops_from_the_front),
		cmocka_unit_test(printf_appends_and_obeys_the_cap),
	};

	return cmocka_run_group_tests_name("lib/buf", tests, NULL, NULL);
}
