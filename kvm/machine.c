/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: what the guest finds on its bus, and the KVM calls that make it.
 *
 *   memory     one slot per region of struct gmem, private anonymous memory
 *   irqchip    in the kernel: PICs, IOAPIC with 24 pins, one APIC per vCPU, and the PIT (a kernel with kvmclock and the TSC
 *              deadline timer never programs it; others need it to measure their clock)
 *   ports      0x64 reset, 0x5e0 the agent's; every other port reads as all ones and swallows writes, as on a PC
 *   devices    virtio-mmio slots of 512 bytes, one page apart from 0xd0000000, announced on the kernel's command line with
 *              address, interrupt line and number: virtio_mmio.device=512@0xd0000000:5:0 … (lib/machine.h); boot slots as
 *              needed, then all late ones, empty. The slots are read-only memory to the guest, which is why reading a register
 *              costs no exit; writes come here as exits or, for kicks and acknowledgements, stay in KVM
 *
 * Interrupt lines: a slot has a line of its own, edge-triggered (x86_mptable.c): irqfd raises and lowers it at once, and the driver
 * reads what happened from InterruptStatus, so nothing is lost between two edges. Lines of PC devices that a kernel may
 * claim on its own (timer 0, keyboard 1, cascade 2, serial 3 and 4, clock 8, coprocessor 13) are left alone; those of the mouse,
 * 12, and of the first disks, 14 and 15, come last.
 *
 * How a guest ends, and who notices: power-off and a failed agent by the agent's port; a reset by port 0x64; a panic the same way
 * with 0x1234 at 0x472 (Linux puts it there before a warm reboot, and `reboot=k,panic_warm` makes panics, only panics, warm); a
 * triple fault by KVM_EXIT_SHUTDOWN. "All vCPUs halted with interrupts off" cannot be seen from here: with the in-kernel
 * APIC a halted vCPU sleeps in KVM whatever its flags are. The monitor's heartbeat finds that guest, like any other that hangs.
 *
 * Threads: made, booted, stopped and freed by the main thread. machine_pio(), machine_mmio() and machine_end() are called by vCPU
 * threads; the slots array does not change while they run, each slot has its own lock (devices come and go under it).
 */
#include "kvm/machine.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "kvm/vcpu.h"
#include "kvm/x86_boot.h"
#include "kvm/x86_cpu.h"
#include "kvm/x86_mptable.h"
#include "lib/log.h"
#include "lib/machine.h"

#define MACHINE_IDENTITY_MAP_GPA 0xfffbc000ull /* Intel without unrestricted guest: one page */
#define MACHINE_TSS_GPA 0xfffbd000ull	       /* and three more */
#define MACHINE_PORT_A20 \
	0x61 /* system control port: kernels wait for bits in it when they calibrate */
#define MACHINE_RESET_COMMAND 0xfe
#define MACHINE_WINDOWS_KVM_SLOT GMEM_REGIONS_MAX      /* behind those of memory from boot */
#define MACHINE_MEMORY_KVM_SLOT (GMEM_REGIONS_MAX + 1) /* the first of MACHINE_MEMORY_GROWTHS_MAX */
#define MACHINE_MEMORY_GROWTHS_MAX 256		       /* KVM has 509 slots at least */

static const uint8_t slot_gsi[MACHINE_SLOTS_MAX] = {5,	6,  7,	9,  10, 11, 14, 15, 12,
						    16, 17, 18, 19, 20, 21, 22, 23};

/* ---- ends --------------------------------------------------------------------------------------------------------- */

void machine_end(struct machine *m, enum vmm_end end, const char *fmt, ...)
{
	const uint64_t one = 1;
	bool first = false;
	va_list ap;

	pthread_mutex_lock(&m->lock);
	if (m->end == VMM_END_NONE) {
		first = true;
		m->end = end;
		va_start(ap, fmt);
		vsnprintf(m->end_text, sizeof(m->end_text), fmt, ap);
		va_end(ap);
	}
	pthread_mutex_unlock(&m->lock);
	atomic_store(&m->stopping, true);
	if (first && write(m->ended_fd, &one, sizeof(one)) < 0)
		log_debug("Cannot signal the guest's end");
}

