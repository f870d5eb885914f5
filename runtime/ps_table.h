/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of `caisson ps`: what runc gets from ps(1) on the host, made here, since the processes are the guest's. Options are
 * ps(1)'s, as far as they choose columns (docs/cli.md lists them); others are refused by name.
 */
#ifndef RUNTIME_PS_TABLE_H
#define RUNTIME_PS_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "shim/control.h"

#define PS_COLUMNS_MAX 32

struct ps_column;

struct ps_format {
	struct {
		const struct ps_column *column; /* static */
		char *header;			/* owned */
	} columns[PS_COLUMNS_MAX];
	size_t n;
};

/* Where names of users come from: a passwd file's text, borrowed, printable but for its line ends; "" or NULL: numbers */
struct ps_users {
	const char *passwd;
};

/**
 * ps_format_parse() - Which columns, by the arguments of ps(1)
 * @args:	@n of them; none means -ef
 * @out:	Zero-initialised; release with ps_format_release(), also after a failure
 *
 * Return: 0; -EINVAL for what is not supported, or a format without PID; -ENOMEM
 */
int ps_format_parse(const char *const *args, size_t n, struct ps_format *out, struct err *err);
void ps_format_release(struct ps_format *format);

/** ps_table_header(), ps_table_row() - One line without its end, the caller's; NULL without memory */
char *ps_table_header(const struct ps_format *format);
char *ps_table_row(const struct ps_format *format, const struct control_processes *processes,
		   size_t index, const struct ps_users *users);

#endif
