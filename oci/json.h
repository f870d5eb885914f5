/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON from strangers: a bounded tree, typed accessors that name the field they refuse, and a
 * writer.
 *
 * json_parse() makes the whole document into a tree whose size, depth and item counts are capped,
 * in which every string is valid UTF-8 without NUL bytes. Accessors walk it by struct json_at,
 * which remembers the way from the root, so that an error reads "config.json:
 * mounts[2].destination: not a string". As in Go's decoder, which wrote these formats' rules: a key
 * given twice counts as given last, null counts as absent, unknown keys are ignored.
 */
#ifndef OCI_JSON_H
#define OCI_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/cleanup.h"
#include "lib/err.h"

#define JSON_VALUES_MAX (1u << 17) /* values in one document */
#define JSON_NUMBER_MAX 64	   /* bytes of a number's text */

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* One value; owned by its document */
struct json {
	enum json_type type;
	bool boolean;
	size_t n;	   /* elements or members */
	const char *key;   /* name within an object, else NULL */
	const char *text;  /* of a string or number, ended by NUL */
	struct json *next; /* sibling */
	struct json *first, *last;
};

struct json_doc;

/**
 * json_parse() - Make a document into a tree
 * @name:	What errors call it, e.g. "config.json"; static storage
 * @text, @len:	Hostile bytes, need not be NUL-terminated
 * @max:	Refuse more bytes than this with -EFBIG
 * @out:	Set on success only; free with json_doc_free()
 *
 * Return: 0; -EINVAL with line and column; -EFBIG; -ENOMEM.
 */
int json_parse(const char *name, const char *text, size_t len, size_t max, struct json_doc **out,
	       struct err *err);
/** json_parse_commented() - The same for a file that people write: comments, as of C and C++, count as blanks */
int json_parse_commented(const char *name, const char *text, size_t len, size_t max,
			 struct json_doc **out, struct err *err);
void json_doc_free(struct json_doc *doc);
DEFINE_CLEANUP(json_doc)

/* A place in a document. Borrows the document and its parent. */
struct json_at {
	const struct json *node;      /* NULL: absent */
	const struct json_at *parent; /* NULL at the root */
	const char *name;	      /* the document's name, a key, or NULL for an element */
	size_t index;		      /* of an element */
};

/** json_root() - The document's outermost value */
struct json_at json_root(const struct json_doc *doc);

/** json_fail() - Fill an error "<document>: <path>: <fmt>"; Return: -EINVAL */
int json_fail(const struct json_at *at, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * json_member() - Step to a member of an object
 * @type:	What it has to be
 * Return: 1 with @out filled, 0 if absent or null (@out->node is NULL), -EINVAL if it or @at is of another type
 */
int json_member(const struct json_at *at, const char *key, enum json_type type, struct json_at *out,
		struct err *err);

/**
 * json_member_name() - A member that has to be one of some names
 * @names, @n:	The names; NULL ones are no name
 * Return: the index of its name, or -EINVAL, also when it is absent
 */
int json_member_name(const struct json_at *at, const char *key, const char *const *names, size_t n,
		     struct err *err);

/**
 * json_each() - Step through an array's elements or an object's members
 * @it:		Zero-initialised before the first call
 * @type:	What each has to be
 * Return: 1 with @it at the next one, 0 at the end, -EINVAL
 */
int json_each(const struct json_at *at, enum json_type type, struct json_at *it, struct err *err);

/* How one member of an object fills one member of a struct */
enum json_kind {
	JSON_TO_STRING,
	JSON_TO_STRINGS,
	JSON_TO_BOOL,
	JSON_TO_U32,
	JSON_TO_I32,
	JSON_TO_U64,
	JSON_TO_I64
};

#define JSON_REQUIRED (1u << 0) /* absent (or an empty string) is an error */
#define JSON_ABSOLUTE (1u << 1) /* a string, if not empty, or each string begins with '/' */

struct json_field {
	const char *key;
	enum json_kind kind;
	size_t offset; /* of a char *, struct oci_strings, bool, uint32_t, int, uint64_t or int64_t */
	size_t has_offset; /* of a bool that says it was given; 0: none */
	unsigned int flags;
	int64_t min; /* integers, of TO_I32 and TO_I64; both 0: the type's range */
	uint64_t max;
};

/**
 * json_fill() - Fill a struct from an object by a table
 * @fields:	Ended by a NULL key
 * @out:	Zero-initialised; what was filled before a failure stays, for the caller to free
 * Return: 0, -EINVAL, -ENOMEM
 */
int json_fill(const struct json_at *at, const struct json_field *fields, void *out,
	      struct err *err);

/* ---- writing ---- */

/*
 * A writer: values in order, keys before values within objects. A failure (memory, size, bad
 * nesting) is kept and returned by json_write_end(). Strings that are not UTF-8 get U+FFFD for each
 * bad byte, as Go's encoder does.
 */
struct json_writer {
	struct buf buf;	    /* owned until json_write_end() */
	const char *indent; /* per level, NULL: compact */
	unsigned int depth;
	bool has_items, after_key;
	int error;
};

/** json_write_init() - Start a document of at most @max bytes; @indent is borrowed */
void json_write_init(struct json_writer *w, const char *indent, size_t max);
void json_write_open(struct json_writer *w, char bracket);  /* '{' or '[' */
void json_write_close(struct json_writer *w, char bracket); /* '}' or ']' */
void json_write_key(struct json_writer *w, const char *key);
void json_write_string(struct json_writer *w, const char *text); /* NULL: null */
void json_write_bool(struct json_writer *w, bool value);
void json_write_int(struct json_writer *w, int64_t value);
void json_write_uint(struct json_writer *w, uint64_t value);
/** json_write_hundredths() - A decimal: 1234 is 12.34, 50 is 0.5, 0 is 0 */
void json_write_hundredths(struct json_writer *w, uint64_t value);
void json_write_null(struct json_writer *w);
/** json_write_value() - A value of a document, with all that is in it */
void json_write_value(struct json_writer *w, const struct json *value);
/** json_write_strings() - A whole array of strings, or of @n of them */
void json_write_strings(struct json_writer *w, const char *const *items, size_t n);
/** json_write_fields() - The members that a table names, as json_fill() reads them; those not given or NULL are left out */
void json_write_fields(struct json_writer *w, const struct json_field *fields, const void *from);
/**
 * json_write_end() - Finish
 * @out:	NUL-terminated text, the caller's; set on success only
 * Return: its length, or -errno (everything freed)
 */
ssize_t json_write_end(struct json_writer *w, char **out, struct err *err);

/** json_utf8_step() - Length of the UTF-8 sequence at @s (1 to 4), 0 if there is no valid one within @len bytes */
size_t json_utf8_step(const char *s, size_t len);

#endif
