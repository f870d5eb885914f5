/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest says of its processes and figures: decoded, cleaned, or refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/agent.pb-c.h"
#include "shim/control.h"

static ProtobufCBinaryData bytes_of(const char *text, size_t len)
{
	return (ProtobufCBinaryData){.data = (uint8_t *)text, .len = len};
}

static int decode_processes(Caisson__Agent__ProcessInfo *info, size_t n,
			    struct control_processes *out)
{
	Caisson__Agent__ProcessesResponse response = CAISSON__AGENT__PROCESSES_RESPONSE__INIT;
	Caisson__Agent__ProcessInfo **list = calloc(n + 1, sizeof(*list));
	struct err err = {0};
	uint8_t *bytes;
	size_t len;
	int r;

	for (size_t i = 0; i < n; i++)
		list[i] = &info[n == 1 ? 0 : i];
	response.processes = list;
	response.n_processes = n;
	response.memory_bytes = 1000;
	response.cut = true;
	len = caisson__agent__processes_response__get_packed_size(&response);
	bytes = malloc(len + 1);
	(void)caisson__agent__processes_response__pack(&response, bytes);
	r = control_processes_decode(bytes, len, out, &err);
	assert_int_equal(r, -err.code);
	free(bytes);
	free(list);
	return r;
}

static void test_process(void **state)
{
	Caisson__Agent__ProcessInfo info = CAISSON__AGENT__PROCESS_INFO__INIT;
	struct control_processes processes;

	(void)state;
	info.pid = 3;
	info.state = 'S';
	info.name = bytes_of("s\nh", 3);
	info.command = bytes_of("sh\0-c\0echo \xff\033[1m\0\0", 18);
	info.elapsed_ms = UINT64_MAX;
	assert_int_equal(decode_processes(&info, 1, &processes), 0);
	assert_int_equal(processes.n, 1);
	assert_true(processes.cut);
	assert_int_equal(processes.memory_bytes, 1000);
	assert_string_equal(processes.items[0].name, "s?h");
	assert_string_equal(processes.items[0].command, "sh -c echo ??[1m");
	assert_int_equal(processes.items[0].state, 'S');
	control_processes_release(&processes);
	info.command = bytes_of("", 0);
	info.state = '\n';
	assert_int_equal(decode_processes(&info, 1, &processes), 0);
	assert_string_equal(processes.items[0].command, "");
	assert_int_equal(processes.items[0].state, '?');
	control_processes_release(&processes);
	assert_int_equal(decode_processes(&info, 0, &processes), 0);
	assert_int_equal(processes.n, 0);
	control_processes_release(&processes);
}

static void test_bad_process(void **state)
{
	Caisson__Agent__ProcessInfo info = CAISSON__AGENT__PROCESS_INFO__INIT, bad;
	struct control_processes processes;

	(void)state;
	info.pid = 1;
	assert_int_equal(decode_processes(&info, 1, &processes), 0);
	control_processes_release(&processes);
	bad = info;
	bad.pid = 0;
	assert_int_equal(decode_processes(&bad, 1, &processes), -EPROTO);
	bad = info;
	bad.parent_pid = -1;
	assert_int_equal(decode_processes(&bad, 1, &processes), -EPROTO);
	bad = info;
	bad.session_id = INT32_MIN;
	assert_int_equal(decode_processes(&bad, 1, &processes), -EPROTO);
	bad = info;
	bad.name = bytes_of("a name of 16 byt", 16);
	assert_int_equal(decode_processes(&bad, 1, &processes), -EPROTO);
	assert_int_equal(control_processes_decode((const uint8_t *)"\377", 1, &processes, NULL),
			 -EPROTO);
}

static void test_many_processes(void **state)
{
	const size_t n = 4096;
	Caisson__Agent__ProcessInfo *info = calloc(100000, sizeof(*info));
	struct control_processes processes;

	(void)state;
	for (size_t i = 0; i < 100000; i++) {
		caisson__agent__process_info__init(&info[i]);
		info[i].pid = (int32_t)i + 1;
		info[i].command = bytes_of("sleep\0"
					   "1",
					   7);
	}
	assert_int_equal(decode_processes(info, n, &processes), 0);
	assert_int_equal(processes.n, n);
	assert_int_equal(processes.items[n - 1].pid, n);
	control_processes_release(&processes);
	/* More than the agent gives: refused by number, or by the memory that they would take */
	assert_int_equal(decode_processes(info, 8193, &processes), -EPROTO);
	assert_int_equal(decode_processes(info, 100000, &processes), -EPROTO);
	free(info);
}

