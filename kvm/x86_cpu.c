/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID, MSRs and the state at entry.
 *
 * The guest sees the host's processor as far as KVM supports it (KVM_GET_SUPPORTED_CPUID), with these differences:
 *
 *   topology      one package, one core per vCPU, no hyperthreads, one shared last-level cache: the host's own numbers
 *                 (leaves 1, 4, 0xb, 0x1f, 0x80000008, 0x8000001d, 0x8000001e) describe other processors than the guest's
 *   hypervisor    bit and KVM's own leaves: kvmclock, steal time, PV EOI, PV IPIs and TLB flush as KVM offers them; without
 *                 asynchronous page faults (nothing of ours swaps), migration control and MSI extensions (there are no MSIs)
 *   TSC deadline  from KVM_CAP_TSC_DEADLINE_TIMER, since KVM leaves the bit out of its list: with it, and kvmclock's TSC rate,
 *                 a kernel calibrates nothing at boot
 *   left out      performance counters (0xa, 0x80000022, debug store: every access is an exit, and they show the host),
 *                 MONITOR/MWAIT, virtualisation (VMX, SVM: what the guest does not see cannot be attacked), encrypted memory
 *                 (0x8000001f: KVM lists what a host can give; an ordinary guest that finds SEV there reads an MSR that it does
 *                 not have, and faults before it can handle it), machine checks (there is nobody to report them), thermal and
 *                 power leaves but for ARAT, SGX, resource control, processor trace
 *
 * The same code serves Intel, AMD and an emulated AMD: leaves of the other vendor are simply not in KVM's list. CPUID is not a
 * security boundary; KVM checks what a guest may use by this list as well.
 *
 * MSRs: memory is write-back by default for kernels that look at MTRRs, and string moves are fast. Everything else is as KVM
 * resets it. Entry: 32-bit protected mode with flat segments and no paging, as both PVH and the 32-bit boot protocol have it.
 */
#include "kvm/x86_cpu.h"

#include <assert.h>
#include <asm/kvm_para.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/x86_mptable.h"
#include "lib/cleanup.h"

_Static_assert(offsetof(struct x86_cpuid, entries) == offsetof(struct kvm_cpuid2, entries),
	       "as the kernel has it");

#define BIT(n) (1u << (n))

#define CPUID_1_ECX_DTES64 BIT(2)
#define CPUID_1_ECX_MONITOR BIT(3)
#define CPUID_1_ECX_VMX BIT(5)
#define CPUID_1_ECX_PDCM BIT(15)
#define CPUID_1_ECX_TSC_DEADLINE BIT(24)
#define CPUID_1_ECX_HYPERVISOR BIT(31)
#define CPUID_1_EDX_MCE BIT(7)
#define CPUID_1_EDX_MCA BIT(14)
#define CPUID_1_EDX_DS BIT(21)
#define CPUID_1_EDX_HTT BIT(28)
#define CPUID_6_EAX_ARAT BIT(2)
#define CPUID_7_EBX_SGX BIT(2)
#define CPUID_7_EBX_PROCESSOR_TRACE BIT(25)
#define CPUID_7_ECX_SGX_LC BIT(30)
#define CPUID_80000001_ECX_CMP_LEGACY BIT(1)
#define CPUID_80000001_ECX_SVM BIT(2)
#define CPUID_80000001_ECX_PERFCTR (BIT(23) | BIT(24) | BIT(28))
#define CPUID_KVM_DROPPED                                                     \
	(BIT(KVM_FEATURE_ASYNC_PF) | BIT(KVM_FEATURE_ASYNC_PF_VMEXIT) |       \
	 BIT(KVM_FEATURE_ASYNC_PF_INT) | BIT(KVM_FEATURE_MIGRATION_CONTROL) | \
	 BIT(KVM_FEATURE_MSI_EXT_DEST_ID))

#define MSR_MISC_ENABLE 0x1a0u
#define MSR_MISC_ENABLE_FAST_STRING 1u
#define MSR_MTRR_DEF_TYPE 0x2ffu
#define MSR_MTRR_ENABLED_WRITE_BACK 0x806u /* E, and 6: write-back */

#define CR0_PE 1u
#define CR0_ET (1u << 4)
#define EFLAGS_RESERVED 2u

int x86_cpuid_supported(int kvm_fd, struct x86_cpuid *out, struct err *err)
{
	memset(out, 0, sizeof(*out));
	out->nent = X86_CPUID_ENTRIES_MAX;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, out) < 0)
		return err_sys(err, errno, "KVM_GET_SUPPORTED_CPUID");
	return 0;
}

