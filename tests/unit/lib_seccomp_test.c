/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/seccomp.c, lib/seccomp_newer.c: what the programs say, asked of an interpreter for every ABI, and what a kernel makes of
 * them, in children of this process.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/seccomp.h"

#define X32 0x40000000u
#define KILL SECCOMP_RET_KILL_THREAD
#define E(number) (SECCOMP_RET_ERRNO | (number))

#define NAMES(...)                              \
	.names = (const char *[]){__VA_ARGS__}, \
	.nnames = sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)
#define ARGS(...)                                      \
	.args = (struct sysfilter_arg[]){__VA_ARGS__}, \
	.nargs = sizeof((struct sysfilter_arg[]){__VA_ARGS__}) / sizeof(struct sysfilter_arg)
#define RULES(...)                                       \
	.rules = (struct sysfilter_rule[]){__VA_ARGS__}, \
	.nrules = sizeof((struct sysfilter_rule[]){__VA_ARGS__}) / sizeof(struct sysfilter_rule)
#define DENYING .default_action = SYSFILTER_ERRNO, .default_data = EPERM
#define ALLOWING .default_action = SYSFILTER_ALLOW
#define ALLOW(...)                                            \
	{                                                     \
		.action = SYSFILTER_ALLOW, NAMES(__VA_ARGS__) \
	}

/* ---- an interpreter of what filters use ---- */

static uint32_t load(const struct seccomp_data *data, uint32_t offset)
{
	uint32_t word;

	assert_true(offset % 4 == 0 && offset <= sizeof(*data) - 4);
	memcpy(&word, (const char *)data + offset, 4);
	return word;
}

static bool compares(const struct sock_filter *in, uint32_t a)
{
	switch (BPF_OP(in->code)) {
	case BPF_JEQ:
		return a == in->k;
	case BPF_JGT:
		return a > in->k;
	case BPF_JGE:
		return a >= in->k;
	default:
		assert_int_equal(BPF_OP(in->code), BPF_JSET);
		return a & in->k;
	}
}

static uint32_t run(const struct sysfilter_program *p, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (size_t pc = 0;; pc++) {
		const struct sock_filter *in = &p->insns[pc];

		assert_true(pc < p->n);
		if (in->code == (BPF_LD | BPF_W | BPF_ABS))
			a = load(data, in->k);
		else if (in->code == (BPF_ALU | BPF_AND | BPF_K))
			a &= in->k;
		else if (in->code == (BPF_RET | BPF_K))
			return in->k;
		else if (in->code == (BPF_JMP | BPF_JA))
			pc += in->k;
		else if (BPF_CLASS(in->code) == BPF_JMP)
			pc += compares(in, a) ? in->jt : in->jf;
		else
			fail_msg("instruction %zu has code %#x", pc, in->code);
	}
}

static uint32_t ask(const struct sysfilter_program *p, uint32_t arch, uint32_t number,
		    uint64_t arg0)
{
	struct seccomp_data data = {.arch = arch, .nr = (int)number, .args = {arg0}};

	return run(p, &data);
}

static uint32_t on64(const struct sysfilter_program *p, uint32_t number)
{
	return ask(p, AUDIT_ARCH_X86_64, number, 0);
}

static uint32_t on32(const struct sysfilter_program *p, uint32_t number)
{
	return ask(p, AUDIT_ARCH_I386, number, 0);
}

static struct sysfilter_program compile(const struct sysfilter *filter)
{
	struct sysfilter_program program = {0};
	struct err err = {0};

