/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System call filters: from rules in words to the BPF program that seccomp(2) takes (lib/seccomp.c), and what a program that
 * came from elsewhere has to fulfil.
 *
 * The rules are those of runtime-spec's linux.seccomp, which are libseccomp's; oci/seccomp.c fills them in. The program is for
 * the guest: x86-64, its 32-bit ABI, and x32. It is compiled on the host, whose own kernel does not matter.
 */
#ifndef LIB_SECCOMP_H
#define LIB_SECCOMP_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define SYSFILTER_ARGS 6
#define SYSFILTER_BYTES_MAX (BPF_MAXINSNS * sizeof(struct sock_filter))
#define SYSFILTER_ERRNO_MAX 4094  /* libseccomp's largest */
#define SYSFILTER_TRACE_MAX 65535 /* what a tracer is told */

enum sysfilter_action {
	SYSFILTER_KILL_THREAD,
	SYSFILTER_KILL_PROCESS,
	SYSFILTER_TRAP,
	SYSFILTER_ERRNO,
	SYSFILTER_TRACE,
	SYSFILTER_LOG,
	SYSFILTER_ALLOW,
	SYSFILTER_NOTIFY, /* known by name; sysfilter_compile() refuses it */
	SYSFILTER_ACTIONS
};

enum sysfilter_op {
	SYSFILTER_NE,
	SYSFILTER_LT,
	SYSFILTER_LE,
	SYSFILTER_EQ,
	SYSFILTER_GE,
	SYSFILTER_GT,
	SYSFILTER_MASKED_EQ, /* argument & value == value_two */
	SYSFILTER_OPS
};

struct sysfilter_arg {
	uint32_t index; /* below SYSFILTER_ARGS */
	enum sysfilter_op op;
	uint64_t value, value_two;
};

/* One action for several system calls, under conditions which must all hold; two on the same argument: either may */
struct sysfilter_rule {
	enum sysfilter_action action;
	uint16_t data; /* errno of ERRNO, message of TRACE; else 0 */
	const char *const *names;
	size_t nnames;
	struct sysfilter_arg *args;
	size_t nargs;
};

struct sysfilter {
	enum sysfilter_action default_action;
	uint16_t default_data;
	bool x86, x32; /* besides x86-64, which is always there */
	struct sysfilter_rule *rules;
	size_t nrules;
};

struct sysfilter_program {
	struct sock_filter *insns; /* owned */
	size_t n;		   /* 1 to BPF_MAXINSNS */
};

/**
 * sysfilter_compile() - Make a filter into a program
 * @filter:	Borrowed. Names that no kernel of ours has are skipped, as are rules that repeat the default action.
 * @out:	Filled on success; release with sysfilter_release()
 *
 * System calls that are newer than every one that the rules name get ENOSYS, unless the default action lets them pass.
 *
 * Return: 0; -ENOTSUP: NOTIFY; -EINVAL: an argument's number or a value out of range; -E2BIG: longer than BPF_MAXINSNS; -ENOMEM.
 * @err begins with "syscalls[n]" where it is about a rule.
 */
int sysfilter_compile(const struct sysfilter *filter, struct sysfilter_program *out,
		      struct err *err);
void sysfilter_release(struct sysfilter_program *program);

/** sysfilter_syscall_is_known() - Does this name mean a system call, of any machine? */
bool sysfilter_syscall_is_known(const char *name);

#endif