enum vmm_end machine_get_end(struct machine *m, char *text)
{
	enum vmm_end end;

	pthread_mutex_lock(&m->lock);
	end = m->end;
	memcpy(text, m->end_text, VMM_TEXT_MAX);
	pthread_mutex_unlock(&m->lock);
	return end;
}

static void on_reset(struct machine *m)
{
	const void *word = gmem_range(&m->mem, MACHINE_RESET_MAGIC_GPA, sizeof(uint16_t));
	uint16_t magic = 0;

	if (word)
		memcpy(&magic, word, sizeof(magic));
	if (magic == MACHINE_RESET_MAGIC_WARM)
		machine_end(m, VMM_END_PANIC, "the guest's kernel panicked");
	else
		machine_end(m, VMM_END_RESET, "the guest reset the machine");
}

static void on_agent_port(struct machine *m, uint32_t value)
{
	unsigned int code = value >> 16, argument = value & 0xffff;

	switch (code) {
	case MACHINE_AGENT_POWER_OFF:
		if (argument == 0)
			machine_end(m, VMM_END_POWER_OFF, "the guest powered off");
		else
			machine_end(m, VMM_END_AGENT_FAILED, "the agent ended with %u", argument);
		break;
	case MACHINE_AGENT_FAILED:
		machine_end(m, VMM_END_AGENT_FAILED, "the agent could not start: %s",
			    err_reason((int)argument));
		break;
	default:
		if (m->config.on_agent)
			m->config.on_agent(m->config.arg, code, argument);
		break;
	}
}

/* ---- the bus ------------------------------------------------------------------------------------------------------ */

void machine_pio(struct machine *m, uint16_t port, bool is_write, void *data, unsigned int size)
{
	uint32_t value = 0;

	if (size > sizeof(value))
		return;
	if (!is_write) {
		/* The keyboard controller is always ready, or a kernel waits for it before it resets */
		memset(data, port == MACHINE_PORT_RESET || port == MACHINE_PORT_A20 ? 0 : 0xff,
		       size);
		return;
	}
	memcpy(&value, data, size);
	if (port == MACHINE_PORT_RESET && (value & 0xff) == MACHINE_RESET_COMMAND)
		on_reset(m);
	else if (port == MACHINE_PORT_AGENT && size == sizeof(value))
		on_agent_port(m, value);
}

static struct machine_slot *find_slot(struct machine *m, gpa_t gpa, unsigned int size)
{
	uint64_t index, offset;

	if (gpa < MACHINE_SLOTS_GPA)
		return NULL;
	index = (gpa - MACHINE_SLOTS_GPA) / MACHINE_SLOT_STRIDE;
	offset = (gpa - MACHINE_SLOTS_GPA) % MACHINE_SLOT_STRIDE;
	if (index >= MACHINE_SLOTS_MAX || !m->slots[index].mmio || offset >= VIRTIO_MMIO_WINDOW ||
	    size > VIRTIO_MMIO_WINDOW - offset)
		return NULL;
	return &m->slots[index];
}

void machine_mmio(struct machine *m, gpa_t gpa, bool is_write, void *data, unsigned int size)
{
	struct machine_slot *slot = find_slot(m, gpa, size);

	if (!slot) {
		if (!is_write)
			memset(data, 0xff, size);
		return;
	}
	if (is_write)
		virtio_mmio_write(slot->mmio, gpa - slot->gpa, data, size);
	else
		virtio_mmio_read(slot->mmio, gpa - slot->gpa, data, size);
}

