/* SPDX-License-Identifier: Apache-2.0 */
/* Arbitrary bytes as a kernel image, ELF or bzImage, into 64 MiB of guest memory. The first byte says what to put in front. */
#include <asm/bootparam.h>
#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm/vmm.h"
#include "kvm/x86_boot.h"

#define INPUT_MAX (64u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Mostly valid: the bytes that a random input would not guess */
static void mend(uint8_t *file, size_t size, uint8_t how)
{
	struct setup_header *h = (struct setup_header *)(file + 0x1f1);

	if ((how & 3) == 1 && size >= sizeof(Elf64_Ehdr)) {
		Elf64_Ehdr *e = (Elf64_Ehdr *)file;

		memcpy(e->e_ident, ELFMAG, SELFMAG);
		e->e_ident[EI_CLASS] = ELFCLASS64;
		e->e_ident[EI_DATA] = ELFDATA2LSB;
		e->e_type = ET_EXEC;
		e->e_machine = EM_X86_64;
		e->e_phentsize = sizeof(Elf64_Phdr);
	} else if ((how & 3) == 2 && size >= 0x1f1 + sizeof(*h)) {
		h->boot_flag = 0xaa55;
		h->header = 0x53726448;
		h->version |= 0x0200;
		h->loadflags |= LOADED_HIGH;
		h->xloadflags |= XLF_KERNEL_64;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t file[INPUT_MAX];
	struct x86_boot_config config = {.initramfs_fd = -1, .cmdline = "fuzz"};
	struct x86_boot_entry entry;
	struct gmem mem = {0};
	struct err err = {0};

	if (size < 1 || size > INPUT_MAX)
		return 0;
	memcpy(file, data + 1, size - 1);
	mend(file, size - 1, data[0]);
	config.kernel_fd = memfd_create("image", MFD_CLOEXEC);
	if (config.kernel_fd < 0 ||
	    write(config.kernel_fd, file, size - 1) != (ssize_t)(size - 1) ||
	    gmem_init(&mem, VMM_MEMORY_MIN, &err) < 0)
		abort();
	if (data[0] & 4)
		config.initramfs_fd = config.kernel_fd;
	if (x86_boot_load(&mem, &config, &entry, &err) == 0) {
		if (!gmem_range(&mem, entry.eip, 1))
			abort();
	} else if (err.code == 0 || err.msg[0] == '\0') {
		abort();
	}
	gmem_release(&mem);
	close(config.kernel_fd);
	return 0;
}
