/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson.json, and an annotation: input is a file, then after a zero byte (which no file may hold) the name of a key and, after
 * another, its value. What is accepted keeps its bounds.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/settings.h"
#include "runtime/size.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct settings *s)
{
	if (s->default_memory_bytes < SIZE_MEMORY_MIN ||
	    s->default_memory_bytes > s->max_memory_bytes || s->default_vcpus < 1 ||
	    s->default_vcpus > s->max_vcpus || s->max_vcpus > SIZE_VCPUS_MAX ||
	    !s->boot_timeout_s || !s->heartbeat_s || s->boot_timeout_s > 3600 ||
	    s->heartbeat_s > 3600)
		abort();
	if ((s->kernel && s->kernel[0] != '/') || (s->initramfs && s->initramfs[0] != '/') ||
	    (s->kernel_parameters && strlen(s->kernel_parameters) > 1000))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = memchr(data, 0, size);
	size_t len = zero ? (size_t)(zero - data) : size;
	char key[64] = SETTINGS_ANNOTATION_PREFIX, value[64] = "";
	struct oci_pair pair = {key, value};
	struct oci_pairs annotations = {.items = &pair, .n = 1};
	struct settings settings;
	struct err err = {0};

	if (settings_parse("caisson.json", (const char *)data, len, &settings, &err) < 0) {
		if (strncmp(err.msg, "caisson.json: ", 14) != 0)
			abort();
		return 0;
	}
	check(&settings);
	if (zero) {
		const uint8_t *second;

		size -= len + 1;
		second = memchr(zero + 1, 0, size);
		len = second ? (size_t)(second - zero - 1) : size;
		if (len < 40)
			memcpy(key + strlen(key), zero + 1, len);
		if (second && size - len - 1 < sizeof(value))
			memcpy(value, second + 1, size - len - 1);
		if (settings_override(&settings, &annotations, &err) == 0)
			check(&settings);
	}
	settings_release(&settings);
	return 0;
}
