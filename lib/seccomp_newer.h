/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of a filter that is not libseccomp's (lib/seccomp_newer.c): a prologue that answers for system calls which are newer
 * than the profile, or newer than the library, and leads to the filter of each ABI. Used by lib/seccomp.c only.
 */
#ifndef LIB_SECCOMP_NEWER_H
#define LIB_SECCOMP_NEWER_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEWER_NUMBERS 1024 /* system calls per ABI that we tell apart */
#define NEWER_RULES_MAX 64 /* rules on system calls that the library does not know */

enum newer_abi { NEWER_X86_64, NEWER_X32, NEWER_X86, NEWER_ABIS };

/* What a profile says. Zero-initialise. */
struct newer {
	bool uses[NEWER_ABIS];
	bool names[NEWER_ABIS][NEWER_NUMBERS]; /* by number, without x32's bit */
	struct {
		enum newer_abi abi;
		uint32_t number, verdict; /* SECCOMP_RET_* */
	} rules[NEWER_RULES_MAX];
	size_t nrules;
};

/* A program that grows */
struct newer_program {
	struct sock_filter insns[BPF_MAXINSNS];
	size_t n;
	bool full; /* something had no room */
};

/** newer_name() - The profile names the system call that has this number (libseccomp's: negative if the ABI lacks it) */
void newer_name(struct newer *newer, enum newer_abi abi, int number);

/** newer_number() - Number of a system call that came after libseccomp's tables were made; -1 if it is none, or not @abi's */
int newer_number(const char *name, enum newer_abi abi);

/** newer_rule() - What to do with one of those, whatever its arguments; the first rule on one counts. False: no room */
bool newer_rule(struct newer *newer, enum newer_abi abi, int number, uint32_t verdict);

/**
 * newer_emit() - Append the prologue; after it come the filters proper
 * @enosys:	The default action denies, so what is newer than the profile gets ENOSYS
 * @starts:	Where each used ABI's filter begins, counted from the end of the prologue; x86-64's is also for ABIs that are not used
 */
void newer_emit(const struct newer *newer, bool enosys, const size_t starts[NEWER_ABIS],
		struct newer_program *out);

#endif
