/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON text to a tree: two passes over hostile bytes.
 *
 * The first pass (scan) looks at bytes only: valid UTF-8, no NUL, in strings no \u0000 and no half
 * of a surrogate pair. yajl checks less of that, and does not say where. The second pass is yajl's
 * parser; its callbacks build the tree in an arena and stop it at the first cap that is passed.
 * Both passes give the place of an error as line and column, counted in bytes from 1.
 *
 * Nothing recurses: yajl keeps its own stack, the tree's is `open` below, freeing is freeing the
 * arena.
 */
#include "oci/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <yajl/yajl_parse.h>

#include "oci/config.h"

#define ARENA_CHUNK (32u << 10)

struct chunk {
	struct chunk *next;
	size_t used, size;
	_Alignas(max_align_t) char data[];
};

struct json_doc {
	const char *name;
	struct chunk *chunks; /* owned */
	struct json *root;
};

struct parse {
	struct json_doc *doc;
	const char *text;
	size_t len;
	bool comments;			  /* are allowed */
	struct json *open[OCI_DEPTH_MAX]; /* arrays and objects not yet closed */
	unsigned int depth;
	const char *key; /* of the next member */
	unsigned int nvalues;
	yajl_handle yajl;
	struct err *err;
	int r; /* why a callback stopped the parser */
};

/* ---- arena ---- */

