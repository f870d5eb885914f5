/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MP table: how a guest without ACPI learns of its processors and interrupt lines (Intel MultiProcessor Specification
 * 1.4, chapter 4).
 */
#ifndef KVM_X86_MPTABLE_H
#define KVM_X86_MPTABLE_H

#include <stdint.h>

#include "kvm/gmem.h"
#include "lib/err.h"

#define X86_MPTABLE_POINTER_GPA \
	0x10ull /* the floating pointer: first place of the first kilobyte, where Linux looks first */
#define X86_MPTABLE_GPA 0xf0000ull /* the table, in the BIOS area that kernels leave alone */
#define X86_MPTABLE_BYTES_MAX 0x4000u
#define X86_IOAPIC_PINS 24
#define X86_IOAPIC_GPA 0xfec00000u
#define X86_LAPIC_GPA 0xfee00000u

/**
 * x86_mptable_write() - Write floating pointer and table for @nvcpus processors, APIC ids 0 to @nvcpus - 1
 * @nvcpus:	1 to VMM_VCPUS_MAX; the first is the boot processor
 * Return: 0, -EINVAL for the number, -EFAULT when @mem has no RAM there
 */
int x86_mptable_write(const struct gmem *mem, unsigned int nvcpus, struct err *err);

#endif
