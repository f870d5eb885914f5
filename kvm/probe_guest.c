/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest in a hundred instructions: those that an ordinary kernel executes before its first line of output, and on which
 * incomplete KVMs stop. It is entered in 64-bit mode with identity-mapped memory; RDI is struct probe_data.
 *
 * Each step notes its number before it begins, so that the host knows where a guest died that says nothing more. A wrong
 * result or an unexpected exception halts at once, which leaves the number of the failed step.
 *
 * The code is data to this program: it lies in .rodata, is copied into guest memory, and refers to nothing outside of itself.
 */
#include "kvm/probe_guest.h"

/* One iteration: arithmetic that cannot be skipped, a store, a load, a branch. RCX counts down, RAX is the state, RDX the
 * cell. @reg is how the surrounding asm writes a register's prefix. */
#define SPEED_LOOP(reg)                                        \
	"77:	imul	$0x5851f42d, " reg "rax, " reg "rax\n" \
	"	add	$0x14057b7e, " reg "rax\n"             \
	"	mov	" reg "rax, (" reg "rdx)\n"            \
	"	rol	$13, " reg "rax\n"                     \
	"	xor	(" reg "rdx), " reg "rax\n"            \
	"	dec	" reg "rcx\n"                          \
	"	jnz	77b\n"

