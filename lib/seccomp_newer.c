/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A profile is a list of what its author knew. A program that tries a newer system call and falls back when the kernel lacks
 * it must see ENOSYS: EPERM, the usual default action, breaks it (glibc's faccessat2 and clone3 did so to many containers). So
 * what is newer than the profile gets ENOSYS before the filter proper is asked. As runc does, "newer than the profile" is
 * told from the highest number that the profile names. That alone is wrong where numbers do not follow the calendar, so here
 * beside it:
 *
 *  - `strays`: system calls that got a number below ones which are older than they are (close_range: 436 in Linux 5.9, after
 *    439 in 5.8), or one in the old gap of x86-64. A profile knows them if it names them, or names something newer still.
 *  - x32 has numbers of its own, 512 to 547, older than the common ones that count from 424. They say nothing about newness.
 *  - -1 is no system call of any kernel: ENOSYS, whatever the profile (a default of KILL would end whoever asks).
 *
 * The guest's kernel is ours and may be newer than the host's libseccomp. To skip a name for that reason would lose a denial
 * without a word, so `late` has the numbers of what Linux got since; rules on those are comparisons in the prologue. All
 * architectures got the same numbers since 424.
 *
 * The prologue, all of whose far jumps are 32 bits wide, also leads to the filters, which are one for each ABI:
 *
 *    ld arch ─ x86-64? ─▶ ld nr ─ x32 bit? ─▶ rules, bounds, strays of x32 ──▶ its filter
 *            │                  └───────────▶ the same of x86-64 ────────────▶ its filter
 *            ├ i386? ───▶ ld nr ────────────▶ the same of i386 ──────────────▶ its filter
 *            └ other ────────────────────────────────────────────────────────▶ x86-64's, which knows what to do
 *
 * It only loads number and architecture, so the kernel can still see that a call is always allowed, and skip the filter.
 */
#include "lib/seccomp_newer.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <string.h>

#include "lib/cleanup.h"

#define X32_BIT 0x40000000u
#define X32_OWN_FIRST 512
#define X32_OWN_LAST 547
#define ENOSYS_VERDICT (SECCOMP_RET_ERRNO | ENOSYS)
#define TO_FILTER \
	0xffff0000u /* | ABI: a jump whose distance is known when the prologue is complete */

#define ON(abi) (1u << (abi))
#define ON_64 (ON(NEWER_X86_64) | ON(NEWER_X32))
#define ON_ALL (ON_64 | ON(NEWER_X86))

/* Linux 6.5 to 6.18. A library that knows one of them is asked first. */
static const struct {
	const char *name;
	int number;
	unsigned int abis;
} late[] = {
	{"uretprobe", 335, ON_64},	    {"uprobe", 336, ON_64},
	{"cachestat", 451, ON_ALL},	    {"fchmodat2", 452, ON_ALL},
	{"map_shadow_stack", 453, ON_ALL},  {"futex_wake", 454, ON_ALL},
	{"futex_wait", 455, ON_ALL},	    {"futex_requeue", 456, ON_ALL},
	{"statmount", 457, ON_ALL},	    {"listmount", 458, ON_ALL},
	{"lsm_get_self_attr", 459, ON_ALL}, {"lsm_set_self_attr", 460, ON_ALL},
	{"lsm_list_modules", 461, ON_ALL},  {"mseal", 462, ON_ALL},
	{"setxattrat", 463, ON_ALL},	    {"getxattrat", 464, ON_ALL},
	{"listxattrat", 465, ON_ALL},	    {"removexattrat", 466, ON_ALL},
	{"open_tree_attr", 467, ON_ALL},    {"file_getattr", 468, ON_ALL},
	{"file_setattr", 469, ON_ALL},
};

/* Numbers that came after the one in @after, which is higher */
static const struct {
	int first, last, after;
	unsigned int abis;
} strays[] = {
	{335, 335, 462, ON_64},		  /* uretprobe: 6.11, mseal 6.10 */
	{336, 336, 469, ON_64},		  /* uprobe: 6.18, file_setattr 6.17 */
	{337, 423, NEWER_NUMBERS, ON_64}, /* never given out */
	{436, 436, 439, ON_ALL},	  /* close_range: 5.9, faccessat2 5.8 */
	{443, 443, 446, ON_ALL},	  /* quotactl_fd: 5.14, landlock_restrict_self 5.13 */
};

/* ---- what the profile says ---- */

void newer_name(struct newer *newer, enum newer_abi abi, int number)
{
	if (number < 0)
		return;
	if (abi == NEWER_X32)
		number &= ~(int)X32_BIT;
	if (number < NEWER_NUMBERS)
		newer->names[abi][number] = true;
}

int newer_number(const char *name, enum newer_abi abi)
{
	for (size_t i = 0; i < ARRAY_SIZE(late); i++) {
		if (strcmp(late[i].name, name) == 0)
			return late[i].abis & ON(abi) ? late[i].number : -1;
	}
	return -1;
}

bool newer_rule(struct newer *newer, enum newer_abi abi, int number, uint32_t verdict)
{
	for (size_t i = 0; i < newer->nrules; i++) {
		if (newer->rules[i].abi == abi && newer->rules[i].number == (uint32_t)number)
			return true;
	}
	if (newer->nrules == NEWER_RULES_MAX)
		return false;
	newer->rules[newer->nrules].abi = abi;
	newer->rules[newer->nrules].number = (uint32_t)number;
	newer->rules[newer->nrules++].verdict = verdict;
	return true;
}

/* ---- code ---- */

static void emit(struct newer_program *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	if (p->n == BPF_MAXINSNS) {
		p->full = true;
		return;
	}
	p->insns[p->n++] = (struct sock_filter){.code = code, .jt = jt, .jf = jf, .k = k};
}

static void load(struct newer_program *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* If the accumulator compares so with @k, the verdict is @verdict */
static void verdict_if(struct newer_program *p, uint16_t jump, uint32_t k, uint32_t verdict)
{
	emit(p, BPF_JMP | BPF_K | jump, k, 0, 1);
	emit(p, BPF_RET | BPF_K, verdict, 0, 0);
}

static void to_filter(struct newer_program *p, enum newer_abi abi)
{
	emit(p, BPF_JMP | BPF_JA, TO_FILTER | abi, 0, 0);
}

/* Opens a section that is skipped unless the accumulator compares so with @k; Return: what end_section() wants */
static size_t begin_section(struct newer_program *p, uint16_t jump, uint32_t k)
{
	emit(p, BPF_JMP | BPF_K | jump, k, 1, 0);
	emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
	return p->n;
}

static void end_section(struct newer_program *p, size_t section)
{
	if (!p->full)
		p->insns[section - 1].k = (uint32_t)(p->n - section);
}

/* The highest common number that the profile names on this ABI; -1: none */
static int last_named(const struct newer *newer, enum newer_abi abi)
{
	for (int i = NEWER_NUMBERS - 1; i >= 0; i--) {
		if (abi == NEWER_X32 && i >= X32_OWN_FIRST && i <= X32_OWN_LAST)
			continue;
		if (newer->names[abi][i])
			return i;
	}
	return -1;
}

static void emit_strays(const struct newer *newer, enum newer_abi abi, int last,
			struct newer_program *p)
{
	uint32_t base = abi == NEWER_X32 ? X32_BIT : 0;

	for (size_t i = 0; i < ARRAY_SIZE(strays); i++) {
		uint32_t first = base + (uint32_t)strays[i].first;

		if (!(strays[i].abis & ON(abi)) || last < strays[i].first ||
		    last > strays[i].after || newer->names[abi][strays[i].first])
			continue;
		if (strays[i].last == strays[i].first) {
			verdict_if(p, BPF_JEQ, first, ENOSYS_VERDICT);
			continue;
		}
		emit(p, BPF_JMP | BPF_K | BPF_JGE, first, 0, 2);
		emit(p, BPF_JMP | BPF_K | BPF_JGT, base + (uint32_t)strays[i].last, 1, 0);
		emit(p, BPF_RET | BPF_K, ENOSYS_VERDICT, 0, 0);
	}
}

/* The accumulator is a number of this ABI */
static void emit_abi(const struct newer *newer, enum newer_abi abi, bool enosys,
		     struct newer_program *p)
{
	uint32_t base = abi == NEWER_X32 ? X32_BIT : 0;
	int last = last_named(newer, abi);

	for (size_t i = 0; i < newer->nrules; i++) {
		if (newer->rules[i].abi == abi)
			verdict_if(p, BPF_JEQ, base + newer->rules[i].number,
				   newer->rules[i].verdict);
	}
	if (enosys && last >= 0) {
		if (abi == NEWER_X32 && last < X32_OWN_FIRST) {
			verdict_if(p, BPF_JGT, base + X32_OWN_LAST, ENOSYS_VERDICT);
			/* its own numbers: past the next two, which are about lower ones */
			emit(p, BPF_JMP | BPF_K | BPF_JGE, base + X32_OWN_FIRST, 2, 0);
		}
		verdict_if(p, BPF_JGT, base + (uint32_t)last, ENOSYS_VERDICT);
		emit_strays(newer, abi, last, p);
	}
	to_filter(p, abi);
}

static bool is_needed(const struct newer *newer, bool enosys)
{
	return enosys || newer->nrules || newer->uses[NEWER_X32] || newer->uses[NEWER_X86];
}

void newer_emit(const struct newer *newer, bool enosys, const size_t starts[NEWER_ABIS],
		struct newer_program *p)
{
	size_t first = p->n, section, x32;

	if (!is_needed(newer, enosys))
		return;
	load(p, offsetof(struct seccomp_data, nr));
	if (enosys)
		verdict_if(p, BPF_JEQ, UINT32_MAX, ENOSYS_VERDICT);
	load(p, offsetof(struct seccomp_data, arch));
	section = begin_section(p, BPF_JEQ, AUDIT_ARCH_X86_64);
	load(p, offsetof(struct seccomp_data, nr));
	x32 = begin_section(p, BPF_JSET, X32_BIT);
	if (newer->uses[NEWER_X32])
		emit_abi(newer, NEWER_X32, enosys, p);
	else
		to_filter(p, NEWER_X86_64);
	end_section(p, x32);
	emit_abi(newer, NEWER_X86_64, enosys, p);
	end_section(p, section);
	if (newer->uses[NEWER_X86]) {
		section = begin_section(p, BPF_JEQ, AUDIT_ARCH_I386);
		load(p, offsetof(struct seccomp_data, nr));
		emit_abi(newer, NEWER_X86, enosys, p);
		end_section(p, section);
	}
	to_filter(p, NEWER_X86_64);
	for (size_t i = first; i < p->n; i++) {
		struct sock_filter *in = &p->insns[i];

		if (in->code == (BPF_JMP | BPF_JA) && in->k >= TO_FILTER)
			in->k = (uint32_t)(p->n - i - 1 + starts[in->k - TO_FILTER]);
	}
}