static void *arena_alloc(struct json_doc *doc, size_t size)
{
	struct chunk *chunk = doc->chunks;
	void *p;

	size = (size + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
	if (!chunk || size > chunk->size - chunk->used) {
		size_t room = size > ARENA_CHUNK ? size : ARENA_CHUNK;

		chunk = malloc(sizeof(*chunk) + room);
		if (!chunk)
			return NULL;
		*chunk = (struct chunk){.next = doc->chunks, .size = room};
		doc->chunks = chunk;
	}
	p = chunk->data + chunk->used;
	chunk->used += size;
	return p;
}

void json_doc_free(struct json_doc *doc)
{
	if (!doc)
		return;
	while (doc->chunks) {
		struct chunk *chunk = doc->chunks;

		doc->chunks = chunk->next;
		free(chunk);
	}
	free(doc);
}

/* ---- the place of an error ---- */

static int fail_at(struct parse *p, size_t offset, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int fail_at(struct parse *p, size_t offset, int code, const char *fmt, ...)
{
	size_t line = 1, start = 0;
	char text[256];
	va_list ap;

	if (offset > p->len)
		offset = p->len;
	for (size_t i = 0; i < offset; i++) {
		if (p->text[i] == '\n') {
			line++;
			start = i + 1;
		}
	}
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->r = err_set(p->err, code, "%s: line %zu, column %zu: %s", p->doc->name, line,
		       offset - start + 1, text);
	return p->r;
}

/* ---- first pass: bytes ---- */

size_t json_utf8_step(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	unsigned int low = 0x80, high = 0xbf;
	size_t n;

	if (len == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (n > len)
		return 0;
	/* Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF */
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++) {
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	}
	return n;
}

/*
 * The code unit of an escape \uXXXX at @s, or -1 if there is none; other escapes and bad digits are
 * left to yajl
 */
static int32_t unicode_escape(const char *s, size_t len)
{
	int32_t value = 0;

	if (len < 6 || s[0] != '\\' || s[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++) {
		int digit;

		if (s[i] >= '0' && s[i] <= '9')
			digit = s[i] - '0';
		else if ((s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'f')
			digit = (s[i] | 0x20) - 'a' + 10;
		else
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* An escape in a string at @pos; Return: its length, or -errno */
static ssize_t scan_escape(struct parse *p, size_t pos)
{
	int32_t unit = unicode_escape(p->text + pos, p->len - pos);

	if (unit == 0)
		return fail_at(p, pos, EINVAL, "a NUL character in a string");
	if (unit >= 0xdc00 && unit <= 0xdfff)
		return fail_at(p, pos, EINVAL, "half of a surrogate pair in a string");
	if (unit >= 0xd800 && unit <= 0xdbff) {
		int32_t second = unicode_escape(p->text + pos + 6, p->len - pos - 6);

		if (second < 0xdc00 || second > 0xdfff)
			return fail_at(p, pos, EINVAL, "half of a surrogate pair in a string");
		return 12;
	}
	return pos + 1 < p->len ? 2 : 1;
}

/* Length of the comment that begins at @pos, 0 if there is none: what yajl passes over */
static size_t comment_length(const struct parse *p, size_t pos)
{
	const char *text = p->text + pos, *end = NULL;
	size_t len = p->len - pos;

	if (!p->comments || len < 2 || text[0] != '/' || (text[1] != '/' && text[1] != '*'))
		return 0;
	if (text[1] == '/')
		end = memchr(text, '\n', len);
	else
		end = memmem(text + 2, len - 2, "*/", 2);
	return end ? (size_t)(end - text) + (text[1] == '*' ? 2 : 0) : len;
}

static int scan(struct parse *p)
{
	bool in_string = false;
	size_t comment_end = 0;

	for (size_t pos = 0; pos < p->len;) {
		ssize_t step = (ssize_t)json_utf8_step(p->text + pos, p->len - pos);

		if (step == 0)
			return fail_at(p, pos, EINVAL, "not valid UTF-8");
		if (p->text[pos] == '\0')
			return fail_at(p, pos, EINVAL, "a NUL byte");
		if (!in_string && pos >= comment_end)
			comment_end = pos + comment_length(p, pos);
		if (p->text[pos] == '"' && pos >= comment_end)
			in_string = !in_string;
		if (p->text[pos] == '\\' && in_string && pos + 1 < p->len &&
		    (p->text[pos + 1] & 0x80) == 0) {
			step = scan_escape(p, pos);
			if (step < 0)
				return (int)step;
		}
		pos += (size_t)step;
	}
	return 0;
}

/* ---- second pass: the tree ---- */

static int stop(struct parse *p, int code, const char *text)
{
	size_t offset = yajl_get_bytes_consumed(p->yajl);

	(void)fail_at(p, offset ? offset - 1 : 0, code, "%s", text);
	return 0;
}

/* @len bytes of text are known to be without NUL */
static const char *copy_text(struct parse *p, const unsigned char *text, size_t len)
{
	char *copy = arena_alloc(p->doc, len + 1);

	if (!copy) {
		(void)stop(p, ENOMEM, "out of memory");
		return NULL;
	}
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

static struct json *add_value(struct parse *p, enum json_type type)
{
	struct json *parent = p->depth ? p->open[p->depth - 1] : NULL;
	struct json *value;

	if (++p->nvalues > JSON_VALUES_MAX)
		return stop(p, EINVAL, "too many values"), NULL;
	if (parent && parent->n >= OCI_ITEMS_MAX)
		return stop(p, EINVAL, "too many items in one array or object"), NULL;
	value = arena_alloc(p->doc, sizeof(*value));
	if (!value)
		return stop(p, ENOMEM, "out of memory"), NULL;
	*value = (struct json){.type = type, .key = take_ptr(&p->key)};
	if (!parent) {
		p->doc->root = value;
		return value;
	}
	if (parent->last)
		parent->last->next = value;
	else
		parent->first = value;
	parent->last = value;
	parent->n++;
	return value;
}

static int on_null(void *ctx)
{
	return add_value(ctx, JSON_NULL) != NULL;
}

static int on_boolean(void *ctx, int boolean)
{
	struct json *value = add_value(ctx, JSON_BOOL);

	if (!value)
		return 0;
	value->boolean = boolean;
	return 1;
}

static int on_number(void *ctx, const char *text, size_t len)
{
	struct json *value;

	if (len > JSON_NUMBER_MAX)
		return stop(ctx, EINVAL, "a number of too many digits");
	value = add_value(ctx, JSON_NUMBER);
	if (!value)
		return 0;
	value->text = copy_text(ctx, (const unsigned char *)text, len);
	return value->text != NULL;
}

static int on_string(void *ctx, const unsigned char *text, size_t len)
{
	struct json *value = add_value(ctx, JSON_STRING);

	if (!value)
		return 0;
	value->text = copy_text(ctx, text, len);
	return value->text != NULL;
}

static int on_key(void *ctx, const unsigned char *text, size_t len)
{
	struct parse *p = ctx;

	p->key = copy_text(p, text, len);
	return p->key != NULL;
}

static int open_container(struct parse *p, enum json_type type)
{
	struct json *value;

	if (p->depth >= OCI_DEPTH_MAX)
		return stop(p, EINVAL, "nested too deeply");
	value = add_value(p, type);
	if (!value)
		return 0;
	p->open[p->depth++] = value;
	return 1;
}

static int on_open_map(void *ctx)
{
	return open_container(ctx, JSON_OBJECT);
}

static int on_open_array(void *ctx)
{
	return open_container(ctx, JSON_ARRAY);
}

static int on_close(void *ctx)
{
	struct parse *p = ctx;

	p->depth--;
	return 1;
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null,
	.yajl_boolean = on_boolean,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_open_map,
	.yajl_map_key = on_key,
	.yajl_end_map = on_close,
	.yajl_start_array = on_open_array,
	.yajl_end_array = on_close,
};

/* yajl's "parse error: unallowed token at this point in JSON text\n", made into our one sentence */
static void syntax_error(struct parse *p, size_t offset)
{
	unsigned char *said = yajl_get_error(p->yajl, 0, NULL, 0);
	const char *text = said ? (const char *)said : "malformed JSON";
	const char *colon = strstr(text, "error: ");

	if (colon)
		text = colon + strlen("error: ");
	(void)fail_at(p, offset ? offset - 1 : 0, EINVAL, "%.*s", (int)strcspn(text, ".\n"), text);
	yajl_free_error(p->yajl, said);
}

static int parse(struct parse *p)
{
	yajl_status status;
	size_t offset;

	p->yajl = yajl_alloc(&callbacks, NULL, p);
	if (!p->yajl)
		return err_sys(p->err, ENOMEM, "%s", p->doc->name);
	(void)yajl_config(p->yajl, yajl_allow_comments, (int)p->comments);
	status = yajl_parse(p->yajl, (const unsigned char *)p->text, p->len);
	offset = yajl_get_bytes_consumed(p->yajl);
	if (status == yajl_status_ok) {
		status = yajl_complete_parse(p->yajl);
		offset = p->len + 1;
	}
	if (status == yajl_status_error)
		syntax_error(p, offset);
	else if (status == yajl_status_ok && !p->doc->root)
		(void)fail_at(p, p->len, EINVAL, "the document is empty");
	yajl_free(p->yajl);
	return p->r;
}

static int parse_document(struct parse p, const char *name, size_t max, struct json_doc **out)
{
	CLEANUP(json_doc) struct json_doc *doc = calloc(1, sizeof(*doc));
	int r;

	if (!doc)
		return err_sys(p.err, ENOMEM, "%s", name);
	doc->name = name;
	p.doc = doc;
	if (p.len > max)
		return err_set(p.err, EFBIG, "%s: larger than %zu bytes", name, max);
	r = scan(&p);
	if (r < 0)
		return r;
	r = parse(&p);
	if (r < 0)
		return r;
	*out = take_ptr(&doc);
	return 0;
}

int json_parse(const char *name, const char *text, size_t len, size_t max, struct json_doc **out,
	       struct err *err)
{
	return parse_document((struct parse){.text = text, .len = len, .err = err}, name, max, out);
}

int json_parse_commented(const char *name, const char *text, size_t len, size_t max,
			 struct json_doc **out, struct err *err)
{
	return parse_document(
		(struct parse){.text = text, .len = len, .comments = true, .err = err}, name, max,
		out);
}

struct json_at json_root(const struct json_doc *doc)
{
	return (struct json_at){.node = doc->root, .name = doc->name};
}
