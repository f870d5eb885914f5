/* SPDX-License-Identifier: Apache-2.0 */
/* Names of signals, as `kill` takes them: any case, with or without SIG, or a number. */
#include "runtime/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/cleanup.h"

/* Of the kernel's, not the C library's, which keeps two for itself */
#define SIGNAL_RTMIN 34
#define SIGNAL_MAX 64

static const struct {
	const char *name;
	int number;
} aliases[] = {
	{"CLD", SIGCHLD}, {"IO", SIGIO}, {"IOT", SIGABRT}, {"POLL", SIGPOLL}, {"UNUSED", SIGSYS},
};

static int parse_number(const char *text)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (errno || end == text || *end || number < 0 || number > SIGNAL_MAX)
		return -1;
	return (int)number;
}

static int parse_realtime(const char *name)
{
	int base = strncasecmp(name, "RTMIN", 5) == 0	? SIGNAL_RTMIN
		   : strncasecmp(name, "RTMAX", 5) == 0 ? SIGNAL_MAX
							: -1;
	int offset;

	if (base < 0)
		return -1;
	if (!name[5])
		return base;
	if (name[5] != (base == SIGNAL_MAX ? '-' : '+') || name[6] < '0' || name[6] > '9')
		return -1;
	offset = parse_number(name + 6);
	if (offset < 0 || offset > SIGNAL_MAX - SIGNAL_RTMIN)
		return -1;
	return base == SIGNAL_MAX ? base - offset : base + offset;
}

int signal_parse(const char *text)
{
	const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;

	if (text[0] >= '0' && text[0] <= '9')
		return parse_number(text);
	for (int i = 1; i < SIGNAL_RTMIN; i++) {
		const char *known = sigabbrev_np(i);

		if (known && strcasecmp(known, name) == 0)
			return i;
	}
	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
		if (strcasecmp(aliases[i].name, name) == 0)
			return aliases[i].number;
	}
	return parse_realtime(name);
}
