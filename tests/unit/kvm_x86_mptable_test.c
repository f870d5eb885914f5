/* SPDX-License-Identifier: Apache-2.0 */
/* The MP table as a kernel reads it: pointer, checksums, every entry; 1, 2 and 254 processors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "kvm/vmm.h"
#include "kvm/x86_mptable.h"

struct counts {
	unsigned int cpus, boot_cpus, buses, ioapics, interrupts, local;
	uint32_t pins;
	bool apic_ids[256];
};

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

static void read_cpu(const uint8_t *e, struct counts *c)
{
	assert_false(c->apic_ids[e[1]]);
	c->apic_ids[e[1]] = true;
	assert_true(e[3] & 1);
	c->boot_cpus += (e[3] >> 1) & 1;
	c->cpus++;
}

static void read_interrupt(const uint8_t *e, unsigned int nvcpus, struct counts *c)
{
	assert_int_equal(e[1], 0);
	assert_int_equal(e[2] | e[3] << 8, 0);
	assert_int_equal(e[5], e[7]);
	assert_int_equal(e[6], nvcpus);
	assert_in_range(e[7], 0, X86_IOAPIC_PINS - 1);
	assert_false(c->pins >> e[7] & 1);
	c->pins |= 1u << e[7];
	c->interrupts++;
}

static void read_table(const uint8_t *table, unsigned int nvcpus, struct counts *c)
{
	unsigned int len = table[4] | (unsigned int)table[5] << 8,
		     entries = table[34] | (unsigned int)table[35] << 8;
	const uint8_t *e = table + 44;

	assert_memory_equal(table, "PCMP", 4);
	assert_int_equal(sum(table, len), 0);
	for (; entries > 0; entries--) {
		assert_true(e < table + len);
		switch (e[0]) {
		case 0:
			read_cpu(e, c);
			break;
		case 1:
			assert_memory_equal(e + 2, "ISA   ", 6);
			c->buses++;
			break;
		case 2:
			assert_int_equal(e[1], nvcpus);
			c->ioapics++;
			break;
		case 3:
			read_interrupt(e, nvcpus, c);
			break;
		case 4:
			c->local++;
			break;
		default:
			fail_msg("entry of type %u", e[0]);
		}
		e += e[0] == 0 ? 20 : 8;
	}
	assert_ptr_equal(e, table + len);
}

static void test_table(void **state)
{
	static const unsigned int sizes[] = {1, 2, VMM_VCPUS_MAX};
	struct err err = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct counts c = {0};
		struct gmem mem = {0};
		const uint8_t *p;

		assert_int_equal(gmem_init(&mem, VMM_MEMORY_MIN, &err), 0);
		assert_int_equal(x86_mptable_write(&mem, sizes[i], &err), 0);
		p = gmem_range(&mem, X86_MPTABLE_POINTER_GPA, 16);
		assert_memory_equal(p, "_MP_", 4);
		assert_int_equal(sum(p, 16), 0);
		assert_int_equal(p[4] | p[5] << 8 | p[6] << 16, X86_MPTABLE_GPA);
		read_table(gmem_range(&mem, X86_MPTABLE_GPA, X86_MPTABLE_BYTES_MAX), sizes[i], &c);
		assert_int_equal(c.cpus, sizes[i]);
		assert_int_equal(c.boot_cpus, 1);
		assert_int_equal(c.buses, 1);
		assert_int_equal(c.ioapics, 1);
		assert_int_equal(c.interrupts, X86_IOAPIC_PINS - 1);
		assert_int_equal(c.pins, 0xffffff & ~4u); /* all but the cascade */
		assert_int_equal(c.local, 2);
		assert_false(c.apic_ids[255]);
		gmem_release(&mem);
	}
}

static void test_bad_numbers(void **state)
{
	struct gmem mem = {0}, none = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(gmem_init(&mem, VMM_MEMORY_MIN, &err), 0);
	assert_int_equal(x86_mptable_write(&mem, 0, &err), -EINVAL);
	assert_int_equal(x86_mptable_write(&mem, VMM_VCPUS_MAX + 1, &err), -EINVAL);
	assert_int_equal(x86_mptable_write(&none, 1, &err), -EFAULT);
	gmem_release(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_table),
					   cmocka_unit_test(test_bad_numbers)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
