/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel images: an ELF vmlinux that can be entered by PVH, and a bzImage.
 *
 * The image comes from a path in the configuration; it is untrusted in the sense that a truncated, hostile or wrong file must
 * yield a sentence and nothing else. Each number from it is checked against the file's size (taken once) and against guest memory
 * before it is used.
 *
 * ELF: the PT_LOAD segments say where things go (physical addresses), the PVH entry is in a PT_NOTE named "Xen", type 18
 * (XEN_ELFNOTE_PHYS32_ENTRY).
 *
 * Images are read into huge pages rather than mapped. Mapping privately copies nothing at first, but a booting kernel patches
 * nearly every page of its text (alternatives, return thunks), and each 4 KiB page costs an exit to be looked at and another
 * to be written: 8600 faults until the first program against 600, and a boot that takes longer by a third or more.
 * Little is left to share, either. A file that is read cannot raise SIGBUS when its owner truncates it.
 *
 * bzImage: the real-mode part is skipped; the protected-mode part is copied to its preferred address and entered at its
 * beginning in 32-bit mode (Documentation/arch/x86/boot.rst, "32-bit Boot Protocol"). It decompresses itself, in place, within
 * init_size bytes.
 */
#include "kvm/x86_image.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define PAGE 4096ull
#define HUGE_PAGE_MIN (1ull << 20) /* bytes; below this, huge pages are not worth asking for */
#define ELF_SEGMENTS_MAX 64
#define ELF_NOTES_MAX (64u << 10) /* bytes of one PT_NOTE */
#define ELF_NOTE_PVH 18		  /* XEN_ELFNOTE_PHYS32_ENTRY */

#define BZIMAGE_HEADER 0x1f1	  /* the setup header's offset in the file */
#define BZIMAGE_MAGIC 0x53726448u /* "HdrS" */
#define BZIMAGE_MAGIC_OFFSET 0x202
#define BZIMAGE_VERSION_MIN 0x020c /* 2.12: xloadflags */
#define BZIMAGE_SETUP_SECTS_DEFAULT 4

int x86_file_init(struct x86_file *file, const char *role, int fd, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "%s", role);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "the %s is not a regular file", role);
	if (st.st_size <= 0)
		return err_set(err, ENOEXEC, "the %s is empty", role);
	*file = (struct x86_file){.role = role, .fd = fd, .size = (uint64_t)st.st_size};
	return 0;
}

int x86_file_read(const struct x86_file *file, uint64_t offset, void *buf, size_t len,
		  struct err *err)
{
	uint8_t *p = buf;
	ssize_t n;

	if (offset > file->size || len > file->size - offset)
		return err_set(err, ENOEXEC,
			       "the %s is cut short: %zu bytes at %#llx are beyond its end",
			       file->role, len, (unsigned long long)offset);
	while (len > 0) {
		n = pread(file->fd, p, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, "reading the %s", file->role);
		if (n == 0)
			return err_set(err, ENOEXEC, "the %s became shorter while it was read",
				       file->role);
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int x86_file_place(const struct gmem *mem, const struct x86_file *file, uint64_t offset, gpa_t gpa,
		   uint64_t len, struct err *err)
{
	uint8_t *hva = gmem_range(mem, gpa, len);

	if (len == 0)
		return 0;
	if (!hva)
		return err_set(err, ENOMEM, "the guest's memory is too small for the %s",
			       file->role);
	if (len >= HUGE_PAGE_MIN)
		(void)madvise((void *)((uintptr_t)hva & ~(PAGE - 1)), len & ~(PAGE - 1),
			      MADV_HUGEPAGE);
	return x86_file_read(file, offset, hva, len, err);
}

static int not_a_kernel(struct err *err, const char *why)
{
	return err_set(err, ENOEXEC, "the kernel image is not a kernel image: %s", why);
}

/* ---- ELF ---------------------------------------------------------------------------------------------------------- */

static int elf_check_header(const Elf64_Ehdr *h, struct err *err)
{
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB ||
	    h->e_machine != EM_X86_64)
		return not_a_kernel(err, "it is an ELF file for another kind of processor");
	if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
		return not_a_kernel(err, "it is an ELF file of another type than executable");
	if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0 ||
	    h->e_phnum > ELF_SEGMENTS_MAX)
		return not_a_kernel(err, "its ELF program headers are malformed");
	return 0;
}

