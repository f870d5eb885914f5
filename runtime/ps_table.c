/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of `caisson ps`: see runtime/ps_table.h, ps(1).
 *
 * A column is a row of columns[]: its names, its heading, its width, how one process is shown in it. The formats of -ef, aux and
 * so on are lists of such names.
 */
#include "runtime/ps_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/buf.h"

#define CELL_MAX 128
#define LINE_MAX_BYTES (64u << 10)
#define NAMES_MAX 5

/* One cell under way */
struct cell {
	const struct control_process *process;
	const struct control_processes *all;
	const struct ps_users *users;
	char text[CELL_MAX];
};

struct ps_column {
	const char *names[NAMES_MAX]; /* as -o takes them, ended by NULL */
	const char *header;
	int width; /* below 0: left-aligned */
	/* Return: the cell's own text, or one of the process */
	const char *(*show)(struct cell *cell);
};

/* ---- cells ---- */

__attribute__((format(printf, 2, 3))) static const char *print(struct cell *cell, const char *fmt,
							       ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(cell->text, sizeof(cell->text), fmt, ap);
	va_end(ap);
	return cell->text;
}

/* A user's name in a line "name:x:uid:…" of a passwd file; longer than the column it is cut, and a '+' says so */
static const char *show_user(struct cell *cell)
{
	const char *line = cell->users->passwd;
	char number[16];

	(void)snprintf(number, sizeof(number), "%" PRIu32, cell->process->uid);
	for (; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		size_t len = strcspn(line, ":\n");
		const char *uid = line[len] == ':' ? line + len + 1 : NULL;

		uid = uid && uid[strcspn(uid, ":\n")] == ':' ? uid + strcspn(uid, ":\n") + 1 : NULL;
		if (!uid || !len || strcspn(uid, ":\n") != strlen(number) ||
		    strncmp(uid, number, strlen(number)) != 0)
			continue;
		return len > 8 ? print(cell, "%.7s+", line) : print(cell, "%.*s", (int)len, line);
	}
	return print(cell, "%s", number);
}

static const char *show_uid(struct cell *cell)
{
	return print(cell, "%" PRIu32, cell->process->uid);
}

static const char *show_gid(struct cell *cell)
{
	return print(cell, "%" PRIu32, cell->process->gid);
}

static const char *show_pid(struct cell *cell)
{
	return print(cell, "%d", cell->process->pid);
}

static const char *show_parent(struct cell *cell)
{
	return print(cell, "%d", cell->process->parent_pid);
}

static const char *show_group(struct cell *cell)
{
	return print(cell, "%d", cell->process->group_id);
}

static const char *show_session(struct cell *cell)
{
	return print(cell, "%d", cell->process->session_id);
}

static const char *show_threads(struct cell *cell)
{
	return print(cell, "%" PRIu32, cell->process->threads);
}

static const char *show_nice(struct cell *cell)
{
	return print(cell, "%d", cell->process->nice);
}

/* CPU time of the time since its start, in parts of @whole */
static uint64_t cpu_share(const struct control_process *p, uint64_t whole)
{
	uint64_t elapsed = p->elapsed_ms ? p->elapsed_ms : 1, share;

	/* The figures are a guest's: without an overflow what they say is of no interest */
	if (__builtin_mul_overflow(p->cpu_ms, whole, &share))
		return UINT64_MAX;
	return share / elapsed;
}

static const char *show_c(struct cell *cell)
{
	uint64_t share = cpu_share(cell->process, 100);

	return print(cell, "%" PRIu64, share < 99 ? share : 99);
}

static const char *show_tenths(struct cell *cell, uint64_t tenths)
{
	if (tenths > 999)
		return print(cell, "%" PRIu64, tenths / 10);
	return print(cell, "%" PRIu64 ".%" PRIu64, tenths / 10, tenths % 10);
}

static const char *show_pcpu(struct cell *cell)
{
	return show_tenths(cell, cpu_share(cell->process, 1000));
}

static const char *show_pmem(struct cell *cell)
{
	uint64_t total = cell->all->memory_bytes ? cell->all->memory_bytes : 1;
	double share = (double)cell->process->resident_bytes * 1000 / (double)total;

	return show_tenths(cell, share < 999 ? (uint64_t)share : 999);
}

static const char *show_vsz(struct cell *cell)
{
	return print(cell, "%" PRIu64, cell->process->virtual_bytes / 1024);
}

