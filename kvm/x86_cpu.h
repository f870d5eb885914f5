/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's processors as software sees them: CPUID, model-specific registers, the state at entry. See x86_cpu.c.
 */
#ifndef KVM_X86_CPU_H
#define KVM_X86_CPU_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "kvm/x86_boot.h"
#include "lib/err.h"

#define X86_CPUID_ENTRIES_MAX 256

/* KVM's list with room to grow; what struct kvm_cpuid2 describes with a flexible array */
struct x86_cpuid {
	uint32_t nent, padding;
	struct kvm_cpuid_entry2 entries[X86_CPUID_ENTRIES_MAX];
};

struct x86_cpuid_params {
	uint32_t apic_id;
	uint32_t nvcpus;   /* in the machine: one package, one thread per core */
	bool tsc_deadline; /* the in-kernel APIC has the TSC-deadline timer */
};

/** x86_cpuid_supported() - What host and KVM can give a guest; Return: 0 or -errno */
int x86_cpuid_supported(int kvm_fd, struct x86_cpuid *out, struct err *err);
/** x86_cpuid_filter() - Turn the supported list into what one vCPU shows; pure, and idempotent */
void x86_cpuid_filter(struct x86_cpuid *cpuid, const struct x86_cpuid_params *params);
/** x86_cpuid_find() - The entry of @leaf and @subleaf, or NULL */
struct kvm_cpuid_entry2 *x86_cpuid_find(struct x86_cpuid *cpuid, uint32_t leaf, uint32_t subleaf);

/** x86_vcpu_init() - CPUID and registers of a new vCPU; @entry NULL: not the boot processor, it waits for INIT and SIPI */
int x86_vcpu_init(int vcpu_fd, const struct x86_cpuid *supported,
		  const struct x86_cpuid_params *params, const struct x86_boot_entry *entry,
		  struct err *err);

#endif
