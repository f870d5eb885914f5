/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two forms of a kernel image, and files in guest memory. Used by x86_boot.c only.
 */
#ifndef KVM_X86_IMAGE_H
#define KVM_X86_IMAGE_H

#include <asm/bootparam.h>
#include <stdbool.h>
#include <stdint.h>

#include "kvm/gmem.h"
#include "lib/err.h"

#define X86_IMAGE_GPA_MIN 0x100000ull /* kernels go above the first megabyte, boot data below it */

struct x86_file {
	const char *role; /* "kernel image", "initramfs": what messages call it */
	int fd;		  /* borrowed */
	uint64_t size;	  /* bytes; nothing beyond is touched */
};

/** x86_file_init() - Look at @fd, which must be a regular file; Return: 0 or -errno */
int x86_file_init(struct x86_file *file, const char *role, int fd, struct err *err);
/** x86_file_read() - Read exactly @len bytes at @offset; -ENOEXEC when the file ends before */
int x86_file_read(const struct x86_file *file, uint64_t offset, void *buf, size_t len,
		  struct err *err);
/** x86_file_place() - Copy file bytes [offset, offset + len) to @gpa, into huge pages if possible; Return: 0 or -errno */
int x86_file_place(const struct gmem *mem, const struct x86_file *file, uint64_t offset, gpa_t gpa,
		   uint64_t len, struct err *err);

struct x86_image {
	uint32_t entry; /* where to jump to */
	gpa_t end; /* first byte after what the kernel occupies before it looks at the memory map */
	gpa_t initramfs_max; /* the initramfs must end at or below this */
	bool is_bzimage;
	struct setup_header header; /* bzImage: as in the file */
};

/** x86_elf_load() - Load an ELF vmlinux with a PVH entry note; Return: 0 or -errno as x86_boot_load() */
int x86_elf_load(const struct gmem *mem, const struct x86_file *file, struct x86_image *image,
		 struct err *err);
/** x86_bzimage_load() - Load a bzImage with a 64-bit kernel in it; Return: 0 or -errno as x86_boot_load() */
int x86_bzimage_load(const struct gmem *mem, const struct x86_file *file, struct x86_image *image,
		     struct err *err);

#endif