struct kvm_cpuid_entry2 *x86_cpuid_find(struct x86_cpuid *cpuid, uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == leaf &&
		    (e->index == subleaf || !(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return e;
	}
	return NULL;
}

static void remove_leaf(struct x86_cpuid *cpuid, uint32_t leaf)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function != leaf)
			cpuid->entries[kept++] = cpuid->entries[i];
	cpuid->nent = kept;
}

static void clear_leaf(struct x86_cpuid *cpuid, uint32_t leaf)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == leaf)
			e->eax = e->ebx = e->ecx = e->edx = 0;
	}
}

/* Bits of an APIC id that number the cores: the smallest n with 2^n >= @nvcpus */
static uint32_t core_bits(uint32_t nvcpus)
{
	uint32_t bits = 0;

	while (bits < 8 && (1u << bits) < nvcpus)
		bits++;
	return bits;
}

static void filter_leaf_1(struct kvm_cpuid_entry2 *e, const struct x86_cpuid_params *p)
{
	uint32_t logical = p->nvcpus > 1 ? 1u << core_bits(p->nvcpus) : 1;

	if (logical > 255)
		logical = 255;
	e->ebx = (e->ebx & 0xffff) | (logical << 16) | (p->apic_id << 24);
	e->ecx &= ~(CPUID_1_ECX_DTES64 | CPUID_1_ECX_MONITOR | CPUID_1_ECX_VMX | CPUID_1_ECX_PDCM |
		    CPUID_1_ECX_TSC_DEADLINE);
	e->ecx |= CPUID_1_ECX_HYPERVISOR | (p->tsc_deadline ? CPUID_1_ECX_TSC_DEADLINE : 0);
	e->edx &= ~(CPUID_1_EDX_MCE | CPUID_1_EDX_MCA | CPUID_1_EDX_DS | CPUID_1_EDX_HTT);
	e->edx |= p->nvcpus > 1 ? CPUID_1_EDX_HTT : 0;
}

/* The features whose leaves are cleared: a bit without its leaf promises what is not there */
static void filter_leaf_7(struct kvm_cpuid_entry2 *e)
{
	if (e->index != 0)
		return;
	e->ebx &= ~(CPUID_7_EBX_SGX | CPUID_7_EBX_PROCESSOR_TRACE);
	e->ecx &= ~CPUID_7_ECX_SGX_LC;
}

/* Caches (Intel 4, AMD 0x8000001d): EAX has type, level and the APIC ids that share it; levels 1 and 2 are a core's own */
static void filter_cache(struct kvm_cpuid_entry2 *e, const struct x86_cpuid_params *p, bool intel)
{
	uint32_t level = (e->eax >> 5) & 7, span = (1u << core_bits(p->nvcpus)) - 1;

	if ((e->eax & 0x1f) == 0)
		return;
	e->eax &= 0x3fff;
	if (level >= 3)
		e->eax |= span << 14;
	if (intel)
		e->eax |= (span > 63 ? 63 : span) << 26;
}

static void add_topology_level(struct x86_cpuid *cpuid, uint32_t leaf, const uint32_t abcd[4],
			       uint32_t subleaf)
{
	struct kvm_cpuid_entry2 *e;

	if (cpuid->nent >= X86_CPUID_ENTRIES_MAX)
		return;
	e = &cpuid->entries[cpuid->nent++];
	*e = (struct kvm_cpuid_entry2){.function = leaf,
				       .index = subleaf,
				       .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
				       .eax = abcd[0],
				       .ebx = abcd[1],
				       .ecx = abcd[2],
				       .edx = abcd[3]};
}

/* Extended topology, 0xb and 0x1f: level 0 one thread per core, level 1 the cores of the package */
static void set_topology(struct x86_cpuid *cpuid, const struct x86_cpuid_params *p)
{
	const struct kvm_cpuid_entry2 *zero = x86_cpuid_find(cpuid, 0, 0);
	uint32_t leaf_max = zero ? zero->eax : 0;

	for (uint32_t leaf = 0xb; leaf <= 0x1f; leaf += 0x1f - 0xb) {
		const uint32_t levels[3][4] = {{0, 1, 0x100, p->apic_id},
					       {core_bits(p->nvcpus), p->nvcpus, 0x201, p->apic_id},
					       {0, 0, 2, p->apic_id}};

		remove_leaf(cpuid, leaf);
		if (leaf > leaf_max)
			continue;
		for (uint32_t i = 0; i < 3; i++)
			add_topology_level(cpuid, leaf, levels[i], i);
	}
}

