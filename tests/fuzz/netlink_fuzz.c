/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams of a netlink dump, the attributes in them and those inside of those: no byte outside of them is read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/netlink.h"

#define TYPES 64
#define DEPTH 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static void look(const void *bytes, size_t len, int depth)
{
	struct netlink_attribute all[TYPES];

	netlink_attributes(bytes, len, all, TYPES - 1);
	for (unsigned int i = 0; i < TYPES; i++) {
		const uint8_t *inside = all[i].data;

		if (!inside) {
			if (all[i].len)
				abort();
			continue;
		}
		if (inside < (const uint8_t *)bytes ||
		    inside + all[i].len > (const uint8_t *)bytes + len)
			abort();
		for (size_t n = 0; n < all[i].len; n++)
			sink ^= inside[n];
		(void)netlink_u32(&all[i], 0);
		if (depth)
			look(inside, all[i].len, depth - 1);
	}
}

static void on_entry(const struct netlink_entry *entry, void *arg)
{
	size_t fixed_len = *(const size_t *)arg;

	for (size_t n = 0; n < fixed_len; n++)
		sink ^= ((const uint8_t *)entry->fixed)[n];
	look(entry->attributes, entry->attributes_len, DEPTH);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t fixed_lens[] = {8, 12, 16, 20};
	bool interrupted = false;
	uint8_t *exact;
	size_t fixed_len;

	if (!size)
		return 0;
	fixed_len = fixed_lens[data[0] % 4];
	/* Of exactly this size, so that a sanitizer sees one byte too many */
	exact = malloc(size > 1 ? size - 1 : 1);
	if (!exact)
		return 0;
	memcpy(exact, data + 1, size - 1);
	(void)netlink_each(exact, size - 1, fixed_len, 1, on_entry, &fixed_len, &interrupted);
	free(exact);
	return 0;
}
