/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libseccomp's only user: makes the rules of a profile into a program for the guest.
 *
 * Runs in the short-lived command, before anything of the container exists. The rules are foreign (a config.json): whatever
 * the library does not check well, or says badly, is checked here first, and their number is bounded, since its insertion
 * compares with what is there. The library makes a filter of its own for each ABI, since its work for several in one grows
 * faster than they do; in front of them goes the prologue of lib/seccomp_newer.c, which leads to the right one.
 *
 * The library asks the running kernel which actions it has; ours runs elsewhere, so it is told. It ends a process that uses an
 * ABI outside of the filter (its "bad architecture" action); we leave that as it is, as runc does.
 */
#include "lib/seccomp.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/seccomp_newer.h"

#define API_LEVEL 6	/* of libseccomp: every action there is */
#define RULES_MAX 16384 /* names in all rules; Docker's profile has about 500 */
#define CONDITIONAL_MAX \
	2048 /* of those with arguments, each of which needs two instructions at least */
#define TREE_FROM \
	32 /* names from which a binary tree is worth it; libseccomp 2.5 breaks without any */

#define PLAIN_MAX 64 /* rules with one condition that are compiled without a child */
#define COMPILE_SECONDS \
	5 /* processor time of that child; Docker's profile takes some milliseconds */

static const uint32_t abi_tokens[NEWER_ABIS] = {
	[NEWER_X86_64] = SCMP_ARCH_X86_64,
	[NEWER_X32] = SCMP_ARCH_X32,
	[NEWER_X86] = SCMP_ARCH_X86,
};

static const enum scmp_compare compares[SYSFILTER_OPS] = {
	[SYSFILTER_NE] = SCMP_CMP_NE,
	[SYSFILTER_LT] = SCMP_CMP_LT,
	[SYSFILTER_LE] = SCMP_CMP_LE,
	[SYSFILTER_EQ] = SCMP_CMP_EQ,
	[SYSFILTER_GE] = SCMP_CMP_GE,
	[SYSFILTER_GT] = SCMP_CMP_GT,
	[SYSFILTER_MASKED_EQ] = SCMP_CMP_MASKED_EQ,
};

struct compiler {
	const struct sysfilter *filter;
	scmp_filter_ctx ctx[NEWER_ABIS]; /* NULL where not used */
	uint32_t default_verdict;
	size_t nadded, nconditional;
	struct newer newer;
};

static void compiler_free(struct compiler *c)
{
	for (int abi = 0; c && abi < NEWER_ABIS; abi++) {
		if (c->ctx[abi])
			seccomp_release(c->ctx[abi]);
	}
	free(c);
}
DEFINE_CLEANUP(compiler)

static uint32_t verdict_of(enum sysfilter_action action, uint16_t data)
{
	switch (action) {
	case SYSFILTER_KILL_PROCESS:
		return SCMP_ACT_KILL_PROCESS;
	case SYSFILTER_TRAP:
		return SCMP_ACT_TRAP;
	case SYSFILTER_ERRNO:
		return SCMP_ACT_ERRNO(data);
	case SYSFILTER_TRACE:
		return SCMP_ACT_TRACE(data);
	case SYSFILTER_LOG:
		return SCMP_ACT_LOG;
	case SYSFILTER_ALLOW:
		return SCMP_ACT_ALLOW;
	default:
		return SCMP_ACT_KILL_THREAD;
	}
}

/* The call happens, or a tracer that knows better decides */
static bool lets_pass(enum sysfilter_action action)
{
	return action == SYSFILTER_ALLOW || action == SYSFILTER_LOG || action == SYSFILTER_TRACE;
}

/* ---- checks ---- */

static int check_action(enum sysfilter_action action, uint16_t data, struct err *err)
{
	if (action == SYSFILTER_NOTIFY)
		return err_set(err, ENOTSUP,
			       "SCMP_ACT_NOTIFY: a listener on the host cannot serve the processes "
			       "of a guest");
	if (action == SYSFILTER_ERRNO && data > SYSFILTER_ERRNO_MAX)
		return err_set(err, EINVAL, "%u is no errno: at most %d", data,
			       SYSFILTER_ERRNO_MAX);
	return 0;
}

