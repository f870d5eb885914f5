/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPUID filter makes of an Intel host's and an AMD host's list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <asm/kvm_para.h>
#include <stdint.h>
#include <string.h>

#include "kvm/x86_cpu.h"

static void add(struct x86_cpuid *c, uint32_t leaf, uint32_t index, uint32_t eax, uint32_t ebx,
		uint32_t ecx, uint32_t edx)
{
	c->entries[c->nent++] = (struct kvm_cpuid_entry2){.function = leaf,
							  .index = index,
							  .eax = eax,
							  .ebx = ebx,
							  .ecx = ecx,
							  .edx = edx,
							  .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX};
}

static struct x86_cpuid host(bool amd)
{
	struct x86_cpuid c = {0};

	add(&c, 0, 0, amd ? 0xd : 0x20, 0x756e6547, 0x6c65746e, 0x49656e69);
	add(&c, 1, 0, 0x000806f8, 0x5a400800, 0xffffffff & ~(1u << 31 | 1u << 24), 0xffffffff);
	if (!amd) {
		add(&c, 4, 0, 0xfc004121, 0x02c0003f, 0x3f, 0);
		add(&c, 4, 3, 0xfc1fc163, 0x03c0003f, 0xffff, 4);
	}
	add(&c, 5, 0, 0x40, 0x40, 3, 0x2020);
	add(&c, 6, 0, 0xffff, 2, 9, 1);
	add(&c, 7, 0, 2, 0xf3bf27ef, 0x5b415f6e, 0xffdf4432);
	add(&c, 0xa, 0, 0x08300805, 0, 7, 0x8604);
	add(&c, 0xb, 0, 1, 2, 0x100, 0x5a);
	add(&c, 0xb, 1, 7, 0x60, 0x201, 0x5a);
	add(&c, KVM_CPUID_SIGNATURE, 0, KVM_CPUID_FEATURES, 0x4b4d564b, 0x564b4d56, 0x4d);
	add(&c, KVM_CPUID_FEATURES, 0, 0x0100ffff, 0, 0, 0);
	add(&c, 0x80000001, 0, 0, 0, 0xffffffff, 0x2c100800);
	add(&c, 0x80000008, 0, 0x3934, 0, amd ? 0x703f : 0, 0);
	if (amd) {
		add(&c, 0x8000000a, 0, 1, 8, 0, 0xffff);
		add(&c, 0x8000001d, 0, 0x4121, 0x01c0003f, 0x3f, 0);
		add(&c, 0x8000001d, 3, 0x3c163, 0x03c0003f, 0x7fff, 1);
		add(&c, 0x8000001e, 0, 0x5a, 0x12d, 3, 0);
		add(&c, 0x8000001f, 0, 2, 0x173, 0x1fd, 1);
		add(&c, 0x80000026, 0, 1, 2, 3, 4);
	}
	return c;
}

static const struct kvm_cpuid_entry2 *leaf(struct x86_cpuid *c, uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *e = x86_cpuid_find(c, function, index);

	assert_non_null(e);
	return e;
}

static void check_leaf_1(struct x86_cpuid *c, uint32_t apic_id, uint32_t logical)
{
	const struct kvm_cpuid_entry2 *e = leaf(c, 1, 0);

	assert_int_equal(e->ebx >> 24, apic_id);
	assert_int_equal(e->ebx >> 16 & 0xff, logical);
	assert_int_equal(e->ebx & 0xffff, 0x0800);
	assert_true(e->ecx >> 31 & 1);
	assert_true(e->ecx >> 24 & 1);
	assert_false(e->ecx & (1u << 3 | 1u << 5));		/* MONITOR, VMX */
	assert_false(e->ecx & (1u << 2 | 1u << 15));		/* DTES64, PDCM */
	assert_false(e->edx & (1u << 7 | 1u << 14 | 1u << 21)); /* MCE, MCA, DS */
	assert_int_equal(e->edx >> 28 & 1, logical > 1);
}

static void check_topology(struct x86_cpuid *c, uint32_t function, uint32_t apic_id, uint32_t bits,
			   uint32_t n)
{
	const struct kvm_cpuid_entry2 *e = leaf(c, function, 0);

	assert_int_equal(e->eax, 0);
	assert_int_equal(e->ebx, 1);
	assert_int_equal(e->ecx, 0x100);
	assert_int_equal(e->edx, apic_id);
	e = leaf(c, function, 1);
	assert_int_equal(e->eax, bits);
	assert_int_equal(e->ebx, n);
	assert_int_equal(e->ecx, 0x201);
	assert_int_equal(e->edx, apic_id);
	assert_int_equal(leaf(c, function, 2)->ecx, 2);
}

