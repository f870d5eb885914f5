/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words of a command line or a configuration with a meaning of their own: durations, signals, sizes, a unit of systemd's, the
 * columns of ps, lists of CPUs. Words are ended by NUL; each goes to every parser.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/capability.h"
#include "oci/config.h"
#include "oci/state.h"
#include "runtime/duration.h"
#include "runtime/ps_table.h"
#include "runtime/signals.h"
#include "runtime/update_options.h"
#include "shim/systemd.h"

#define WORDS_MAX 16
#define CPUS_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_list(const char *list)
{
	cpu_set_t set;
	int n = oci_list_count(list);

	if (n > OCI_LIST_MAX || n == 0)
		abort();
	if (oci_cpu_set(list, &set) == 0 && (n < 1 || CPU_COUNT(&set) != n))
		abort();
}

/* The names become an argument and a part of a path of the cgroup tree */
static void check_unit(const char *text)
{
	struct systemd_unit unit;
	struct err err = {0};

	for (int user = 0; user < 2; user++) {
		if (systemd_unit_parse(text, "id", user, &unit, &err) < 0) {
			if (!err.msg[0])
				abort();
			continue;
		}
		if (strchr(unit.name, '/') || strchr(unit.slice, '/') || !unit.name[0] ||
		    strlen(unit.slice) >= sizeof(unit.slice))
			abort();
	}
}

static void check_word(const char *text)
{
	int64_t value = 0;
	int number = signal_parse(text);

	if (number < -1 || number > 64)
		abort();
	if (duration_parse(text, &value) == 0 && text[0] != '-' && value < 0)
		abort();
	if (update_bytes(text, &value) == 0 && value < -1)
		abort();
	number = oci_capability_number(text);
	if (number >= OCI_CAPABILITIES || (number >= 0 && !oci_capability_name(number)))
		abort();
	if (oci_id_is_valid(text) && (strchr(text, '/') || strlen(text) > OCI_ID_MAX))
		abort();
	check_list(text);
	check_unit(text);
}

static void check_columns(const char *const *words, size_t n)
{
	struct ps_format format = {0};
	struct err err = {0};

	if (ps_format_parse(words, n, &format, &err) < 0 ? !err.msg[0] : !format.n)
		abort();
	ps_format_release(&format);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *words[WORDS_MAX];
	char *text = malloc(size + 1);
	size_t n = 0;

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	for (size_t at = 0; at < size && n < WORDS_MAX; at += strlen(text + at) + 1) {
		words[n++] = text + at;
		check_word(text + at);
	}
	check_columns(words, n);
	free(text);
	return 0;
}
