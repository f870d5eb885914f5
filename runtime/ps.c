/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson ps`: the container's processes in the guest, as a table; or, for engines that look for them in a list of the host's
 * processes (docker top), the pids on the host that stand for them: the monitor's and those of the stand-ins of `exec`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/path.h"
#include "oci/json.h"
#include "runtime/commands.h"
#include "runtime/container.h"
#include "runtime/ps_table.h"
#include "shim/control.h"

#define PASSWD_MAX (1u << 20)

struct ps_options {
	const char *format;
};

static const struct cli_option options[] = {
	{"format", 'f', CLI_STRING, offsetof(struct ps_options, format),
	 "select one of: table or json (default: \"table\")"},
	{0},
};

/* ---- pids on the host ---- */

static int write_pids(const struct container *container, struct json_writer *w, struct err *err)
{
	cleanup_free int32_t *pids = NULL;
	int n = control_pids(container->dir_fd, &pids, err);

	if (n == -ECONNREFUSED)
		return 0;
	if (n < 0)
		return n;
	json_write_int(w, container->state->pid);
	for (int i = 0; i < n; i++)
		json_write_int(w, pids[i]);
	return 0;
}

static int print_pids(const struct container *container, struct err *err)
{
	cleanup_free char *text = NULL;
	struct json_writer w;
	ssize_t len;
	int r;

	json_write_init(&w, NULL, 1u << 20);
	json_write_open(&w, '[');
	r = container->status == OCI_STOPPED ? 0 : write_pids(container, &w, err);
	json_write_close(&w, ']');
	len = json_write_end(&w, &text, err);
	if (r < 0 || len < 0)
		return r < 0 ? r : (int)len;
	(void)printf("%s\n", len > 2 ? text : "null");
	return 0;
}

/* ---- the table ---- */

/* A regular file below @root, or -1: nothing else is opened, since to open a device can be to act on it */
static int open_file(int root, const char *name)
{
	cleanup_close int found = path_open_beneath(root, name, O_PATH, 0, NULL);
	char path[64];
	struct stat st;

	if (found < 0 || fstat(found, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", found);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* The container's own /etc/passwd; its files are not trusted to be files, nor names to be letters */
static char *read_passwd(const char *rootfs)
{
	cleanup_close int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	cleanup_free char *text = malloc(PASSWD_MAX + 1);
	size_t len = 0;
	ssize_t n;

	if (root < 0 || !text)
		return NULL;
	fd = open_file(root, "/etc/passwd");
	if (fd < 0)
		return NULL;
	while (len < PASSWD_MAX && (n = read(fd, text + len, PASSWD_MAX - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	for (char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if ((c < 0x20 && c != '\n') || c >= 0x7f)
			*p = '?';
	}
	return take_ptr(&text);
}

static int print_line(char *line, struct err *err)
{
	if (!line)
		return err_sys(err, ENOMEM, "ps");
	(void)puts(line);
	free(line);
	return 0;
}

static int print_rows(const struct container *container, const struct ps_format *format,
		      const struct control_processes *processes, struct err *err)
{
	cleanup_free char *passwd = read_passwd(container->state->rootfs);
	struct ps_users users = {.passwd = passwd};
	int r = print_line(ps_table_header(format), err);

	for (size_t i = 0; i < processes->n && r == 0; i++)
		r = print_line(ps_table_row(format, processes, i, &users), err);
	if (processes->cut)
		log_warn("There are more processes or longer command lines than are listed");
	return r;
}

static int print_table(const struct container *container, const struct cli_args *args,
		       struct err *err)
{
	struct control_processes processes = {0};
	struct ps_format format = {0};
	/* "ps ID -- -ef" */
	size_t skip = args->n > 1 && strcmp(args->items[1], "--") == 0 ? 2 : 1;
	int r = ps_format_parse(args->items + skip, args->n - skip, &format, err);

	if (r == 0 && container->status != OCI_STOPPED) {
		r = control_processes(container->dir_fd, &processes, err);
		/* It has ended meanwhile: it has none */
		r = r == -ECONNREFUSED || r == -ESRCH ? 0 : r;
	}
	if (r == 0)
		r = print_rows(container, &format, &processes, err);
	control_processes_release(&processes);
	ps_format_release(&format);
	return r;
}

static int run_ps(const struct globals *globals, const void *opaque, const struct cli_args *args,
		  struct err *err)
{
	const struct ps_options *given = opaque;
	const char *format = given->format ? given->format : "table";
	struct container container;
	int r = container_load(globals, args->items[0], &container, err);

	if (r < 0)
		return r;
	if (strcmp(format, "json") == 0)
		r = print_pids(&container, err);
	else if (strcmp(format, "table") == 0)
		r = print_table(&container, args, err);
	else
		r = err_set(err, EINVAL, "invalid format option");
	container_release(&container);
	return r;
}

const struct cli_command command_ps = {
	.name = "ps",
	.summary = "ps displays the processes running inside a container",
	.usage = "<container-id> [ps options]",
	.description =
		"The default is \"-ef\". The table is of the guest's processes, with the "
		"numbers that they have in the\n"
		"   container; --format json gives the host's processes that stand for them.",
	.options = options,
	.options_size = sizeof(struct ps_options),
	.min_args = 1,
	.max_args = SIZE_MAX,
	.stop_at_argument = true,
	.run = run_ps,
};