	if (sysfilter_compile(filter, &program, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(program.n > 0 && program.n <= BPF_MAXINSNS);
	return program;
}

/* ---- actions, conditions, ABIs ---- */

static void test_actions(void **state)
{
	static const struct {
		enum sysfilter_action action;
		uint16_t data;
		uint32_t verdict;
	} rows[] = {
		{SYSFILTER_KILL_THREAD, 0, SECCOMP_RET_KILL_THREAD},
		{SYSFILTER_KILL_PROCESS, 0, SECCOMP_RET_KILL_PROCESS},
		{SYSFILTER_TRAP, 0, SECCOMP_RET_TRAP},
		{SYSFILTER_ERRNO, ENOENT, SECCOMP_RET_ERRNO | ENOENT},
		{SYSFILTER_ERRNO, 0, SECCOMP_RET_ERRNO},
		{SYSFILTER_ERRNO, SYSFILTER_ERRNO_MAX, SECCOMP_RET_ERRNO | SYSFILTER_ERRNO_MAX},
		{SYSFILTER_TRACE, SYSFILTER_TRACE_MAX, SECCOMP_RET_TRACE | SYSFILTER_TRACE_MAX},
		{SYSFILTER_LOG, 0, SECCOMP_RET_LOG},
		{SYSFILTER_ALLOW, 0, SECCOMP_RET_ALLOW},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		/* as a rule, and as the default beside a rule */
		struct sysfilter rule = {
			.default_action = SYSFILTER_ERRNO,
			.default_data = EXDEV,
			RULES({.action = rows[i].action, .data = rows[i].data, NAMES("getppid")})};
		struct sysfilter by_default = {
			.default_action = rows[i].action,
			.default_data = rows[i].data,
			RULES({.action = SYSFILTER_ERRNO, .data = EXDEV, NAMES("getppid")})};
		struct sysfilter_program a = compile(&rule), b = compile(&by_default);

		assert_int_equal(on64(&a, SYS_getppid), rows[i].verdict);
		assert_int_equal(on64(&a, SYS_getpid), E(EXDEV));
		assert_int_equal(on64(&b, SYS_getppid), E(EXDEV));
		assert_int_equal(on64(&b, SYS_getpid), rows[i].verdict);
		sysfilter_release(&a);
		sysfilter_release(&b);
	}
}

static void test_default_alone(void **state)
{
	struct sysfilter_program p = compile(&(struct sysfilter){DENYING});

	(void)state;
	assert_int_equal(on64(&p, 0), E(EPERM));
	assert_int_equal(on64(&p, 100000),
			 E(EPERM)); /* a profile that knows nothing says nothing */
	sysfilter_release(&p);
}

static void test_operators(void **state)
{
	const uint64_t big = 0x100000000ull, value = big + 5;
	const struct {
		enum sysfilter_op op;
		uint64_t value, two, matches[3], others[3];
	} rows[] = {
		{SYSFILTER_EQ, value, 0, {value, value, value}, {5, big, value + 1}},
		{SYSFILTER_NE, value, 0, {5, big, value + 1}, {value, value, value}},
		{SYSFILTER_LT, value, 0, {0, 6, big + 4}, {value, value + 1, 2 * big}},
		{SYSFILTER_LE, value, 0, {0, 6, value}, {value + 1, 2 * big, UINT64_MAX}},
		{SYSFILTER_GT, value, 0, {value + 1, 2 * big, UINT64_MAX}, {0, 6, value}},
		{SYSFILTER_GE, value, 0, {value, value + 1, 2 * big}, {0, 6, big + 4}},
		{SYSFILTER_MASKED_EQ,
		 big + 0xf0,
		 big + 0x10,
		 {big + 0x10, big + 0x1f, 3 * big + 0x11},
		 {0x10, big + 0x20, 2 * big + 0x10}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct sysfilter f = {DENYING,
				      RULES({.action = SYSFILTER_ALLOW,
					     NAMES("close", "personality"),
					     ARGS({0, rows[i].op, rows[i].value, rows[i].two})})};
		struct sysfilter_program p = compile(&f);

		for (int k = 0; k < 3; k++) {
			assert_int_equal(
				ask(&p, AUDIT_ARCH_X86_64, SYS_personality, rows[i].matches[k]),
				SECCOMP_RET_ALLOW);
			assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, SYS_close, rows[i].others[k]),
					 E(EPERM));
		}
		sysfilter_release(&p);
	}
}

static void test_conditions(void **state)
{
	struct sysfilter f = {
		DENYING,
		RULES({.action = SYSFILTER_ALLOW,
		       NAMES("read"),
		       ARGS({0, SYSFILTER_EQ, 1, 0}, {5, SYSFILTER_GT, 7, 0})}, /* both */
		      {.action = SYSFILTER_ALLOW,
		       NAMES("write"),
		       ARGS({0, SYSFILTER_EQ, 1, 0}, {0, SYSFILTER_EQ, 2, 0})}, /* either */
		      ALLOW("close"), {.action = SYSFILTER_ALLOW, NAMES("close")}, ALLOW("close"))};
	struct sysfilter_program p = compile(&f);
	struct seccomp_data data = {
		.arch = AUDIT_ARCH_X86_64, .nr = SYS_read, .args = {1, 0, 0, 0, 0, 8}};

	(void)state;
	assert_int_equal(run(&p, &data), SECCOMP_RET_ALLOW);
	data.args[5] = 7;
	assert_int_equal(run(&p, &data), E(EPERM));
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, SYS_write, 1), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, SYS_write, 2), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(&p, AUDIT_ARCH_X86_64, SYS_write, 3), E(EPERM));
	assert_int_equal(on64(&p, SYS_close), SECCOMP_RET_ALLOW);
	sysfilter_release(&p);
}