__asm__(".pushsection .rodata\n"
	".globl probe_guest_start, probe_guest_end, probe_guest_int3, probe_guest_fault\n"
	".globl probe_guest_ud, probe_guest_gp, probe_guest_other\n"
	".hidden probe_guest_start, probe_guest_end, probe_guest_int3, probe_guest_fault\n"
	".hidden probe_guest_ud, probe_guest_gp, probe_guest_other\n"
	".balign 16\n"
	"probe_guest_start:\n"
	"	movl	$1, (%rdi)\n"

	"	movl	$2, (%rdi)\n" /* int3: how kernels patch their code */
	"	int3\n"
	"	cmpl	$1, 8(%rdi)\n"
	"	jne	66f\n"

	"	movl	$3, (%rdi)\n"	     /* a page fault with error code and CR2 */
	"	mov	$0x40000000, %eax\n" /* PROBE_UNMAPPED */
	"	movb	(%rax), %al\n"
	"	cmpl	$1, 12(%rdi)\n"
	"	jne	66f\n"

	"	movl	$4, (%rdi)\n" /* paging: the same page at another address; CR3, INVLPG */
	"	mov	$0xffffffff80000000, %rbx\n"
	"	add	%rdi, %rbx\n"
	"	mov	%cr3, %rax\n"
	"	mov	%rax, %cr3\n"
	"	invlpg	(%rbx)\n"
	"	cmpl	$4, (%rbx)\n"
	"	jne	66f\n"

	"	movl	$5, (%rdi)\n" /* the TSC moves */
	"	rdtsc\n"
	"	shl	$32, %rdx\n"
	"	or	%rdx, %rax\n"
	"	mov	%rax, %rbx\n"
	"	lfence\n"
	"	rdtsc\n"
	"	shl	$32, %rdx\n"
	"	or	%rdx, %rax\n"
	"	cmp	%rbx, %rax\n"
	"	jb	66f\n"

	"	movl	$6, (%rdi)\n" /* CPUID: the hypervisor bit is set */
	"	mov	$1, %eax\n"
	"	xor	%ecx, %ecx\n"
	"	cpuid\n"
	"	bt	$31, %ecx\n"
	"	jnc	66f\n"

	"	movl	$7, (%rdi)\n" /* EFER.SCE, read back */
	"	mov	$0xc0000080, %ecx\n"
	"	rdmsr\n"
	"	or	$1, %eax\n"
	"	wrmsr\n"
	"	rdmsr\n"
	"	test	$1, %al\n"
	"	jz	66f\n"
	"	swapgs\n"
	"	swapgs\n"

	"	movl	$8, (%rdi)\n" /* SSE, FXSAVE and FXRSTOR */
	"	mov	%cr4, %rax\n"
	"	or	$0x600, %rax\n"
	"	mov	%rax, %cr4\n"
	"	movq	%rdi, %xmm1\n"
	"	punpcklqdq %xmm1, %xmm1\n"
	"	fxsave64 1024(%rdi)\n"
	"	pxor	%xmm1, %xmm1\n"
	"	fxrstor64 1024(%rdi)\n"
	"	movq	%xmm1, %rax\n"
	"	cmp	%rdi, %rax\n"
	"	jne	66f\n"

	"	testl	$1, 24(%rdi)\n"
	"	jz	1f\n"
	"	movl	$9, (%rdi)\n" /* POPCNT */
	"	mov	$0xf0f0f0f0f0f0f0f, %rax\n"
	"	popcnt	%rax, %rbx\n"
	"	cmp	$32, %rbx\n"
	"	jne	66f\n"
	"1:	testl	$2, 24(%rdi)\n"
	"	jz	2f\n"
	"	movl	$10, (%rdi)\n" /* CMPXCHG16B with LOCK: the slab allocator */
	"	xor	%eax, %eax\n"
	"	xor	%edx, %edx\n"
	"	mov	$0x11, %ebx\n"
	"	mov	$0x22, %ecx\n"
	"	lock cmpxchg16b 64(%rdi)\n"
	"	jnz	66f\n"
	"	cmpl	$0x22, 72(%rdi)\n"
	"	jne	66f\n"
	"2:	testl	$4, 24(%rdi)\n"
	"	jz	3f\n"
	"	movl	$11, (%rdi)\n" /* CLAC and STAC with CR4.SMAP */
	"	mov	%cr4, %rax\n"
	"	or	$0x200000, %rax\n"
	"	mov	%rax, %cr4\n"
	"	stac\n"
	"	pushfq\n"
	"	popq	%rax\n"
	"	clac\n"
	"	bt	$18, %rax\n"
	"	jnc	66f\n"
	"3:	testl	$8, 24(%rdi)\n"
	"	jz	4f\n"
	"	movl	$12, (%rdi)\n" /* XSETBV, XSAVE, XRSTOR */
	"	mov	%cr4, %rax\n"
	"	or	$0x40000, %rax\n"
	"	mov	%rax, %cr4\n"
	"	xor	%ecx, %ecx\n"
	"	xor	%edx, %edx\n"
	"	mov	$3, %eax\n"
	"	xsetbv\n"
	"	movq	%rdi, %xmm2\n"
	"	mov	$3, %eax\n"
	"	xor	%edx, %edx\n"
	"	xsave64	1024(%rdi)\n"
	"	pxor	%xmm2, %xmm2\n"
	"	mov	$3, %eax\n"
	"	xrstor64 1024(%rdi)\n"
	"	movq	%xmm2, %rax\n"
	"	cmp	%rdi, %rax\n"
	"	jne	66f\n"

	"4:	movl	$13, (%rdi)\n" /* speed: rounds between two exits */
	"	mov	$5, %ebp\n"    /* PROBE_LOOPS */
	"	lea	64(%rdi), %rdx\n"
	"	mov	%rdx, %rbx\n"
	"5:	mov	$0x5e4, %edx\n" /* PROBE_PORT */
	"	mov	$1, %eax\n"
	"	out	%al, %dx\n"
	"	mov	%rbx, %rdx\n"
	"	mov	16(%rdi), %rcx\n"
	"	mov	$1, %eax\n" SPEED_LOOP(
		"%") "	mov	$0x5e4, %edx\n"
		     "	mov	$2, %eax\n"
		     "	out	%al, %dx\n"
		     "	dec	%ebp\n"
		     "	jnz	5b\n"

		     "	movl	$14, (%rdi)\n" /* what an exit costs */
		     "	mov	$256, %ebp\n"  /* PROBE_EXITS */
		     "	mov	$3, %eax\n"
		     "6:	out	%al, %dx\n"
		     "	dec	%ebp\n"
		     "	jnz	6b\n"

		     "	movl	$15, (%rdi)\n"
		     "66:	hlt\n"
		     "	jmp	66b\n"

		     "probe_guest_int3:\n"
		     "	incl	8(%rdi)\n"
		     "	iretq\n"
		     "probe_guest_fault:\n" /* skips the two bytes of the load */
		     "	push	%rax\n"
		     "	mov	%cr2, %rax\n"
		     "	cmp	$0x40000000, %rax\n"
		     "	pop	%rax\n"
		     "	jne	probe_guest_other\n"
		     "	incl	12(%rdi)\n"
		     "	add	$8, %rsp\n"
		     "	addq	$2, (%rsp)\n"
		     "	iretq\n"
		     "probe_guest_ud:\n"
		     "	movl	$7, 4(%rdi)\n"
		     "	jmp	66b\n"
		     "probe_guest_gp:\n"
		     "	movl	$14, 4(%rdi)\n"
		     "	jmp	66b\n"
		     "probe_guest_other:\n"
		     "	movl	$256, 4(%rdi)\n"
		     "	jmp	66b\n"
		     "probe_guest_end:\n"
		     ".popsection\n");

uint64_t probe_native_loop(uint64_t iterations)
{
	uint64_t cell = 0, state = 1;

	__asm__ volatile(SPEED_LOOP("%%")
			 : "+a"(state), "+c"(iterations)
			 : "d"(&cell)
			 : "cc", "memory");
	return state;
}
