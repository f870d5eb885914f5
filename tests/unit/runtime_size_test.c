/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's size from limits, and what `update` is told. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/cleanup.h"
#include "runtime/settings.h"
#include "runtime/size.h"
#include "runtime/update_options.h"

#define MIB (1ull << 20)

static uint32_t vcpus(const char *resources, const char *rest, uint32_t host)
{
	CLEANUP(oci_config) struct oci_config *config = NULL;
	struct settings settings;
	char text[1024];
	struct err err = {0};
	uint32_t n = 0;
	int r;

	(void)snprintf(text, sizeof(text),
		       "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"linux\":{"
		       "\"resources\":{\"cpu\":{%s}}}%s}",
		       resources, rest);
	if (oci_config_parse(text, strlen(text), &config, &err) < 0)
		fail_msg("%s", err.msg);
	settings_defaults(&settings);
	r = settings_override(&settings, &config->annotations, &err);
	if (r == 0)
		r = size_vcpus(config, &settings, host, &n, &err);
	settings_release(&settings);
	return r < 0 ? 0 : n;
}

static void test_vcpus(void **state)
{
	(void)state;
	assert_int_equal(vcpus("", "", 8), 1);
	assert_int_equal(vcpus("\"quota\":100000", "", 8), 1);
	assert_int_equal(vcpus("\"quota\":100001", "", 8), 2);
	assert_int_equal(vcpus("\"quota\":150000,\"period\":50000", "", 8), 3);
	assert_int_equal(vcpus("\"quota\":1000,\"period\":50000", "", 8), 1);
	assert_int_equal(vcpus("\"quota\":-1", "", 8), 1);
	assert_int_equal(vcpus("\"quota\":0", "", 8), 1);
	assert_int_equal(vcpus("\"cpus\":\"1,4-6\"", "", 8), 4);
	assert_int_equal(vcpus("\"cpus\":\"0-7\",\"quota\":250000", "", 8), 3);
	assert_int_equal(vcpus("\"cpus\":\"3\",\"quota\":250000", "", 8), 1);
	assert_int_equal(vcpus("\"cpus\":\"0-63\"", "", 8), 8);
	assert_int_equal(vcpus("\"quota\":9000000", "", 8), 8);
	assert_int_equal(vcpus("\"quota\":9223372036854775807,\"period\":1000", "", 1000), 254);
	/* As it is said, whatever the host has */
	assert_int_equal(vcpus("\"quota\":100000", ",\"vm\":{\"hwConfig\":{\"vcpus\":12}}", 8), 12);
	assert_int_equal(vcpus("", ",\"vm\":{\"hwConfig\":{\"vcpus\":255}}", 8), 0);
	assert_int_equal(vcpus("", ",\"annotations\":{\"org.caisson.default-vcpus\":\"4\"}", 8), 4);
	assert_int_equal(vcpus("", ",\"annotations\":{\"org.caisson.default-vcpus\":\"4\"}", 2), 2);
	assert_int_equal(vcpus("\"quota\":200000",
			       ",\"annotations\":{\"org.caisson.default-vcpus\":\"4\"}", 8),
			 2);
	assert_int_equal(vcpus("\"quota\":600000",
			       ",\"annotations\":{\"org.caisson.default-vcpus\":\"4\"}", 8),
			 6);
	assert_int_equal(vcpus("", ",\"annotations\":{\"org.caisson.default-vcpus\":\"0\"}", 8), 0);
	assert_int_equal(vcpus("", ",\"annotations\":{\"org.caisson.default-vcpus\":\"255\"}", 8),
			 0);
	assert_int_equal(vcpus("", ",\"annotations\":{\"org.caisson.default-vcpus\":\"-1\"}", 8),
			 0);
}

static uint64_t memory(const char *annotation)
{
	struct oci_pair pair = {(char *)"org.caisson.default-memory-bytes", (char *)annotation};
	struct oci_config config = {.annotations = {.items = &pair, .n = 1}};
	struct settings settings;
	uint64_t bytes = 0;

	settings_defaults(&settings);
	if (settings_override(&settings, &config.annotations, NULL) < 0)
		return 0;
	return size_memory(&config, &settings, 4096 * MIB, &bytes, NULL) < 0 ? 0 : bytes;
}