static void test_abis(void **state)
{
	struct sysfilter f = {DENYING, .x86 = true, .x32 = true,
			      RULES(ALLOW("getppid", "socketcall", "rt_sigaction", "mlock2"))};
	struct sysfilter_program p = compile(&f), only_native;

	(void)state;
	assert_int_equal(on64(&p, 110), SECCOMP_RET_ALLOW);
	assert_int_equal(on32(&p, 64), SECCOMP_RET_ALLOW);
	assert_int_equal(on32(&p, 110), E(EPERM));
	assert_int_equal(on32(&p, 102), SECCOMP_RET_ALLOW); /* socketcall, which x86-64 has not */
	assert_int_equal(on64(&p, X32 + 110), SECCOMP_RET_ALLOW);
	assert_int_equal(on64(&p, X32 + 512), SECCOMP_RET_ALLOW); /* x32's own rt_sigaction */
	assert_int_equal(on64(&p, X32 + 13), E(EPERM));
	assert_int_equal(ask(&p, AUDIT_ARCH_AARCH64, 110, 0), KILL);
	sysfilter_release(&p);

	f.x86 = f.x32 = false;
	only_native = compile(&f);
	assert_int_equal(on64(&only_native, 110), SECCOMP_RET_ALLOW);
	assert_int_equal(on64(&only_native, X32 + 110), KILL);
	assert_int_equal(on32(&only_native, 64), KILL);
	sysfilter_release(&only_native);
}

/* With a binary tree, and many rules: each number of each ABI gets what its name was given */
static void test_tree(void **state)
{
	static const char *const some[] = {
		"read",	      "write",	"open",	    "close",	"stat",	    "fstat",
		"lstat",      "poll",	"lseek",    "mmap",	"mprotect", "munmap",
		"brk",	      "ioctl",	"access",   "pipe",	"select",   "sched_yield",
		"mremap",     "msync",	"dup",	    "dup2",	"pause",    "nanosleep",
		"getitimer",  "alarm",	"getpid",   "sendfile", "socket",   "connect",
		"accept",     "sendto", "recvfrom", "clone",	"fork",	    "execve",
		"exit",	      "wait4",	"kill",	    "uname",	"fcntl",    "flock",
		"fsync",      "getcwd", "chdir",    "openat",	"futex",    "epoll_wait",
		"faccessat2", "openat2"};
	struct sysfilter f = {
		DENYING, .x86 = true, .x32 = true,
		RULES({.action = SYSFILTER_ALLOW, .names = some, .nnames = ARRAY_SIZE(some)})};
	struct sysfilter one = {DENYING, .x86 = true, .x32 = true,
				RULES({.action = SYSFILTER_ALLOW, NAMES("")})};
	struct sysfilter_program tree = compile(&f);
	size_t allowed = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(some); i++) {
		struct sysfilter_program p;

		one.rules[0].names = &some[i];
		p = compile(&one);
		for (uint32_t n = 0; n < 600; n++) {
			if (on64(&p, n) == SECCOMP_RET_ALLOW)
				assert_int_equal((allowed++, on64(&tree, n)), SECCOMP_RET_ALLOW);
			if (on64(&p, X32 + n) == SECCOMP_RET_ALLOW)
				assert_int_equal((allowed++, on64(&tree, X32 + n)),
						 SECCOMP_RET_ALLOW);
			if (on32(&p, n) == SECCOMP_RET_ALLOW)
				assert_int_equal(on32(&tree, n), SECCOMP_RET_ALLOW);
		}
		sysfilter_release(&p);
	}
	assert_int_equal(allowed, 2 * ARRAY_SIZE(some));
	for (uint32_t n = 0; n < 600; n++)
		allowed -= (on64(&tree, n) == SECCOMP_RET_ALLOW) +
			   (on64(&tree, X32 + n) == SECCOMP_RET_ALLOW);
	assert_int_equal(allowed, 0);
	sysfilter_release(&tree);
}

