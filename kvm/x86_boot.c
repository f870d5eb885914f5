/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a PC's firmware and boot loader would have left in memory.
 *
 *   0x00000010  MP floating pointer (x86_mptable.c)
 *   0x00000472  the reset word, written by a kernel that reboots (MACHINE_RESET_MAGIC_GPA)
 *   0x00000500  a GDT with flat segments
 *   0x00006000  PVH: hvm_start_info, module list, memory map     bzImage: 0x7000 boot_params ("zero page")
 *   0x00020000  command line
 *   0x000a0000  ─ not RAM for the guest: VGA and BIOS area; the MP table lies at 0xf0000
 *   0x00100000  RAM; the kernel goes where it wants (0x1000000 as a rule)
 *   …top        initramfs, ending at the top of low RAM
 *
 * All of it is written before the guest runs, and never read again. The structures of PVH are those of Xen's
 * public/arch-x86/hvm/start_info.h, which is frozen; the zero page is the kernel's own <asm/bootparam.h>.
 */
#include "kvm/x86_boot.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "kvm/vmm.h"
#include "kvm/x86_image.h"
#include "lib/cleanup.h"

#define BOOT_GDT_GPA 0x500u
#define BOOT_START_INFO_GPA 0x6000u
#define BOOT_MODULES_GPA 0x6100u
#define BOOT_MEMMAP_GPA 0x6200u
#define BOOT_ZERO_PAGE_GPA 0x7000u
#define BOOT_CMDLINE_GPA 0x20000u
#define BOOT_LOW_RAM_END 0x9fc00u /* below the extended BIOS data area */
#define BOOT_HIGH_RAM 0x100000u
#define BOOT_PAGE 4096ull
#define BOOT_LOADER_UNDEFINED 0xff /* type_of_loader without an assigned number */

#define PVH_MAGIC 0x336ec578u
#define PVH_VERSION 1
#define PVH_MEMMAP_RAM 1u

struct pvh_start_info {
	uint32_t magic, version, flags, nmodules;
	uint64_t modules_gpa, cmdline_gpa, rsdp_gpa, memmap_gpa;
	uint32_t memmap_entries, reserved;
};

struct pvh_module {
	uint64_t gpa, size, cmdline_gpa, reserved;
};

struct pvh_memmap_entry {
	uint64_t gpa, size;
	uint32_t type, reserved;
};

#define BOOT_MEMMAP_MAX (GMEM_REGIONS_MAX + 1)

struct boot_memmap {
	struct pvh_memmap_entry entries[BOOT_MEMMAP_MAX];
	unsigned int n;
};

struct boot_initramfs {
	gpa_t gpa;
	uint64_t size; /* 0: none */
};

/* Copy to low memory, which always exists: gmem_init() makes at least 32 MiB */
static int put(const struct gmem *mem, gpa_t gpa, const void *data, size_t len, struct err *err)
{
	void *hva = gmem_range(mem, gpa, len);

	if (!hva)
		return err_set(err, ENOMEM, "the guest's memory is too small");
	memcpy(hva, data, len);
	return 0;
}

static void memmap_add(struct boot_memmap *map, gpa_t gpa, uint64_t size)
{
	map->entries[map->n++] = (struct pvh_memmap_entry){
		.gpa = gpa, .size = size, .type = PVH_MEMMAP_RAM};
}

/* RAM only: what is not listed is not RAM, and the kernel reserves the ISA area by itself */
static void memmap_fill(struct boot_memmap *map, const struct gmem *mem)
{
	for (unsigned int i = 0; i < mem->nregions; i++) {
		const struct gmem_region *r = &mem->regions[i];

		if (r->gpa == 0) {
			memmap_add(map, 0, BOOT_LOW_RAM_END);
			memmap_add(map, BOOT_HIGH_RAM, r->len - BOOT_HIGH_RAM);
		} else {
			memmap_add(map, r->gpa, r->len);
		}
	}
}

static int load_image(const struct gmem *mem, int fd, struct x86_image *image, struct err *err)
{
	uint8_t magic[SELFMAG] = {0};
	struct x86_file file;
	int r;

	r = x86_file_init(&file, "kernel image", fd, err);
	if (r < 0)
		return r;
	r = x86_file_read(&file, 0, magic, sizeof(magic), err);
	if (r < 0)
		return r;
	if (memcmp(magic, ELFMAG, SELFMAG) == 0)
		return x86_elf_load(mem, &file, image, err);
	return x86_bzimage_load(mem, &file, image, err);
}

/* As high as possible in low RAM, where no kernel grows into it */
static int load_initramfs(const struct gmem *mem, int fd, const struct x86_image *image,
			  struct boot_initramfs *out, struct err *err)
{
	gpa_t top = mem->regions[0].len;
	struct x86_file file;
	int r;

