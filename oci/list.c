/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of CPUs and memory nodes, "0-3,7": the kernel's list format, of which the specification allows numbers, ranges and commas. As with the
 * kernel and runc there may be blanks around an element, and none between two commas.
 */
#include <errno.h>
#include <string.h>

#include "oci/parse.h"

#define BLANKS " \t"

/* A number below @max; Return: behind it, or NULL */
static const char *list_number(const char *text, unsigned int max, unsigned int *out)
{
	size_t digits = strspn(text, "0123456789");

	*out = 0;
	if (digits == 0)
		return NULL;
	for (; digits > 0; digits--, text++) {
		*out = *out * 10 + (unsigned int)(*text - '0');
		if (*out >= max)
			return NULL;
	}
	return text;
}

/* Takes the range at *@list; Return: 1, 0 at the end, -EINVAL */
static int list_range(const char **list, unsigned int max, unsigned int *first, unsigned int *last)
{
	const char *at = *list + strspn(*list, BLANKS ",");

	if (!*at)
		return 0;
	at = list_number(at, max, first);
	*last = *first;
	if (at && *at == '-')
		at = list_number(at + 1, max, last);
	if (!at || *last < *first)
		return -EINVAL;
	at += strspn(at, BLANKS);
	if (*at && *at != ',')
		return -EINVAL;
	*list = at;
	return 1;
}

int oci_list_count(const char *list)
{
	uint64_t seen[OCI_LIST_MAX / 64] = {0};
	unsigned int first = 0, last = 0;
	int count = 0, r;

	while ((r = list_range(&list, OCI_LIST_MAX, &first, &last)) > 0) {
		for (; first <= last; first++) {
			count += !(seen[first / 64] >> first % 64 & 1);
			seen[first / 64] |= 1ull << first % 64;
		}
	}
	return r < 0 || !count ? -EINVAL : count;
}

int oci_cpu_set(const char *list, cpu_set_t *out)
{
	unsigned int first = 0, last = 0;
	int r;

	CPU_ZERO(out);
	while ((r = list_range(&list, CPU_SETSIZE, &first, &last)) > 0) {
		for (; first <= last; first++)
			CPU_SET(first, out);
	}
	return r < 0 || !CPU_COUNT(out) ? -EINVAL : 0;
}

int list_check(const struct json_at *at, const char *key, const char *list, struct err *err)
{
	struct json_at here = {.parent = at, .name = key};

	if (!list || !list[0] || oci_list_count(list) > 0)
		return 0;
	return json_fail(&here, err, "'%.64s' is not a list like \"0-3,7\"", list);
}