static const char *show_rss(struct cell *cell)
{
	return print(cell, "%" PRIu64, cell->process->resident_bytes / 1024);
}

/* The device number's parts as the kernel packs them in /proc/PID/stat */
static const char *show_terminal(struct cell *cell)
{
	uint32_t number = cell->process->terminal;
	uint32_t major = number >> 8 & 0xfff, minor = (number & 0xff) | (number >> 12 & 0xfff00);

	if (major >= 136 && major <= 143)
		return print(cell, "pts/%" PRIu32, minor + (major - 136) * 256);
	if (major == 4)
		return minor < 64 ? print(cell, "tty%" PRIu32, minor)
				  : print(cell, "ttyS%" PRIu32, minor - 64);
	if (major == 5 && minor == 1)
		return "console";
	if (major == 229)
		return print(cell, "hvc%" PRIu32, minor);
	return "?";
}

static const char *show_state(struct cell *cell)
{
	return print(cell, "%c", cell->process->state);
}

static const char *show_stat(struct cell *cell)
{
	const struct control_process *p = cell->process;

	return print(cell, "%c%s%s%s%s%s", p->state, p->nice < 0 ? "<" : "", p->nice > 0 ? "N" : "",
		     p->session_id == p->pid ? "s" : "", p->threads > 1 ? "l" : "",
		     p->foreground ? "+" : "");
}

static const char *show_clock(struct cell *cell, uint64_t seconds)
{
	unsigned int s = seconds % 60, m = seconds / 60 % 60, h = seconds / 3600 % 24;

	if (seconds >= 86400)
		return print(cell, "%" PRIu64 "-%02u:%02u:%02u", seconds / 86400, h, m, s);
	return print(cell, "%02u:%02u:%02u", h, m, s);
}

static const char *show_time(struct cell *cell)
{
	return show_clock(cell, cell->process->cpu_ms / 1000);
}

static const char *show_bsd_time(struct cell *cell)
{
	uint64_t seconds = cell->process->cpu_ms / 1000;

	return print(cell, "%" PRIu64 ":%02u", seconds / 60, (unsigned int)(seconds % 60));
}

static const char *show_elapsed(struct cell *cell)
{
	uint64_t seconds = cell->process->elapsed_ms / 1000;

	if (seconds >= 3600)
		return show_clock(cell, seconds);
	return print(cell, "%02u:%02u", (unsigned int)(seconds / 60), (unsigned int)(seconds % 60));
}

static const char *show_elapsed_s(struct cell *cell)
{
	return print(cell, "%" PRIu64, cell->process->elapsed_ms / 1000);
}

/* Today its hour, this year its day, else its year; in this host's time zone */
static const char *show_start(struct cell *cell)
{
	time_t then = cell->process->start_s, now = cell->all->now_s;
	struct tm a, b;

	if (!localtime_r(&then, &a) || !localtime_r(&now, &b))
		return "?";
	if (!strftime(cell->text, sizeof(cell->text),
		      a.tm_year != b.tm_year   ? "%Y"
		      : a.tm_yday != b.tm_yday ? "%b%d"
					       : "%H:%M",
		      &a))
		return "?";
	return cell->text;
}

static const char *show_long_start(struct cell *cell)
{
	time_t then = cell->process->start_s;
	struct tm tm;

	if (!localtime_r(&then, &tm) ||
	    !strftime(cell->text, sizeof(cell->text), "%a %b %e %H:%M:%S %Y", &tm))
		return "?";
	return cell->text;
}

static const char *show_name(struct cell *cell)
{
	return print(cell, "%s%s", cell->process->name,
		     cell->process->state == 'Z' ? " <defunct>" : "");
}

static const char *show_command(struct cell *cell)
{
	if (cell->process->command[0])
		return cell->process->command;
	return print(cell, "[%s]%s", cell->process->name,
		     cell->process->state == 'Z' ? " <defunct>" : "");
}

/* ---- columns ---- */

