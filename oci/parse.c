/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parsers of config.json's sections share: lists and maps of which each item becomes one struct.
 *
 * A map's items come sorted by key and each key once, so that one document always gives one struct; of a key that is given twice
 * the last counts, as in Go's decoder.
 */
#include "oci/parse.h"

#include <errno.h>
#include <string.h>

void strings_release(struct oci_strings *strings)
{
	for (size_t i = 0; i < strings->n; i++)
		free(strings->items[i]);
	free(strings->items);
	*strings = (struct oci_strings){0};
}

void pairs_release(struct oci_pairs *pairs)
{
	for (size_t i = 0; i < pairs->n; i++) {
		free(pairs->items[i].key);
		free(pairs->items[i].value);
	}
	free(pairs->items);
	*pairs = (struct oci_pairs){0};
}

int array_parse(const struct json_at *at, const char *key, size_t size,
		int (*parse)(const struct json_at *at, void *item, struct err *err), void **items,
		size_t *n, struct err *err)
{
	struct json_at list, it = {0};
	int r = json_member(at, key, JSON_ARRAY, &list, err);

	if (r <= 0)
		return r;
	*items = calloc(list.node->n + 1, size);
	if (!*items)
		return err_sys(err, ENOMEM, "config");
	while ((r = json_each(&list, JSON_OBJECT, &it, err)) > 0) {
		r = parse(&it, (char *)*items + (*n)++ * size, err);
		if (r < 0)
			return r;
	}
	return r;
}

static int compare_members(const void *a, const void *b)
{
	const struct json_at *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	return r ? r : x->index < y->index ? -1 : 1;
}

/* @map's members as places in the document; Return: how many, the caller frees @out */
static ssize_t members_sorted(const struct json_at *map, enum json_type type, struct json_at **out,
			      struct err *err)
{
	cleanup_free struct json_at *members = calloc(map->node->n + 1, sizeof(*members));
	struct json_at it = {0};
	size_t n = 0, unique = 0;
	int r;

	if (!members)
		return err_sys(err, ENOMEM, "config");
	while ((r = json_each(map, type, &it, err)) > 0) {
		if (!it.name[0])
			return json_fail(&it, err, "an empty key");
		members[n++] = it;
	}
	if (r < 0)
		return r;
	qsort(members, n, sizeof(*members), compare_members);
	for (size_t i = 0; i < n; i++) {
		if (i + 1 == n || strcmp(members[i].name, members[i + 1].name) != 0)
			members[unique++] = members[i];
	}
	*out = take_ptr(&members);
	return (ssize_t)unique;
}

int pairs_parse(const struct json_at *at, const char *key, struct oci_pairs *out, struct err *err)
{
	cleanup_free struct json_at *members = NULL;
	struct json_at map;
	ssize_t n;
	int r = json_member(at, key, JSON_OBJECT, &map, err);

	if (r <= 0)
		return r;
	n = members_sorted(&map, JSON_STRING, &members, err);
	if (n < 0)
		return (int)n;
	out->items = calloc((size_t)n + 1, sizeof(*out->items));
	if (!out->items)
		return err_sys(err, ENOMEM, "config");
	for (ssize_t i = 0; i < n; i++) {
		struct oci_pair *pair = &out->items[out->n++];

		pair->key = strdup(members[i].name);
		pair->value = strdup(members[i].node->text);
		if (!pair->key || !pair->value)
			return err_sys(err, ENOMEM, "config");
	}
	return 0;
}

int map_parse(const struct json_at *at, const char *key, size_t size,
	      int (*parse)(const struct json_at *at, void *item, struct err *err), void **items,
	      size_t *n, struct err *err)
{
	cleanup_free struct json_at *members = NULL;
	struct json_at map;
	ssize_t count;
	int r = json_member(at, key, JSON_OBJECT, &map, err);

	if (r <= 0)
		return r;
	count = members_sorted(&map, JSON_OBJECT, &members, err);
	if (count < 0)
		return (int)count;
	*items = calloc((size_t)count + 1, size);
	if (!*items)
		return err_sys(err, ENOMEM, "config");
	for (ssize_t i = 0; i < count; i++) {
		r = parse(&members[i], (char *)*items + (*n)++ * size, err);
		if (r < 0)
			return r;
	}
	return 0;
}