/* The guest's memory on a host of 4 GiB; 0: refused with a message that has @word */
static uint64_t memory_of(const struct settings *settings, uint64_t wanted, int64_t limit,
			  const char *word)
{
	struct oci_config config = {.vm.memory_bytes = wanted};
	struct err err = {0};
	uint64_t bytes = 0;

	config.linux_.resources.memory.limit.value = limit;
	if (size_memory(&config, settings, 4096 * MIB, &bytes, &err) == 0)
		return bytes;
	if (!strstr(err.msg, word))
		fail_msg("%s", err.msg);
	return 0;
}

static void test_maxima(void **state)
{
	struct settings settings;
	struct oci_config config = {0};
	uint32_t n = 0;

	(void)state;
	settings_defaults(&settings);
	assert_int_equal(memory_of(&settings, 0, 0, ""), 512 * MIB);
	assert_int_equal(memory_of(&settings, 4096 * MIB, 0, ""), 4096 * MIB);
	assert_int_equal(memory_of(&settings, 4096 * MIB + 1, 0, "host's"), 0);
	assert_int_equal(memory_of(&settings, 1, 0, "not between"), 0);
	settings.default_memory_bytes = 1024 * MIB;
	settings.max_memory_bytes = 1025 * MIB;
	assert_int_equal(memory_of(&settings, 0, 0, ""), 1024 * MIB);
	assert_int_equal(memory_of(&settings, 0, 2048ll * MIB, ""), 1024 * MIB);
	assert_int_equal(memory_of(&settings, 0, 256 * MIB, ""), (256 + 4 + 64) * MIB);
	assert_int_equal(memory_of(&settings, 2048 * MIB, 0, "maximum"), 0);
	assert_int_equal(memory_of(&settings, 1000 * MIB, 0, ""), 1000 * MIB);
	settings.default_memory_bytes = settings.max_memory_bytes = 4098 * MIB;
	assert_int_equal(memory_of(&settings, 0, 0, "default-memory-bytes"), 0);
	settings.max_vcpus = 2;
	config.linux_.resources.cpu.quota.value = 400000;
	assert_int_equal(size_vcpus(&config, &settings, 8, &n, NULL), 0);
	assert_int_equal(n, 2);
	config.vm.vcpus = 3;
	assert_int_equal(size_vcpus(&config, &settings, 8, &n, NULL), -EINVAL);
	config.vm.vcpus = 2;
	assert_int_equal(size_vcpus(&config, &settings, 1, &n, NULL), 0);
	assert_int_equal(n, 2);
}

static void test_memory(void **state)
{
	struct limits_machine size = {0};
	struct oci_config config = {0};
	struct settings settings;

	(void)state;
	settings_defaults(&settings);
	assert_int_equal(memory("268435457"), 258 * MIB);
	assert_int_equal(memory("67108863"), 0);
	assert_int_equal(memory("5368709120"), 0);
	assert_int_equal(memory("256m"), 0);
	assert_int_equal(memory(""), 0);
	/* 64 bytes for each page, and the kernel's own */
	assert_int_equal(size_memory_for(1024 * MIB, 8192 * MIB, UINT64_MAX),
			 (1024 + 16 + 64) * MIB);
	assert_int_equal(size_memory_for(1, 8192 * MIB, UINT64_MAX), 128 * MIB);
	assert_int_equal(size_guest(&config, &settings, &size, NULL), 0);
	assert_int_equal(size.memory_bytes, 512 * MIB);
	assert_int_equal(size.nvcpus, 1);
}

/* ---- update's options ---- */

