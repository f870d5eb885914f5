/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Docker's daemon.json: one file for everything, so the runtime is put among what is there. All other members stay, in their order and
 * with their numbers' own digits; only white space changes, to one member a line with the file's own indentation.
 *
 * Undoing takes out the entry, if it is still what was put in, and "runtimes" when nothing else is in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "oci/json.h"
#include "runtime/install.h"

#define RUNTIMES "runtimes"
#define INDENT "    "
#define INDENT_MAX 16

struct daemon_json {
	struct json_doc *doc; /* owned */
	struct json_at root, runtimes, ours;
	char indent[INDENT_MAX];
};

/* The blanks before the first member */
static void find_indent(const char *text, char *out)
{
	const char *line = strpbrk(text, "\n");
	size_t n = line ? strspn(line + 1, " \t") : 0;

	if (n == 0 || n >= INDENT_MAX || line[1 + n] != '"') {
		strcpy(out, INDENT);
		return;
	}
	memcpy(out, line + 1, n);
	out[n] = '\0';
}

static int check_once(const struct json_at *at, const char *key, struct err *err)
{
	size_t n = 0;

	for (const struct json *node = at->node->first; node; node = node->next)
		n += strcmp(node->key, key) == 0;
	if (n > 1)
		return json_fail(at, err, "'%s' is given twice", key);
	return 0;
}

static int open_document(const char *name, const char *text, struct daemon_json *d, struct err *err)
{
	bool blank = text[strspn(text, " \t\r\n")] == '\0';
	int r;

	*d = (struct daemon_json){0};
	find_indent(text, d->indent);
	r = json_parse(name, blank ? "{}" : text, blank ? 2 : strlen(text), INSTALL_FILE_MAX,
		       &d->doc, err);
	if (r < 0)
		return r;
	d->root = json_root(d->doc);
	r = json_member(&d->root, RUNTIMES, JSON_OBJECT, &d->runtimes, err);
	if (r >= 0)
		r = check_once(&d->root, RUNTIMES, err);
	if (r < 0 || !d->runtimes.node)
		return r;
	r = json_member(&d->runtimes, INSTALL_NAME, JSON_OBJECT, &d->ours, err);
	return r < 0 ? r : check_once(&d->runtimes, INSTALL_NAME, err);
}

static void write_ours(struct json_writer *w, const char *program)
{
	json_write_key(w, INSTALL_NAME);
	json_write_open(w, '{');
	json_write_key(w, "path");
	json_write_string(w, program);
	json_write_close(w, '}');
}

/* Members of @node but for our own, which comes last if there is a @program */
static void write_runtimes(struct json_writer *w, const struct json *node, const char *program)
{
	json_write_key(w, RUNTIMES);
	json_write_open(w, '{');
	for (const struct json *item = node ? node->first : NULL; item; item = item->next) {
		if (strcmp(item->key, INSTALL_NAME) == 0)
			continue;
		json_write_key(w, item->key);
		json_write_value(w, item);
	}
	if (program)
		write_ours(w, program);
	json_write_close(w, '}');
}

static int write_document(const struct daemon_json *d, const char *program,
			  struct install_change *out, struct err *err)
{
	struct json_writer w;
	struct buf text = {.max = 2 * INSTALL_FILE_MAX};
	cleanup_free char *json = NULL;
	bool empty = !program && (!d->runtimes.node || d->runtimes.node->n <= 1), there = false;
	ssize_t n;
	int r;

	json_write_init(&w, d->indent, 2 * INSTALL_FILE_MAX);
	json_write_open(&w, '{');
	for (const struct json *item = d->root.node->first; item; item = item->next) {
		/* Also where it stands as null */
		bool is_runtimes = strcmp(item->key, RUNTIMES) == 0;

		there = there || is_runtimes;
		if (is_runtimes && !empty)
			write_runtimes(&w, d->runtimes.node, program);
		if (is_runtimes)
			continue;
		json_write_key(&w, item->key);
		json_write_value(&w, item);
	}
	if (program && !there)
		write_runtimes(&w, NULL, program);
	json_write_close(&w, '}');
	n = json_write_end(&w, &json, err);
	if (n < 0)
		return (int)n;
	r = buf_printf(&text, "%s\n", json);
	if (r == 0)
		r = buf_append(&text, "", 1);
	if (r < 0) {
		buf_release(&text);
		return err_sys(err, -r, "install");
	}
	*out = (struct install_change){.text = (char *)text.data, .len = text.len - 1};
	return 0;
}

/* Whether the entry that is there is the one that we write */
static bool is_ours(const struct daemon_json *d, const char *program)
{
	const struct json *path = d->ours.node->first;

	return d->ours.node->n == 1 && strcmp(path->key, "path") == 0 &&
	       path->type == JSON_STRING && strcmp(path->text, program) == 0;
}

static bool names_program(const struct daemon_json *d, const char *program)
{
	struct json_at path;

	return json_member(&d->ours, "path", JSON_STRING, &path, NULL) > 0 &&
	       strcmp(path.node->text, program) == 0;
}

int install_daemon_json(const char *name, const char *text, const char *program,
			struct install_change *out, struct err *err)
{
	struct daemon_json d;
	int r = open_document(name, text ? text : "", &d, err);

	if (r == 0 && d.ours.node && names_program(&d, program))
		*out = (struct install_change){.none = true};
	else if (r == 0 && d.ours.node)
		r = err_set(err, EEXIST,
			    "%s: runtimes has a '" INSTALL_NAME
			    "' already, with another path than '%s': remove it first",
			    name, program);
	else if (r == 0)
		r = write_document(&d, program, out, err);
	json_doc_free(d.doc);
	return r;
}

static int undo(const struct daemon_json *d, const char *name, const char *program,
		struct install_change *out, struct err *err)
{
	struct json_at chosen;

	if (!d->ours.node) {
		*out = (struct install_change){.none = true};
		return 0;
	}
	if (!is_ours(d, program))
		return err_set(err, EEXIST,
			       "%s: runtimes." INSTALL_NAME
			       " is not what was installed, {\"path\": \"%s\"}: remove it by hand",
			       name, program);
	if (json_member(&d->root, "default-runtime", JSON_STRING, &chosen, NULL) > 0 &&
	    strcmp(chosen.node->text, INSTALL_NAME) == 0)
		return err_set(err, EBUSY,
			       "%s: default-runtime is '" INSTALL_NAME
			       "': choose another one first, or Docker will not start",
			       name);
	if (d->root.node->n == 1 && d->runtimes.node->n == 1) {
		*out = (struct install_change){0};
		return 0;
	}
	return write_document(d, NULL, out, err);
}

int install_daemon_json_undo(const char *name, const char *text, const char *program,
			     struct install_change *out, struct err *err)
{
	struct daemon_json d;
	int r = open_document(name, text ? text : "", &d, err);

	if (r == 0)
		r = undo(&d, name, program, out, err);
	json_doc_free(d.doc);
	return r;
}

int install_snippet_docker(struct buf *out, const char *program)
{
	struct install_change change;
	int r = install_daemon_json("daemon.json", NULL, program, &change, NULL);

	if (r < 0)
		return r;
	r = buf_append(out, change.text, change.len);
	free(change.text);
	return r;
}
