/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing JSON: see struct json_writer in oci/json.h.
 *
 * The layout is that of Go's MarshalIndent, so that our output can be compared with runc's line by
 * line: one member per line, `"key": value`, empty arrays and objects as [] and {}. Compact output
 * has no white space at all.
 */
#include "oci/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "oci/config.h"

#define DEPTH_MAX 64

static void put(struct json_writer *w, const char *text, size_t len)
{
	if (!w->error)
		w->error = buf_append(&w->buf, text, len);
}

static void put_newline(struct json_writer *w)
{
	if (!w->indent)
		return;
	put(w, "\n", 1);
	for (unsigned int i = 0; i < w->depth; i++)
		put(w, w->indent, strlen(w->indent));
}

/* What comes before any value or key */
static void begin_item(struct json_writer *w)
{
	if (w->after_key) {
		w->after_key = false;
		return;
	}
	if (w->has_items)
		put(w, ",", 1);
	if (w->depth > 0)
		put_newline(w);
	w->has_items = true;
}

void json_write_init(struct json_writer *w, const char *indent, size_t max)
{
	*w = (struct json_writer){.indent = indent};
	w->buf.max = max;
}

void json_write_open(struct json_writer *w, char bracket)
{
	begin_item(w);
	put(w, &bracket, 1);
	if (++w->depth > DEPTH_MAX && !w->error)
		w->error = -EOVERFLOW;
	w->has_items = false;
}

void json_write_close(struct json_writer *w, char bracket)
{
	if (w->depth > 0)
		w->depth--;
	else if (!w->error)
		w->error = -EINVAL;
	if (w->has_items)
		put_newline(w);
	put(w, &bracket, 1);
	w->has_items = true;
}

static void put_quoted(struct json_writer *w, const char *text)
{
	size_t len = strlen(text);

	put(w, "\"", 1);
	for (size_t i = 0; i < len;) {
		size_t step = json_utf8_step(text + i, len - i);
		unsigned char c = (unsigned char)text[i];
		char escape[8];

		if (step == 0) {
			put(w, "\xef\xbf\xbd", 3);
			i++;
			continue;
		}
		if (c == '"' || c == '\\') {
			escape[0] = '\\';
			escape[1] = (char)c;
			put(w, escape, 2);
		} else if (c == '\n' || c == '\t' || c == '\r') {
			put(w, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r", 2);
		} else if (c < 0x20 || c == 0x7f) {
			(void)snprintf(escape, sizeof(escape), "\\u%04x", c);
			put(w, escape, 6);
		} else {
			put(w, text + i, step);
		}
		i += step;
	}
	put(w, "\"", 1);
}

void json_write_key(struct json_writer *w, const char *key)
{
	begin_item(w);
	put_quoted(w, key);
	put(w, ": ", w->indent ? 2 : 1);
	w->after_key = true;
}

void json_write_string(struct json_writer *w, const char *text)
{
	if (!text) {
		json_write_null(w);
		return;
	}
	begin_item(w);
	put_quoted(w, text);
}

void json_write_bool(struct json_writer *w, bool value)
{
	begin_item(w);
	put(w, value ? "true" : "false", value ? 4 : 5);
}

void json_write_null(struct json_writer *w)
{
	begin_item(w);
	put(w, "null", 4);
}

void json_write_int(struct json_writer *w, int64_t value)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%" PRId64, value);

	begin_item(w);
	put(w, text, (size_t)n);
}

void json_write_uint(struct json_writer *w, uint64_t value)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%" PRIu64, value);

	begin_item(w);
	put(w, text, (size_t)n);
}

void json_write_hundredths(struct json_writer *w, uint64_t value)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%" PRIu64 ".%02u", value / 100,
			 (unsigned int)(value % 100));

	while (text[n - 1] == '0')
		n--;
	n -= text[n - 1] == '.';
	begin_item(w);
	put(w, text, (size_t)n);
}

/* As deep as the document is: at most OCI_DEPTH_MAX */
void json_write_value(struct json_writer *w, const struct json *value)
{
	switch (value->type) {
	case JSON_NULL:
		json_write_null(w);
		return;
	case JSON_BOOL:
		json_write_bool(w, value->boolean);
		return;
	case JSON_STRING:
		json_write_string(w, value->text);
		return;
	case JSON_NUMBER:
		begin_item(w);
		put(w, value->text, strlen(value->text));
		return;
	default:
		break;
	}
	json_write_open(w, value->type == JSON_OBJECT ? '{' : '[');
	for (const struct json *item = value->first; item; item = item->next) {
		if (value->type == JSON_OBJECT)
			json_write_key(w, item->key);
		json_write_value(w, item);
	}
	json_write_close(w, value->type == JSON_OBJECT ? '}' : ']');
}

void json_write_strings(struct json_writer *w, const char *const *items, size_t n)
{
	json_write_open(w, '[');
	for (size_t i = 0; i < n; i++)
		json_write_string(w, items[i]);
	json_write_close(w, ']');
}

static void write_field(struct json_writer *w, const struct json_field *field, const void *value)
{
	const struct oci_strings *strings = value;

	json_write_key(w, field->key);
	switch (field->kind) {
	case JSON_TO_STRING:
		json_write_string(w, *(char *const *)value);
		break;
	case JSON_TO_STRINGS:
		json_write_strings(w, (const char *const *)strings->items, strings->n);
		break;
	case JSON_TO_BOOL:
		json_write_bool(w, *(const bool *)value);
		break;
	case JSON_TO_U32:
		json_write_uint(w, *(const uint32_t *)value);
		break;
	case JSON_TO_I32:
		json_write_int(w, *(const int32_t *)value);
		break;
	case JSON_TO_U64:
		json_write_uint(w, *(const uint64_t *)value);
		break;
	case JSON_TO_I64:
		json_write_int(w, *(const int64_t *)value);
		break;
	}
}

void json_write_fields(struct json_writer *w, const struct json_field *fields, const void *from)
{
	for (; fields->key; fields++) {
		const char *value = (const char *)from + fields->offset;

		if (fields->has_offset && !*(const bool *)((const char *)from + fields->has_offset))
			continue;
		if (fields->kind == JSON_TO_STRING && !*(char *const *)value)
			continue;
		write_field(w, fields, value);
	}
}

ssize_t json_write_end(struct json_writer *w, char **out, struct err *err)
{
	size_t len = w->buf.len;

	if (!w->error && (w->depth || w->after_key))
		w->error = -EINVAL;
	put(w, "", 1);
	if (w->error) {
		buf_release(&w->buf);
		return err_sys(err, -w->error, "cannot write JSON");
	}
	*out = (char *)w->buf.data;
	w->buf = (struct buf){0};
	return (ssize_t)len;
}