static const struct ps_column columns[] = {
	{{"pid", "tgid"}, "PID", 7, show_pid},
	{{"ppid"}, "PPID", 7, show_parent},
	{{"pgid", "pgrp"}, "PGID", 7, show_group},
	{{"sid", "sess", "session"}, "SID", 7, show_session},
	{{"uid", "euid"}, "UID", 5, show_uid},
	{{"gid", "egid"}, "GID", 5, show_gid},
	{{"user", "euser", "uname"}, "USER", -8, show_user},
	{{"uid_hack"}, "UID", -8, show_user},
	{{"c"}, "C", 2, show_c},
	{{"pcpu", "%cpu"}, "%CPU", 4, show_pcpu},
	{{"pmem", "%mem"}, "%MEM", 4, show_pmem},
	{{"vsz", "vsize"}, "VSZ", 6, show_vsz},
	{{"rss", "rssize", "rsz"}, "RSS", 5, show_rss},
	{{"tty", "tt", "tname"}, "TTY", -8, show_terminal},
	{{"s", "state"}, "S", -1, show_state},
	{{"stat"}, "STAT", -4, show_stat},
	{{"stime"}, "STIME", -5, show_start},
	{{"start", "bsdstart", "start_time"}, "START", -5, show_start},
	{{"lstart"}, "STARTED", 24, show_long_start},
	{{"time", "cputime"}, "TIME", 8, show_time},
	{{"bsdtime"}, "TIME", 6, show_bsd_time},
	{{"etime"}, "ELAPSED", 11, show_elapsed},
	{{"etimes"}, "ELAPSED", 7, show_elapsed_s},
	{{"ni", "nice"}, "NI", 3, show_nice},
	{{"nlwp", "thcount"}, "NLWP", 4, show_threads},
	{{"comm", "ucmd", "ucomm"}, "COMMAND", -15, show_name},
	{{"fname"}, "CMD", -15, show_name},
	{{"cmd"}, "CMD", -27, show_command},
	{{"args", "command"}, "COMMAND", -27, show_command},
};

/* With "fname" for the CMD of a plain ps, which is a name */
static const char *const format_full = "uid_hack,pid,ppid,c,stime,tty,time,cmd";
static const char *const format_user = "user,pid,%cpu,%mem,vsz,rss,tty,stat,start,bsdtime,args";
static const char *const format_plain = "pid,tty,time,fname";
static const char *const format_bsd = "pid,tty,stat,bsdtime,args";
static const char *const format_jobs = "pid,pgid,sid,tty,time,fname";

static const struct ps_column *find_column(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		for (size_t k = 0; k < NAMES_MAX && columns[i].names[k]; k++) {
			if (strlen(columns[i].names[k]) == len &&
			    strncasecmp(columns[i].names[k], name, len) == 0)
				return &columns[i];
		}
	}
	return NULL;
}

/* ---- options ---- */

static int refuse(struct err *err, const char *argument)
{
	return err_set(err, EINVAL, "ps: '%.100s' is not supported for the processes of a guest",
		       argument);
}

static int add_column(struct ps_format *format, const struct ps_column *column, const char *header,
		      struct err *err)
{
	char *copy;

	if (format->n == PS_COLUMNS_MAX)
		return err_set(err, EINVAL, "ps: more than %d columns", PS_COLUMNS_MAX);
	copy = strdup(header);
	if (!copy)
		return err_sys(err, ENOMEM, "ps");
	format->columns[format->n].column = column;
	format->columns[format->n++].header = copy;
	return 0;
}

/* "pid,cmd", "pid cmd", "pid,user=WHO": a heading takes the rest of its argument */
static int add_columns(struct ps_format *format, const char *list, struct err *err)
{
	while (*list) {
		size_t len = strcspn(list, ", =");
		const struct ps_column *column = find_column(list, len);
		int r;

		if (len == 0 && *list != '=') {
			list++;
			continue;
		}
		if (!column)
			return err_set(err, EINVAL,
				       "ps: unknown user-defined format specifier \"%.*s\"",
				       (int)(len < 64 ? len : 64), list);
		if (list[len] == '=')
			return add_column(format, column, list + len + 1, err);
		r = add_column(format, column, column->header, err);
		if (r < 0)
			return r;
		list += len;
	}
	return 0;
}

/* What the arguments have said so far */
struct choice {
	struct ps_format *format;
	const char *preset; /* NULL: none of them */
	bool own;	    /* columns were named */
};

