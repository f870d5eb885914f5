/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiler for device rules: see guest/device_rules.h.
 *
 *   r2 = what is asked for and not yet allowed (BPF_DEVCG_ACC_*)
 *
 *   once for character and once for block devices:
 *     for each rule that can be about them, the last one first:
 *       if it is about other numbers, go to the next
 *       deny:   if (r2 & access) return 0
 *       allow:  r2 &= ~access; if (r2 == 0) return 1
 *     return 0
 *
 * The type is asked once, and numbers are loaded anew for each rule: what the verifier knows of them from one rule it would
 * carry through all others, and its work would grow with the square of their number. So it grows evenly, and some thousand rules are
 * taken.
 *
 * A rule of type 'a' is about everything, so what came before it has no say and the program ends with it. The verifier refuses
 * what cannot be reached, therefore nothing follows there.
 */
#define _GNU_SOURCE
#include "guest/device_rules.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#define RULE_INSNS_MAX 8
#define FRAME_INSNS 8 /* before the first rule and after the last of each type */
#define ACCESS_ALL (OCI_ACCESS_MKNOD | OCI_ACCESS_READ | OCI_ACCESS_WRITE)

#define DEFAULT(type_, major_, minor_, access_)                                                   \
	{                                                                                         \
		.allow = true, .type = type_, .major = major_, .minor = minor_, .access = access_ \
	}

static const struct oci_device_rule default_rules[] = {
	DEFAULT('c', -1, -1, OCI_ACCESS_MKNOD), DEFAULT('b', -1, -1, OCI_ACCESS_MKNOD),
	DEFAULT('c', 1, 3, ACCESS_ALL),	   /* null */
	DEFAULT('c', 1, 5, ACCESS_ALL),	   /* zero */
	DEFAULT('c', 1, 7, ACCESS_ALL),	   /* full */
	DEFAULT('c', 1, 8, ACCESS_ALL),	   /* random */
	DEFAULT('c', 1, 9, ACCESS_ALL),	   /* urandom */
	DEFAULT('c', 5, 0, ACCESS_ALL),	   /* tty */
	DEFAULT('c', 5, 2, ACCESS_ALL),	   /* ptmx */
	DEFAULT('c', 136, -1, ACCESS_ALL), /* pts */
	DEFAULT('c', 10, 200, ACCESS_ALL), /* net/tun */
};

struct program {
	struct bpf_insn *insns;
	size_t n;
};

