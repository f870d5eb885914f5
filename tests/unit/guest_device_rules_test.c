/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device rules: what the compiled program answers, asked by an interpreter of the few instructions that it is made of. That the
 * kernel takes it and asks it is seen in tests/vm/limits.bats, and here if this host lets us load one.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "guest/device_rules.h"
#include "lib/cleanup.h"

enum { M = OCI_ACCESS_MKNOD, R = OCI_ACCESS_READ, W = OCI_ACCESS_WRITE, RWM = 7 };

static uint32_t load_word(const struct bpf_cgroup_dev_ctx *ctx, int16_t off)
{
	uint32_t word;

	assert_true(off >= 0 && (size_t)off + sizeof(word) <= sizeof(*ctx));
	memcpy(&word, (const char *)ctx + off, sizeof(word));
	return word;
}

static bool jump(const struct bpf_insn *i, uint32_t value)
{
	switch (BPF_OP(i->code)) {
	case BPF_JA:
		return true;
	case BPF_JEQ:
		return value == (uint32_t)i->imm;
	case BPF_JNE:
		return value != (uint32_t)i->imm;
	case BPF_JSET:
		return value & (uint32_t)i->imm;
	default:
		fail_msg("jump 0x%x", i->code);
		return false;
	}
}

static void compute(const struct bpf_insn *i, uint64_t *r)
{
	uint64_t operand = BPF_SRC(i->code) == BPF_X ? r[i->src_reg] : (uint64_t)(int64_t)i->imm;

	switch (BPF_OP(i->code)) {
	case BPF_MOV:
		r[i->dst_reg] = operand;
		break;
	case BPF_AND:
		r[i->dst_reg] &= operand;
		break;
	case BPF_RSH:
		r[i->dst_reg] >>= operand;
		break;
	default:
		fail_msg("operation 0x%x", i->code);
	}
}

/* Also checks what the verifier would: every jump forward and within, every instruction reachable from the one before or a jump */
static int run(const struct bpf_insn *insns, int n, const struct bpf_cgroup_dev_ctx *ctx)
{
	uint64_t r[11] = {0};

	for (int pc = 0; pc < n; pc++) {
		const struct bpf_insn *i = &insns[pc];

		if (i->code == (BPF_JMP | BPF_EXIT))
			return (int)r[0];
		if (BPF_CLASS(i->code) == BPF_LDX)
			r[i->dst_reg] = load_word(ctx, i->off);
		else if (BPF_CLASS(i->code) == BPF_ALU64)
			compute(i, r);
		else if (jump(i, (uint32_t)r[i->dst_reg])) {
			assert_true(i->off >= 0 && pc + 1 + i->off < n);
			pc += i->off;
		}
	}
	fail_msg("the program has no end");
	return -1;
}

static bool ask(const struct oci_device_rule *rules, size_t n, char type, uint32_t major,
		uint32_t minor, unsigned int access)
{
	struct bpf_cgroup_dev_ctx ctx = {
		.access_type = access << 16 |
			       (type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR),
		.major = major,
		.minor = minor,
	};
	cleanup_free struct bpf_insn *insns = NULL;
	int len = device_rules_compile(rules, n, &insns);

	assert_true(len > 0);
	return run(insns, len, &ctx) == 1;
}

static void test_defaults(void **state)
{
	static const struct oci_device_rule deny[] = {{false, 'a', -1, -1, RWM}};

	(void)state;
	for (size_t n = 0; n <= 1; n++) {
		assert_true(ask(deny, n, 'c', 1, 3, R | W));
		assert_true(ask(deny, n, 'c', 5, 2, R | W));
		assert_true(ask(deny, n, 'c', 136, 77, R | W | M));
		assert_true(ask(deny, n, 'c', 10, 200, R | W));
		assert_true(ask(deny, n, 'b', 8, 0, M));
		assert_true(ask(deny, n, 'c', 400, 5, M));
		assert_false(ask(deny, n, 'c', 1, 11, R));
		assert_false(ask(deny, n, 'b', 1, 3, R));
		assert_false(ask(deny, n, 'b', 8, 0, R));
		assert_false(ask(deny, n, 'b', 8, 0, R | M));
		assert_false(ask(deny, n, 'c', 10, 201, W));
	}
}

