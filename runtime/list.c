/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caisson list`: all containers below a root, as a table, as JSON, or only their ids.
 *
 * Containers come and go while we read: one that is not there any more is left out, one that cannot
 * be read is named on standard error and left out.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "runtime/commands.h"
#include "runtime/container.h"

#define COLUMNS 6
#define COLUMN_LEAST \
	12 /* width of a column, with at least COLUMN_GAP blanks at its end, as runc's table writer does */
#define COLUMN_GAP 3
#define LIST_MAX (256u << 20)
#define ID_WIDTH 256

struct list_options {
	const char *format;
	bool quiet;
};

static const struct cli_option options[] = {
	{"format", 'f', CLI_STRING, offsetof(struct list_options, format),
	 "select one of: table or json (default: \"table\")"},
	{"quiet", 'q', CLI_BOOL, offsetof(struct list_options, quiet),
	 "display only container IDs"},
	{0},
};

struct row {
	char *cells[COLUMNS];
};

struct rows {
	struct row *items;
	size_t n;
};

static const char *const headings[COLUMNS] = {"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"};

static int add_row(struct rows *rows, const struct container *container, const char *owner)
{
	const struct oci_state *state = container->state;
	struct row *items = realloc(rows->items, (rows->n + 1) * sizeof(*items));
	char pid[16];

	if (!items)
		return -ENOMEM;
	rows->items = items;
	(void)snprintf(pid, sizeof(pid), "%d",
		       container->status == OCI_STOPPED ? 0 : (int)state->pid);
	items[rows->n++] = (struct row){
		{strdup(container->id), strdup(pid), strdup(oci_status_name(container->status)),
		 strdup(state->bundle), strdup(state->created), strdup(owner)}};
	for (size_t i = 0; i < COLUMNS; i++) {
		if (!items[rows->n - 1].cells[i])
			return -ENOMEM;
	}
	return 0;
}

static void release_rows(struct rows *rows)
{
	for (size_t i = 0; i < rows->n; i++) {
		for (size_t c = 0; c < COLUMNS; c++)
			free(rows->items[i].cells[c]);
	}
	free(rows->items);
}

static void print_row(const char *const *cells, const size_t *widths)
{
	for (size_t c = 0; c + 1 < COLUMNS; c++)
		(void)printf("%-*s", (int)widths[c], cells[c]);
	(void)printf("%s\n", cells[COLUMNS - 1]);
}

static void print_table(const struct rows *rows)
{
	size_t widths[COLUMNS];

	for (size_t c = 0; c < COLUMNS; c++) {
		widths[c] = strlen(headings[c]);
		for (size_t i = 0; i < rows->n; i++) {
			size_t len = strlen(rows->items[i].cells[c]);

			widths[c] = len > widths[c] ? len : widths[c];
		}
		widths[c] = widths[c] + COLUMN_GAP > COLUMN_LEAST ? widths[c] + COLUMN_GAP
								  : COLUMN_LEAST;
	}
	print_row(headings, widths);
	for (size_t i = 0; i < rows->n; i++)
		print_row((const char *const *)rows->items[i].cells, widths);
}

/* How one entry of the root is shown */
struct listing {
	struct json_writer json;
	struct rows rows;
	size_t n;
	bool as_json, quiet;
};

static int add_container(struct listing *listing, const struct globals *globals, const char *id,
			 struct err *err)
{
	struct container container;
	char owner[ID_WIDTH];
	int r = container_open(globals, id, &container, err);

	if (r == -ENOENT || r == -EINVAL)
		return 0;
	if (r < 0) {
		(void)fprintf(stderr, "load container %s: %s\n", id, err->msg);
		return 0;
	}
	if (!container.state) {
		if (container.status != OCI_CREATING)
			(void)fprintf(stderr, "load container %s: container does not exist\n", id);
		container_release(&container);
		return 0;
	}
	container_owner(&container, owner, sizeof(owner));
	listing->n++;
	if (listing->quiet)
		(void)printf("%s\n", id);
	else if (listing->as_json)
		oci_state_print(&listing->json, container.state, container.status, owner);
	else
		r = add_row(&listing->rows, &container, owner);
	container_release(&container);
	return r < 0 ? err_sys(err, -r, "list") : 0;
}

static int scan_root(struct listing *listing, const struct globals *globals, struct err *err)
{
	struct dirent **entries;
	int n = scandir(globals->root, &entries, NULL, alphasort), r = 0;

	if (n < 0 && errno == ENOENT)
		return 0;
	if (n < 0)
		return err_sys(err, errno, "%s", globals->root);
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = add_container(listing, globals, entries[i]->d_name, err);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int print_json(struct listing *listing, struct err *err)
{
	cleanup_free char *text = NULL;
	ssize_t n;

	json_write_close(&listing->json, ']');
	n = json_write_end(&listing->json, &text, err);
	if (n < 0)
		return (int)n;
	(void)printf("%s\n", listing->n ? text : "null");
	return 0;
}

static int run_list(const struct globals *globals, const void *opaque, const struct cli_args *args,
		    struct err *err)
{
	const struct list_options *given = opaque;
	struct listing listing = {.quiet = given->quiet};
	int r;

	(void)args;
	listing.as_json = !given->quiet && given->format && strcmp(given->format, "json") == 0;
	if (!given->quiet && !listing.as_json && given->format &&
	    strcmp(given->format, "table") != 0)
		return err_set(err, EINVAL, "invalid format option");
	if (listing.as_json) {
		json_write_init(&listing.json, NULL, LIST_MAX);
		json_write_open(&listing.json, '[');
	}
	r = scan_root(&listing, globals, err);
	if (r == 0 && listing.as_json)
		r = print_json(&listing, err);
	else if (r == 0 && !listing.quiet)
		print_table(&listing.rows);
	buf_release(&listing.json.buf);
	release_rows(&listing.rows);
	return r;
}

const struct cli_command command_list = {
	.name = "list",
	.summary = "lists containers started by caisson with the given root",
	.usage = "",
	.description = "The root is given by the global option \"--root\".",
	.options = options,
	.options_size = sizeof(struct list_options),
	.run = run_list,
};