/* ---- newer than the profile, newer than the library ---- */

static void test_enosys(void **state)
{
	struct sysfilter f = {
		DENYING, .x86 = true, .x32 = true,
		RULES(ALLOW("read", "rt_sigaction"),
		      {.action = SYSFILTER_ERRNO, .data = EPERM, NAMES("faccessat2")})};
	struct sysfilter_program p = compile(&f);

	(void)state;
	assert_int_equal(on64(&p, SYS_read), SECCOMP_RET_ALLOW);
	assert_int_equal(on64(&p, SYS_mount), E(EPERM));
	assert_int_equal(on64(&p, 439), E(EPERM)); /* named, though only to be denied */
	assert_int_equal(on64(&p, 440), E(ENOSYS));
	assert_int_equal(on64(&p, 100000), E(ENOSYS));
	assert_int_equal(on64(&p, UINT32_MAX), E(ENOSYS));
	assert_int_equal(on32(&p, UINT32_MAX), E(ENOSYS));
	/* 437 and 438 are older than 439, and close_range is not */
	assert_int_equal(on64(&p, 436), E(ENOSYS));
	assert_int_equal(on32(&p, 436), E(ENOSYS));
	assert_int_equal(on64(&p, X32 + 436), E(ENOSYS));
	assert_int_equal(on64(&p, 437), E(EPERM));
	/* numbers that nobody ever had, or got late */
	assert_int_equal(on64(&p, 334), E(EPERM));
	assert_int_equal(on64(&p, 335), E(ENOSYS));
	assert_int_equal(on64(&p, 336), E(ENOSYS));
	assert_int_equal(on64(&p, 337), E(ENOSYS));
	assert_int_equal(on64(&p, 423), E(ENOSYS));
	assert_int_equal(on64(&p, 424), E(EPERM));
	assert_int_equal(on32(&p, 400), E(EPERM)); /* i386 has no such gap: msgsnd */
	assert_int_equal(on32(&p, 440), E(ENOSYS));
	/* x32: its own numbers are old, rt_sigaction does not make 440 known */
	assert_int_equal(on64(&p, X32 + 439), E(EPERM));
	assert_int_equal(on64(&p, X32 + 440), E(ENOSYS));
	assert_int_equal(on64(&p, X32 + 511), E(ENOSYS));
	assert_int_equal(on64(&p, X32 + 512), SECCOMP_RET_ALLOW);
	assert_int_equal(on64(&p, X32 + 547), E(EPERM));
	assert_int_equal(on64(&p, X32 + 548), E(ENOSYS));
	assert_int_equal(ask(&p, AUDIT_ARCH_ARM, 1000, 0), KILL);
	sysfilter_release(&p);
}

