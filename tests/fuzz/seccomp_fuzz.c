/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.seccomp, from text to program: what parses must compile or be refused with a sentence, and what compiles must be a
 * program that a kernel accepts (it ends, and jumps forwards within itself) and that answers for every ABI.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oci/config.h"
#include "oci/seccomp.h"

#define HEAD "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"r\"},\"linux\":{\"seccomp\":"
#define INPUT_MAX 8192 /* more is only slower */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libseccomp 2.5 loses nodes of its tree when it merges some rules (corpus: library_leak.json); compiling commands are short-lived */
const char *__lsan_default_suppressions(void)
{
	return "leak:libseccomp.so\n";
}

static void check_instructions(const struct sysfilter_program *p)
{
	if (p->n == 0 || p->n > BPF_MAXINSNS || BPF_CLASS(p->insns[p->n - 1].code) != BPF_RET)
		abort();
	for (size_t i = 0; i < p->n; i++) {
		const struct sock_filter *in = &p->insns[i];
		size_t left = p->n - i - 1;

		if (in->code == (BPF_JMP | BPF_JA)
			    ? in->k >= left
			    : BPF_CLASS(in->code) == BPF_JMP && (in->jt >= left || in->jf >= left))
			abort();
		if (in->code == (BPF_LD | BPF_W | BPF_ABS) &&
		    (in->k % 4 || in->k >= sizeof(struct seccomp_data)))
			abort();
	}
}

static uint32_t answer(const struct sysfilter_program *p, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (size_t pc = 0; pc < p->n; pc++) {
		const struct sock_filter *in = &p->insns[pc];
		bool yes;

		switch (in->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&a, (const char *)data + in->k, sizeof(a));
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= in->k;
			continue;
		case BPF_RET | BPF_K:
			return in->k;
		case BPF_JMP | BPF_JA:
			pc += in->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			yes = a == in->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			yes = a > in->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			yes = a >= in->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			yes = a & in->k;
			break;
		default:
			abort();
		}
		pc += yes ? in->jt : in->jf;
	}
	abort();
}

static void check_answers(const struct sysfilter *filter, const struct sysfilter_program *p)
{
	static const uint32_t archs[] = {AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64};
	struct seccomp_data data = {0};
	bool denies = filter->default_action != SYSFILTER_ALLOW &&
		      filter->default_action != SYSFILTER_LOG &&
		      filter->default_action != SYSFILTER_TRACE;

	for (size_t a = 0; a < sizeof(archs) / sizeof(archs[0]); a++) {
		data.arch = archs[a];
		for (uint32_t n = 0; n < 600; n += 7) {
			data.nr = (int)n;
			(void)answer(p, &data);
			data.nr = (int)(n | 0x40000000u);
			(void)answer(p, &data);
		}
	}
	data.arch = AUDIT_ARCH_X86_64;
	data.nr = -1;
	if (denies && answer(p, &data) != (SECCOMP_RET_ERRNO | ENOSYS))
		abort();
}

static void check_compiler(const struct sysfilter *filter)
{
	struct sysfilter_program program = {0};
	struct err err = {0};

	if (sysfilter_compile(filter, &program, &err) < 0) {
		if (!err.msg[0] || program.insns)
			abort();
		return;
	}
	check_instructions(&program);
	check_answers(filter, &program);
	sysfilter_release(&program);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[sizeof(HEAD) + INPUT_MAX + 2];
	struct oci_config *config = NULL;
	struct err err = {0};
	int n;

	if (size > INPUT_MAX)
		return 0;
	n = snprintf(text, sizeof(text), HEAD);
	memcpy(text + n, data, size);
	memcpy(text + n + size, "}}", 2);
	if (oci_config_parse(text, (size_t)n + size + 2, &config, &err) < 0) {
		if (config || !err.msg[0])
			abort();
		return 0;
	}
	if (config->linux_.seccomp)
		check_compiler(&config->linux_.seccomp->filter);
	oci_config_free(config);
	return 0;
}
