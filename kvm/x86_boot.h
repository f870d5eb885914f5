/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting a kernel into guest memory so that the boot processor can jump into it, see x86_boot.c.
 */
#ifndef KVM_X86_BOOT_H
#define KVM_X86_BOOT_H

#include <stdint.h>

#include "kvm/gmem.h"
#include "lib/err.h"

struct x86_boot_config {
	int kernel_fd;	     /* borrowed */
	int initramfs_fd;    /* borrowed; -1: none */
	const char *cmdline; /* shorter than VMM_CMDLINE_MAX */
};

/* The boot processor's state at entry: 32-bit protected mode, flat segments, no paging */
struct x86_boot_entry {
	uint32_t eip;
	uint32_t ebx;	  /* PVH: the start info */
	uint32_t esi;	  /* bzImage: the boot parameters */
	uint32_t gdt_gpa; /* a table with the flat segments at X86_BOOT_CS and X86_BOOT_DS */
	uint16_t gdt_limit;
};
#define X86_BOOT_CS 0x10
#define X86_BOOT_DS 0x18

/**
 * x86_boot_load() - Load kernel, initramfs, command line and memory map
 * @mem:	Fresh guest memory, all zeros
 * @entry:	Set on success
 *
 * Both files are untrusted. Return: 0; -ENOEXEC when the kernel image is not one, -E2BIG for the command line, -ENOMEM when the
 * guest's memory is too small, or -errno of reading.
 */
int x86_boot_load(struct gmem *mem, const struct x86_boot_config *config,
		  struct x86_boot_entry *entry, struct err *err);

#endif