/* ---- figures ---- */

static int decode_stats(const Caisson__Agent__StatsResponse *response, struct control_stats *out)
{
	size_t len = caisson__agent__stats_response__get_packed_size(response);
	uint8_t *bytes = malloc(len + 1);
	struct err err = {0};
	int r;

	(void)caisson__agent__stats_response__pack(response, bytes);
	r = control_stats_decode(bytes, len, out, &err);
	assert_int_equal(r, -err.code);
	free(bytes);
	return r;
}

static void test_stats(void **state)
{
	Caisson__Agent__StatsResponse response = CAISSON__AGENT__STATS_RESPONSE__INIT;
	Caisson__Agent__MemoryFigures memory = CAISSON__AGENT__MEMORY_FIGURES__INIT;
	Caisson__Agent__Pressure pressure = CAISSON__AGENT__PRESSURE__INIT;
	Caisson__Agent__NamedFigure file = CAISSON__AGENT__NAMED_FIGURE__INIT,
				    anon = CAISSON__AGENT__NAMED_FIGURE__INIT,
				    *list[] = {&file, &anon};
	Caisson__Agent__DeviceFigures device = CAISSON__AGENT__DEVICE_FIGURES__INIT,
				      *devices[] = {&device};
	struct control_stats stats;

	(void)state;
	memory.usage = 1;
	memory.max_usage = 2;
	memory.limit = UINT64_MAX;
	pressure.some_60 = 123;
	file.name = (char *)"file";
	file.value = 9;
	anon.name = (char *)"anon";
	device.major = 254;
	device.writes = 4;
	response.cpu_total_ns = 5;
	response.memory = &memory;
	response.memory_stat = list;
	response.n_memory_stat = 2;
	response.io = devices;
	response.n_io = 1;
	response.io_pressure = &pressure;
	assert_int_equal(decode_stats(&response, &stats), 0);
	assert_int_equal(stats.cpu_total_ns, 5);
	assert_true(stats.has_memory && !stats.has_swap);
	assert_true(stats.memory.limit == UINT64_MAX && stats.memory.max_usage == 2);
	assert_int_equal(stats.nmemory_stat, 2);
	assert_string_equal(stats.memory_stat[0].name, "anon");
	assert_string_equal(stats.memory_stat[1].name, "file");
	assert_int_equal(stats.memory_stat[1].value, 9);
	assert_int_equal(stats.io[0].writes, 4);
	assert_true(stats.io_pressure.present && !stats.cpu_pressure.present);
	assert_int_equal(stats.io_pressure.some[1], 123);
	control_stats_release(&stats);
}

static void test_bad_stats(void **state)
{
	static const char *const names[] = {
		"",	    "a b",
		"a\"b",	    "a\nb",
		"\xc3\xbc", "0123456789012345678901234567890123456789012345678901234567890123"};
	Caisson__Agent__StatsResponse response = CAISSON__AGENT__STATS_RESPONSE__INIT;
	Caisson__Agent__NamedFigure figure = CAISSON__AGENT__NAMED_FIGURE__INIT,
				    *list[] = {&figure, &figure};
	Caisson__Agent__HugetlbFigures size = CAISSON__AGENT__HUGETLB_FIGURES__INIT,
				       *sizes[] = {&size};
	struct control_stats stats;

	(void)state;
	response.memory_stat = list;
	response.n_memory_stat = 1;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		figure.name = (char *)names[i];
		assert_int_equal(decode_stats(&response, &stats), -EPROTO);
	}
	figure.name = (char *)"file_dirty";
	assert_int_equal(decode_stats(&response, &stats), 0);
	control_stats_release(&stats);
	response.n_memory_stat = 2; /* the same twice */
	assert_int_equal(decode_stats(&response, &stats), -EPROTO);
	response.n_memory_stat = 0;
	response.hugetlb = sizes;
	response.n_hugetlb = 1;
	size.size = (char *)"../x";
	assert_int_equal(decode_stats(&response, &stats), -EPROTO);
	size.size = (char *)"2MB";
	assert_int_equal(decode_stats(&response, &stats), 0);
	assert_string_equal(stats.hugetlb[0].size, "2MB");
	control_stats_release(&stats);
	assert_int_equal(control_stats_decode((const uint8_t *)"\377\377", 2, &stats, NULL),
			 -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_process),	       cmocka_unit_test(test_bad_process),
		cmocka_unit_test(test_many_processes), cmocka_unit_test(test_stats),
		cmocka_unit_test(test_bad_stats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
