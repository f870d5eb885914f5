/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed access to a JSON tree: see oci/json.h.
 *
 * Parsers of documents are tables of struct json_field where they can be; what a table cannot say
 * they check by hand and report with json_fail(), which writes the way from the root before the
 * sentence.
 */
#include "oci/json.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "oci/config.h"

#define PATH_TEXT_MAX 384 /* bytes of a path in an error */
#define KEY_TEXT_MAX 64	  /* bytes of one foreign key in it */

static const char *const type_names[] = {
	[JSON_NULL] = "null",	    [JSON_BOOL] = "a boolean", [JSON_NUMBER] = "a number",
	[JSON_STRING] = "a string", [JSON_ARRAY] = "an array", [JSON_OBJECT] = "an object",
};

/* Keys come from the document: only printable ASCII goes into a message */
static void append_key(char *out, size_t size, const char *key, bool dot)
{
	size_t len = strlen(out);

	if (dot && len + 1 < size)
		out[len++] = '.';
	for (size_t i = 0; i < KEY_TEXT_MAX && key[i] && len + 1 < size; i++)
		out[len++] = key[i] >= ' ' && key[i] <= '~' ? key[i] : '?';
	out[len] = '\0';
}

static void append_path(const struct json_at *at, char *out, size_t size)
{
	const struct json_at *way[OCI_DEPTH_MAX + 2];
	size_t n = 0;

	for (; at->parent && n < ARRAY_SIZE(way); at = at->parent)
		way[n++] = at;
	while (n-- > 0) {
		size_t len = strlen(out);

		if (way[n]->name)
			append_key(out, size, way[n]->name, len > 0);
		else
			(void)snprintf(out + len, size - len, "[%zu]", way[n]->index);
	}
}

int json_fail(const struct json_at *at, struct err *err, const char *fmt, ...)
{
	const struct json_at *root = at;
	char path[PATH_TEXT_MAX] = "", text[ERR_MSG_MAX / 2];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	while (root->parent)
		root = root->parent;
	append_path(at, path, sizeof(path));
	return err_set(err, EINVAL, "%s: %s%s%s", root->name, path, path[0] ? ": " : "", text);
}

static int check_type(const struct json_at *at, enum json_type type, struct err *err)
{
	if (at->node->type == type)
		return 0;
	return json_fail(at, err, "%s, not %s", type_names[at->node->type], type_names[type]);
}

int json_member(const struct json_at *at, const char *key, enum json_type type, struct json_at *out,
		struct err *err)
{
	const struct json *found = NULL;
	int r = check_type(at, JSON_OBJECT, err);

	if (r < 0)
		return r;
	for (const struct json *node = at->node->first; node; node = node->next) {
		if (strcmp(node->key, key) == 0)
			found = node; /* the last one counts */
	}
	*out = (struct json_at){.parent = at, .name = key};
	if (!found || found->type == JSON_NULL)
		return 0;
	out->node = found;
	r = check_type(out, type, err);
	return r < 0 ? r : 1;
}

int json_member_name(const struct json_at *at, const char *key, const char *const *names, size_t n,
		     struct err *err)
{
	struct json_at member;
	int r = json_member(at, key, JSON_STRING, &member, err);

	if (r < 0)
		return r;
	if (r == 0)
		return json_fail(&member, err, "is missing");
	for (size_t i = 0; i < n; i++) {
		if (names[i] && strcmp(names[i], member.node->text) == 0)
			return (int)i;
	}
	return json_fail(&member, err, "'%.64s' is unknown", member.node->text);
}

int json_each(const struct json_at *at, enum json_type type, struct json_at *it, struct err *err)
{
	int r;

	if (it->parent)
		*it = (struct json_at){
			.node = it->node->next, .parent = at, .index = it->index + 1};
	else
		*it = (struct json_at){.node = at->node->first, .parent = at};
	if (!it->node)
		return 0;
	it->name = it->node->key;
	r = check_type(it, type, err);
	return r < 0 ? r : 1;
}

/* ---- filling structs ---- */

/* Go refuses 1.0 and 1e3 for an integer too */
static bool is_integer(const char *text)
{
	text += text[0] == '-';
	return text[0] && text[strspn(text, "0123456789")] == '\0';
}

static int read_unsigned(const struct json_at *at, uint64_t min, uint64_t max, uint64_t *out,
			 struct err *err)
{
	unsigned long long value;