static void filter_extended(struct kvm_cpuid_entry2 *e, const struct x86_cpuid_params *p)
{
	switch (e->function) {
	case 0x80000001:
		e->ecx &= ~(CPUID_80000001_ECX_SVM | CPUID_80000001_ECX_PERFCTR |
			    CPUID_80000001_ECX_CMP_LEGACY);
		break;
	case 0x80000008: /* ECX: number of cores - 1, and the bits that number them; Intel has 0 here */
		if (e->ecx & 0xffff)
			e->ecx = (e->ecx & ~0xf0ffu) | (p->nvcpus - 1) |
				 (core_bits(p->nvcpus) << 12);
		break;
	case 0x8000001d:
		filter_cache(e, p, false);
		break;
	case 0x8000001e: /* APIC id; core id, one thread; node 0 of 1 */
		e->eax = p->apic_id;
		e->ebx = p->apic_id & 0xff;
		e->ecx = 0;
		break;
	default:
		break;
	}
}

void x86_cpuid_filter(struct x86_cpuid *cpuid, const struct x86_cpuid_params *params)
{
	static const uint32_t cleared[] = {5,	 0xa,	     0xf,	 0x10,	     0x12,
					   0x14, 0x8000000a, 0x8000001f, 0x80000020, 0x80000022};

	for (size_t i = 0; i < ARRAY_SIZE(cleared); i++)
		clear_leaf(cpuid, cleared[i]);
	remove_leaf(cpuid, 0x80000026);
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == 1)
			filter_leaf_1(e, params);
		else if (e->function == 4)
			filter_cache(e, params, true);
		else if (e->function == 6)
			e->eax &= CPUID_6_EAX_ARAT, e->ebx = e->ecx = e->edx = 0;
		else if (e->function == 7)
			filter_leaf_7(e);
		else if (e->function == KVM_CPUID_FEATURES)
			e->eax &= ~CPUID_KVM_DROPPED;
		else if (e->function >= 0x80000000)
			filter_extended(e, params);
	}
	set_topology(cpuid, params);
}

/* KVM takes the MSRs one after the other and says how many it took; one that an old KVM does not know is no reason to fail */
static void set_msrs(int vcpu_fd)
{
	static const struct kvm_msr_entry wanted[] = {
		{.index = MSR_MISC_ENABLE, .data = MSR_MISC_ENABLE_FAST_STRING},
		{.index = MSR_MTRR_DEF_TYPE, .data = MSR_MTRR_ENABLED_WRITE_BACK},
	};

	union {
		struct kvm_msrs header;
		uint8_t bytes[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} msr;

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		memset(&msr, 0, sizeof(msr));
		msr.header.nmsrs = 1;
		memcpy(msr.bytes + sizeof(struct kvm_msrs), &wanted[i], sizeof(wanted[i]));
		(void)ioctl(vcpu_fd, KVM_SET_MSRS, &msr);
	}
}

static int set_entry(int vcpu_fd, const struct x86_boot_entry *entry, struct err *err)
{
	struct kvm_segment data = {.base = 0,
				   .limit = 0xffffffff,
				   .selector = X86_BOOT_DS,
				   .type = 3,
				   .present = 1,
				   .s = 1,
				   .db = 1,
				   .g = 1};
	struct kvm_regs regs = {
		.rip = entry->eip, .rbx = entry->ebx, .rsi = entry->esi, .rflags = EFLAGS_RESERVED};
	struct kvm_sregs sregs;

	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
		return err_sys(err, errno, "KVM_GET_SREGS");
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	data.type = 0xb;
	data.selector = X86_BOOT_CS;
	sregs.cs = data;
	sregs.tr = (struct kvm_segment){.limit = 0x67, .type = 0xb, .present = 1};
	sregs.gdt.base = entry->gdt_gpa;
	sregs.gdt.limit = entry->gdt_limit;
	sregs.idt.base = 0;
	sregs.idt.limit = 0;
	sregs.cr0 = CR0_PE | CR0_ET;
	sregs.cr3 = sregs.cr4 = sregs.efer = 0;
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) < 0)
		return err_sys(err, errno, "KVM_SET_SREGS");
	if (ioctl(vcpu_fd, KVM_SET_REGS, &regs) < 0)
		return err_sys(err, errno, "KVM_SET_REGS");
	return 0;
}

int x86_vcpu_init(int vcpu_fd, const struct x86_cpuid *supported,
		  const struct x86_cpuid_params *params, const struct x86_boot_entry *entry,
		  struct err *err)
{
	struct x86_cpuid cpuid = *supported;

	x86_cpuid_filter(&cpuid, params);
	if (ioctl(vcpu_fd, KVM_SET_CPUID2, &cpuid) < 0)
		return err_sys(err, errno, "KVM_SET_CPUID2");
	set_msrs(vcpu_fd);
	return entry ? set_entry(vcpu_fd, entry, err) : 0;
}
