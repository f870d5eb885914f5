/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts that the agent reads in the guest: files of /proc whose parts a process chooses (its name, its arguments), files of
 * cgroups, a mount's options, device rules. The first byte chooses the parser.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "guest/cgroup.h"
#include "guest/device_rules.h"
#include "guest/lookup.h"
#include "guest/mount_options.h"
#include "guest/ps.h"
#include "guest/sysctl.h"
#include "oci/config.h"

#define WORDS_MAX 64
#define PAGE 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_stat(const char *text)
{
	struct ps_entry entry = {0};

	if (ps_parse_stat(text, 100, PAGE, &entry) < 0)
		return;
	if (strlen(entry.name) != entry.info.name.len || entry.info.resident_bytes % PAGE)
		abort();
}

static void fuzz_status(const char *text)
{
	struct ps_entry entry = {0};

	for (unsigned int level = 0; level < 3; level++) {
		int r = ps_parse_status(text, level, &entry);

		if (r != 0 && r != -ESRCH && r != -EINVAL)
			abort();
	}
}

static void fuzz_value(const char *text)
{
	uint64_t value;

	(void)cgroup_value(text, "oom_kill", &value);
	(void)cgroup_value(text, "max", &value);
}

/* Words, each ended by NUL */
static size_t split(char *text, size_t size, char *words[WORDS_MAX + 1])
{
	size_t n = 0;

	for (size_t at = 0; at < size && n < WORDS_MAX; at += strlen(text + at) + 1)
		words[n++] = text + at;
	words[n] = NULL;
	return n;
}

static void fuzz_options(char *text, size_t size)
{
	char *words[WORDS_MAX + 1];
	struct oci_strings options = {words, split(text, size, words)};
	struct mount_options out;
	struct err err = {0};
	int r = mount_options_parse(&options, &out, &err);

	if (r < 0 && (r != -E2BIG || !err.msg[0]))
		abort();
	if (r < 0)
		return;
	/* What mount_setattr(2) would refuse: the same attribute set and cleared, but for the field of access times */
	if ((out.attr_set & out.attr_clear & ~(uint64_t)MOUNT_ATTR__ATIME) ||
	    (out.rec_set & out.rec_clear & ~(uint64_t)MOUNT_ATTR__ATIME) ||
	    ((out.attr_set & MOUNT_ATTR__ATIME) && !(out.attr_clear & MOUNT_ATTR__ATIME)) ||
	    ((out.rec_set & MOUNT_ATTR__ATIME) && !(out.rec_clear & MOUNT_ATTR__ATIME)) ||
	    strlen(out.data) > MOUNT_DATA_MAX)
		abort();
}

static void fuzz_words(char *text, size_t size)
{
	char *words[WORDS_MAX + 1];
	struct oci_strings env = {words, split(text, size, words)};

	(void)lookup_env(&env, "PATH");
	(void)lookup_env(&env, "HOME");
	for (size_t i = 0; i < env.n; i++)
		sysctl_path(words[i]);
}

/* A jump that leaves the program, or that the verifier cannot follow, is a bug of the compiler's */
static void check_program(const struct bpf_insn *insns, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (BPF_CLASS(insns[i].code) != BPF_JMP || BPF_OP(insns[i].code) == BPF_EXIT)
			continue;
		if (insns[i].off < 0 || i + 1 + (size_t)insns[i].off >= n)
			abort();
	}
	if (n == 0 || insns[n - 1].code != (BPF_JMP | BPF_EXIT))
		abort();
}

static void fuzz_rules(const uint8_t *data, size_t size)
{
	static struct oci_device_rule rules[512];
	struct bpf_insn *insns = NULL;
	size_t n = 0;
	int r;

	for (; size >= 4 && n < sizeof(rules) / sizeof(rules[0]); data += 4, size -= 4) {
		rules[n++] = (struct oci_device_rule){
			.allow = data[0] & 1,
			.type = "abc"[(data[0] >> 1) % 3],
			.access = 1 + (data[1] % 7u),
			.major = data[2] == 255 ? -1 : data[2],
			.minor = data[3] == 255 ? -1 : data[3] * 0x01010101ll,
		};
	}
	r = device_rules_compile(rules, n, &insns);
	if (r < 0)
		abort(); /* so few fit */
	check_program(insns, (size_t)r);
	free(insns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;
	uint8_t which;

	if (size < 1)
		return 0;
	which = data[0];
	data++;
	size--;
	/* Of the exact size, so that a read behind it is seen */
	text = malloc(size + 1);
	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	switch (which % 6) {
	case 0:
		fuzz_stat(text);
		break;
	case 1:
		fuzz_status(text);
		break;
	case 2:
		fuzz_value(text);
		break;
	case 3:
		fuzz_options(text, size);
		break;
	case 4:
		fuzz_words(text, size);
		break;
	default:
		fuzz_rules(data, size);
	}
	free(text);
	return 0;
}
