/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MP table (Intel MultiProcessor Specification 1.4, chapter 4).
 *
 *   0x10      floating pointer ("_MP_", 16 bytes) ──▶ 0xf0000  header, then the entries:
 *
 *             processor 0..n-1 | bus ISA | IOAPIC | interrupt 0,1,3..23 | LINT0 ExtINT, LINT1 NMI
 *
 * Every interrupt line is declared as an ISA one: the bus type makes it edge-triggered and active high, which is what an irqfd
 * without resampling delivers. Pin n carries interrupt n (KVM's own default routing), so a GSI, an IOAPIC pin and a Linux
 * interrupt number are the same; 2 is left out because Linux never uses the cascade's line. APIC ids are 8 bits wide here and
 * 255 is the broadcast: hence at most 254 processors and the IOAPIC's own id.
 *
 * The table is written once, before the guest runs; nothing is read back.
 */
#include "kvm/x86_mptable.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "kvm/vmm.h"

enum mp_entry { MP_PROCESSOR = 0, MP_BUS, MP_IOAPIC, MP_INTERRUPT, MP_LOCAL_INTERRUPT };
enum mp_interrupt { MP_INT = 0, MP_NMI = 1, MP_EXTINT = 3 };

#define MP_SPEC_REVISION 4 /* 1.4 */
#define MP_CPU_ENABLED 1u
#define MP_CPU_BOOT 2u
#define MP_CPU_SIGNATURE 0x600u /* family 6; kernels ask CPUID instead */
#define MP_CPU_FEATURES 0x201u	/* FPU, APIC */
#define MP_APIC_VERSION 0x14u	/* an integrated APIC, as KVM's */
#define MP_IOAPIC_VERSION 0x11u
#define MP_IOAPIC_USABLE 1u
#define MP_BUS_ISA_ID 0u
#define MP_CASCADE 2u
#define MP_ALL_APICS 0xffu

struct mp_pointer {
	char signature[4];
	uint32_t table_gpa;
	uint8_t length; /* in 16 bytes */
	uint8_t spec;
	uint8_t checksum;
	uint8_t features[5]; /* 0: there is a table; no IMCR */
} __attribute__((packed));

struct mp_header {
	char signature[4];
	uint16_t length;
	uint8_t spec;
	uint8_t checksum;
	char oem[8];
	char product[12];
	uint32_t oem_table;
	uint16_t oem_size;
	uint16_t entries;
	uint32_t lapic_gpa;
	uint16_t extended_length;
	uint8_t extended_checksum;
	uint8_t reserved;
} __attribute__((packed));

struct mp_cpu {
	uint8_t type, apic_id, apic_version, flags;
	uint32_t signature, features, reserved[2];
} __attribute__((packed));

struct mp_bus {
	uint8_t type, id;
	char name[6];
} __attribute__((packed));

struct mp_ioapic {
	uint8_t type, id, version, flags;
	uint32_t gpa;
} __attribute__((packed));

struct mp_interrupt_entry {
	uint8_t type, kind;
	uint16_t flags; /* 0: trigger and polarity as the bus has them */
	uint8_t bus, bus_irq, apic, pin;
} __attribute__((packed));

/* Where the next entry goes; the table's greatest size is known, so it always fits */
struct mp_writer {
	uint8_t *start, *next, *end;
	uint16_t entries;
};

static void mp_put(struct mp_writer *w, const void *entry, size_t len)
{
	assert(len <= (size_t)(w->end - w->next));
	memcpy(w->next, entry, len);
	w->next += len;
	w->entries++;
}

static uint8_t mp_checksum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

static void mp_put_cpus(struct mp_writer *w, unsigned int nvcpus)
{
	for (unsigned int i = 0; i < nvcpus; i++) {
		struct mp_cpu cpu = {.type = MP_PROCESSOR,
				     .apic_id = (uint8_t)i,
				     .apic_version = MP_APIC_VERSION};

		cpu.flags = MP_CPU_ENABLED | (i == 0 ? MP_CPU_BOOT : 0);
		cpu.signature = MP_CPU_SIGNATURE;
		cpu.features = MP_CPU_FEATURES;
		mp_put(w, &cpu, sizeof(cpu));
	}
}

static void mp_put_interrupts(struct mp_writer *w, uint8_t ioapic_id)
{
	struct mp_interrupt_entry e = {
		.type = MP_INTERRUPT, .kind = MP_INT, .bus = MP_BUS_ISA_ID, .apic = ioapic_id};

	for (uint8_t pin = 0; pin < X86_IOAPIC_PINS; pin++) {
		if (pin == MP_CASCADE)
			continue;
		e.bus_irq = pin;
		e.pin = pin;
		mp_put(w, &e, sizeof(e));
	}
	e = (struct mp_interrupt_entry){.type = MP_LOCAL_INTERRUPT,
					.kind = MP_EXTINT,
					.bus = MP_BUS_ISA_ID,
					.apic = 0,
					.pin = 0};
	mp_put(w, &e, sizeof(e));
	e.kind = MP_NMI;
	e.apic = MP_ALL_APICS;
	e.pin = 1;
	mp_put(w, &e, sizeof(e));
}

static void mp_put_all(struct mp_writer *w, unsigned int nvcpus)
{
	const struct mp_bus bus = {
		.type = MP_BUS, .id = MP_BUS_ISA_ID, .name = {'I', 'S', 'A', ' ', ' ', ' '}};
	const struct mp_ioapic ioapic = {.type = MP_IOAPIC,
					 .id = (uint8_t)nvcpus,
					 .version = MP_IOAPIC_VERSION,
					 .flags = MP_IOAPIC_USABLE,
					 .gpa = X86_IOAPIC_GPA};

	mp_put_cpus(w, nvcpus);
	mp_put(w, &bus, sizeof(bus));
	mp_put(w, &ioapic, sizeof(ioapic));
	mp_put_interrupts(w, ioapic.id);
}

int x86_mptable_write(const struct gmem *mem, unsigned int nvcpus, struct err *err)
{
	uint8_t *table = gmem_range(mem, X86_MPTABLE_GPA, X86_MPTABLE_BYTES_MAX);
	uint8_t *where = gmem_range(mem, X86_MPTABLE_POINTER_GPA, sizeof(struct mp_pointer));
	struct mp_header header = {.signature = {'P', 'C', 'M', 'P'},
				   .spec = MP_SPEC_REVISION,
				   .lapic_gpa = X86_LAPIC_GPA};
	struct mp_pointer pointer = {
		.signature = {'_', 'M', 'P', '_'}, .length = 1, .spec = MP_SPEC_REVISION};
	struct mp_writer w = {.start = table};

	if (nvcpus < 1 || nvcpus > VMM_VCPUS_MAX)
		return err_set(err, EINVAL, "the guest's number of vCPUs is %u, not 1 to %u",
			       nvcpus, VMM_VCPUS_MAX);
	if (!table || !where)
		return err_set(err, EFAULT, "no guest memory for the MP table");
	w.next = table + sizeof(header);
	w.end = table + X86_MPTABLE_BYTES_MAX;
	mp_put_all(&w, nvcpus);

	memcpy(header.oem, "CAISSON ", sizeof(header.oem));
	memcpy(header.product, "CAISSON     ", sizeof(header.product));
	header.length = (uint16_t)(w.next - w.start);
	header.entries = w.entries;
	memcpy(table, &header, sizeof(header));
	header.checksum = mp_checksum(table, header.length);
	memcpy(table, &header, sizeof(header));

	pointer.table_gpa = X86_MPTABLE_GPA;
	pointer.checksum = mp_checksum(&pointer, sizeof(pointer));
	memcpy(where, &pointer, sizeof(pointer));
	return 0;
}
