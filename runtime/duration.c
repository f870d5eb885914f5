/* SPDX-License-Identifier: Apache-2.0 */
/* Durations: see runtime/duration.h. */
#include "runtime/duration.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "lib/cleanup.h"

#define DIGITS_MAX 18

static const struct {
	const char *name;
	int64_t ns;
} units[] = {
	{"ns", 1},	 {"us", 1000},	      {"\xc2\xb5s", 1000},	{"\xce\xbcs", 1000},
	{"ms", 1000000}, {"s", 1000000000ll}, {"m", 60 * 1000000000ll}, {"h", 3600 * 1000000000ll},
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits at @text; Return: how many, more than DIGITS_MAX is an error of the caller's */
static size_t digits(const char *text, int64_t *out)
{
	size_t n = 0;

	*out = 0;
	for (; n <= DIGITS_MAX && is_digit(text[n]); n++) {
		if (n < DIGITS_MAX)
			*out = *out * 10 + (text[n] - '0');
	}
	return n;
}

/* The unit at @text, 0 if there is none; it ends where the next number begins */
static int64_t unit_at(const char *text, size_t *len)
{
	*len = strcspn(text, ".0123456789");
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strlen(units[i].name) == *len && strncmp(text, units[i].name, *len) == 0)
			return units[i].ns;
	}
	return 0;
}

/* A number with its unit; Return: bytes read, or 0 */
static size_t part(const char *text, int64_t *total)
{
	int64_t whole, fraction = 0, scale = 1, unit, ns;
	size_t n = digits(text, &whole), m = 0, len;

	if (n > DIGITS_MAX)
		return 0;
	if (text[n] == '.') {
		m = digits(text + n + 1, &fraction);
		if (m > DIGITS_MAX)
			return 0;
		for (size_t i = 0; i < m; i++)
			scale *= 10;
	}
	if (n + m == 0)
		return 0;
	len = n + (text[n] == '.') + m;
	unit = unit_at(text + len, &n);
	if (!unit || __builtin_mul_overflow(whole, unit, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)((double)fraction / (double)scale * (double)unit),
				   &ns) ||
	    __builtin_add_overflow(*total, ns, total))
		return 0;
	return len + n;
}

int duration_parse(const char *text, int64_t *out_ns)
{
	bool negative = *text == '-';
	int64_t total = 0;

	if (*text == '-' || *text == '+')
		text++;
	if (strcmp(text, "0") == 0) {
		*out_ns = 0;
		return 0;
	}
	if (!*text)
		return -EINVAL;
	while (*text) {
		size_t n = part(text, &total);

		if (!n)
			return -EINVAL;
		text += n;
	}
	*out_ns = negative ? -total : total;
	return 0;
}