static void test_enosys_known(void **state)
{
	struct sysfilter named = {
		DENYING, RULES(ALLOW("read", "faccessat2"),
			       {.action = SYSFILTER_ERRNO, .data = EPERM, NAMES("close_range")})};
	struct sysfilter newer = {DENYING, RULES(ALLOW("read", "process_madvise", "mseal"))};
	struct sysfilter newest = {DENYING, RULES(ALLOW("read", "setxattrat"))};
	struct sysfilter_program p = compile(&named);

	(void)state;
	assert_int_equal(on64(&p, 436), E(EPERM));
	sysfilter_release(&p);
	p = compile(&newer);
	assert_int_equal(on64(&p, 436), E(EPERM)); /* who knows 5.10 knows 5.9 */
	assert_int_equal(on64(&p, 443), E(EPERM));
	assert_int_equal(on64(&p, 335), E(ENOSYS)); /* 6.11 */
	sysfilter_release(&p);
	p = compile(&newest);
	assert_int_equal(on64(&p, 335), E(EPERM));
	assert_int_equal(on64(&p, 336), E(ENOSYS)); /* 6.18 */
	assert_int_equal(on64(&p, 337), E(ENOSYS));
	assert_int_equal(on64(&p, 464), E(ENOSYS));
	sysfilter_release(&p);
}

/* Only a default that denies needs it; every such one does */
static void test_enosys_defaults(void **state)
{
	static const struct {
		enum sysfilter_action action;
		uint16_t data;
		uint32_t newer, missing;
	} rows[] = {
		{SYSFILTER_KILL_PROCESS, 0, E(ENOSYS), SECCOMP_RET_KILL_PROCESS},
		{SYSFILTER_KILL_THREAD, 0, E(ENOSYS), SECCOMP_RET_KILL_THREAD},
		{SYSFILTER_TRAP, 0, E(ENOSYS), SECCOMP_RET_TRAP},
		{SYSFILTER_ERRNO, ENXIO, E(ENOSYS), E(ENXIO)},
		{SYSFILTER_ERRNO, ENOSYS, E(ENOSYS), E(ENOSYS)},
		{SYSFILTER_LOG, 0, SECCOMP_RET_LOG, SECCOMP_RET_LOG},
		{SYSFILTER_TRACE, 3, SECCOMP_RET_TRACE | 3, SECCOMP_RET_TRACE | 3},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct sysfilter f = {.default_action = rows[i].action,
				      .default_data = rows[i].data,
				      RULES(ALLOW("openat2"))};
		struct sysfilter_program p = compile(&f);

		assert_int_equal(on64(&p, 437), SECCOMP_RET_ALLOW);
		assert_int_equal(on64(&p, 438), rows[i].newer);
		assert_int_equal(on64(&p, 434), rows[i].missing);
		sysfilter_release(&p);
	}
}

