/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tiny guest of `caisson check`: what it shares with probe.c. See probe_guest.c.
 */
#ifndef KVM_PROBE_GUEST_H
#define KVM_PROBE_GUEST_H

#include <stdint.h>

#define PROBE_PORT 0x5e4
#define PROBE_EVENT_LOOP_START 1 /* written to PROBE_PORT */
#define PROBE_EVENT_LOOP_END 2
#define PROBE_EVENT_EXIT 3 /* PROBE_EXITS times in a row */
#define PROBE_LOOPS 5	   /* rounds of the speed loop */
#define PROBE_EXITS 256

#define PROBE_HAS_POPCNT (1u << 0)
#define PROBE_HAS_CX16 (1u << 1)
#define PROBE_HAS_SMAP (1u << 2)
#define PROBE_HAS_XSAVE (1u << 3)

enum probe_step {
	PROBE_STEP_NONE = 0, /* did not execute one instruction */
	PROBE_STEP_START,
	PROBE_STEP_INT3,
	PROBE_STEP_PAGE_FAULT,
	PROBE_STEP_PAGING,
	PROBE_STEP_TSC,
	PROBE_STEP_CPUID,
	PROBE_STEP_EFER,
	PROBE_STEP_SSE,
	PROBE_STEP_POPCNT,
	PROBE_STEP_CX16,
	PROBE_STEP_SMAP,
	PROBE_STEP_XSAVE,
	PROBE_STEP_SPEED,
	PROBE_STEP_EXITS,
	PROBE_STEP_DONE,
};

/* In guest memory at the address in RDI; offsets are written out in the assembly */
struct probe_data {
	uint32_t step;	      /*  0: the last step begun, enum probe_step */
	uint32_t exception;   /*  4: vector + 1 of an exception nobody asked for */
	uint32_t int3_count;  /*  8 */
	uint32_t fault_count; /* 12 */
	uint64_t iterations;  /* 16: of the speed loop, set by the host */
	uint32_t features;    /* 24: PROBE_HAS_*, set by the host */
	uint32_t padding[9];
	uint8_t pair[16]; /* 64: for cmpxchg16b */
	uint8_t reserved[944];
	uint8_t xsave[1024]; /* 1024: x87 and SSE state and the header */
};
_Static_assert(sizeof(struct probe_data) == 2048, "the assembly knows the offsets");

#pragma GCC visibility push(hidden)
extern const uint8_t probe_guest_start[], probe_guest_end[];  /* position-independent code */
extern const uint8_t probe_guest_int3[], probe_guest_fault[]; /* exception handlers in it */
extern const uint8_t probe_guest_ud[], probe_guest_gp[], probe_guest_other[];
#pragma GCC visibility pop

#define PROBE_ALIAS 0xffffffff80000000ull /* the first 2 MiB, mapped a second time */
#define PROBE_UNMAPPED 0x40000000ull

/* The same work, by the processor itself, for comparison: @iterations of the speed loop; Return: something that depends on it */
uint64_t probe_native_loop(uint64_t iterations);

#endif