static int check_rule(const struct sysfilter_rule *rule, struct err *err)
{
	for (size_t i = 0; i < rule->nargs; i++) {
		if (rule->args[i].index >= SYSFILTER_ARGS)
			return err_set(err, EINVAL, "args[%zu]: system calls have %d arguments", i,
				       SYSFILTER_ARGS);
	}
	return check_action(rule->action, rule->data, err);
}

static int check_amount(struct compiler *c, const struct sysfilter_rule *rule, struct err *err)
{
	size_t times = rule->nargs ? rule->nargs : 1;

	if (rule->nnames > RULES_MAX || rule->nargs > RULES_MAX)
		return err_set(err, E2BIG, "too many names or conditions");
	c->nadded += rule->nnames * times;
	c->nconditional += rule->nargs ? rule->nnames * times : 0;
	if (c->nadded > RULES_MAX)
		return err_set(err, E2BIG, "more than %d names in all rules", RULES_MAX);
	if (c->nconditional > CONDITIONAL_MAX)
		return err_set(err, E2BIG, "more than %d conditions in all rules", CONDITIONAL_MAX);
	return 0;
}

static int check(struct compiler *c, struct err *err)
{
	const struct sysfilter *f = c->filter;
	int r = check_action(f->default_action, f->default_data, err);

	if (r < 0) {
		err_prefix(err, "defaultAction");
		return r;
	}
	for (size_t i = 0; i < f->nrules; i++) {
		r = check_rule(&f->rules[i], err);
		if (r == 0)
			r = check_amount(c, &f->rules[i], err);
		if (r < 0) {
			err_prefix(err, "syscalls[%zu]", i);
			return r;
		}
	}
	return 0;
}

/* ---- rules ---- */

bool sysfilter_syscall_is_known(const char *name)
{
	return seccomp_syscall_resolve_name(name) != __NR_SCMP_ERROR ||
	       newer_number(name, NEWER_X86_64) >= 0;
}

/* Does one argument have two conditions? They are alternatives then */
static bool has_alternatives(const struct sysfilter_rule *rule)
{
	bool seen[SYSFILTER_ARGS] = {0};

	for (size_t i = 0; i < rule->nargs; i++) {
		if (seen[rule->args[i].index])
			return true;
		seen[rule->args[i].index] = true;
	}
	return false;
}

static struct scmp_arg_cmp condition_of(const struct sysfilter_arg *arg)
{
	return (struct scmp_arg_cmp){.arg = arg->index,
				     .op = compares[arg->op],
				     .datum_a = arg->value,
				     .datum_b = arg->value_two};
}

static int add(scmp_filter_ctx ctx, const struct sysfilter_rule *rule, int number)
{
	uint32_t verdict = verdict_of(rule->action, rule->data);
	struct scmp_arg_cmp conditions[SYSFILTER_ARGS];
	int r = 0;

	if (!has_alternatives(rule)) {
		for (size_t i = 0; i < rule->nargs; i++)
			conditions[i] = condition_of(&rule->args[i]);
		return seccomp_rule_add_array(ctx, verdict, number, (unsigned int)rule->nargs,
					      conditions);
	}
	for (size_t i = 0; i < rule->nargs && r == 0; i++) {
		conditions[0] = condition_of(&rule->args[i]);
		r = seccomp_rule_add_array(ctx, verdict, number, 1, conditions);
	}
	return r;
}

/* A name that the library does not know */
static int add_late(struct compiler *c, const struct sysfilter_rule *rule, const char *name,
		    struct err *err)
{
	uint32_t verdict = verdict_of(rule->action, rule->data);

	for (int abi = 0; abi < NEWER_ABIS; abi++) {
		int number = newer_number(name, (enum newer_abi)abi);

		if (number < 0 || !c->newer.uses[abi])
			continue;
		if (rule->nargs && !lets_pass(rule->action))
			return err_set(err, ENOTSUP,
				       "'%s' is newer than libseccomp %u.%u: no conditions on its "
				       "arguments are possible",
				       name, seccomp_version()->major, seccomp_version()->minor);
		if (rule->nargs)
			continue; /* stays a call that the profile does not know */
		newer_name(&c->newer, (enum newer_abi)abi, number);
		if (verdict != c->default_verdict &&
		    !newer_rule(&c->newer, (enum newer_abi)abi, number, verdict))
			return err_set(err, E2BIG, "too many rules on new system calls");
	}
	return 0;
}

static int add_name(struct compiler *c, const struct sysfilter_rule *rule, const char *name,
		    struct err *err)
{
	bool is_default = verdict_of(rule->action, rule->data) == c->default_verdict;
	int number = seccomp_syscall_resolve_name(name), r = 0;

