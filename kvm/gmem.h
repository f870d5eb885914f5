/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: the only way from a guest physical address to a pointer.
 *
 * The guest's RAM is a few regions, each one host mapping. A range that a device is asked to touch must lie inside one
 * region as a whole; gmem_range() says so or returns NULL. Guest RAM changes under the reader at any time: what is
 * decided upon is copied once into a local first (STYLE.md G).
 *
 *   0 ─────────── MACHINE hole ─────────── 4 GiB ──────────
 *   [ low RAM, up to 0xc0000000 ][ MMIO, IOAPIC, LAPIC ][ high RAM ][ memory that is added while the guest runs ]
 *
 * All but the last region stay as they are from boot on. The last one is reserved at most once, and only grows.
 */
#ifndef KVM_GMEM_H
#define KVM_GMEM_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

typedef uint64_t gpa_t;

#define GMEM_REGIONS_MAX 8
#define GMEM_LOW_END \
	0xc0000000ull /* RAM below ends here; devices and interrupt controllers follow up to 4 GiB */
#define GMEM_HIGH_START 0x100000000ull

struct gmem_region {
	gpa_t gpa;
	uint64_t len;	   /* bytes, multiple of the page size; atomic: it may grow */
	uint64_t reserved; /* bytes of the mapping; those behind @len cannot be touched */
	uint8_t *hva;	   /* owned mapping */
};

struct gmem {
	struct gmem_region regions[GMEM_REGIONS_MAX];
	unsigned int nregions; /* atomic, as @len */
};

/**
 * gmem_init() - Map @size bytes of private anonymous RAM (MAP_NORESERVE), split at GMEM_LOW_END
 * @size:	Bytes, page multiple, at least 32 MiB
 * Return: 0, or -errno with nothing mapped
 */
int gmem_init(struct gmem *mem, uint64_t size, struct err *err);
void gmem_release(struct gmem *mem);

/**
 * gmem_reserve() - A region behind all others, for memory to come: nothing of it can be used yet
 * gmem_grow() - Its first @len bytes can, from now on
 * @align:	Of its address, a power of two
 *
 * One thread, while others call gmem_range(). Return: 0, or -errno with nothing changed
 */
int gmem_reserve(struct gmem *mem, uint64_t max, uint64_t align, struct err *err);
int gmem_grow(struct gmem *mem, uint64_t len, struct err *err);

/** gmem_range() - The host pointer for [gpa, gpa + len), or NULL unless all of it is RAM of one region; len 0 is NULL */
void *gmem_range(const struct gmem *mem, gpa_t gpa, uint64_t len);

#endif