static void test_bytes(void **state)
{
	static const struct {
		const char *text;
		int64_t bytes; /* -2: refused */
	} cases[] = {
		{"-1", -1},
		{"0", 0},
		{"4096", 4096},
		{"1k", 1024},
		{"1K", 1024},
		{"1kb", 1024},
		{"1KiB", 1024},
		{"512m", 512 << 20},
		{"1.5g", 3ll << 29},
		{"2 GB", 2ll << 30},
		{"1t", 1ll << 40},
		{"1p", 1ll << 50},
		{"8b", 8},
		{"", -2},
		{"m", -2},
		{"-2", -2},
		{"1x", -2},
		{"0x10", -2},
		{"1e3", -2},
		{"1kk", -2},
		{"99999999999p", -2},
		{"nan", -2},
		{".5m", -2},
		{"1 ", 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t bytes = -2;
		int r = update_bytes(cases[i].text, &bytes);

		if (cases[i].bytes == -2 ? r != -EINVAL : r != 0 || bytes != cases[i].bytes)
			fail_msg("'%s' gave %d, %lld", cases[i].text, r, (long long)bytes);
	}
}

/* Reads a command line; Return: what update_read() says */
static int read_options(const char *const *argv, struct oci_resources **out, struct err *err)
{
	struct update_options options = {0};
	struct cli_args rest = {0};
	int r = cli_parse(update_cli_options, argv, SIZE_MAX, &options, &rest, err);

	if (r == 0)
		r = update_read(&options, out, err);
	cli_args_release(&rest);
	return r;
}

static void test_options(void **state)
{
	static const char *const argv[] = {"--memory=64m",
					   "--memory-swap",
					   "-1",
					   "--memory-reservation",
					   "1024",
					   "--cpu-share",
					   "512",
					   "--cpu-quota=-1",
					   "--cpu-period",
					   "50000",
					   "--cpu-burst",
					   "0",
					   "--cpu-idle",
					   "1",
					   "--cpuset-cpus",
					   "0-1",
					   "--cpuset-mems",
					   "0",
					   "--pids-limit",
					   "-1",
					   "--blkio-weight",
					   "10",
					   "--cpu-rt-period",
					   "5",
					   "--cpu-rt-runtime",
					   "6",
					   "id",
					   NULL};
	CLEANUP(oci_resources) struct oci_resources *r = NULL;
	struct err err = {0};

	(void)state;
	if (read_options(argv, &r, &err) != 0)
		fail_msg("%s", err.msg);
	assert_int_equal(r->memory.limit.value, 64 * MIB);
	assert_int_equal(r->memory.swap.value, -1);
	assert_int_equal(r->memory.reservation.value, 1024);
	assert_int_equal(r->cpu.shares.value, 512);
	assert_int_equal(r->cpu.quota.value, -1);
	assert_int_equal(r->cpu.period.value, 50000);
	assert_true(r->cpu.burst.given && r->cpu.burst.value == 0);
	assert_int_equal(r->cpu.idle.value, 1);
	assert_string_equal(r->cpu.cpus, "0-1");
	assert_string_equal(r->cpu.mems, "0");
	assert_int_equal(r->pids_limit.value, -1);
	assert_int_equal(r->io.weight.value, 10);
	assert_int_equal(r->cpu.realtime_period.value, 5);
	assert_int_equal(r->cpu.realtime_runtime.value, 6);
	assert_false(r->memory.kernel.given);
}

static void test_bad_options(void **state)
{
	static const struct {
		const char *option, *value, *words;
	} cases[] = {
		{"--memory", "x", "invalid value for memory: invalid size: 'x'"},
		{"--cpu-share", "-5", "invalid value for cpu-share"},
		{"--cpu-quota", "1.5", "invalid value for cpu-quota"},
		{"--pids-limit", "many", "invalid value for pids-limit"},
		{"--cpu-idle", "2", "cpu.idle"},
		{"--blkio-weight", "5", "blockIO.weight"},
		{"--cpuset-cpus", "a", "cpu.cpus"},
		{"--l3-cache-schema", "L3:0=f", "Intel RDT/CAT: l3 cache schema is not enabled"},
		{"--mem-bw-schema", "MB:0=20",
		 "Intel RDT/MBA: memory bandwidth schema is not enabled"},
		{"--resources", "/nowhere/r.json", "/nowhere/r.json"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *argv[] = {cases[i].option, cases[i].value, "id", NULL};
		CLEANUP(oci_resources) struct oci_resources *r = NULL;
		struct err err = {0};

		assert_true(read_options(argv, &r, &err) < 0);
		if (!strstr(err.msg, cases[i].words))
			fail_msg("'%s' does not say '%s'", err.msg, cases[i].words);
	}
}

/* Standard input counts alone */
static void test_stdin(void **state)
{
	static const char text[] = "{\"pids\":{\"limit\":7}}";
	const char *argv[] = {"-r", "-", "--pids-limit", "9", NULL};
	CLEANUP(oci_resources) struct oci_resources *r = NULL;
	struct err err = {0};
	int pipe_fds[2], saved = dup(STDIN_FILENO);

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(write(pipe_fds[1], text, sizeof(text) - 1), sizeof(text) - 1);
	(void)close(pipe_fds[1]);
	(void)dup2(pipe_fds[0], STDIN_FILENO);
	(void)close(pipe_fds[0]);
	assert_int_equal(read_options(argv, &r, &err), 0);
	(void)dup2(saved, STDIN_FILENO);
	(void)close(saved);
	assert_int_equal(r->pids_limit.value, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vcpus),	cmocka_unit_test(test_memory),
		cmocka_unit_test(test_maxima),	cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_options), cmocka_unit_test(test_bad_options),
		cmocka_unit_test(test_stdin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