	if (!is_integer(at->node->text))
		return json_fail(at, err, "%s is not an integer", at->node->text);
	errno = 0;
	value = strtoull(at->node->text, NULL, 10);
	if (errno || at->node->text[0] == '-' || value < min || value > max)
		return json_fail(at, err, "%s is out of range", at->node->text);
	*out = value;
	return 0;
}

static int read_signed(const struct json_at *at, int64_t min, int64_t max, int64_t *out,
		       struct err *err)
{
	long long value;

	if (!is_integer(at->node->text))
		return json_fail(at, err, "%s is not an integer", at->node->text);
	errno = 0;
	value = strtoll(at->node->text, NULL, 10);
	if (errno || value < min || value > max)
		return json_fail(at, err, "%s is out of range", at->node->text);
	*out = value;
	return 0;
}

static int fill_number(const struct json_at *at, const struct json_field *field, void *to,
		       struct err *err)
{
	bool ranged = field->min || field->max;
	bool wide = field->kind == JSON_TO_I64 || field->kind == JSON_TO_U64;
	uint64_t u = 0;
	int64_t i = 0;
	int r;

	if (field->kind == JSON_TO_U32 || field->kind == JSON_TO_U64)
		r = read_unsigned(at, ranged ? (uint64_t)field->min : 0,
				  ranged ? field->max
				  : wide ? UINT64_MAX
					 : UINT32_MAX,
				  &u, err);
	else
		r = read_signed(at,
				ranged ? field->min
				: wide ? INT64_MIN
				       : INT32_MIN,
				ranged ? (int64_t)field->max
				: wide ? INT64_MAX
				       : INT32_MAX,
				&i, err);
	if (r < 0)
		return r;
	switch (field->kind) {
	case JSON_TO_U32:
		*(uint32_t *)to = (uint32_t)u;
		break;
	case JSON_TO_U64:
		*(uint64_t *)to = u;
		break;
	case JSON_TO_I32:
		*(int32_t *)to = (int32_t)i;
		break;
	default:
		*(int64_t *)to = i;
	}
	return 0;
}

static int copy_string(const struct json_at *at, unsigned int flags, char **out, struct err *err)
{
	const char *text = at->node->text;

	if ((flags & JSON_ABSOLUTE) && text[0] && text[0] != '/')
		return json_fail(at, err, "'%.200s' is not absolute", text);
	*out = strdup(text);
	return *out ? 0 : err_sys(err, ENOMEM, "config");
}

static int fill_strings(const struct json_at *at, unsigned int flags, struct oci_strings *out,
			struct err *err)
{
	struct json_at it = {0};
	int r;

	out->items = calloc(at->node->n + 1, sizeof(*out->items));
	if (!out->items)
		return err_sys(err, ENOMEM, "config");
	while ((r = json_each(at, JSON_STRING, &it, err)) > 0) {
		r = copy_string(&it, flags, &out->items[out->n], err);
		if (r < 0)
			return r;
		out->n++;
	}
	return r;
}

static enum json_type wanted_type(enum json_kind kind)
{
	switch (kind) {
	case JSON_TO_STRING:
		return JSON_STRING;
	case JSON_TO_STRINGS:
		return JSON_ARRAY;
	case JSON_TO_BOOL:
		return JSON_BOOL;
	default:
		return JSON_NUMBER;
	}
}

static int fill_one(const struct json_at *at, const struct json_field *field, char *out,
		    struct err *err)
{
	struct json_at member;
	int r = json_member(at, field->key, wanted_type(field->kind), &member, err);

	if (r < 0)
		return r;
	if (r == 0 || (field->kind == JSON_TO_STRING && !member.node->text[0])) {
		if (field->flags & JSON_REQUIRED)
			return json_fail(&member, err, r ? "is empty" : "is missing");
	}
	if (r == 0)
		return 0;
	if (field->has_offset)
		*(bool *)(out + field->has_offset) = true;
	switch (field->kind) {
	case JSON_TO_STRING:
		return copy_string(&member, field->flags, (char **)(out + field->offset), err);
	case JSON_TO_STRINGS:
		return fill_strings(&member, field->flags,
				    (struct oci_strings *)(out + field->offset), err);
	case JSON_TO_BOOL:
		*(bool *)(out + field->offset) = member.node->boolean;
		return 0;
	default:
		return fill_number(&member, field, out + field->offset, err);
	}
}

int json_fill(const struct json_at *at, const struct json_field *fields, void *out, struct err *err)
{
	for (; fields->key; fields++) {
		int r = fill_one(at, fields, out, err);

		if (r < 0)
			return r;
	}
	return 0;
}