static void test_rules(void **state)
{
	static const struct oci_device_rule rules[] = {
		{true, 'c', 9, 9, RWM}, /* forgotten by the next */
		{false, 'a', -1, -1, RWM}, {true, 'c', 1, -1, R | W}, {false, 'c', 1, 11, W},
		{true, 'b', -1, 16, R},	   {true, 'b', 8, 16, W},     {true, 'c', UINT32_MAX, 5, R},
	};
	const size_t n = ARRAY_SIZE(rules);

	(void)state;
	assert_false(ask(rules, n, 'c', 9, 9, R));
	assert_true(ask(rules, n, 'c', 1, 11, R));
	assert_false(ask(rules, n, 'c', 1, 11, W));
	assert_false(ask(rules, n, 'c', 1, 11, R | W));
	assert_true(ask(rules, n, 'c', 1, 12, R | W));
	assert_true(ask(rules, n, 'c', 1, 12, R | W | M)); /* m by default */
	/* Two rules together */
	assert_true(ask(rules, n, 'b', 8, 16, R | W));
	assert_false(ask(rules, n, 'b', 9, 16, R | W));
	assert_true(ask(rules, n, 'c', UINT32_MAX, 5, R));
	assert_false(ask(rules, n, 'c', UINT32_MAX - 1, 5, R));
}

static void test_allow_all(void **state)
{
	static const struct oci_device_rule rules[] = {
		{false, 'a', -1, -1, RWM},
		{true, 'a', 5, 5, R}, /* of type 'a' nothing else counts */
		{false, 'b', 8, 0, W},
	};

	(void)state;
	assert_true(ask(rules, 3, 'c', 250, 250, RWM));
	assert_true(ask(rules, 3, 'b', 8, 0, R));
	assert_false(ask(rules, 3, 'b', 8, 0, W));
	/* What is always allowed cannot be taken away */
	assert_true(ask((struct oci_device_rule[]){{false, 'c', 1, 3, RWM}}, 1, 'c', 1, 3, RWM));
}

#define MANY 4000

static struct oci_device_rule *many_rules(void)
{
	struct oci_device_rule *rules = calloc(MANY, sizeof(*rules));

	assert_non_null(rules);
	for (unsigned int i = 0; i < MANY; i++)
		rules[i] = (struct oci_device_rule){i % 3 != 0, i % 5 ? 'c' : 'b', 500, i,
						    1u + i % 7};
	return rules;
}

static void test_many(void **state)
{
	struct oci_device_rule *rules = many_rules();

	(void)state;
	for (unsigned int i = 0; i < MANY; i += 331) {
		char type = i % 5 ? 'c' : 'b';

		/* mknod is always allowed, whatever a rule says */
		if ((1u + i % 7) & R)
			assert_int_equal(ask(rules, MANY, type, 500, i, R), i % 3 != 0);
		if ((1u + i % 7) & W)
			assert_int_equal(ask(rules, MANY, type, 500, i, W), i % 3 != 0);
		assert_false(ask(rules, MANY, type == 'b' ? 'c' : 'b', 500, i, R));
	}
	free(rules);
}

static void test_too_many(void **state)
{
	const size_t n = 8192;
	struct oci_device_rule *rules = calloc(n, sizeof(*rules));
	struct bpf_insn *insns = NULL;
	struct err err = {0};
	int program = -1;

	(void)state;
	assert_non_null(rules);
	for (size_t i = 0; i < n; i++)
		rules[i] = (struct oci_device_rule){true, 'c', 500, (int64_t)i, R};
	assert_int_equal(device_rules_compile(rules, n, &insns), -E2BIG);
	assert_int_equal(device_rules_apply(-1, rules, n, &program, &err), -E2BIG);
	assert_string_equal(err.msg, "there are more device rules than a kernel takes: 8192");
	free(rules);
}

static void test_kernel(void **state)
{
	static const struct oci_device_rule rules[] = {
		{false, 'a', -1, -1, RWM}, {true, 'b', 8, -1, R}, {false, 'b', 8, 3, R}};
	static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	struct oci_device_rule *many = many_rules();
	char path[64] = "";
	struct err err = {0};
	int cgroup = -1, program = -1, first, r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(roots) && cgroup < 0; i++) {
		(void)snprintf(path, sizeof(path), "%s/cgroup.procs", roots[i]);
		if (access(path, F_OK) < 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/caisson-rules-%d", roots[i], (int)getpid());
		if (mkdir(path, 0755) == 0)
			cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (cgroup < 0) {
		free(many);
		skip();
	}
	r = device_rules_apply(cgroup, rules, ARRAY_SIZE(rules), &program, &err);
	first = r == 0 ? dup(program) : -1;
	/* Another takes its place */
	if (r == 0)
		r = device_rules_apply(cgroup, NULL, 0, &program, &err);
	/* The verifier has only so much patience */
	if (r == 0)
		r = device_rules_apply(cgroup, many, MANY, &program, &err);
	free(many);
	(void)close(cgroup);
	(void)rmdir(path);
	if (r == -EPERM)
		skip(); /* this host keeps BPF to itself */
	if (r < 0)
		fail_msg("%s", err.msg);
	assert_true(first >= 0 && program >= 0);
	(void)close(first);
	(void)close(program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),  cmocka_unit_test(test_rules),
		cmocka_unit_test(test_allow_all), cmocka_unit_test(test_many),
		cmocka_unit_test(test_too_many),  cmocka_unit_test(test_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
