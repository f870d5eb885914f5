/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: one KVM virtual machine with memory, interrupt controllers, vCPUs and device slots. See machine.c.
 */
#ifndef KVM_MACHINE_H
#define KVM_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kvm/gmem.h"
#include "kvm/virtio/mmio.h"
#include "kvm/vmm.h"
#include "lib/cleanup.h"
#include "lib/err.h"

/*
 * The boot slots have interrupt lines 5 to 7, 9 to 11, 14, 15 and 12 (the last of them, MACHINE_MEMORY_SLOT), the late ones 16 to 23:
 * see machine.c
 */
#define MACHINE_SLOTS_MAX (MACHINE_BOOT_SLOTS + MACHINE_LATE_SLOTS)

struct vcpu;
struct machine;

struct machine_slot {
	struct machine *machine; /* for callbacks that get the slot only */
	struct virtio_mmio_host host;
	struct virtio_mmio *mmio; /* owned; NULL: nothing is there, nor announced */
	gpa_t gpa;		  /* 0: as mmio */
	unsigned int gsi;
};

struct machine_config {
	int kvm_fd, kernel_fd, initramfs_fd; /* borrowed until machine_boot() has returned */
	uint64_t memory_bytes;
	unsigned int nvcpus, max_vcpus;
	bool console;		   /* the kernel log goes to the virtio console */
	const char *cmdline_extra; /* borrowed; NULL or "": none */
	/* A vCPU wrote to the agent's port (lib/machine.h); any vCPU thread */
	void (*on_agent)(void *arg, unsigned int code, unsigned int argument);
	void *arg;
};

struct machine {
	struct machine_config config;
	int vm_fd;    /* owned */
	int ended_fd; /* owned eventfd: readable once the guest has ended */
	int ack_fd; /* owned eventfd: KVM signals acknowledgements of queue interrupts to it, nobody listens */
	uint8_t *
		windows; /* owned mapping: what the guest reads in its slots, MACHINE_SLOT_STRIDE each; NULL: reads are exits */
	struct gmem mem;
	bool has_mem;
	bool memory_reserved;	     /* for memory that is added, the last region */
	unsigned int memory_growths; /* each has a slot of KVM's */
	uint64_t memory_added;	     /* bytes of that region which the guest can reach */
	struct virtio_dev
		*memory; /* its slot's: the device by which memory is added; NULL before */
	struct machine_slot slots[MACHINE_SLOTS_MAX];
	unsigned int nboot;  /* slots filled by machine_add_device() */
	struct vcpu *vcpus;  /* owned array */
	unsigned int nvcpus; /* initialised elements */
	atomic_bool stopping;
	pthread_mutex_t lock; /* guards end and end_text */
	enum vmm_end end;     /* VMM_END_NONE while it runs; the first cause stays */
	char end_text[VMM_TEXT_MAX];
};

/** machine_new() - VM, memory and interrupt controllers; Return: NULL with @err filled on failure */
struct machine *machine_new(const struct machine_config *config, struct err *err);
/** machine_free() - After machine_stop(); NULL and half-built allowed */
void machine_free(struct machine *m);
DEFINE_CLEANUP(machine)

/** machine_add_device() - Put @dev (owned, also on failure) into the next boot slot; before machine_boot() */
int machine_add_device(struct machine *m, struct virtio_dev *dev, struct err *err);
/** machine_add_late_slots() - Make the placeholders for devices that come later; before machine_boot() */
int machine_add_late_slots(struct machine *m, struct err *err);
/**
 * machine_plug() - Fill late slot @slot (< MACHINE_LATE_SLOTS) with @dev (owned, also on failure) while the guest runs
 * machine_unplug() - Empty it
 *
 * The main thread. Return: 0, -EBUSY for a slot that is filled, -ENODEV for one that is not, -errno; @err filled
 */
int machine_plug(struct machine *m, unsigned int slot, struct virtio_dev *dev, struct err *err);
int machine_unplug(struct machine *m, unsigned int slot, struct err *err);
/**
 * machine_grow_memory() - Let the guest have @bytes (a multiple of MACHINE_MEMORY_STEP) beside those it has booted with
 *
 * The first time the memory slot is filled, which the agent then binds; later the driver hears of it. The main thread. Return: 0,
 * -EINVAL for less than before or more than the host's memory, -errno; @err filled
 */
int machine_grow_memory(struct machine *m, uint64_t bytes, struct err *err);
/** machine_boot() - Load kernel and tables, make the vCPUs; after all devices were added */
int machine_boot(struct machine *m, struct err *err);
/** machine_run() - Start the vCPU threads */
int machine_run(struct machine *m, struct err *err);
/** machine_stop() - Stop and join the vCPU threads, then reset and free all devices; idempotent */
void machine_stop(struct machine *m);

/** machine_end() - The guest has ended: the first call counts, ended_fd becomes readable; any thread */
void machine_end(struct machine *m, enum vmm_end end, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** machine_get_end() - How it ended, VMM_END_NONE if it has not; @text gets VMM_TEXT_MAX bytes */
enum vmm_end machine_get_end(struct machine *m, char *text);

/** machine_pio() - A port access by a vCPU: @data holds or gets @size bytes (1, 2, 4) */
void machine_pio(struct machine *m, uint16_t port, bool is_write, void *data, unsigned int size);
/** machine_mmio() - A memory access by a vCPU outside of RAM: 1 to 8 bytes */
void machine_mmio(struct machine *m, gpa_t gpa, bool is_write, void *data, unsigned int size);

/** machine_cmdline() - The kernel's command line into @out (VMM_CMDLINE_MAX bytes); Return: 0 or -E2BIG */
int machine_cmdline(const struct machine *m, char *out, struct err *err);

#endif
