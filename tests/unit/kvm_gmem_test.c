/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: the split below 4 GiB and every edge of a range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdint.h>

#include "kvm/gmem.h"

#define MIB (1ull << 20)

static void test_sizes(void **state)
{
	static const uint64_t bad[] = {0,
				       4096,
				       32 * MIB - 4096,
				       64 * MIB + 1,
				       64 * MIB + 512,
				       UINT64_MAX,
				       UINT64_MAX - 4095,
				       1ull << 62};
	struct gmem mem;
	struct err err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err = (struct err){0};
		assert_true(gmem_init(&mem, bad[i], &err) < 0);
		assert_int_equal(mem.nregions, 0);
		assert_string_not_equal(err.msg, "");
		gmem_release(&mem);
	}
}

static void test_one_region(void **state)
{
	struct gmem mem;
	uint8_t *p;

	(void)state;
	assert_int_equal(gmem_init(&mem, 32 * MIB, NULL), 0);
	assert_int_equal(mem.nregions, 1);
	p = gmem_range(&mem, 0, 32 * MIB);
	assert_non_null(p);
	p[0] = 1;
	p[32 * MIB - 1] = 2;
	assert_ptr_equal(gmem_range(&mem, 32 * MIB - 1, 1), p + 32 * MIB - 1);
	assert_null(gmem_range(&mem, 0, 0));
	assert_null(gmem_range(&mem, 0, 32 * MIB + 1));
	assert_null(gmem_range(&mem, 32 * MIB - 1, 2));
	assert_null(gmem_range(&mem, 32 * MIB, 1));
	assert_null(gmem_range(&mem, 1, UINT64_MAX));
	assert_null(gmem_range(&mem, UINT64_MAX, 1));
	assert_null(gmem_range(&mem, UINT64_MAX, UINT64_MAX));
	assert_null(gmem_range(&mem, 4096, UINT64_MAX - 4095));
	gmem_release(&mem);
	assert_null(gmem_range(&mem, 0, 1));
	gmem_release(&mem);
}

static void test_hole(void **state)
{
	struct gmem mem;
	uint8_t *p;

	(void)state;
	assert_int_equal(gmem_init(&mem, GMEM_LOW_END + 16 * MIB, NULL), 0);
	assert_int_equal(mem.nregions, 2);
	assert_non_null(gmem_range(&mem, GMEM_LOW_END - 1, 1));
	assert_null(gmem_range(&mem, GMEM_LOW_END - 1, 2));
	assert_null(gmem_range(&mem, GMEM_LOW_END, 1));
	assert_null(gmem_range(&mem, GMEM_HIGH_START - 1, 1));
	assert_null(gmem_range(&mem, GMEM_HIGH_START - 1, 2));
	assert_null(gmem_range(&mem, 0, GMEM_HIGH_START + MIB));
	p = gmem_range(&mem, GMEM_HIGH_START, 16 * MIB);
	assert_non_null(p);
	p[16 * MIB - 1] = 1;
	assert_null(gmem_range(&mem, GMEM_HIGH_START, 16 * MIB + 1));
	gmem_release(&mem);
	/* Exactly up to the hole: one region */
	assert_int_equal(gmem_init(&mem, GMEM_LOW_END, NULL), 0);
	assert_int_equal(mem.nregions, 1);
	gmem_release(&mem);
}

/* The region that grows: nothing of it before, each byte of what was added after, never less */
static void test_growing(void **state)
{
	struct gmem mem;
	gpa_t start;
	uint8_t *p;

	(void)state;
	assert_int_equal(gmem_init(&mem, 64 * MIB, NULL), 0);
	assert_int_equal(gmem_reserve(&mem, 512 * MIB, 128 * MIB, NULL), 0);
	assert_int_equal(mem.nregions, 2);
	start = mem.regions[1].gpa;
	assert_int_equal(start, GMEM_HIGH_START);
	assert_null(gmem_range(&mem, start, 1));
	assert_int_equal(gmem_grow(&mem, 128 * MIB, NULL), 0);
	p = gmem_range(&mem, start, 128 * MIB);
	assert_non_null(p);
	p[0] = p[128 * MIB - 1] = 1;
	assert_null(gmem_range(&mem, start, 128 * MIB + 1));
	assert_null(gmem_range(&mem, start + 128 * MIB, 1));
	assert_int_equal(gmem_grow(&mem, 64 * MIB, NULL), -EINVAL);
	assert_int_equal(gmem_grow(&mem, 640 * MIB, NULL), -EINVAL);
	assert_int_equal(gmem_grow(&mem, 512 * MIB, NULL), 0);
	assert_ptr_equal(gmem_range(&mem, start, 512 * MIB), p);
	p[512 * MIB - 1] = 1;
	gmem_release(&mem);
	/* Behind high memory, at a multiple of what is asked for */
	assert_int_equal(gmem_init(&mem, GMEM_LOW_END + 16 * MIB, NULL), 0);
	assert_int_equal(gmem_reserve(&mem, 0, 128 * MIB, NULL), -EINVAL);
	assert_int_equal(gmem_reserve(&mem, UINT64_MAX, 128 * MIB, NULL), -EINVAL);
	assert_int_equal(gmem_reserve(&mem, 128 * MIB, 128 * MIB, NULL), 0);
	assert_int_equal(mem.regions[2].gpa, GMEM_HIGH_START + 128 * MIB);
	gmem_release(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_one_region),
		cmocka_unit_test(test_hole),
		cmocka_unit_test(test_growing),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