/* A cluster of letters; Return: 1 when it used @next as its value, 0, or -EINVAL */
static int take_letters(struct choice *choice, const char *argument, const char *letters, bool bsd,
			const char *next, struct err *err)
{
	for (const char *p = letters; *p; p++) {
		if (strchr(bsd ? "axgwc" : "eAadxgwN", *p))
			continue; /* which processes: always all of the container */
		if (*p == 'f' && !bsd) {
			choice->preset = format_full;
		} else if (*p == 'j' && !bsd) {
			choice->preset = format_jobs;
		} else if (*p == 'u' && bsd) {
			choice->preset = format_user;
		} else if (*p == 'o') {
			const char *list = p[1] ? p + 1 : next;

			if (!list)
				return err_set(err, EINVAL,
					       "ps: format specification must follow %s", argument);
			choice->own = true;
			if (add_columns(choice->format, list, err) < 0)
				return -EINVAL;
			return !p[1];
		} else {
			return refuse(err, argument);
		}
	}
	if (bsd && !choice->preset)
		choice->preset = format_bsd;
	return 0;
}

static int take_argument(struct choice *choice, const char *argument, const char *next,
			 struct err *err)
{
	static const char *const all[] = {"--everyone", "--all"};

	if (strncmp(argument, "--format=", 9) == 0) {
		choice->own = true;
		return add_columns(choice->format, argument + 9, err);
	}
	if (strcmp(argument, "--format") == 0)
		return take_letters(choice, argument, "o", false, next, err);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (strcmp(argument, all[i]) == 0)
			return 0;
	}
	if (argument[0] != '-')
		return take_letters(choice, argument, argument, true, next, err);
	if (argument[1] == '-' || !argument[1])
		return refuse(err, argument);
	/* "-aux", which ps(1) takes for "aux" too */
	if (argument[1] == 'a' && strchr(argument, 'u'))
		return take_letters(choice, argument, argument + 1, true, next, err);
	return take_letters(choice, argument, argument + 1, false, next, err);
}

/* runc finds processes in the output of ps(1) by this heading, and fails without */
static int check_pid(const struct ps_format *format, struct err *err)
{
	for (size_t i = 0; i < format->n; i++) {
		if (strcmp(format->columns[i].header, "PID") == 0)
			return 0;
	}
	return err_set(err, EINVAL, "couldn't find PID field in ps output");
}

int ps_format_parse(const char *const *args, size_t n, struct ps_format *out, struct err *err)
{
	struct choice choice = {.format = out};

	for (size_t i = 0; i < n; i++) {
		int r = take_argument(&choice, args[i], i + 1 < n ? args[i + 1] : NULL, err);

		if (r < 0)
			return r;
		i += (size_t)r;
	}
	if (!choice.own) {
		const char *preset = choice.preset ? choice.preset : n ? format_plain : format_full;
		int r = add_columns(out, preset, err);

		if (r < 0)
			return r;
	}
	return check_pid(out, err);
}

void ps_format_release(struct ps_format *format)
{
	for (size_t i = 0; i < format->n; i++)
		free(format->columns[i].header);
	format->n = 0;
}

/* ---- lines ---- */

/* The last column, if left-aligned, takes what it needs */
static int add_cell(struct buf *line, const struct ps_format *format, size_t i, const char *text)
{
	const struct ps_column *column = format->columns[i].column;
	int width = abs(column->width), heading = (int)strlen(format->columns[i].header);

	if (heading > width)
		width = heading;
	if (i + 1 == format->n && column->width < 0)
		return buf_printf(line, "%s%s", i ? " " : "", text);
	return buf_printf(line, column->width < 0 ? "%s%-*s" : "%s%*s", i ? " " : "", width, text);
}

static char *finish_line(struct buf *line, int r)
{
	if (r == 0)
		r = buf_append(line, "", 1);
	if (r < 0) {
		buf_release(line);
		return NULL;
	}
	return (char *)line->data;
}

char *ps_table_header(const struct ps_format *format)
{
	struct buf line = {.max = LINE_MAX_BYTES};
	int r = 0;

	for (size_t i = 0; i < format->n && r == 0; i++)
		r = add_cell(&line, format, i, format->columns[i].header);
	return finish_line(&line, r);
}

char *ps_table_row(const struct ps_format *format, const struct control_processes *processes,
		   size_t index, const struct ps_users *users)
{
	struct buf line = {.max = PS_COLUMNS_MAX * LINE_MAX_BYTES};
	struct cell cell = {.process = &processes->items[index], .all = processes, .users = users};
	int r = 0;

	for (size_t i = 0; i < format->n && r == 0; i++)
		r = add_cell(&line, format, i, format->columns[i].column->show(&cell));
	return finish_line(&line, r);
}