	if (number == __NR_SCMP_ERROR)
		return add_late(c, rule, name, err);
	for (int abi = 0; abi < NEWER_ABIS; abi++) {
		if (!c->ctx[abi])
			continue;
		newer_name(&c->newer, (enum newer_abi)abi,
			   seccomp_syscall_resolve_name_arch(abi_tokens[abi], name));
		/* The library refuses a rule that says what happens anyway */
		if (!is_default)
			r = add(c->ctx[abi], rule, number);
		if (r < 0)
			return err_sys(err, -r, "'%s': libseccomp refuses the rule", name);
	}
	return 0;
}

static int add_rules(struct compiler *c, struct err *err)
{
	for (size_t i = 0; i < c->filter->nrules; i++) {
		const struct sysfilter_rule *rule = &c->filter->rules[i];

		for (size_t n = 0; n < rule->nnames; n++) {
			int r = add_name(c, rule, rule->names[n], err);

			if (r < 0) {
				err_prefix(err, "syscalls[%zu]", i);
				return r;
			}
		}
	}
	return 0;
}

/* ---- the program ---- */

static int begin_abi(struct compiler *c, enum newer_abi abi, struct err *err)
{
	scmp_filter_ctx ctx = seccomp_init(c->default_verdict);
	int r = 0;

	c->ctx[abi] = ctx;
	c->newer.uses[abi] = true;
	if (!ctx)
		return err_sys(err, ENOMEM, "libseccomp");
	/* It begins with the host's */
	if (abi_tokens[abi] != seccomp_arch_native()) {
		r = seccomp_arch_add(ctx, abi_tokens[abi]);
		if (r == 0)
			r = seccomp_arch_remove(ctx, seccomp_arch_native());
	}
	if (r < 0)
		return err_sys(err, -r, "libseccomp: architectures");
	/* A slower filter is still one */
	if (c->nadded > TREE_FROM)
		(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return 0;
}

static int begin(struct compiler *c, struct err *err)
{
	int r;

	(void)seccomp_api_set(API_LEVEL);
	c->default_verdict = verdict_of(c->filter->default_action, c->filter->default_data);
	r = begin_abi(c, NEWER_X86_64, err);
	if (r == 0 && c->filter->x32)
		r = begin_abi(c, NEWER_X32, err);
	if (r == 0 && c->filter->x86)
		r = begin_abi(c, NEWER_X86, err);
	return r;
}

static int too_long(struct err *err)
{
	return err_set(err, E2BIG, "the filter has more than %d instructions", BPF_MAXINSNS);
}

/* What the library has made, appended */
static int export_to(scmp_filter_ctx ctx, struct newer_program *p, struct err *err)
{
	cleanup_close int fd = memfd_create("seccomp", MFD_CLOEXEC);
	size_t room = (BPF_MAXINSNS - p->n) * sizeof(p->insns[0]);
	off_t size;
	int r;

	if (fd < 0)
		return err_sys(err, errno, "a file for the filter");
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return err_sys(err, -r, "libseccomp cannot make the filter");
	size = lseek(fd, 0, SEEK_END);
	if (size <= 0 || (size_t)size % sizeof(p->insns[0]))
		return err_set(err, EIO, "libseccomp has made no filter");
	if ((size_t)size > room)
		return too_long(err);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, errno, "a file for the filter");
	r = io_read_full(fd, &p->insns[p->n], (size_t)size);
	if (r < 0)
		return err_sys(err, -r, "a file for the filter");
	p->n += (size_t)size / sizeof(p->insns[0]);
	return 0;
}