static void test_intel(void **state)
{
	const struct x86_cpuid_params p = {.apic_id = 4, .nvcpus = 6, .tsc_deadline = true};
	struct x86_cpuid c = host(false), again;

	(void)state;
	x86_cpuid_filter(&c, &p);
	check_leaf_1(&c, 4, 8);
	check_topology(&c, 0xb, 4, 3, 6);
	check_topology(&c, 0x1f, 4, 3, 6);
	assert_int_equal(leaf(&c, 4, 0)->eax >> 26, 7);
	assert_int_equal(leaf(&c, 4, 0)->eax >> 14 & 0xfff, 0);
	assert_int_equal(leaf(&c, 4, 3)->eax >> 14 & 0xfff, 7);
	assert_int_equal(leaf(&c, 4, 3)->eax & 0x3fff, 0x163);
	assert_int_equal(leaf(&c, 5, 0)->eax, 0);
	assert_int_equal(leaf(&c, 6, 0)->eax, 4);
	assert_int_equal(leaf(&c, 6, 0)->ecx, 0);
	assert_int_equal(leaf(&c, 7, 0)->ebx, 0xf1bf27eb); /* without SGX and processor trace */
	assert_int_equal(leaf(&c, 7, 0)->ecx, 0x1b415f6e);
	assert_int_equal(leaf(&c, 7, 0)->edx, 0xffdf4432);
	assert_int_equal(leaf(&c, 0xa, 0)->eax, 0);
	assert_int_equal(leaf(&c, 0x80000008, 0)->ecx, 0);
	assert_int_equal(leaf(&c, KVM_CPUID_FEATURES, 0)->eax & (1u << KVM_FEATURE_ASYNC_PF), 0);
	assert_true(leaf(&c, KVM_CPUID_FEATURES, 0)->eax & (1u << KVM_FEATURE_CLOCKSOURCE2));
	assert_true(leaf(&c, KVM_CPUID_FEATURES, 0)->eax &
		    (1u << KVM_FEATURE_CLOCKSOURCE_STABLE_BIT));
	again = c;
	x86_cpuid_filter(&again, &p);
	assert_int_equal(again.nent, c.nent);
	assert_memory_equal(again.entries, c.entries, c.nent * sizeof(c.entries[0]));
}

static void test_amd(void **state)
{
	const struct x86_cpuid_params p = {.apic_id = 253, .nvcpus = 254, .tsc_deadline = true};
	struct x86_cpuid c = host(true);

	(void)state;
	x86_cpuid_filter(&c, &p);
	check_leaf_1(&c, 253, 255);
	check_topology(&c, 0xb, 253, 8, 254);
	assert_null(x86_cpuid_find(&c, 0x1f, 0));
	assert_null(x86_cpuid_find(&c, 0x80000026, 0));
	assert_int_equal(leaf(&c, 0x80000001, 0)->ecx & (1u << 2), 0);
	assert_int_equal(leaf(&c, 0x80000001, 0)->ecx & (1u << 23), 0);
	assert_int_equal(leaf(&c, 0x80000008, 0)->ecx, 0x80fd);
	assert_int_equal(leaf(&c, 0x8000000a, 0)->edx, 0);
	assert_int_equal(leaf(&c, 0x8000001d, 3)->eax >> 14 & 0xfff, 255);
	assert_int_equal(leaf(&c, 0x8000001d, 0)->eax >> 14 & 0xfff, 0);
	assert_int_equal(leaf(&c, 0x8000001e, 0)->eax, 253);
	assert_int_equal(leaf(&c, 0x8000001e, 0)->ebx, 253);
	assert_int_equal(leaf(&c, 0x8000001e, 0)->ecx, 0);
	assert_int_equal(leaf(&c, 0x8000001f, 0)->eax, 0);
	assert_int_equal(leaf(&c, 0x8000001f, 0)->ebx, 0);
}

static void test_one_vcpu(void **state)
{
	const struct x86_cpuid_params p = {.nvcpus = 1};
	struct x86_cpuid c = host(false);

	(void)state;
	x86_cpuid_filter(&c, &p);
	assert_int_equal(leaf(&c, 1, 0)->ebx >> 16, 1);
	assert_int_equal(leaf(&c, 1, 0)->edx >> 28 & 1, 0);
	assert_int_equal(leaf(&c, 1, 0)->ecx >> 24 & 1, 0);
	check_topology(&c, 0xb, 0, 0, 1);
}

/* A full list leaves no room for the topology: nothing is written behind it */
static void test_full(void **state)
{
	const struct x86_cpuid_params p = {.nvcpus = 2};
	struct {
		struct x86_cpuid c;
		uint8_t guard[64];
	} box = {.c = host(false)};

	(void)state;
	memset(box.guard, 0x5a, sizeof(box.guard));
	while (box.c.nent < X86_CPUID_ENTRIES_MAX)
		add(&box.c, 0xd, box.c.nent, 1, 2, 3, 4);
	x86_cpuid_filter(&box.c, &p);
	assert_in_range(box.c.nent, 1, X86_CPUID_ENTRIES_MAX);
	for (size_t i = 0; i < sizeof(box.guard); i++)
		assert_int_equal(box.guard[i], 0x5a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_intel), cmocka_unit_test(test_amd),
					   cmocka_unit_test(test_one_vcpu),
					   cmocka_unit_test(test_full)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