	if (fd < 0)
		return 0;
	r = x86_file_init(&file, "initramfs", fd, err);
	if (r < 0)
		return r;
	if (top > image->initramfs_max)
		top = image->initramfs_max;
	top &= ~(BOOT_PAGE - 1);
	if (file.size > top || ((top - file.size) & ~(BOOT_PAGE - 1)) < image->end)
		return err_set(
			err, ENOMEM,
			"the guest's memory is too small for kernel and initramfs (%llu MiB)",
			(unsigned long long)(file.size >> 20));
	out->gpa = (top - file.size) & ~(BOOT_PAGE - 1);
	r = x86_file_place(mem, &file, 0, out->gpa, file.size, err);
	if (r < 0)
		return r;
	out->size = file.size;
	return 0;
}

static int put_cmdline(const struct gmem *mem, const char *cmdline, struct err *err)
{
	size_t len = strlen(cmdline);

	if (len >= VMM_CMDLINE_MAX)
		return err_set(err, E2BIG,
			       "the kernel's command line is too long: %zu bytes, at most %d", len,
			       VMM_CMDLINE_MAX - 1);
	return put(mem, BOOT_CMDLINE_GPA, cmdline, len + 1, err);
}

static int put_gdt(const struct gmem *mem, struct x86_boot_entry *entry, struct err *err)
{
	/* null, unused, flat 4 GiB code, flat 4 GiB data */
	static const uint64_t gdt[] = {0, 0, 0x00cf9b000000ffffull, 0x00cf93000000ffffull};

	entry->gdt_gpa = BOOT_GDT_GPA;
	entry->gdt_limit = sizeof(gdt) - 1;
	return put(mem, BOOT_GDT_GPA, gdt, sizeof(gdt), err);
}

static int put_pvh(const struct gmem *mem, const struct boot_memmap *map,
		   const struct boot_initramfs *initramfs, struct err *err)
{
	struct pvh_start_info info = {.magic = PVH_MAGIC,
				      .version = PVH_VERSION,
				      .cmdline_gpa = BOOT_CMDLINE_GPA,
				      .memmap_gpa = BOOT_MEMMAP_GPA,
				      .memmap_entries = map->n};
	struct pvh_module module = {.gpa = initramfs->gpa, .size = initramfs->size};
	int r;

	if (initramfs->size > 0) {
		info.nmodules = 1;
		info.modules_gpa = BOOT_MODULES_GPA;
		r = put(mem, BOOT_MODULES_GPA, &module, sizeof(module), err);
		if (r < 0)
			return r;
	}
	r = put(mem, BOOT_MEMMAP_GPA, map->entries, map->n * sizeof(map->entries[0]), err);
	if (r < 0)
		return r;
	return put(mem, BOOT_START_INFO_GPA, &info, sizeof(info), err);
}

static int put_zero_page(const struct gmem *mem, const struct boot_memmap *map,
			 const struct boot_initramfs *initramfs, const struct x86_image *image,
			 struct err *err)
{
	struct boot_params params = {0};

	params.hdr = image->header;
	params.hdr.type_of_loader = BOOT_LOADER_UNDEFINED;
	params.hdr.cmd_line_ptr = BOOT_CMDLINE_GPA;
	params.hdr.ramdisk_image = (uint32_t)initramfs->gpa;
	params.hdr.ramdisk_size = (uint32_t)initramfs->size;
	params.hdr.code32_start = image->entry;
	for (unsigned int i = 0; i < map->n; i++) {
		params.e820_table[i].addr = map->entries[i].gpa;
		params.e820_table[i].size = map->entries[i].size;
		params.e820_table[i].type = map->entries[i].type;
	}
	params.e820_entries = (uint8_t)map->n;
	return put(mem, BOOT_ZERO_PAGE_GPA, &params, sizeof(params), err);
}

int x86_boot_load(struct gmem *mem, const struct x86_boot_config *config,
		  struct x86_boot_entry *entry, struct err *err)
{
	struct boot_initramfs initramfs = {0};
	struct x86_boot_entry out = {0};
	struct boot_memmap map = {0};
	struct x86_image image;
	int r;

	r = load_image(mem, config->kernel_fd, &image, err);
	if (r < 0)
		return r;
	r = load_initramfs(mem, config->initramfs_fd, &image, &initramfs, err);
	if (r < 0)
		return r;
	r = put_cmdline(mem, config->cmdline, err);
	if (r < 0)
		return r;
	r = put_gdt(mem, &out, err);
	if (r < 0)
		return r;
	memmap_fill(&map, mem);
	if (image.is_bzimage) {
		r = put_zero_page(mem, &map, &initramfs, &image, err);
		out.esi = BOOT_ZERO_PAGE_GPA;
	} else {
		r = put_pvh(mem, &map, &initramfs, err);
		out.ebx = BOOT_START_INFO_GPA;
	}
	if (r < 0)
		return r;
	out.eip = image.entry;
	*entry = out;
	return 0;
}