/* virtio_mmio_host.ioeventfd */
static int on_ioeventfd(void *arg, struct virtio_mmio *mmio, uint16_t queue, int fd, bool add)
{
	struct machine_slot *slot = arg;
	struct kvm_ioeventfd e = {.addr = slot->gpa + VIRTIO_MMIO_NOTIFY_OFFSET,
				  .datamatch = queue,
				  .len = 4,
				  .fd = fd,
				  .flags = KVM_IOEVENTFD_FLAG_DATAMATCH};

	(void)mmio;
	e.flags |= add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN;
	return ioctl(slot->machine->vm_fd, KVM_IOEVENTFD, &e) < 0 ? -errno : 0;
}

/* virtio_mmio_host.pulse: an edge, at once; what irqfd does from a work queue for an IOAPIC's pin */
static void on_pulse(void *arg, struct virtio_mmio *mmio)
{
	struct machine_slot *slot = arg;
	struct kvm_irq_level level = {.irq = slot->gsi, .level = 1};

	(void)mmio;
	(void)ioctl(slot->machine->vm_fd, KVM_IRQ_LINE, &level);
	level.level = 0;
	(void)ioctl(slot->machine->vm_fd, KVM_IRQ_LINE, &level);
}

/* Make slot @index of the bus, with @dev (owned, also on failure) or empty */
static int make_slot(struct machine *m, unsigned int index, struct virtio_dev *dev, struct err *err)
{
	struct machine_slot *slot = &m->slots[index];
	struct kvm_ioeventfd ack = {.datamatch = VIRTIO_MMIO_ACK_QUEUES,
				    .len = 4,
				    .flags = KVM_IOEVENTFD_FLAG_DATAMATCH};
	struct kvm_irqfd irqfd = {0};

	slot->machine = m;
	slot->host = (struct virtio_mmio_host){
		.arg = slot, .ioeventfd = on_ioeventfd, .pulse = on_pulse};
	slot->gpa = MACHINE_SLOTS_GPA + index * MACHINE_SLOT_STRIDE;
	slot->gsi = slot_gsi[index];
	slot->mmio = virtio_mmio_new(dev, &m->mem, &slot->host,
				     m->windows ? m->windows + index * MACHINE_SLOT_STRIDE : NULL,
				     err);
	if (!slot->mmio)
		return err && err->code ? -err->code : -ENOMEM;
	ack.addr = slot->gpa + VIRTIO_MMIO_ACK_OFFSET;
	ack.fd = m->ack_fd;
	if (ioctl(m->vm_fd, KVM_IOEVENTFD, &ack) < 0)
		return err_sys(err, errno, "KVM_IOEVENTFD for a slot's acknowledgements");
	irqfd.fd = (uint32_t)virtio_mmio_irq_fd(slot->mmio);
	irqfd.gsi = slot->gsi;
	if (ioctl(m->vm_fd, KVM_IRQFD, &irqfd) < 0)
		return err_sys(err, errno, "KVM_IRQFD for interrupt line %u", slot->gsi);
	return 0;
}

int machine_add_device(struct machine *m, struct virtio_dev *dev, struct err *err)
{
	if (m->nboot == MACHINE_MEMORY_SLOT) {
		dev->ops->free(dev);
		return err_set(err, ENOSPC,
			       "the machine has %d slots for devices, and all are taken",
			       MACHINE_MEMORY_SLOT);
	}
	return make_slot(m, m->nboot++, dev, err);
}

