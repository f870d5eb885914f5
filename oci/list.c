/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of CPUs and memory nodes, "0-3,7": the kernel's list format, of which the specification allows numbers, ranges and commas.
 */
#include <errno.h>
#include <string.h>

#include "oci/parse.h"

/* A number below OCI_LIST_MAX; Return: behind it, or NULL */
static const char *list_number(const char *text, unsigned int *out)
{
	size_t digits = strspn(text, "0123456789");

	*out = 0;
	if (digits == 0)
		return NULL;
	for (; digits > 0; digits--, text++) {
		*out = *out * 10 + (unsigned int)(*text - '0');
		if (*out >= OCI_LIST_MAX)
			return NULL;
	}
	return text;
}

int oci_list_count(const char *list)
{
	uint64_t seen[OCI_LIST_MAX / 64] = {0};
	int count = 0;

	for (;;) {
		unsigned int first, last;

		list = list_number(list, &first);
		last = first;
		if (list && *list == '-')
			list = list_number(list + 1, &last);
		if (!list || last < first)
			return -EINVAL;
		for (; first <= last; first++) {
			count += !(seen[first / 64] >> first % 64 & 1);
			seen[first / 64] |= 1ull << first % 64;
		}
		if (!*list)
			return count;
		if (*list++ != ',')
			return -EINVAL;
	}
}

int list_check(const struct json_at *at, const char *key, const char *list, struct err *err)
{
	struct json_at here = {.parent = at, .name = key};

	if (!list || !list[0] || oci_list_count(list) > 0)
		return 0;
	return json_fail(&here, err, "'%.64s' is not a list like \"0-3,7\"", list);
}