static void emit(struct program *p, uint8_t code, uint8_t dst, uint8_t src, int16_t off,
		 int32_t imm)
{
	p->insns[p->n++] = (struct bpf_insn){
		.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

static void emit_return(struct program *p, int value)
{
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, value);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void emit_load(struct program *p, uint8_t dst, size_t off)
{
	emit(p, BPF_LDX | BPF_MEM | BPF_W, dst, BPF_REG_1, (int16_t)off, 0);
}

/* What is asked for; Return: where the jump is that leads to the block devices' part */
static size_t emit_start(struct program *p)
{
	emit_load(p, BPF_REG_2, offsetof(struct bpf_cgroup_dev_ctx, access_type));
	emit(p, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
	emit(p, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_3, 0, 0, 0xffff);
	emit(p, BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_2, 0, 0, 16);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_3, 0, 0, BPF_DEVCG_DEV_BLOCK);
	return p->n - 1;
}

/* Jumps are filled in when it is known where the next rule begins */
static void emit_rule(struct program *p, const struct oci_device_rule *rule)
{
	const uint8_t unequal = BPF_JMP32 | BPF_JNE | BPF_K; /* numbers have all of 32 bits */
	size_t first = p->n;

	if (rule->major >= 0) {
		emit_load(p, BPF_REG_4, offsetof(struct bpf_cgroup_dev_ctx, major));
		emit(p, unequal, BPF_REG_4, 0, 0, (int32_t)(uint32_t)rule->major);
	}
	if (rule->minor >= 0) {
		emit_load(p, BPF_REG_4, offsetof(struct bpf_cgroup_dev_ctx, minor));
		emit(p, unequal, BPF_REG_4, 0, 0, (int32_t)(uint32_t)rule->minor);
	}
	if (rule->allow) {
		emit(p, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0,
		     (int32_t)(~rule->access & ACCESS_ALL));
		emit(p, unequal, BPF_REG_2, 0, 0, 0);
	} else {
		emit(p, BPF_JMP32 | BPF_JSET | BPF_K, BPF_REG_2, 0, 1, (int32_t)rule->access);
		emit(p, BPF_JMP | BPF_JA, 0, 0, 0, 0);
	}
	emit_return(p, rule->allow);
	for (size_t i = first; i < p->n; i++) {
		uint8_t code = p->insns[i].code;

		if (code == unequal || code == (BPF_JMP | BPF_JA))
			p->insns[i].off = (int16_t)(p->n - i - 1);
	}
}

static void emit_type(struct program *p, char type, const struct oci_device_rule *rules, size_t n)
{
	for (size_t i = ARRAY_SIZE(default_rules); i-- > 0;) {
		if (default_rules[i].type == type)
			emit_rule(p, &default_rules[i]);
	}
	for (; n > 0 && rules[n - 1].type != 'a'; n--) {
		if (rules[n - 1].type == type)
			emit_rule(p, &rules[n - 1]);
	}
	emit_return(p, n > 0 && rules[n - 1].allow);
}

int device_rules_compile(const struct oci_device_rule *rules, size_t n, struct bpf_insn **out)
{
	cleanup_free struct bpf_insn *insns = NULL;
	struct program p = {0};
	size_t jump, distance;

	insns = calloc((n + ARRAY_SIZE(default_rules)) * RULE_INSNS_MAX + 2 * FRAME_INSNS,
		       sizeof(*insns));
	if (!insns)
		return -ENOMEM;
	p.insns = insns;
	jump = emit_start(&p);
	emit_type(&p, 'c', rules, n);
	distance = p.n - jump - 1;
	if (distance > INT16_MAX)
		return -E2BIG;
	insns[jump].off = (int16_t)distance;
	emit_type(&p, 'b', rules, n);
	*out = take_ptr(&insns);
	return (int)p.n;
}

/* ---- the kernel's side ---- */

static int bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	int r = (int)syscall(SYS_bpf, command, attr, sizeof(*attr));

	return r < 0 ? -errno : r;
}

static int load(const struct bpf_insn *insns, int n)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr)); /* the kernel wants every unused byte zero */
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.expected_attach_type = BPF_CGROUP_DEVICE;
	attr.insns = (uint64_t)(uintptr_t)insns;
	attr.insn_cnt = (uint32_t)n;
	attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
	memcpy(attr.prog_name, "devices", 8);
	return bpf(BPF_PROG_LOAD, &attr);
}

static int attach(int cgroup_fd, int program_fd, int old_fd)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)cgroup_fd;
	attr.attach_bpf_fd = (uint32_t)program_fd;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI | (old_fd >= 0 ? BPF_F_REPLACE : 0);
	attr.replace_bpf_fd = old_fd >= 0 ? (uint32_t)old_fd : 0;
	return bpf(BPF_PROG_ATTACH, &attr);
}

int device_rules_apply(int cgroup_fd, const struct oci_device_rule *rules, size_t n,
		       int *program_fd, struct err *err)
{
	cleanup_free struct bpf_insn *insns = NULL;
	cleanup_close int fd = -1;
	int r = device_rules_compile(rules, n, &insns);

	if (r == -E2BIG)
		return err_set(err, E2BIG, "there are more device rules than a kernel takes: %zu",
			       n);
	if (r < 0)
		return err_sys(err, -r, "the device rules");
	fd = load(insns, r);
	if (fd == -E2BIG)
		return err_set(err, E2BIG, "there are more device rules than a kernel takes: %zu",
			       n);
	if (fd < 0)
		return err_sys(err, -fd, "cannot load the device rules into the guest's kernel");
	r = attach(cgroup_fd, fd, *program_fd);
	if (r < 0)
		return err_sys(err, -r, "cannot attach the device rules");
	close_fd(program_fd);
	*program_fd = take_fd(&fd);
	return 0;
}
