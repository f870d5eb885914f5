/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents without memory: each allocation of a parse, a write and a plan fails once. Then the answer is -ENOMEM with a
 * sentence, nothing is handed out, and nothing leaks (which the address sanitizer sees).
 *
 * The Makefile wraps our calls of the allocator; those of libraries go on.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "oci/config.h"
#include "oci/features.h"
#include "oci/hooks.h"
#include "oci/limits.h"
#include "oci/seccomp.h"
#include "oci/spec.h"
#include "oci/state.h"

#define CORPUS "tests/fuzz/corpus/"
#define FAILURES_MAX 100000

static long left = -1; /* allocations until one fails; -1: none does */
static bool failed;

static bool fails(void)
{
	if (left < 0)
		return false;
	if (left-- > 0)
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *text);
int __real_vasprintf(char **out, const char *fmt, va_list ap);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_vasprintf(char **out, const char *fmt, va_list ap);
int __wrap_asprintf(char **out, const char *fmt, ...);

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

/* What a failed one leaves in *out is undefined: nothing that free() could take */
int __wrap_vasprintf(char **out, const char *fmt, va_list ap)
{
	if (!fails())
		return __real_vasprintf(out, fmt, ap);
	*out = (char *)8;
	return -1;
}

int __wrap_asprintf(char **out, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = __wrap_vasprintf(out, fmt, ap);
	va_end(ap);
	return n;
}

/* ---- what is tried ---- */

struct subject {
	const char *text;
	size_t len;
	const struct oci_config *config;
};

static ssize_t parse_config(const struct subject *s, struct err *err)
{
	CLEANUP(oci_config) struct oci_config *config = NULL;
	int r = oci_config_parse(s->text, s->len, &config, err);

	assert_true((r == 0) == (config != NULL));
	return r;
}

static ssize_t parse_process(const struct subject *s, struct err *err)
{
	CLEANUP(oci_process) struct oci_process *process = NULL;
	int r = oci_process_parse(s->text, s->len, &process, err);

	assert_true((r == 0) == (process != NULL));
	return r;
}

static ssize_t parse_resources(const struct subject *s, struct err *err)
{
	CLEANUP(oci_resources) struct oci_resources *resources = NULL;
	int r = oci_resources_parse(s->text, s->len, &resources, err);

	assert_true((r == 0) == (resources != NULL));
	return r;
}

static ssize_t parse_state(const struct subject *s, struct err *err)
{
	CLEANUP(oci_state) struct oci_state *state = NULL;
	int r = oci_state_parse(s->text, s->len, &state, err);

	assert_true((r == 0) == (state != NULL));
	return r;
}

static ssize_t parse_record(const struct subject *s, struct err *err)
{
	CLEANUP(oci_hook_record) struct oci_hook_record *record = NULL;
	int r = oci_hook_record_parse(s->text, s->len, &record, err);

	assert_true((r == 0) == (record != NULL));
	return r;
}

static ssize_t check_text(ssize_t n, char **text)
{
	assert_true((n >= 0) == (*text != NULL));
	free(*text);
	return n;
}

static ssize_t write_process(const struct subject *s, struct err *err)
{
	char *text = NULL;
	ssize_t n = oci_process_write(&s->config->process, &text, err);

	return check_text(n, &text);
}

static ssize_t write_resources(const struct subject *s, struct err *err)
{
	char *text = NULL;
	ssize_t n = oci_resources_write(&s->config->linux_.resources, &text, err);

	return check_text(n, &text);
}

static ssize_t write_record(const struct subject *s, struct err *err)
{
	char *text = NULL;
	ssize_t n = oci_hook_record_write(s->config, "/b", &text, err);

	return check_text(n, &text);
}

static ssize_t write_spec(const struct subject *s, struct err *err)
{
	char *text = NULL;
	ssize_t n = oci_spec_write(true, 1, 2, &text, err);

	(void)s;
	return check_text(n, &text);
}

static ssize_t write_features(const struct subject *s, struct err *err)
{
	char *text = NULL;
	ssize_t n = oci_features_write("0", &text, err);

	(void)s;
	return check_text(n, &text);
}

static ssize_t plan(const struct subject *s, struct err *err)
{
	static const struct limits_machine machine = {256u << 20, 2};
	struct limits limits = {0};
	int r = limits_plan(&s->config->linux_.resources, LIMITS_HOST, &machine, &limits, err);

	limits_release(&limits);
	return r;
}

static ssize_t compile(const struct subject *s, struct err *err)
{
	struct sysfilter_program program = {0};
	int r = sysfilter_compile(&s->config->linux_.seccomp->filter, &program, err);

	assert_true((r == 0) == (program.insns != NULL));
	sysfilter_release(&program);
	return r;
}

static void starve(ssize_t (*work)(const struct subject *s, struct err *err),
		   const struct subject *s)
{
	long n;

	for (n = 0; n < FAILURES_MAX; n++) {
		struct err err = {0};
		ssize_t r;

		failed = false;
		left = n;
		r = work(s, &err);
		left = -1;
		if (!failed) {
			if (r < 0)
				fail_msg("%s", err.msg);
			break;
		}
		if (r != -ENOMEM || !err.msg[0])
			fail_msg("allocation %ld: %zd '%s'", n, r, err.msg);
	}
	assert_true(n > 0 && n < FAILURES_MAX);
}

static char *corpus(const char *name, size_t *len)
{
	struct err err = {0};
	char *text = NULL;
	ssize_t n = io_read_file(AT_FDCWD, name, 65536, &text, &err);

	if (n < 0)
		fail_msg("%s", err.msg);
	*len = (size_t)n;
	return text;
}

static void test_parse(void **state)
{
	static const struct {
		const char *file;
		ssize_t (*work)(const struct subject *s, struct err *err);
	} documents[] = {
		{CORPUS "config/whole.json", parse_config},
		{CORPUS "config/sections.json", parse_config},
		{CORPUS "config/filter.json", parse_config},
		{CORPUS "config/hooks.json", parse_config},
		{CORPUS "config/vm.json", parse_config},
		{CORPUS "process/whole.json", parse_process},
		{CORPUS "resources/whole.json", parse_resources},
		{CORPUS "state/good.json", parse_state},
		{CORPUS "hooks/whole.json", parse_record},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		struct subject s = {0};
		char *text = corpus(documents[i].file, &s.len);

		s.text = text;
		starve(documents[i].work, &s);
		free(text);
	}
}

static void test_write(void **state)
{
	static const char *const files[] = {
		CORPUS "config/whole.json", CORPUS "config/sections.json",
		CORPUS "config/filter.json", CORPUS "config/hooks.json"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		CLEANUP(oci_config) struct oci_config *config = NULL;
		struct subject s = {0};
		cleanup_free char *text = corpus(files[i], &s.len);

		assert_int_equal(oci_config_parse(text, s.len, &config, NULL), 0);
		s.config = config;
		if (config->has_process)
			starve(write_process, &s);
		starve(write_resources, &s);
		starve(write_record, &s);
		if (config->linux_.has_resources)
			starve(plan, &s);
		if (config->linux_.seccomp)
			starve(compile, &s);
	}
	starve(write_spec, NULL);
	starve(write_features, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
