/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest says: any bytes. Processes and figures that are accepted must be fit to print, and are printed (the bytes serve
 * as the container's passwd file too, cleaned as its reader does); short answers must leave a status or an error with a sentence.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/json.h"
#include "runtime/events_json.h"
#include "runtime/ps_table.h"
#include "shim/control.h"
#include "shim/monitor.h"

#define ROWS_MAX 16 /* printed: more is only slower */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			abort();
}

static void check_line(char *line)
{
	if (!line)
		abort();
	check_text(line);
	free(line);
}

/* As read_passwd() of runtime/ps.c leaves a file */
static char *clean_copy(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);

	if (!text)
		abort();
	for (char *p = text; *p; p++) {
		if (((unsigned char)*p < 0x20 && *p != '\n') || (unsigned char)*p >= 0x7f)
			*p = '?';
	}
	return text;
}

static void print_table(const struct control_processes *processes, const char *passwd)
{
	static const char *const formats[][2] = {{"-ef", NULL},
						 {"aux", NULL},
						 {"-eo",
						  "pid,ppid,pgid,sid,user,group,stat,tty,nlwp,"
						  "ni,lstart,etime,time,vsz,rss,pmem,comm,args"}};
	const struct ps_users users = {passwd};
	struct err err = {0};

	for (size_t f = 0; f < sizeof(formats) / sizeof(formats[0]); f++) {
		struct ps_format format = {0};

		if (ps_format_parse(formats[f], formats[f][1] ? 2 : 1, &format, &err) == 0) {
			check_line(ps_table_header(&format));
			for (size_t i = 0; i < processes->n && i < ROWS_MAX; i++)
				check_line(ps_table_row(&format, processes, i, &users));
		} else if (f < 2) {
			abort();
		}
		ps_format_release(&format);
	}
}

static void print_stats(const struct control_stats *stats)
{
	struct json_doc *doc = NULL;
	char *text = NULL;
	ssize_t n = events_json("stats", "i", stats, &text, NULL);

	if (n < 0 || json_parse("events", text, (size_t)n, (size_t)n, &doc, NULL) < 0)
		abort();
	json_doc_free(doc);
	free(text);
}

static void check_answer(const uint8_t *data, size_t size)
{
	struct ttrpc_result result = {.message = "", .payload = data, .len = size};
	uint64_t output[2] = {0};
	struct err err = {0};
	int status = agent_wait_status(&result, output);
	char message[256];

	if (status > 255)
		abort();
	(void)agent_oom_kills(&result, true);
	(void)agent_oom_kills(&result, false);
	if (size == 0)
		return;
	result.code = (enum ttrpc_code)(data[0] % 20);
	memcpy(message, data, size < sizeof(message) ? size : sizeof(message) - 1);
	message[size < sizeof(message) ? size : sizeof(message) - 1] = '\0';
	result.message = message;
	if ((agent_error(&result, &err) < 0) != (result.code != TTRPC_OK))
		abort();
	check_text(err.msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_processes processes;
	struct control_stats stats;
	struct err err = {0};
	char *passwd;

	if (control_processes_decode(data, size, &processes, &err) == 0) {
		for (size_t i = 0; i < processes.n; i++) {
			check_text(processes.items[i].name);
			check_text(processes.items[i].command);
			if (processes.items[i].pid <= 0)
				abort();
		}
		passwd = clean_copy(data, size);
		print_table(&processes, passwd);
		free(passwd);
		control_processes_release(&processes);
	}
	if (control_stats_decode(data, size, &stats, &err) == 0) {
		for (size_t i = 0; i < stats.nmemory_stat; i++)
			check_text(stats.memory_stat[i].name);
		for (size_t i = 0; i < stats.nhugetlb; i++)
			check_text(stats.hugetlb[i].size);
		print_stats(&stats);
		control_stats_release(&stats);
	}
	check_answer(data, size);
	return 0;
}