static int elf_load_segment(const struct gmem *mem, const struct x86_file *file,
			    const Elf64_Phdr *p, struct x86_image *image, struct err *err)
{
	if (p->p_memsz == 0)
		return 0;
	if (p->p_filesz > p->p_memsz || p->p_offset > file->size ||
	    p->p_filesz > file->size - p->p_offset)
		return not_a_kernel(err, "a segment is larger than the file");
	if (p->p_paddr < X86_IMAGE_GPA_MIN || p->p_paddr >= GMEM_LOW_END ||
	    p->p_memsz > GMEM_LOW_END - p->p_paddr)
		return not_a_kernel(err, "a segment lies outside of 1 MiB to 3 GiB");
	if (!gmem_range(mem, p->p_paddr, p->p_memsz))
		return err_set(
			err, ENOMEM,
			"the guest's memory is too small for the kernel image, which ends at %#llx",
			(unsigned long long)(p->p_paddr + p->p_memsz));
	if (image->end < p->p_paddr + p->p_memsz)
		image->end = p->p_paddr + p->p_memsz;
	return x86_file_place(mem, file, p->p_offset, p->p_paddr, p->p_filesz, err);
}

/* One note: header, name, descriptor, each padded to 4 bytes. Returns the bytes it takes, 0 when it does not fit. */
static size_t elf_parse_note(const uint8_t *p, size_t len, uint64_t *pvh_entry)
{
	Elf64_Nhdr n;
	uint64_t name_len, desc_len;

	if (len < sizeof(n))
		return 0;
	memcpy(&n, p, sizeof(n));
	name_len = ((uint64_t)n.n_namesz + 3) & ~3ull;
	desc_len = ((uint64_t)n.n_descsz + 3) & ~3ull;
	if (name_len + desc_len > len - sizeof(n))
		return 0;
	p += sizeof(n);
	if (n.n_type == ELF_NOTE_PVH && n.n_namesz == sizeof("Xen") &&
	    memcmp(p, "Xen", sizeof("Xen")) == 0 && (n.n_descsz == 4 || n.n_descsz == 8)) {
		*pvh_entry = 0;
		memcpy(pvh_entry, p + name_len, n.n_descsz);
	}
	return sizeof(n) + name_len + desc_len;
}

static int elf_find_pvh(const struct x86_file *file, const Elf64_Phdr *p, uint64_t *pvh_entry,
			struct err *err)
{
	cleanup_free uint8_t *notes = NULL;
	size_t at, step;
	int r;

	if (p->p_filesz == 0)
		return 0;
	if (p->p_filesz > ELF_NOTES_MAX)
		return not_a_kernel(err, "its ELF notes are too large");
	notes = malloc(p->p_filesz);
	if (!notes)
		return err_sys(err, ENOMEM, "reading the kernel image");
	r = x86_file_read(file, p->p_offset, notes, p->p_filesz, err);
	if (r < 0)
		return r;
	for (at = 0; at < p->p_filesz; at += step) {
		step = elf_parse_note(notes + at, p->p_filesz - at, pvh_entry);
		if (step == 0)
			break;
	}
	return 0;
}

int x86_elf_load(const struct gmem *mem, const struct x86_file *file, struct x86_image *image,
		 struct err *err)
{
	Elf64_Phdr segments[ELF_SEGMENTS_MAX];
	Elf64_Ehdr header;
	uint64_t entry = 0;
	int r;

