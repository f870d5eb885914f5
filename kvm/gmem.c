/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: see gmem.h for the map.
 *
 * RAM is private anonymous memory, reserved lazily: a guest that was given 4 GiB and touches 60 MiB costs 60 MiB. The
 * regions never move or shrink; that is why gmem_range() needs no lock and why a pointer that it returned stays good for the life of the
 * guest. One may come, and grow, while the guest runs: a reader sees it whole or not at all. Addresses and lengths that reach it are the
 * guest's: all arithmetic is done on what is left of a region, so that nothing can wrap.
 */
#include "kvm/gmem.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#define GMEM_SIZE_MIN (32ull << 20)
#define GMEM_SIZE_MAX \
	(1ull << 46) /* what a process can map, with room for itself; far above any host */

/* @len bytes of addresses, of which @usable can be used */
static int map_region(struct gmem *mem, gpa_t gpa, uint64_t len, uint64_t usable, struct err *err)
{
	struct gmem_region *region = &mem->regions[mem->nregions];
	void *hva;

	hva = mmap(NULL, len, usable ? PROT_READ | PROT_WRITE : PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (hva == MAP_FAILED)
		return err_sys(err, errno, "Cannot map %llu MiB of guest memory",
			       (unsigned long long)(len >> 20));
	/* A core dump of ours must not carry the guest's secrets, nor its gigabytes */
	(void)madvise(hva, len, MADV_DONTDUMP);
	*region = (struct gmem_region){.gpa = gpa, .len = usable, .reserved = len, .hva = hva};
	__atomic_store_n(&mem->nregions, mem->nregions + 1, __ATOMIC_RELEASE);
	return 0;
}

int gmem_init(struct gmem *mem, uint64_t size, struct err *err)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t low = size < GMEM_LOW_END ? size : GMEM_LOW_END;
	int r;

	*mem = (struct gmem){0};
	if (size < GMEM_SIZE_MIN || size > GMEM_SIZE_MAX || size % page)
		return err_set(
			err, EINVAL,
			"Guest memory of %llu bytes is too small, too large or no page multiple",
			(unsigned long long)size);
	r = map_region(mem, 0, low, low, err);
	if (r < 0)
		return r;
	if (size == low)
		return 0;
	r = map_region(mem, GMEM_HIGH_START, size - low, size - low, err);
	if (r < 0)
		gmem_release(mem);
	return r;
}

void gmem_release(struct gmem *mem)
{
	unsigned int i;

	for (i = 0; i < mem->nregions; i++)
		(void)munmap(mem->regions[i].hva, mem->regions[i].reserved);
	*mem = (struct gmem){0};
}

int gmem_reserve(struct gmem *mem, uint64_t max, uint64_t align, struct err *err)
{
	const struct gmem_region *last = &mem->regions[mem->nregions - 1];
	gpa_t end = last->gpa + last->reserved;

	if (mem->nregions == GMEM_REGIONS_MAX || max == 0 || max > GMEM_SIZE_MAX)
		return err_set(err, EINVAL, "Guest memory of %llu bytes cannot be reserved",
			       (unsigned long long)max);
	if (end < GMEM_HIGH_START)
		end = GMEM_HIGH_START;
	return map_region(mem, (end + align - 1) & ~(align - 1), max, 0, err);
}

int gmem_grow(struct gmem *mem, uint64_t len, struct err *err)
{
	struct gmem_region *last = &mem->regions[mem->nregions - 1];

	if (len < last->len || len > last->reserved)
		return err_set(err, EINVAL, "Guest memory cannot grow to %llu MiB there",
			       (unsigned long long)(len >> 20));
	if (mprotect(last->hva, len, PROT_READ | PROT_WRITE) < 0)
		return err_sys(err, errno, "Cannot add guest memory");
	__atomic_store_n(&last->len, len, __ATOMIC_RELEASE);
	return 0;
}

void *gmem_range(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	unsigned int n = __atomic_load_n(&mem->nregions, __ATOMIC_ACQUIRE);

	if (!len)
		return NULL;
	for (unsigned int i = 0; i < n; i++) {
		const struct gmem_region *region = &mem->regions[i];
		uint64_t usable = __atomic_load_n(&region->len, __ATOMIC_ACQUIRE);

		if (gpa < region->gpa || gpa - region->gpa >= usable)
			continue;
		if (len > usable - (gpa - region->gpa))
			return NULL;
		return region->hva + (gpa - region->gpa);
	}
	return NULL;
}
