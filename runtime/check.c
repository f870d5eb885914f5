/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson check`: would a container start on this host? One line for each thing looked at, and
 * what to do where it is wrong.
 *
 * Wherever it can be done without trace, the thing itself is tried rather than a version compared.
 * Exit code 0 only if nothing failed.
 */
#include "runtime/check.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/cleanup.h"
#include "oci/json.h"
#include "runtime/commands.h"

#define JSON_MAX (256u << 10)

struct check_options {
	bool json;
};

static const struct cli_option options[] = {
	{"json", 0, CLI_BOOL, offsetof(struct check_options, json), "print an array of objects"},
	{0},
};

static const char *const words[] = {
	[KVM_PROBE_OK] = "ok", [KVM_PROBE_WARN] = "warn", [KVM_PROBE_FAIL] = "FAIL"};
static const char *const json_words[] = {
	[KVM_PROBE_OK] = "ok", [KVM_PROBE_WARN] = "warn", [KVM_PROBE_FAIL] = "fail"};

static void print_text(const struct kvm_probe_result *results, size_t n, bool ok)
{
	for (size_t i = 0; i < n; i++) {
		(void)printf("%-4s  %s: %s\n", words[results[i].status], results[i].name,
			     results[i].text);
		if (results[i].fix[0])
			(void)printf("      %s\n", results[i].fix);
	}
	(void)printf("%s\n",
		     ok ? "This host can run containers." : "This host cannot run containers yet.");
}

static int print_json(const struct kvm_probe_result *results, size_t n, struct err *err)
{
	cleanup_free char *text = NULL;
	struct json_writer w;
	ssize_t len;

	json_write_init(&w, "  ", JSON_MAX);
	json_write_open(&w, '[');
	for (size_t i = 0; i < n; i++) {
		json_write_open(&w, '{');
		json_write_key(&w, "name");
		json_write_string(&w, results[i].name);
		json_write_key(&w, "status");
		json_write_string(&w, json_words[results[i].status]);
		json_write_key(&w, "text");
		json_write_string(&w, results[i].text);
		json_write_key(&w, "fix");
		json_write_string(&w, results[i].fix);
		json_write_close(&w, '}');
	}
	json_write_close(&w, ']');
	len = json_write_end(&w, &text, err);
	if (len < 0)
		return (int)len;
	(void)printf("%s\n", text);
	return 0;
}

static int run_check(const struct globals *globals, const void *opaque, const struct cli_args *args,
		     struct err *err)
{
	const struct check_options *given = opaque;
	struct kvm_probe_result results[CHECK_RESULTS_MAX] = {0};
	size_t n = kvm_probe("/dev/kvm", results, KVM_PROBE_RESULTS_MAX);
	bool ok = true;
	int r;

	(void)args;
	n += check_host(globals, results + n, CHECK_RESULTS_MAX - n);
	for (size_t i = 0; i < n; i++)
		ok = ok && results[i].status != KVM_PROBE_FAIL;
	if (given->json) {
		r = print_json(results, n, err);
		if (r < 0)
			return r;
	} else {
		print_text(results, n, ok);
	}
	return ok ? 0 : EXIT_FAILURE;
}

const struct cli_command command_check = {
	.name = "check",
	.summary = "tell whether this host can run containers, and what is missing",
	.usage = "",
	.options = options,
	.options_size = sizeof(struct check_options),
	.run = run_check,
};
