/* SPDX-License-Identifier: Apache-2.0 */
/* The table of `ps`: ps(1)'s arguments, its headings and columns, and lines that cannot be forged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "runtime/ps_table.h"

#define MAX_ARGS 4

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\nbad line\n:x:5:\nhalf:x:6\n"
			     "systemd-network:x:998:1:::\nuser:x:1000:1000::/:/bin/sh\n"
			     "second:x:1000:0:::\n";

static struct control_process process_of(int pid)
{
	return (struct control_process){
		.pid = pid,
		.parent_pid = 1,
		.group_id = pid,
		.session_id = pid,
		.uid = 1000,
		.gid = 100,
		.state = 'S',
		.terminal = 136 << 8 | 3,
		.threads = 1,
		.start_s = 1700000000,
		.elapsed_ms = 100000,
		.cpu_ms = 61500,
		.virtual_bytes = 8 << 20,
		.resident_bytes = 4 << 20,
		.name = "sh",
		.command = (char *)"sh -c true",
	};
}

static void check_lines(const char *const *args, const struct control_process *process,
			const char *header, const char *row)
{
	struct control_process copy = *process;
	struct control_processes list = {
		.items = &copy, .n = 1, .memory_bytes = 64 << 20, .now_s = 1700000100};
	struct ps_users users = {.passwd = passwd};
	cleanup_free char *first = NULL, *second = NULL;
	struct ps_format format = {0};
	struct err err = {0};
	size_t n = 0;

	while (args[n])
		n++;
	if (ps_format_parse(args, n, &format, &err) < 0)
		fail_msg("%s: %s", args[0] ? args[0] : "", err.msg);
	first = ps_table_header(&format);
	second = ps_table_row(&format, &list, 0, &users);
	assert_string_equal(first, header);
	assert_string_equal(second, row);
	ps_format_release(&format);
}

#define A(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_formats(void **state)
{
	struct control_process p = process_of(42);

	(void)state;
	(void)setenv("TZ", "UTC", 1);
	tzset();
	/* 2023-11-14 22:13:20, and now a little later */
	for (size_t i = 0; i < 4; i++)
		check_lines(((const char *const[4][3]){
				    {NULL}, {"-ef", NULL}, {"-e", "-f", NULL}, {"-fA", NULL}})[i],
			    &p, "UID          PID    PPID  C STIME TTY          TIME CMD",
			    "user          42       1 61 22:13 pts/3    00:01:01 sh -c true");
	for (size_t i = 0; i < 3; i++)
		check_lines(((const char *const[3][2]){
				    {"aux", NULL}, {"-aux", NULL}, {"auxww", NULL}})[i],
			    &p,
			    "USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME "
			    "COMMAND",
			    "user          42 61.5  6.2   8192  4096 pts/3    Ss   22:13   1:01 sh "
			    "-c true");
	check_lines(A("-e"), &p, "    PID TTY          TIME CMD", "     42 pts/3    00:01:01 sh");
	check_lines(A("ax"), &p, "    PID TTY      STAT   TIME COMMAND",
		    "     42 pts/3    Ss     1:01 sh -c true");
	check_lines(A("-o", "pid,cmd"), &p, "    PID CMD", "     42 sh -c true");
	check_lines(A("-opid", "-o", "comm args"), &p, "    PID COMMAND         COMMAND",
		    "     42 sh              sh -c true");
	check_lines(A("-eo", "pid,user=WHO IS,THIS"), &p, "    PID WHO IS,THIS", "     42 user");
	check_lines(A("axo", "pid,%cpu,pmem,vsz,rss,s,nlwp,ni,gid,uid,pgid,sid"), &p,
		    "    PID %CPU %MEM    VSZ   RSS S NLWP  NI   GID   UID    PGID     SID",
		    "     42 61.5  6.2   8192  4096 S    1   0   100  1000      42      42");
	check_lines(A("--format=pid,etime,etimes,bsdtime"), &p,
		    "    PID     ELAPSED ELAPSED   TIME", "     42       01:40     100   1:01");
	check_lines(A("-o", "PID,lstart"), &p, "    PID                  STARTED",
		    "     42 Tue Nov 14 22:13:20 2023");
}