static void test_unknown_names(void **state)
{
	struct sysfilter f = {DENYING, .x86 = true, .x32 = true,
			      RULES(ALLOW("read", "no_such_call", "uretprobe", "listxattrat"),
				    {.action = SYSFILTER_ERRNO,
				     .data = EXDEV,
				     NAMES("getxattrat", "listxattrat")})};
	struct sysfilter deny = {ALLOWING, RULES({.action = SYSFILTER_KILL_PROCESS,
						  NAMES("mseal", "file_setattr", "no_such_call")})};
	struct sysfilter_program p = compile(&f);

	(void)state;
	assert_true(sysfilter_syscall_is_known("read"));
	assert_true(sysfilter_syscall_is_known("socketcall"));
	assert_true(sysfilter_syscall_is_known("file_setattr"));
	assert_false(sysfilter_syscall_is_known("no_such_call"));
	assert_int_equal(on64(&p, 335), SECCOMP_RET_ALLOW);
	assert_int_equal(on64(&p, X32 + 335), SECCOMP_RET_ALLOW);
	assert_int_equal(on64(&p, 465), SECCOMP_RET_ALLOW);
	assert_int_equal(on64(&p, X32 + 465), SECCOMP_RET_ALLOW);
	assert_int_equal(on32(&p, 465), SECCOMP_RET_ALLOW);
	assert_int_equal(on32(&p, 335), E(EPERM)); /* i386 has another call there */
	assert_int_equal(on64(&p, 464), E(EXDEV));
	assert_int_equal(on64(&p, 463), E(EPERM)); /* older than what is named */
	assert_int_equal(on64(&p, 466), E(ENOSYS));
	sysfilter_release(&p);
	p = compile(&deny);
	assert_int_equal(on64(&p, 462), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(on64(&p, 469), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(on64(&p, 468), SECCOMP_RET_ALLOW);
	assert_int_equal(on64(&p, UINT32_MAX), SECCOMP_RET_ALLOW);
	sysfilter_release(&p);
}

/* A condition that cannot be expressed: what was to be allowed stays unknown, what was to be denied is an error */
static void test_unknown_conditions(void **state)
{
	struct sysfilter f = {DENYING,
			      RULES(ALLOW("read", "openat2"), {.action = SYSFILTER_ALLOW,
							       NAMES("file_setattr"),
							       ARGS({0, SYSFILTER_EQ, 0, 0})})};
	struct sysfilter_program p = compile(&f);
	struct err err = {0};

	(void)state;
	assert_int_equal(on64(&p, 469), E(ENOSYS));
	sysfilter_release(&p);
	f.default_action = SYSFILTER_ALLOW;
	f.rules[1].action = SYSFILTER_ERRNO;
	assert_int_equal(sysfilter_compile(&f, &p, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "syscalls[1]: 'file_setattr'"));
	assert_null(p.insns);
}

/* ---- what is refused ---- */

static void refused(const struct sysfilter *f, int code, const char *words)
{
	struct sysfilter_program p = {0};
	struct err err = {0};

	assert_int_equal(sysfilter_compile(f, &p, &err), -code);
	if (!strstr(err.msg, words))
		fail_msg("'%s' does not say '%s'", err.msg, words);
	assert_null(p.insns);
}

static void test_refused(void **state)
{
	(void)state;
	refused(&(struct sysfilter){.default_action = SYSFILTER_NOTIFY}, ENOTSUP,
		"defaultAction: SCMP_ACT_NOTIFY: a listener on the host");
	refused(&(struct sysfilter){DENYING, RULES(ALLOW("read"),
						   {.action = SYSFILTER_NOTIFY, NAMES("mount")})},
		ENOTSUP, "syscalls[1]: SCMP_ACT_NOTIFY");
	refused(&(struct sysfilter){.default_action = SYSFILTER_ERRNO, .default_data = 4095},
		EINVAL, "4095 is no errno");
	refused(&(struct sysfilter){DENYING, RULES({.action = SYSFILTER_ALLOW,
						    NAMES("read"),
						    ARGS({6, SYSFILTER_EQ, 0, 0})})},
		EINVAL, "syscalls[0]: args[0]");
}

#define WHEN(name_, ...)                                                            \
	{                                                                           \
		.action = SYSFILTER_ALLOW, NAMES("read", name_), ARGS(__VA_ARGS__), \
	}
#define SMALL(index_)                      \
	{                                  \
		index_, SYSFILTER_LT, 5, 0 \
	}

/* What libseccomp searches for ever, and what is near to it */
static void test_endless(void **state)
{
	static const struct sysfilter_arg one = {1, SYSFILTER_EQ, 1, 0};
	struct sysfilter_program p = {0};
	struct sysfilter fine[] = {
		{DENYING, RULES(WHEN("dup", SMALL(0), SMALL(2)), WHEN("dup", SMALL(0), SMALL(1)))},
		{DENYING, RULES(WHEN("dup", one, SMALL(2)), WHEN("dup", one, SMALL(3)))},
		{DENYING, RULES(WHEN("dup", SMALL(0)), WHEN("dup", SMALL(0), SMALL(3)))},
		{DENYING, RULES(WHEN("dup", SMALL(0), SMALL(0)), WHEN("dup", SMALL(0), SMALL(3)))},
		{ALLOWING, RULES(WHEN("dup", SMALL(0), SMALL(1)), WHEN("dup", SMALL(0), SMALL(2)))},
	};

	(void)state;
	(void)alarm(60);
	refused(&(struct sysfilter){DENYING, RULES(WHEN("dup", SMALL(0), SMALL(1)), ALLOW("dup3"),
						   WHEN("dup2", SMALL(2), SMALL(0)))},
		ENOTSUP, "libseccomp cannot combine the rules' conditions: no result after 5 s");
	for (size_t i = 0; i < ARRAY_SIZE(fine); i++) {
		struct err err = {0};

		if (sysfilter_compile(&fine[i], &p, &err) < 0)
			fail_msg("%zu: %s", i, err.msg);
		sysfilter_release(&p);
	}
	(void)alarm(0);
}

static void test_too_much(void **state)
{
	static struct sysfilter_rule rules[2049];
	static struct sysfilter_arg args[2049];
	static const char *names[16385], *read_name[] = {"read"};
	struct sysfilter f = {DENYING, .rules = rules, .nrules = 1};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		names[i] = "read";
	rules[0] = (struct sysfilter_rule){
		.action = SYSFILTER_ALLOW, .names = names, .nnames = ARRAY_SIZE(names)};
	refused(&f, E2BIG, "names");
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		args[i] = (struct sysfilter_arg){0, SYSFILTER_EQ, (uint64_t)i << 32 | i, 0};
		rules[i] = (struct sysfilter_rule){.action = SYSFILTER_ALLOW,
						   .names = read_name,
						   .nnames = 1,
						   .args = &args[i],
						   .nargs = 1};
	}
	f.nrules = 2049;
	refused(&f, E2BIG, "more than 2048 conditions");
	f.nrules = 2048;
	refused(&f, E2BIG, "more than 4096 instructions");
}

/* ---- a kernel's opinion ---- */

static void install(const struct sysfilter *f)
{
	struct sysfilter_program p = compile(f);
	struct sock_fprog prog = {.len = (unsigned short)p.n, .filter = p.insns};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		_exit(99);
}

/* Return: wait status of a child that loads the filter, makes the call, and exits with its errno */
static int try_call(const struct sysfilter *f, long number, long arg0)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)signal(SIGSYS, SIG_DFL); /* cmocka's own */
		install(f);
		errno = 0;
		(void)syscall(number, arg0, 0, 0);
		syscall(SYS_exit_group, errno);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void exits(const struct sysfilter *f, long number, long arg0, int code)
{
	int status = try_call(f, number, arg0);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
		fail_msg("call %ld: status %#x, expected exit code %d", number, status, code);
}