	r = x86_file_read(file, 0, &header, sizeof(header), err);
	if (r < 0)
		return r;
	r = elf_check_header(&header, err);
	if (r < 0)
		return r;
	r = x86_file_read(file, header.e_phoff, segments, header.e_phnum * sizeof(segments[0]),
			  err);
	if (r < 0)
		return r;
	*image = (struct x86_image){.initramfs_max = GMEM_LOW_END};
	for (unsigned int i = 0; i < header.e_phnum; i++) {
		if (segments[i].p_type == PT_LOAD)
			r = elf_load_segment(mem, file, &segments[i], image, err);
		else if (segments[i].p_type == PT_NOTE)
			r = elf_find_pvh(file, &segments[i], &entry, err);
		if (r < 0)
			return r;
	}
	if (entry == 0)
		return not_a_kernel(err, "it has no PVH entry (build it with CONFIG_PVH=y)");
	if (entry < X86_IMAGE_GPA_MIN || entry >= image->end)
		return not_a_kernel(err, "its PVH entry lies outside of its segments");
	image->entry = (uint32_t)entry;
	return 0;
}

/* ---- bzImage ------------------------------------------------------------------------------------------------------ */

static int bzimage_read_header(const struct x86_file *file, struct setup_header *header,
			       struct err *err)
{
	size_t len = sizeof(*header);

	if (len > file->size - BZIMAGE_HEADER)
		len = file->size - BZIMAGE_HEADER;
	memset(header, 0, sizeof(*header));
	return x86_file_read(file, BZIMAGE_HEADER, header, len, err);
}

static int bzimage_check_header(const struct setup_header *h, struct err *err)
{
	if (h->boot_flag != 0xaa55 || h->header != BZIMAGE_MAGIC)
		return not_a_kernel(err, "it is neither ELF nor a bzImage");
	if (h->version < BZIMAGE_VERSION_MIN || !(h->xloadflags & XLF_KERNEL_64) ||
	    !(h->loadflags & LOADED_HIGH))
		return not_a_kernel(
			err, "it is a bzImage without a 64-bit kernel, or older than Linux 3.8");
	return 0;
}

int x86_bzimage_load(const struct gmem *mem, const struct x86_file *file, struct x86_image *image,
		     struct err *err)
{
	uint64_t code, code_len, load, room;
	struct setup_header h;
	int r;

	if (file->size < BZIMAGE_HEADER + sizeof(h))
		return not_a_kernel(err, "it is too short");
	r = bzimage_read_header(file, &h, err);
	if (r < 0)
		return r;
	r = bzimage_check_header(&h, err);
	if (r < 0)
		return r;
	code = ((uint64_t)(h.setup_sects ? h.setup_sects : BZIMAGE_SETUP_SECTS_DEFAULT) + 1) * 512;
	if (code >= file->size)
		return not_a_kernel(err, "it is a bzImage that ends before its kernel");
	code_len = file->size - code;
	load = h.pref_address;
	if (load < X86_IMAGE_GPA_MIN || load >= GMEM_LOW_END || load % PAGE != 0)
		return not_a_kernel(
			err, "it is a bzImage with a load address outside of 1 MiB to 3 GiB");
	room = h.init_size > code_len ? h.init_size : code_len;
	if (!gmem_range(mem, load, room))
		return err_set(err, ENOMEM,
			       "the guest's memory is too small for the kernel image, which needs "
			       "%llu MiB",
			       (unsigned long long)((load + room) >> 20));
	r = x86_file_place(mem, file, code, load, code_len, err);
	if (r < 0)
		return r;
	*image = (struct x86_image){
		.entry = (uint32_t)load, .end = load + room, .is_bzimage = true, .header = h};
	image->initramfs_max = h.initrd_addr_max ? (gpa_t)h.initrd_addr_max + 1 : GMEM_LOW_END;
	return 0;
}
