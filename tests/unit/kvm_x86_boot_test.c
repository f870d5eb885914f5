/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel images, good and bad, from a memfd into guest memory: what is loaded where, and one sentence for each way to be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm/vmm.h"
#include "kvm/x86_boot.h"

#define MIB (1ull << 20)
#define CODE_OFFSET 0x2000
#define CODE_GPA 0x1000000
#define CODE_LEN 0x2345
#define NOTE_OFFSET 0x400

struct elf {
	Elf64_Ehdr h;
	Elf64_Phdr load, note;
	uint8_t notes[64];
	uint32_t notes_len;
	bool has_code;
};

static struct gmem mem;

static int setup(void **state)
{
	struct err err;

	(void)state;
	return gmem_init(&mem, VMM_MEMORY_MIN, &err);
}

static int teardown(void **state)
{
	(void)state;
	gmem_release(&mem);
	return 0;
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 7 + 1);
}

static struct elf good_elf(void)
{
	static const uint32_t note[] = {4, 8, 18, 0x006e6558, CODE_GPA + 0x40,
					0}; /* "Xen", PHYS32_ENTRY */
	struct elf e = {0};

	memcpy(e.h.e_ident, ELFMAG, SELFMAG);
	e.h.e_ident[EI_CLASS] = ELFCLASS64;
	e.h.e_ident[EI_DATA] = ELFDATA2LSB;
	e.h.e_type = ET_EXEC;
	e.h.e_machine = EM_X86_64;
	e.h.e_phoff = sizeof(e.h);
	e.h.e_phentsize = sizeof(Elf64_Phdr);
	e.h.e_phnum = 2;
	e.load = (Elf64_Phdr){.p_type = PT_LOAD,
			      .p_offset = CODE_OFFSET,
			      .p_paddr = CODE_GPA,
			      .p_filesz = CODE_LEN,
			      .p_memsz = 0x10000};
	e.note = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = NOTE_OFFSET, .p_filesz = sizeof(note)};
	memcpy(e.notes, note, sizeof(note));
	e.notes_len = sizeof(note);
	e.has_code = true;
	return e;
}

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	return fd;
}

static int elf_file(const struct elf *e)
{
	static uint8_t file[CODE_OFFSET + CODE_LEN];

	memset(file, 0, sizeof(file));
	memcpy(file, &e->h, sizeof(e->h));
	memcpy(file + sizeof(e->h), &e->load, sizeof(e->load));
	memcpy(file + sizeof(e->h) + sizeof(e->load), &e->note, sizeof(e->note));
	memcpy(file + NOTE_OFFSET, e->notes, e->notes_len);
	for (size_t i = 0; i < CODE_LEN; i++)
		file[CODE_OFFSET + i] = pattern(i);
	return file_of(file, e->has_code ? sizeof(file) : CODE_OFFSET);
}

static int load(int kernel_fd, int initramfs_fd, const char *cmdline, struct x86_boot_entry *entry,
		struct err *err)
{
	const struct x86_boot_config config = {
		.kernel_fd = kernel_fd, .initramfs_fd = initramfs_fd, .cmdline = cmdline};
	int r;

	*err = (struct err){0};
	r = x86_boot_load(&mem, &config, entry, err);
	close(kernel_fd);
	assert_int_equal(err->code, -r);
	return r;
}

static void check_code(gpa_t gpa)
{
	const uint8_t *p = gmem_range(&mem, gpa, 0x10000);

	for (size_t i = 0; i < CODE_LEN; i++)
		assert_int_equal(p[i], pattern(i));
	for (size_t i = CODE_LEN; i < 0x10000; i++)
		assert_int_equal(p[i], 0);
}

static void test_elf(void **state)
{
	struct x86_boot_entry entry;
	struct elf e = good_elf();
	const uint32_t *info;
	const uint64_t *map;
	struct err err;

	(void)state;
	assert_int_equal(load(elf_file(&e), -1, "one two", &entry, &err), 0);
	check_code(CODE_GPA);
	assert_int_equal(entry.eip, CODE_GPA + 0x40);
	assert_int_equal(entry.esi, 0);
	info = gmem_range(&mem, entry.ebx, 56);
	assert_int_equal(info[0], 0x336ec578);
	assert_int_equal(info[1], 1);
	assert_int_equal(info[3], 0);
	assert_string_equal(gmem_range(&mem, info[6], 8), "one two");
	assert_int_equal(info[12], 2);
	map = gmem_range(&mem, info[10], 2 * 24);
	assert_int_equal(map[0], 0);
	assert_int_equal(map[1], 0x9fc00);
	assert_int_equal(map[2], 1);
	assert_int_equal(map[3], MIB);
	assert_int_equal(map[4], VMM_MEMORY_MIN - MIB);
}

/* Offsets in the file and in memory that do not agree within a page */
static void test_elf_unaligned(void **state)
{
	struct x86_boot_entry entry;
	struct elf e = good_elf();
	struct err err;

	(void)state;
	e.load.p_paddr += 0x123;
	assert_int_equal(load(elf_file(&e), -1, "", &entry, &err), 0);
	check_code(CODE_GPA + 0x123);
}

