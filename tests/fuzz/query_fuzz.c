/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest says of its processes and figures: any bytes; what is accepted must be fit to print. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shim/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_processes processes;
	struct control_stats stats;
	struct err err = {0};

	if (control_processes_decode(data, size, &processes, &err) == 0) {
		for (size_t i = 0; i < processes.n; i++) {
			check_text(processes.items[i].name);
			check_text(processes.items[i].command);
			if (processes.items[i].pid <= 0)
				abort();
		}
		control_processes_release(&processes);
	}
	if (control_stats_decode(data, size, &stats, &err) == 0) {
		for (size_t i = 0; i < stats.nmemory_stat; i++)
			check_text(stats.memory_stat[i].name);
		for (size_t i = 0; i < stats.nhugetlb; i++)
			check_text(stats.hugetlb[i].size);
		control_stats_release(&stats);
	}
	return 0;
}