static void test_kernel(void **state)
{
	struct sysfilter f = {ALLOWING, .x86 = true, .x32 = true,
			      RULES({.action = SYSFILTER_ERRNO, .data = EPERM, NAMES("getppid")},
				    {.action = SYSFILTER_ERRNO,
				     .data = ENOENT,
				     NAMES("getpgid"),
				     ARGS({0, SYSFILTER_EQ, 12345, 0})},
				    {.action = SYSFILTER_KILL_PROCESS, NAMES("getsid")},
				    {.action = SYSFILTER_KILL_THREAD, NAMES("getuid")},
				    {.action = SYSFILTER_TRAP, NAMES("getgid")},
				    {.action = SYSFILTER_TRACE, .data = 1, NAMES("geteuid")},
				    {.action = SYSFILTER_LOG, NAMES("getegid")})};
	struct sysfilter strict = {.default_action = SYSFILTER_KILL_PROCESS,
				   RULES(ALLOW("exit_group", "close", "openat2"))};
	int status;

	(void)state;
	exits(&f, SYS_getppid, 0, EPERM);
	exits(&f, SYS_getpid, 0, 0);
	exits(&f, SYS_getpgid, 12345, ENOENT);
	exits(&f, SYS_getpgid, 0, 0);
	exits(&f, SYS_geteuid, 0, ENOSYS); /* nobody traces */
	exits(&f, SYS_getegid, 0, 0);
	status = try_call(&f, SYS_getsid, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	status = try_call(&f, SYS_getuid, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	status = try_call(&f, SYS_getgid, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);

	exits(&strict, SYS_close, -1, EBADF);
	exits(&strict, 438, 0, ENOSYS);
	exits(&strict, 460, 0, ENOSYS);
	exits(&strict, -1, 0, ENOSYS);
	status = try_call(&strict, SYS_getpid, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_default_alone),
		cmocka_unit_test(test_operators),
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_abis),
		cmocka_unit_test(test_tree),
		cmocka_unit_test(test_enosys),
		cmocka_unit_test(test_enosys_known),
		cmocka_unit_test(test_enosys_defaults),
		cmocka_unit_test(test_unknown_names),
		cmocka_unit_test(test_unknown_conditions),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_endless),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