/* Beginning within a page */
static void test_elf_edges(void **state)
{
	struct x86_boot_entry entry;
	struct elf e = good_elf();
	const uint8_t *p;
	struct err err;

	(void)state;
	e.load.p_offset += 0x10;
	e.load.p_paddr += 0x10;
	e.load.p_filesz -= 0x10;
	assert_int_equal(load(elf_file(&e), -1, "", &entry, &err), 0);
	p = gmem_range(&mem, CODE_GPA, CODE_LEN);
	for (size_t i = 0; i < CODE_LEN; i++)
		assert_int_equal(p[i], i < 0x10 ? 0 : pattern(i));
}

static void test_initramfs(void **state)
{
	struct x86_boot_entry entry;
	struct elf e = good_elf();
	const uint64_t *module;
	const uint32_t *info;
	uint8_t data[5000];
	struct err err;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = pattern(i);
	fd = file_of(data, sizeof(data));
	assert_int_equal(load(elf_file(&e), fd, "", &entry, &err), 0);
	info = gmem_range(&mem, entry.ebx, 56);
	assert_int_equal(info[3], 1);
	module = gmem_range(&mem, info[4], 32);
	assert_int_equal(module[0], VMM_MEMORY_MIN - 8192);
	assert_int_equal(module[1], sizeof(data));
	assert_memory_equal(gmem_range(&mem, module[0], sizeof(data)), data, sizeof(data));
	/* One that leaves no room for the kernel */
	assert_int_equal(ftruncate(fd, (off_t)(50 * MIB)), 0);
	assert_int_equal(load(elf_file(&e), fd, "", &entry, &err), -ENOMEM);
	close(fd);
}

static void bad_elf(const struct elf *e, int code, const char *words)
{
	struct x86_boot_entry entry;
	struct err err;

	assert_int_equal(load(elf_file(e), -1, "", &entry, &err), -code);
	assert_non_null(strstr(err.msg, "kernel image"));
	if (!strstr(err.msg, words))
		fail_msg("'%s' does not say '%s'", err.msg, words);
}

static void test_bad_elf(void **state)
{
	struct elf e;

	(void)state;
	e = good_elf(), e.h.e_machine = EM_AARCH64;
	bad_elf(&e, ENOEXEC, "another kind of processor");
	e = good_elf(), e.h.e_ident[EI_CLASS] = ELFCLASS32;
	bad_elf(&e, ENOEXEC, "another kind of processor");
	e = good_elf(), e.h.e_type = ET_REL;
	bad_elf(&e, ENOEXEC, "another type");
	e = good_elf(), e.h.e_phnum = 65;
	bad_elf(&e, ENOEXEC, "program headers");
	e = good_elf(), e.h.e_phentsize = 55;
	bad_elf(&e, ENOEXEC, "program headers");
	e = good_elf(), e.h.e_phoff = UINT64_MAX - 8;
	bad_elf(&e, ENOEXEC, "cut short");
	e = good_elf(), e.load.p_filesz = 0x20000;
	bad_elf(&e, ENOEXEC, "larger than the file");
	e = good_elf(), e.load.p_offset = UINT64_MAX - 0x1000;
	bad_elf(&e, ENOEXEC, "larger than the file");
	e = good_elf(), e.has_code = false;
	bad_elf(&e, ENOEXEC, "larger than the file");
	e = good_elf(), e.load.p_paddr = 0x1000;
	bad_elf(&e, ENOEXEC, "1 MiB to 3 GiB");
	e = good_elf(), e.load.p_paddr = UINT64_MAX - 0x2000;
	bad_elf(&e, ENOEXEC, "1 MiB to 3 GiB");
	e = good_elf(), e.load.p_memsz = UINT64_MAX;
	bad_elf(&e, ENOEXEC, "1 MiB to 3 GiB");
	e = good_elf(), e.load.p_paddr = VMM_MEMORY_MIN;
	bad_elf(&e, ENOMEM, "too small");
}

static void test_bad_notes(void **state)
{
	struct elf e;

	(void)state;
	e = good_elf(), e.note.p_type = PT_NULL;
	bad_elf(&e, ENOEXEC, "CONFIG_PVH");
	e = good_elf(), e.notes[0] = 0xff, e.notes[1] = 0xff;
	bad_elf(&e, ENOEXEC, "CONFIG_PVH");
	e = good_elf(), memset(e.notes, 0xff, 8);
	bad_elf(&e, ENOEXEC, "CONFIG_PVH");
	e = good_elf(), e.note.p_filesz = 11;
	bad_elf(&e, ENOEXEC, "CONFIG_PVH");
	e = good_elf(), e.note.p_filesz = 1 << 20;
	bad_elf(&e, ENOEXEC, "notes are too large");
	e = good_elf(), e.note.p_offset = 1 << 20;
	bad_elf(&e, ENOEXEC, "cut short");
	e = good_elf(), e.notes[19] = 0x70; /* an entry far away */
	bad_elf(&e, ENOEXEC, "outside of its segments");
}

