/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vCPU: its thread, and what its exits mean. See vcpu.c.
 */
#ifndef KVM_VCPU_H
#define KVM_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "kvm/machine.h"
#include "lib/err.h"

struct vcpu {
	struct machine *machine; /* borrowed */
	unsigned int index;	 /* also its APIC id */
	int fd;			 /* owned */
	struct kvm_run *run;	 /* owned mapping, shared with the kernel */
	size_t run_size;
	pthread_t thread;
	bool started;
};

/** vcpu_init() - Create vCPU @index; Return: 0, or -errno with nothing to release */
int vcpu_init(struct vcpu *vcpu, struct machine *machine, unsigned int index, size_t run_size,
	      struct err *err);
void vcpu_release(struct vcpu *vcpu);
/** vcpu_start() - Run it in a thread of its own */
int vcpu_start(struct vcpu *vcpu, struct err *err);
/** vcpu_kick() - Make the thread leave the guest; machine->stopping is set already; idempotent */
void vcpu_kick(struct vcpu *vcpu);
/** vcpu_join() - Wait for its end after vcpu_kick(); idempotent */
void vcpu_join(struct vcpu *vcpu);

#endif