int machine_add_late_slots(struct machine *m, struct err *err)
{
	for (unsigned int i = MACHINE_MEMORY_SLOT; i < MACHINE_SLOTS_MAX; i++) {
		int r = make_slot(m, i, NULL, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int machine_plug(struct machine *m, unsigned int slot, struct virtio_dev *dev, struct err *err)
{
	return virtio_mmio_plug(m->slots[MACHINE_BOOT_SLOTS + slot].mmio, dev, err);
}

int machine_unplug(struct machine *m, unsigned int slot, struct err *err)
{
	int r = virtio_mmio_unplug(m->slots[MACHINE_BOOT_SLOTS + slot].mmio);

	return r < 0 ? err_set(err, -r, "the slot has no device") : 0;
}

/* ---- more memory -------------------------------------------------------------------------------------------------- */

/* Show the guest @region from @offset to its end */
static int set_memory(struct machine *m, uint32_t slot, const struct gmem_region *region,
		      uint64_t offset, struct err *err)
{
	struct kvm_userspace_memory_region memory = {
		.slot = slot,
		.guest_phys_addr = region->gpa + offset,
		.memory_size = region->len - offset,
		.userspace_addr = (uintptr_t)(region->hva + offset)};

	if (ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &memory) < 0)
		return err_sys(err, errno, "KVM_SET_USER_MEMORY_REGION of %llu MiB",
			       (unsigned long long)(memory.memory_size >> 20));
	return 0;
}

/* All that the host has can come: addresses cost nothing */
static int reserve_memory(struct machine *m, struct err *err)
{
	struct sysinfo host;
	uint64_t max;
	int r;

	if (sysinfo(&host) < 0)
		return err_sys(err, errno, "the host's memory");
	max = (uint64_t)host.totalram * host.mem_unit;
	max = (max + MACHINE_MEMORY_STEP - 1) / MACHINE_MEMORY_STEP * MACHINE_MEMORY_STEP;
	r = gmem_reserve(&m->mem, max, MACHINE_MEMORY_STEP, err);
	m->memory_reserved = r == 0;
	return r;
}

/* A slot of KVM's for each growth: one that is there cannot change its size while vCPUs run, and a large one costs the kernel memory */
static int add_memory(struct machine *m, uint64_t bytes, struct err *err)
{
	const struct gmem_region *region = &m->mem.regions[m->mem.nregions - 1];
	int r;

	if (m->memory_growths == MACHINE_MEMORY_GROWTHS_MAX)
		return err_set(err, ENOSPC, "Guest memory has grown %d times already",
			       MACHINE_MEMORY_GROWTHS_MAX);
	r = gmem_grow(&m->mem, bytes, err);
	if (r < 0 || bytes == m->memory_added)
		return r;
	r = set_memory(m, MACHINE_MEMORY_KVM_SLOT + m->memory_growths, region, m->memory_added,
		       err);
	if (r == 0) {
		m->memory_growths++;
		m->memory_added = bytes;
	}
	return r;
}

static int plug_memory(struct machine *m, uint64_t bytes, struct err *err)
{
	const struct gmem_region *region = &m->mem.regions[m->mem.nregions - 1];
	struct virtio_dev *dev = virtio_mem_new(region->gpa, region->hva, region->reserved, bytes,
						err);
	int r;

	if (!dev)
		return -ENOMEM;
	r = virtio_mmio_plug(m->slots[MACHINE_MEMORY_SLOT].mmio, dev, err);
	if (r == 0)
		m->memory = dev;
	return r;
}

int machine_grow_memory(struct machine *m, uint64_t bytes, struct err *err)
{
	int r = m->memory_reserved ? 0 : reserve_memory(m, err);

	if (r < 0)
		return r;
	r = add_memory(m, bytes, err);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < MACHINE_SLOTS_MAX; i++)
		if (m->slots[i].mmio)
			virtio_mmio_memory_changed(m->slots[i].mmio);
	if (!m->memory)
		return plug_memory(m, bytes, err);
	virtio_mem_request(m->memory, bytes);
	return 0;
}

/* ---- making it ---------------------------------------------------------------------------------------------------- */

static int create_vm(struct machine *m, struct err *err)
{
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
	uint64_t identity_map = MACHINE_IDENTITY_MAP_GPA;
	struct kvm_enable_cap no_pmu = {.cap = KVM_CAP_PMU_CAPABILITY,
					.args = {KVM_PMU_CAP_DISABLE}};

	do {
		m->vm_fd = ioctl(m->config.kvm_fd, KVM_CREATE_VM, 0);
	} while (m->vm_fd < 0 && errno == EINTR);
	if (m->vm_fd < 0)
		return err_sys(err, errno, "KVM_CREATE_VM");
	if (ioctl(m->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0)
		return err_sys(err, errno, "KVM_SET_IDENTITY_MAP_ADDR");
	if (ioctl(m->vm_fd, KVM_SET_TSS_ADDR, MACHINE_TSS_GPA) < 0)
		return err_sys(err, errno, "KVM_SET_TSS_ADDR");
	if (ioctl(m->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_sys(err, errno, "KVM_CREATE_IRQCHIP");
	if (ioctl(m->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		return err_sys(err, errno, "KVM_CREATE_PIT2");
	(void)ioctl(m->vm_fd, KVM_ENABLE_CAP,
		    &no_pmu); /* since Linux 5.18, and only if the host has one */
	return 0;
}

static int create_memory(struct machine *m, struct err *err)
{
	int r;

	r = gmem_init(&m->mem, m->config.memory_bytes, err);
	if (r < 0)
		return r;
	m->has_mem = true;
	r = 0;
	for (unsigned int i = 0; i < m->mem.nregions && r == 0; i++)
		r = set_memory(m, i, &m->mem.regions[i], 0, err);
	return r;
}

/* The slots' windows as memory that the guest can only read: an optimisation, done where the host can */
static int create_windows(struct machine *m, struct err *err)
{
	struct kvm_userspace_memory_region slot = {.slot = MACHINE_WINDOWS_KVM_SLOT,
						   .flags = KVM_MEM_READONLY,
						   .guest_phys_addr = MACHINE_SLOTS_GPA,
						   .memory_size = MACHINE_SLOTS_MAX *
								  MACHINE_SLOT_STRIDE};
	void *p;

	if (ioctl(m->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) <= 0)
		return 0;
	p = mmap(NULL, slot.memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		 0);
	if (p == MAP_FAILED)
		return err_sys(err, errno, "the device slots' memory");
	m->windows = p;
	slot.userspace_addr = (uintptr_t)p;
	if (ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
		return err_sys(err, errno, "KVM_SET_USER_MEMORY_REGION of the device slots");
	return 0;
}

struct machine *machine_new(const struct machine_config *config, struct err *err)
{
	CLEANUP(machine) struct machine *m = calloc(1, sizeof(*m));

	if (!m) {
		err_sys(err, ENOMEM, "the machine");
		return NULL;
	}
	m->config = *config;
	m->vm_fd = m->ended_fd = m->ack_fd = -1;
	pthread_mutex_init(&m->lock, NULL);
	m->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->ack_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->ended_fd < 0 || m->ack_fd < 0) {
		err_sys(err, errno, "eventfd");
		return NULL;
	}
	if (create_vm(m, err) < 0 || create_memory(m, err) < 0 || create_windows(m, err) < 0)
		return NULL;
	return take_ptr(&m);
}

int machine_cmdline(const struct machine *m, char *out, struct err *err)
{
	const char *extra = m->config.cmdline_extra ? m->config.cmdline_extra : "";
	size_t len = 0;
	int n;

	/*
	 * reboot=…: see the theory above; no_timer_check: KVM's timer works; the agent is the initramfs's /init. The others are in
	 * guest/kernel/README.md
	 */
	n = snprintf(out, VMM_CMDLINE_MAX,
		     "%s reboot=k,panic_warm panic=-1 no_timer_check random.trust_cpu=on "
		     "swiotlb=noforce rcupdate.rcu_expedited=1 nr_cpus=%u",
		     m->config.console ? "console=hvc0" : "quiet", m->config.max_vcpus);
	len = (size_t)n;
	if (m->config.nvcpus < m->config.max_vcpus) {
		n = snprintf(out + len, VMM_CMDLINE_MAX - len, " maxcpus=%u", m->config.nvcpus);
		len += (size_t)n;
	}
	for (unsigned int i = 0; i < MACHINE_SLOTS_MAX; i++) {
		if (!m->slots[i].gpa)
			continue;
		n = snprintf(out + len, VMM_CMDLINE_MAX - len, " virtio_mmio.device=%d@%#llx:%u:%u",
			     VIRTIO_MMIO_WINDOW, (unsigned long long)m->slots[i].gpa,
			     m->slots[i].gsi, i);
		len += (size_t)n;
	}
	if (strlen(extra) >= VMM_CMDLINE_MAX - len - 1)
		return err_set(err, E2BIG,
			       "the kernel's command line is too long: %zu bytes, at most %d",
			       len + 1 + strlen(extra), VMM_CMDLINE_MAX - 1);
	if (extra[0] != '\0')
		snprintf(out + len, VMM_CMDLINE_MAX - len, " %s", extra);
	return 0;
}

static int create_vcpus(struct machine *m, const struct x86_boot_entry *entry, struct err *err)
{
	cleanup_free struct x86_cpuid *cpuid = malloc(sizeof(*cpuid));
	struct x86_cpuid_params params = {.nvcpus = m->config.max_vcpus};
	int r, run_size;

	m->vcpus = calloc(m->config.max_vcpus, sizeof(m->vcpus[0]));
	if (!cpuid || !m->vcpus)
		return err_sys(err, ENOMEM, "vCPUs");
	run_size = ioctl(m->config.kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (run_size < (int)sizeof(struct kvm_run))
		return err_sys(err, run_size < 0 ? errno : EINVAL, "KVM_GET_VCPU_MMAP_SIZE");
	r = x86_cpuid_supported(m->config.kvm_fd, cpuid, err);
	if (r < 0)
		return r;
	params.tsc_deadline = ioctl(m->config.kvm_fd, KVM_CHECK_EXTENSION,
				    KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	while (m->nvcpus < m->config.max_vcpus) {
		params.apic_id = m->nvcpus;
		r = vcpu_init(&m->vcpus[m->nvcpus], m, m->nvcpus, (size_t)run_size, err);
		if (r < 0)
			return r;
		m->nvcpus++;
		r = x86_vcpu_init(m->vcpus[m->nvcpus - 1].fd, cpuid, &params,
				  params.apic_id == 0 ? entry : NULL, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int machine_boot(struct machine *m, struct err *err)
{
	struct x86_boot_config boot = {.kernel_fd = m->config.kernel_fd,
				       .initramfs_fd = m->config.initramfs_fd};
	struct x86_boot_entry entry;
	char cmdline[VMM_CMDLINE_MAX];
	int r;

	r = machine_cmdline(m, cmdline, err);
	if (r < 0)
		return r;
	log_debug("The kernel's command line is '%s'", cmdline);
	boot.cmdline = cmdline;
	r = x86_boot_load(&m->mem, &boot, &entry, err);
	if (r < 0)
		return r;
	r = x86_mptable_write(&m->mem, m->config.max_vcpus, err);
	if (r < 0)
		return r;
	return create_vcpus(m, &entry, err);
}

int machine_run(struct machine *m, struct err *err)
{
	int r;

	for (unsigned int i = 0; i < m->nvcpus; i++) {
		r = vcpu_start(&m->vcpus[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

void machine_stop(struct machine *m)
{
	atomic_store(&m->stopping, true);
	for (unsigned int i = 0; i < m->nvcpus; i++)
		vcpu_kick(&m->vcpus[i]);
	for (unsigned int i = 0; i < m->nvcpus; i++)
		vcpu_join(&m->vcpus[i]);
	for (unsigned int i = 0; i < MACHINE_SLOTS_MAX; i++) {
		virtio_mmio_free(m->slots[i].mmio);
		m->slots[i].mmio = NULL;
	}
	m->memory = NULL;
	m->nboot = 0;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	machine_stop(m);
	for (unsigned int i = 0; i < m->nvcpus; i++)
		vcpu_release(&m->vcpus[i]);
	free(m->vcpus);
	close_fd(&m->vm_fd);
	if (m->has_mem)
		gmem_release(&m->mem);
	if (m->windows)
		(void)munmap(m->windows, MACHINE_SLOTS_MAX * MACHINE_SLOT_STRIDE);
	close_fd(&m->ended_fd);
	close_fd(&m->ack_fd);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