static void test_not_elf(void **state)
{
	static const char text[] = "#!/bin/sh\n";
	static uint8_t zeros[8192];
	struct x86_boot_entry entry;
	struct err err;
	int fds[2];

	(void)state;
	assert_int_equal(load(file_of(text, sizeof(text)), -1, "", &entry, &err), -ENOEXEC);
	assert_int_equal(load(file_of(zeros, sizeof(zeros)), -1, "", &entry, &err), -ENOEXEC);
	assert_int_equal(load(file_of(zeros, 0), -1, "", &entry, &err), -ENOEXEC);
	assert_int_equal(load(file_of(zeros, 3), -1, "", &entry, &err), -ENOEXEC);
	assert_int_equal(load(file_of(ELFMAG, SELFMAG), -1, "", &entry, &err), -ENOEXEC);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(load(fds[0], -1, "", &entry, &err), -EINVAL);
	close(fds[1]);
	assert_int_equal(load(open("/", O_RDONLY | O_DIRECTORY), -1, "", &entry, &err), -EINVAL);
}

static void test_cmdline(void **state)
{
	struct x86_boot_entry entry;
	char cmdline[VMM_CMDLINE_MAX + 1];
	struct elf e = good_elf();
	struct err err;

	(void)state;
	memset(cmdline, 'x', sizeof(cmdline));
	cmdline[VMM_CMDLINE_MAX] = '\0';
	assert_int_equal(load(elf_file(&e), -1, cmdline, &entry, &err), -E2BIG);
	cmdline[VMM_CMDLINE_MAX - 1] = '\0';
	assert_int_equal(load(elf_file(&e), -1, cmdline, &entry, &err), 0);
}

/* ---- bzImage ------------------------------------------------------------------------------------------------------ */

static uint8_t bz[8192];

static struct setup_header *good_bzimage(void)
{
	struct setup_header *h = (struct setup_header *)(bz + 0x1f1);

	memset(bz, 0, sizeof(bz));
	h->setup_sects = 3;
	h->boot_flag = 0xaa55;
	h->header = 0x53726448;
	h->version = 0x020f;
	h->loadflags = LOADED_HIGH;
	h->xloadflags = XLF_KERNEL_64;
	h->pref_address = CODE_GPA;
	h->init_size = 0x100000;
	h->initrd_addr_max = 0x7fffffff;
	for (size_t i = 2048; i < sizeof(bz); i++)
		bz[i] = pattern(i - 2048);
	return h;
}

static void test_bzimage(void **state)
{
	const struct boot_params *params;
	struct x86_boot_entry entry;
	struct err err;
	const uint8_t *p;

	(void)state;
	good_bzimage();
	assert_int_equal(load(file_of(bz, sizeof(bz)), -1, "words", &entry, &err), 0);
	assert_int_equal(entry.eip, CODE_GPA);
	assert_int_equal(entry.ebx, 0);
	params = gmem_range(&mem, entry.esi, sizeof(*params));
	assert_int_equal(params->hdr.header, 0x53726448);
	assert_int_equal(params->hdr.type_of_loader, 0xff);
	assert_string_equal(gmem_range(&mem, params->hdr.cmd_line_ptr, 6), "words");
	assert_int_equal(params->e820_entries, 2);
	assert_int_equal(params->e820_table[1].size, VMM_MEMORY_MIN - MIB);
	p = gmem_range(&mem, CODE_GPA, sizeof(bz) - 2048);
	for (size_t i = 0; i < sizeof(bz) - 2048; i++)
		assert_int_equal(p[i], pattern(i));
}

static void bad_bzimage(size_t len, int code)
{
	struct x86_boot_entry entry;
	struct err err;

	assert_int_equal(load(file_of(bz, len), -1, "", &entry, &err), -code);
	assert_non_null(strstr(err.msg, "kernel image"));
}

static void test_bad_bzimage(void **state)
{
	(void)state;
	good_bzimage();
	bad_bzimage(2048, ENOEXEC);
	bad_bzimage(0x210, ENOEXEC);
	good_bzimage()->version = 0x0204;
	bad_bzimage(sizeof(bz), ENOEXEC);
	good_bzimage()->xloadflags = 0;
	bad_bzimage(sizeof(bz), ENOEXEC);
	good_bzimage()->boot_flag = 0;
	bad_bzimage(sizeof(bz), ENOEXEC);
	good_bzimage()->setup_sects = 255;
	bad_bzimage(sizeof(bz), ENOEXEC);
	good_bzimage()->pref_address = 0x1000;
	bad_bzimage(sizeof(bz), ENOEXEC);
	good_bzimage()->pref_address = UINT64_MAX & ~0xfffull;
	bad_bzimage(sizeof(bz), ENOEXEC);
	good_bzimage()->init_size = UINT32_MAX;
	bad_bzimage(sizeof(bz), ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_elf, setup, teardown),
		cmocka_unit_test_setup_teardown(test_elf_unaligned, setup, teardown),
		cmocka_unit_test_setup_teardown(test_elf_edges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_initramfs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_elf, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_notes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_elf, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cmdline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bzimage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_bzimage, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
