/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson check`'s look at KVM: not what it says but what it does.
 *
 *   kvm-device        /dev/kvm opens
 *   kvm-api           version 12
 *   kvm-capabilities  what kvm/machine.c uses
 *   kvm-vm            a VM with memory and a vCPU, and another with interrupt controllers, can be made
 *   kvm-instructions  the guest of probe_guest.c comes through: long mode, exceptions, paging, MSRs, the usual instructions
 *   kvm-speed         guest code runs about as fast as host code
 *   kvm-exits         what an exit to this process costs
 *
 * Thresholds. A processor with virtualisation runs guest code at its own speed: the ratio of guest to host time for the same
 * loop is 1, up to 3 on a busy host or in a nested guest (also where the whole host is emulated, since its guests are
 * translated by the same emulator). A KVM that interprets needs dozens to hundreds of host instructions per guest instruction. 20
 * lies far from both; from 6 on it is worth a warning. The best of some rounds is taken, so that a busy host does not fail.
 * An exit costs 1 to 3 µs, nested 10 to 50 µs, emulated about 100 µs: above 500 µs is a warning, as starting takes hundreds of
 * them.
 *
 * The vCPU runs in a thread of its own, so that a guest that hangs, or a KVM that does, ends with the time limit: this
 * function always returns. A probe that fails ends the list, since later ones depend on it.
 */
#include "kvm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kvm/probe_guest.h"
#include "kvm/x86_cpu.h"
#include "lib/cleanup.h"
#include "lib/io.h"

#define PROBE_TIMEOUT_S 5 /* for the guest; a further second for a KVM that ignores signals */
#define PROBE_NATIVE_NS 1000000ull /* the speed loop takes about this long on the host */
#define PROBE_RATIO_FAIL 20.0
#define PROBE_RATIO_WARN 6.0
#define PROBE_EXIT_WARN_NS 500000ull
#define PROBE_KICK_SIGNAL SIGUSR1

#define PROBE_MEMORY (2ull << 20)
#define PROBE_PML4_GPA 0x1000
#define PROBE_PDPT_LOW_GPA 0x2000
#define PROBE_PD_GPA 0x3000
#define PROBE_PDPT_HIGH_GPA 0x4000
#define PROBE_IDT_GPA 0x5000
#define PROBE_GDT_GPA 0x6000
#define PROBE_STACK_GPA 0x8000 /* grows down */
#define PROBE_DATA_GPA 0x9000
#define PROBE_CODE_GPA 0x10000
#define PROBE_IDT_ENTRIES 32
#define PROBE_CS 0x08
#define PROBE_DS 0x10

#define PAGE_PRESENT_WRITE 3ull
#define PAGE_LARGE 0x80ull
#define CR0_64BIT 0x80010033ull /* PG, WP, NE, ET, MP, PE */
#define CR4_PAE 0x20ull
#define EFER_LME_LMA_NXE 0xd00ull

struct probe {
	struct kvm_probe_result *out;
	size_t max, n;
	int kvm_fd, vm_fd, vcpu_fd; /* owned; -1: none */
	uint8_t *memory;	    /* owned mapping; NULL: none */
	struct kvm_run *run;	    /* owned mapping; NULL: none */
	size_t run_size;
	struct x86_cpuid cpuid;
	bool abandoned; /* the thread never came back: it keeps what it uses */
	/* the vCPU thread's */
	uint64_t loop_ns, exits_ns; /* the fastest round; all exits together */
	uint64_t loop_start_ns, exits_start_ns;
	uint32_t nexits;
	bool halted;
	char trouble[160]; /* how the guest ended otherwise */
};

static const struct {
	int cap;
	const char *name;
} needed_caps[] = {
	{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
	{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
	{KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
	{KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR"},
	{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
	{KVM_CAP_PIT2, "KVM_CAP_PIT2"},
	{KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
	{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
	{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
	{KVM_CAP_NR_VCPUS, "KVM_CAP_NR_VCPUS"},
};

static const char *const step_names[] = {
	[PROBE_STEP_NONE] = "the first instruction",
	[PROBE_STEP_START] = "the first instruction",
	[PROBE_STEP_INT3] = "int3 (breakpoints)",
	[PROBE_STEP_PAGE_FAULT] = "a page fault",
	[PROBE_STEP_PAGING] = "paging",
	[PROBE_STEP_TSC] = "rdtsc",
	[PROBE_STEP_CPUID] = "cpuid",
	[PROBE_STEP_EFER] = "rdmsr, wrmsr, swapgs",
	[PROBE_STEP_SSE] = "SSE, fxsave, fxrstor",
	[PROBE_STEP_POPCNT] = "popcnt",
	[PROBE_STEP_CX16] = "lock cmpxchg16b",
	[PROBE_STEP_SMAP] = "clac, stac",
	[PROBE_STEP_XSAVE] = "xsave, xrstor",
	[PROBE_STEP_SPEED] = "a loop",
	[PROBE_STEP_EXITS] = "port writes",
	[PROBE_STEP_DONE] = "the end",
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Returns whether to go on */
static bool report(struct probe *p, const char *name, enum kvm_probe_status status, const char *fix,
		   const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static bool report(struct probe *p, const char *name, enum kvm_probe_status status, const char *fix,
		   const char *fmt, ...)
{
	struct kvm_probe_result *r;
	va_list ap;

	if (p->n == p->max)
		return false;
	r = &p->out[p->n++];
	*r = (struct kvm_probe_result){.name = name, .status = status};
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
	if (status != KVM_PROBE_OK)
		snprintf(r->fix, sizeof(r->fix), "%s", fix);
	return status != KVM_PROBE_FAIL;
}

/* ---- device, API, capabilities ------------------------------------------------------------------------------------ */

static bool cpu_has_virtualisation(void)
{
	uint32_t a = 1, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	if (c & (1u << 5))
		return true; /* VMX */
	a = 0x80000001;
	c = 0;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return c & (1u << 2); /* SVM */
}

static bool probe_device(struct probe *p, const char *path)
{
	p->kvm_fd = open(path, O_RDWR | O_CLOEXEC);
	if (p->kvm_fd >= 0)
		return report(p, "kvm-device", KVM_PROBE_OK, "", "%s can be opened", path);
	if (errno == EACCES || errno == EPERM)
		return report(p, "kvm-device", KVM_PROBE_FAIL,
			      "run as root, or join the group kvm: usermod -aG kvm USER",
			      "%s may not be opened by this user", path);
	return report(p, "kvm-device", KVM_PROBE_FAIL,
		      cpu_has_virtualisation()
			      ? "load the module: modprobe kvm_intel, or modprobe kvm_amd"
			      : "enable virtualisation (VT-x or AMD-V) in the firmware, or nested "
				"virtualisation for this virtual machine",
		      "%s cannot be opened: %s", path, err_reason(errno));
}

static bool probe_api(struct probe *p)
{
	int version = ioctl(p->kvm_fd, KVM_GET_API_VERSION, 0);

	if (version == KVM_API_VERSION)
		return report(p, "kvm-api", KVM_PROBE_OK, "", "version %d", version);
	return report(p, "kvm-api", KVM_PROBE_FAIL, "use a Linux kernel's own KVM, 6.1 or newer",
		      "KVM's interface has version %d instead of %d", version, KVM_API_VERSION);
}

static bool probe_capabilities(struct probe *p)
{
	char missing[160] = "";
	int deadline = ioctl(p->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER);
	int vcpus = ioctl(p->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

	for (size_t i = 0; i < ARRAY_SIZE(needed_caps); i++) {
		size_t len = strlen(missing);

		if (ioctl(p->kvm_fd, KVM_CHECK_EXTENSION, needed_caps[i].cap) <= 0)
			snprintf(missing + len, sizeof(missing) - len, " %s", needed_caps[i].name);
	}
	if (missing[0])
		return report(p, "kvm-capabilities", KVM_PROBE_FAIL,
			      "use a Linux kernel's own KVM, 6.1 or newer", "missing:%s", missing);
	if (deadline <= 0)
		return report(
			p, "kvm-capabilities", KVM_PROBE_WARN, "use Linux 6.1 or newer on the host",
			"no TSC-deadline timer: guests start later, as they measure their clock");
	return report(p, "kvm-capabilities", KVM_PROBE_OK, "", "all %zu there, up to %d vCPUs",
		      ARRAY_SIZE(needed_caps), vcpus);
}

/* ---- the guest ---------------------------------------------------------------------------------------------------- */

static void put_gate(struct probe *p, unsigned int vector, const uint8_t *handler)
{
	uint64_t at = PROBE_CODE_GPA + (uint64_t)(handler - probe_guest_start);
	uint64_t gate[2];

	gate[0] = (at & 0xffff) | (uint64_t)PROBE_CS << 16 | 0x8e00ull << 32 |
		  (at >> 16 & 0xffff) << 48;
	gate[1] = at >> 32;
	memcpy(p->memory + PROBE_IDT_GPA + vector * sizeof(gate), gate, sizeof(gate));
}

static void put_u64(struct probe *p, uint64_t gpa, uint64_t value)
{
	memcpy(p->memory + gpa, &value, sizeof(value));
}

static bool guest_has(struct probe *p, uint32_t leaf, char reg, unsigned int bit)
{
	const struct kvm_cpuid_entry2 *e = x86_cpuid_find(&p->cpuid, leaf, 0);

	return e && ((reg == 'b' ? e->ebx : e->ecx) >> bit & 1);
}

static void fill_memory(struct probe *p, uint64_t iterations)
{
	struct probe_data data = {.iterations = iterations};

	put_u64(p, PROBE_PML4_GPA, PROBE_PDPT_LOW_GPA | PAGE_PRESENT_WRITE);
	put_u64(p, PROBE_PML4_GPA + 511 * 8, PROBE_PDPT_HIGH_GPA | PAGE_PRESENT_WRITE);
	put_u64(p, PROBE_PDPT_LOW_GPA, PROBE_PD_GPA | PAGE_PRESENT_WRITE);
	put_u64(p, PROBE_PDPT_HIGH_GPA + 510 * 8, PROBE_PD_GPA | PAGE_PRESENT_WRITE);
	put_u64(p, PROBE_PD_GPA, PAGE_LARGE | PAGE_PRESENT_WRITE);
	put_u64(p, PROBE_GDT_GPA + PROBE_CS, 0x00af9b000000ffffull);
	put_u64(p, PROBE_GDT_GPA + PROBE_DS, 0x00cf93000000ffffull);
	for (unsigned int i = 0; i < PROBE_IDT_ENTRIES; i++)
		put_gate(p, i, probe_guest_other);
	put_gate(p, 3, probe_guest_int3);
	put_gate(p, 6, probe_guest_ud);
	put_gate(p, 13, probe_guest_gp);
	put_gate(p, 14, probe_guest_fault);
	data.features = (guest_has(p, 1, 'c', 23) ? PROBE_HAS_POPCNT : 0) |
			(guest_has(p, 1, 'c', 13) ? PROBE_HAS_CX16 : 0) |
			(guest_has(p, 7, 'b', 20) ? PROBE_HAS_SMAP : 0) |
			(guest_has(p, 1, 'c', 26) ? PROBE_HAS_XSAVE : 0);
	memcpy(p->memory + PROBE_DATA_GPA, &data, sizeof(data));
	memcpy(p->memory + PROBE_CODE_GPA, probe_guest_start,
	       (size_t)(probe_guest_end - probe_guest_start));
}

static int set_registers(struct probe *p, struct err *err)
{
	struct kvm_segment data = {.limit = 0xffffffff,
				   .selector = PROBE_DS,
				   .type = 3,
				   .present = 1,
				   .s = 1,
				   .db = 1,
				   .g = 1};
	struct kvm_regs regs = {
		.rip = PROBE_CODE_GPA, .rdi = PROBE_DATA_GPA, .rsp = PROBE_STACK_GPA, .rflags = 2};
	struct kvm_sregs s;

	if (ioctl(p->vcpu_fd, KVM_SET_CPUID2, &p->cpuid) < 0)
		return err_sys(err, errno, "KVM_SET_CPUID2");
	if (ioctl(p->vcpu_fd, KVM_GET_SREGS, &s) < 0)
		return err_sys(err, errno, "KVM_GET_SREGS");
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cs = data;
	s.cs.selector = PROBE_CS;
	s.cs.type = 0xb;
	s.cs.db = 0;
	s.cs.l = 1;
	s.gdt.base = PROBE_GDT_GPA;
	s.gdt.limit = 0x17;
	s.idt.base = PROBE_IDT_GPA;
	s.idt.limit = PROBE_IDT_ENTRIES * 16 - 1;
	s.cr0 = CR0_64BIT;
	s.cr3 = PROBE_PML4_GPA;
	s.cr4 = CR4_PAE;
	s.efer = EFER_LME_LMA_NXE;
	if (ioctl(p->vcpu_fd, KVM_SET_SREGS, &s) < 0)
		return err_sys(err, errno, "KVM_SET_SREGS");
	if (ioctl(p->vcpu_fd, KVM_SET_REGS, &regs) < 0)
		return err_sys(err, errno, "KVM_SET_REGS");
	return 0;
}

static int make_vm(struct probe *p, struct err *err)
{
	struct kvm_userspace_memory_region slot = {.memory_size = PROBE_MEMORY};
	int size;

	p->vm_fd = ioctl(p->kvm_fd, KVM_CREATE_VM, 0);
	if (p->vm_fd < 0)
		return err_sys(err, errno, "KVM_CREATE_VM");
	p->memory = mmap(NULL, PROBE_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	if (p->memory == MAP_FAILED) {
		p->memory = NULL;
		return err_sys(err, errno, "memory for a guest");
	}
	slot.userspace_addr = (uintptr_t)p->memory;
	if (ioctl(p->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
		return err_sys(err, errno, "KVM_SET_USER_MEMORY_REGION");
	if (ioctl(p->vm_fd, KVM_SET_TSS_ADDR, 0xfffbd000) < 0)
		return err_sys(err, errno, "KVM_SET_TSS_ADDR");
	p->vcpu_fd = ioctl(p->vm_fd, KVM_CREATE_VCPU, 0);
	if (p->vcpu_fd < 0)
		return err_sys(err, errno, "KVM_CREATE_VCPU");
	size = ioctl(p->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(*p->run))
		return err_set(err, EINVAL, "KVM_GET_VCPU_MMAP_SIZE gave %d", size);
	p->run_size = (size_t)size;
	p->run = mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu_fd, 0);
	if (p->run == MAP_FAILED) {
		p->run = NULL;
		return err_sys(err, errno, "mapping a vCPU");
	}
	return x86_cpuid_supported(p->kvm_fd, &p->cpuid, err);
}

/* Interrupt controllers in a VM of their own: without them the guest's HLT ends KVM_RUN, which the probe wants */
static int try_irqchip(struct probe *p, struct err *err)
{
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
	cleanup_close int vm = ioctl(p->kvm_fd, KVM_CREATE_VM, 0);

	if (vm < 0)
		return err_sys(err, errno, "KVM_CREATE_VM");
	if (ioctl(vm, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_sys(err, errno, "KVM_CREATE_IRQCHIP");
	if (ioctl(vm, KVM_CREATE_PIT2, &pit) < 0)
		return err_sys(err, errno, "KVM_CREATE_PIT2");
	return 0;
}

static bool probe_vm(struct probe *p)
{
	const struct x86_cpuid_params params = {.nvcpus = 1};
	struct err err = {0};
	int r;

	r = make_vm(p, &err);
	if (r == 0)
		r = try_irqchip(p, &err);
	if (r == 0) {
		x86_cpuid_filter(&p->cpuid, &params);
		r = set_registers(p, &err);
	}
	if (r < 0)
		return report(p, "kvm-vm", KVM_PROBE_FAIL,
			      r == -EBUSY
				      ? "another hypervisor uses the processor: stop it"
				      : "look at the host's kernel log (dmesg) for messages of kvm",
			      "no virtual machine can be made: %s", err.msg);
	return report(p, "kvm-vm", KVM_PROBE_OK, "", "a virtual machine with a vCPU can be made");
}

static void on_port(struct probe *p, uint8_t event)
{
	uint64_t now = now_ns();

	switch (event) {
	case PROBE_EVENT_LOOP_START:
		p->loop_start_ns = now;
		break;
	case PROBE_EVENT_LOOP_END:
		if (p->loop_ns == 0 || now - p->loop_start_ns < p->loop_ns)
			p->loop_ns = now - p->loop_start_ns;
		break;
	case PROBE_EVENT_EXIT:
		if (p->nexits++ == 0)
			p->exits_start_ns = now;
		p->exits_ns = now - p->exits_start_ns;
		break;
	default:
		break;
	}
}

/* Returns whether the guest goes on */
static bool on_exit_reason(struct probe *p)
{
	struct kvm_run *run = p->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (run->io.port == PROBE_PORT && run->io.direction == KVM_EXIT_IO_OUT)
			on_port(p, *((uint8_t *)run + run->io.data_offset));
		return true;
	case KVM_EXIT_INTR:
		return true;
	case KVM_EXIT_HLT:
		p->halted = true;
		return false;
	case KVM_EXIT_SHUTDOWN:
		snprintf(p->trouble, sizeof(p->trouble), "a triple fault");
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		snprintf(p->trouble, sizeof(p->trouble), "KVM's internal error %u%s",
			 run->internal.suberror,
			 run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
				 ? " (an instruction it cannot emulate)"
				 : "");
		return false;
	default:
		snprintf(p->trouble, sizeof(p->trouble), "KVM exit %u", run->exit_reason);
		return false;
	}
}

static void *vcpu_thread(void *arg)
{
	struct probe *p = arg;

	while (!__atomic_load_n(&p->run->immediate_exit, __ATOMIC_SEQ_CST)) {
		if (ioctl(p->vcpu_fd, KVM_RUN, 0) == 0) {
			if (!on_exit_reason(p))
				return NULL;
		} else if (errno != EINTR && errno != EAGAIN) {
			snprintf(p->trouble, sizeof(p->trouble), "KVM_RUN: %s", err_reason(errno));
			return NULL;
		}
	}
	snprintf(p->trouble, sizeof(p->trouble), "no progress within %d s", PROBE_TIMEOUT_S);
	return NULL;
}

static void on_kick(int signo)
{
	(void)signo;
}

static bool join_until(pthread_t thread, time_t seconds)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += seconds;
	return pthread_timedjoin_np(thread, NULL, &deadline) == 0;
}

static int run_guest(struct probe *p, struct err *err)
{
	struct sigaction action = {.sa_handler = on_kick}, saved;
	pthread_t thread;
	int r;

	if (sigaction(PROBE_KICK_SIGNAL, &action, &saved) < 0)
		return err_sys(err, errno, "sigaction");
	r = pthread_create(&thread, NULL, vcpu_thread, p);
	if (r != 0)
		return err_sys(err, r, "a thread for the vCPU");
	if (!join_until(thread, PROBE_TIMEOUT_S)) {
		__atomic_store_n(&p->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		pthread_kill(thread, PROBE_KICK_SIGNAL);
		p->abandoned = !join_until(thread, 1);
	}
	if (p->abandoned) {
		pthread_detach(thread);
		return err_set(err, ETIMEDOUT, "KVM_RUN does not come back");
	}
	(void)sigaction(PROBE_KICK_SIGNAL, &saved, NULL);
	return 0;
}

/* How many iterations take about PROBE_NATIVE_NS here, and how long they take at best */
static uint64_t measure_native(uint64_t *best_ns)
{
	uint64_t iterations = 10000, ns = 0, start;

	for (int tries = 0; tries < 16; tries++) {
		start = now_ns();
		(void)probe_native_loop(iterations);
		ns = now_ns() - start;
		if (ns >= PROBE_NATIVE_NS)
			break;
		iterations *= 2;
	}
	for (int i = 0; i < 4; i++) {
		start = now_ns();
		(void)probe_native_loop(iterations);
		if (now_ns() - start < ns)
			ns = now_ns() - start;
	}
	*best_ns = ns;
	return iterations;
}

static bool probe_instructions(struct probe *p, const struct err *failure)
{
	struct probe_data data;
	const char *step;

	memcpy(&data, p->memory + PROBE_DATA_GPA, sizeof(data));
	if (data.step == PROBE_STEP_DONE && p->halted)
		return report(p, "kvm-instructions", KVM_PROBE_OK, "",
			      "a guest in long mode ran all tests");
	step = data.step <= PROBE_STEP_DONE ? step_names[data.step] : "an unknown step";
	if (data.exception)
		snprintf(p->trouble, sizeof(p->trouble), "an unexpected exception (%u)",
			 data.exception - 1);
	return report(p, "kvm-instructions", KVM_PROBE_FAIL,
		      "this is not a working hardware KVM: use a host with VT-x or AMD-V, or with "
		      "nested virtualisation enabled",
		      "a guest stopped at %s: %s", step,
		      failure->code   ? failure->msg
		      : p->trouble[0] ? p->trouble
				      : "a wrong result");
}

static bool probe_speed(struct probe *p, uint64_t native_ns)
{
	static const char fix[] =
		"use a host with VT-x or AMD-V, or with nested virtualisation enabled";
	double ratio = (double)p->loop_ns / (double)(native_ns ? native_ns : 1);
	enum kvm_probe_status status = ratio > PROBE_RATIO_FAIL	  ? KVM_PROBE_FAIL
				       : ratio > PROBE_RATIO_WARN ? KVM_PROBE_WARN
								  : KVM_PROBE_OK;

	return report(p, "kvm-speed", status, fix,
		      "guest code takes %.1f times as long as host code%s", ratio,
		      status == KVM_PROBE_FAIL ? ": this KVM interprets it" : "");
}

static bool probe_exits(struct probe *p)
{
	uint64_t each_ns = p->nexits > 1 ? p->exits_ns / (p->nexits - 1) : 0;

	return report(p, "kvm-exits", each_ns > PROBE_EXIT_WARN_NS ? KVM_PROBE_WARN : KVM_PROBE_OK,
		      "starting a container will take long: prefer a host without emulation or "
		      "deep nesting",
		      "leaving and entering a guest takes %llu.%llu µs",
		      (unsigned long long)(each_ns / 1000),
		      (unsigned long long)(each_ns / 100 % 10));
}

static void release(struct probe *p)
{
	if (p->abandoned)
		return; /* a thread still uses all of it; the process will end soon */
	if (p->run)
		munmap(p->run, p->run_size);
	close_fd(&p->vcpu_fd);
	close_fd(&p->vm_fd);
	if (p->memory)
		munmap(p->memory, PROBE_MEMORY);
	close_fd(&p->kvm_fd);
	free(p);
}

static void run_all(struct probe *p, const char *kvm_path)
{
	struct err failure = {0};
	uint64_t native_ns;

	if (!probe_device(p, kvm_path) || !probe_api(p) || !probe_capabilities(p) || !probe_vm(p))
		return;
	fill_memory(p, measure_native(&native_ns));
	(void)run_guest(p, &failure);
	if (!probe_instructions(p, &failure) || !probe_speed(p, native_ns))
		return;
	(void)probe_exits(p);
}

size_t kvm_probe(const char *kvm_path, struct kvm_probe_result *out, size_t max)
{
	struct probe *p = calloc(1, sizeof(*p));
	size_t n;

	if (!p)
		return 0;
	p->out = out;
	p->max = max;
	p->kvm_fd = p->vm_fd = p->vcpu_fd = -1;
	run_all(p, kvm_path);
	n = p->n;
	release(p);
	return n;
}