/* The filters of all ABIs, one behind the other */
static int export_all(struct compiler *c, struct newer_program *body, size_t starts[NEWER_ABIS],
		      struct err *err)
{
	for (int abi = 0; abi < NEWER_ABIS; abi++) {
		int r;

		starts[abi] = body->n;
		r = c->ctx[abi] ? export_to(c->ctx[abi], body, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int finish(struct compiler *c, struct sysfilter_program *out, struct err *err)
{
	cleanup_free struct newer_program *head = calloc(1, sizeof(*head));
	cleanup_free struct newer_program *body = calloc(1, sizeof(*body));
	bool enosys = !lets_pass(c->filter->default_action) &&
		      c->default_verdict != SCMP_ACT_ERRNO(ENOSYS);
	size_t starts[NEWER_ABIS];
	struct sock_filter *insns;
	int r;

	if (!head || !body)
		return err_sys(err, ENOMEM, "the filter");
	r = export_all(c, body, starts, err);
	if (r < 0)
		return r;
	newer_emit(&c->newer, enosys, starts, head);
	if (head->full || head->n + body->n > BPF_MAXINSNS)
		return too_long(err);
	insns = malloc((head->n + body->n) * sizeof(*insns));
	if (!insns)
		return err_sys(err, ENOMEM, "the filter");
	memcpy(insns, head->insns, head->n * sizeof(*insns));
	memcpy(insns + head->n, body->insns, body->n * sizeof(*insns));
	*out = (struct sysfilter_program){.insns = insns, .n = head->n + body->n};
	return 0;
}

static int compile(const struct sysfilter *filter, struct sysfilter_program *out, struct err *err)
{
	CLEANUP(compiler) struct compiler *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_sys(err, ENOMEM, "the filter");
	c->filter = filter;
	r = check(c, err);
	if (r < 0)
		return r;
	r = begin(c, err);
	if (r < 0)
		return r;
	r = add_rules(c, err);
	if (r < 0)
		return r;
	return finish(c, out, err);
}

/* ---- where the library might not end ---- */

/* What the child leaves in memory that it shares with its parent */
struct outcome {
	bool done;
	int r;
	struct err err;
	size_t n;
	struct sock_filter insns[BPF_MAXINSNS];
};

/* At most one condition in a rule, and few of these: as in Docker's profile */
static bool is_plain(const struct sysfilter *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->nrules; i++) {
		if (f->rules[i].nargs > 1)
			return false;
		n += f->rules[i].nargs ? f->rules[i].nnames : 0;
	}
	return n <= PLAIN_MAX;
}

static _Noreturn void compile_in_child(const struct sysfilter *filter, struct outcome *outcome)
{
	struct rlimit limit = {.rlim_cur = COMPILE_SECONDS, .rlim_max = COMPILE_SECONDS};
	struct sysfilter_program program = {0};

	/* A terminal's or an engine's signals are the parent's, and end the child with it */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)setrlimit(RLIMIT_CPU, &limit);
	outcome->r = compile(filter, &program, &outcome->err);
	if (outcome->r == 0) {
		outcome->n = program.n;
		memcpy(outcome->insns, program.insns, program.n * sizeof(program.insns[0]));
	}
	outcome->done = true;
	_exit(0);
}

static int take_outcome(const struct outcome *outcome, struct sysfilter_program *out,
			struct err *err)
{
	struct sock_filter *insns;

	if (!outcome->done)
		return err_set(
			err, ENOTSUP,
			"libseccomp cannot combine the rules' conditions: no result after %d "
			"seconds",
			COMPILE_SECONDS);
	if (outcome->r < 0) {
		if (err)
			*err = outcome->err;
		return outcome->r;
	}
	insns = malloc(outcome->n * sizeof(*insns));
	if (!insns)
		return err_sys(err, ENOMEM, "the filter");
	memcpy(insns, outcome->insns, outcome->n * sizeof(*insns));
	*out = (struct sysfilter_program){.insns = insns, .n = outcome->n};
	return 0;
}

/*
 * libseccomp 2.5 makes the rules of a system call a tree, by argument, and with several conditions in a rule it can search that
 * for ever (found by fuzzing). So a child does it, for a limited time.
 */
static int compile_bounded(const struct sysfilter *filter, struct sysfilter_program *out,
			   struct err *err)
{
	struct outcome *outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child;
	int r;

	if (outcome == MAP_FAILED)
		return err_sys(err, errno, "the filter");
	child = fork();
	if (child == 0)
		compile_in_child(filter, outcome);
	if (child < 0) {
		r = err_sys(err, errno, "a process for the filter");
	} else {
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
		r = take_outcome(outcome, out, err);
	}
	(void)munmap(outcome, sizeof(*outcome));
	return r;
}

int sysfilter_compile(const struct sysfilter *filter, struct sysfilter_program *out,
		      struct err *err)
{
	return is_plain(filter) ? compile(filter, out, err) : compile_bounded(filter, out, err);
}

void sysfilter_release(struct sysfilter_program *program)
{
	free(program->insns);
	*program = (struct sysfilter_program){0};
}