static void test_refusals(void **state)
{
	static const struct {
		const char *const args[MAX_ARGS];
		const char *sentence;
	} cases[] = {
		{{"-o", "user,cmd"}, "couldn't find PID field in ps output"},
		{{"-o", "pid=,cmd"}, "couldn't find PID field in ps output"},
		{{"-o", "pid,nosuch"}, "ps: unknown user-defined format specifier \"nosuch\""},
		{{"-o"}, "ps: format specification must follow -o"},
		{{"-p", "1"}, "ps: '-p' is not supported for the processes of a guest"},
		{{"-efH"}, "ps: '-efH' is not supported for the processes of a guest"},
		{{"--sort=pid"}, "ps: '--sort=pid' is not supported for the processes of a guest"},
		{{"auxf"}, "ps: 'auxf' is not supported for the processes of a guest"},
		{{"1"}, "ps: '1' is not supported for the processes of a guest"},
		{{"-"}, "ps: '-' is not supported for the processes of a guest"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ps_format format = {0};
		struct err err = {0};
		size_t n = 0;

		while (cases[i].args[n])
			n++;
		assert_true(ps_format_parse(cases[i].args, n, &format, &err) < 0);
		assert_string_equal(err.msg, cases[i].sentence);
		ps_format_release(&format);
	}
}

static void test_too_many(void **state)
{
	struct ps_format format = {0};
	struct err err = {0};
	char list[8 * PS_COLUMNS_MAX] = "pid";

	(void)state;
	for (int i = 0; i < PS_COLUMNS_MAX; i++)
		strcat(list, ",pid");
	assert_true(ps_format_parse(A("-o", list), 2, &format, &err) < 0);
	assert_string_equal(err.msg, "ps: more than 32 columns");
	ps_format_release(&format);
}

static void check_cell(const char *column, const struct control_process *process, const char *text)
{
	char row[256], list[64];

	strcpy(list, "pid,");
	strcat(list, column);
	strcat(list, "=X");
	strcpy(row, "     42 ");
	strcat(row, text);
	check_lines(A("-o", list), process, strcmp(column, "c") == 0 ? "    PID  X" : "    PID X",
		    row);
}

static void test_cells(void **state)
{
	struct control_process p = process_of(42);

	(void)state;
	p.uid = 998;
	check_cell("user", &p, "systemd+");
	p.uid = 6; /* a line that is cut after it */
	check_cell("user", &p, "half");
	p.uid = 4294967294u;
	check_cell("user", &p, "4294967294");
	p.terminal = 0;
	check_cell("tty", &p, "?");
	p.terminal = 5 << 8 | 1;
	check_cell("tty", &p, "console");
	p.terminal = 4 << 8 | 64;
	check_cell("tty", &p, "ttyS0");
	p.terminal = 4 << 8 | 3;
	check_cell("tty", &p, "tty3");
	p.terminal = 136 << 8 | 0x2c | 1 << 20; /* minor 300 */
	check_cell("tty", &p, "pts/300");
	p.state = 'R';
	p.nice = -1;
	p.threads = 2;
	p.session_id = 1;
	p.foreground = true;
	check_cell("stat", &p, "R<l+");
	p.nice = 5;
	check_cell("stat", &p, "RNl+");
	p.state = 'Z';
	p.command = (char *)"";
	check_cell("cmd", &p, "[sh] <defunct>");
	check_cell("comm", &p, "sh <defunct>");
	p.start_s = 1690000000;
	check_cell("stime", &p, "Jul22");
	p.start_s = 1;
	check_cell("stime", &p, "1970");
	p.elapsed_ms = 0; /* nothing divides by it */
	p.cpu_ms = 5;
	check_cell("c", &p, "99");
}

static void test_times(void **state)
{
	struct control_process p = process_of(42);

	(void)state;
	p.cpu_ms = 90061000;
	check_lines(A("-o", "pid,time"), &p, "    PID     TIME", "     42 1-01:01:01");
	p.cpu_ms = UINT64_MAX;
	check_lines(A("-o", "pid,time"), &p, "    PID     TIME", "     42 213503982334-14:25:51");
	p.elapsed_ms = 3661000;
	check_lines(A("-o", "pid,etime"), &p, "    PID     ELAPSED", "     42    01:01:01");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),	 cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_too_many), cmocka_unit_test(test_cells),
		cmocka_unit_test(test_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
