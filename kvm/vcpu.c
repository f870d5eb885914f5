/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vCPU thread: enter the guest, look why it came back, enter again.
 *
 * All signals are blocked in it except VCPU_KICK_SIGNAL, whose handler does nothing. To stop a vCPU: set run->immediate_exit,
 * then send the signal. Wherever the thread is, it ends up in the loop's check: inside KVM_RUN the signal interrupts it,
 * before KVM_RUN the flag makes the call return at once, so no kick is lost.
 *
 * A halted vCPU, and one that waits for INIT and SIPI, sleeps inside KVM_RUN.
 *
 * The kvm_run page is written by the kernel (trusted), but with numbers the guest chose: port, address, data. They go to
 * machine_pio() and machine_mmio(), which bound them. Nothing a guest does ends the process: what KVM cannot go on with
 * ends the guest, with the figures that KVM gave.
 */
#include "kvm/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#define VCPU_KICK_SIGNAL SIGUSR1
#define VCPU_STACK_BYTES (256u << 10)

static void on_kick(int signo)
{
	(void)signo;
}

int vcpu_init(struct vcpu *vcpu, struct machine *machine, unsigned int index, size_t run_size,
	      struct err *err)
{
	cleanup_close int fd = -1;
	void *run;

	do {
		fd = ioctl(machine->vm_fd, KVM_CREATE_VCPU, index);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return err_sys(err, errno, "KVM_CREATE_VCPU %u", index);
	run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (run == MAP_FAILED)
		return err_sys(err, errno, "mapping vCPU %u", index);
	*vcpu = (struct vcpu){.machine = machine,
			      .index = index,
			      .fd = take_fd(&fd),
			      .run = run,
			      .run_size = run_size};
	return 0;
}

void vcpu_release(struct vcpu *vcpu)
{
	munmap(vcpu->run, vcpu->run_size);
	close_fd(&vcpu->fd);
}

static void handle_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	bool is_write = run->io.direction == KVM_EXIT_IO_OUT;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++)
		machine_pio(vcpu->machine, run->io.port, is_write, data + (size_t)i * run->io.size,
			    run->io.size);
}

static void end_internal(struct vcpu *vcpu, const char *what)
{
	struct kvm_run *run = vcpu->run;
	struct kvm_regs regs = {0};
	char data[128] = "";
	size_t len = 0;

	(void)ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
		for (uint32_t i = 0; i < run->internal.ndata && i < 4 && len < sizeof(data); i++)
			len += (size_t)snprintf(data + len, sizeof(data) - len, " %#llx",
						(unsigned long long)run->internal.data[i]);
		machine_end(vcpu->machine, VMM_END_INTERNAL_ERROR, "%s %u on vCPU %u at %#llx:%s",
			    what, run->internal.suberror, vcpu->index, (unsigned long long)regs.rip,
			    data);
	} else if (run->exit_reason == KVM_EXIT_FAIL_ENTRY) {
		machine_end(vcpu->machine, VMM_END_INTERNAL_ERROR, "%s %#llx on vCPU %u at %#llx",
			    what, (unsigned long long)run->fail_entry.hardware_entry_failure_reason,
			    vcpu->index, (unsigned long long)regs.rip);
	} else {
		machine_end(vcpu->machine, VMM_END_INTERNAL_ERROR, "%s %u on vCPU %u at %#llx",
			    what, run->exit_reason, vcpu->index, (unsigned long long)regs.rip);
	}
}

/*
 * Two ways lead here. KVM gives up when an exception cannot be delivered: then this is where the guest was. Or the processor
 * itself shut down: Intel's leaves the state as it was, AMD's does not, and KVM resets the vCPU, which shows as 0xfff0.
 */
static void end_triple_fault(struct vcpu *vcpu)
{
	struct kvm_sregs sregs = {0};
	struct kvm_regs regs = {0};

	(void)ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	(void)ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	machine_end(vcpu->machine, VMM_END_TRIPLE_FAULT,
		    "triple fault on vCPU %u at %#llx (rsp %#llx, cr2 %#llx, cr3 %#llx)",
		    vcpu->index, (unsigned long long)regs.rip, (unsigned long long)regs.rsp,
		    (unsigned long long)sregs.cr2, (unsigned long long)sregs.cr3);
}

static void handle_system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		machine_end(vcpu->machine, VMM_END_POWER_OFF, "the guest powered off");
		break;
	case KVM_SYSTEM_EVENT_RESET:
		machine_end(vcpu->machine, VMM_END_RESET, "the guest reset the machine");
		break;
	case KVM_SYSTEM_EVENT_CRASH:
		machine_end(vcpu->machine, VMM_END_PANIC, "the guest's kernel panicked");
		break;
	default:
		end_internal(vcpu, "system event, exit");
		break;
	}
}

static void handle_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(vcpu);
		break;
	case KVM_EXIT_MMIO:
		machine_mmio(vcpu->machine, run->mmio.phys_addr, run->mmio.is_write, run->mmio.data,
			     run->mmio.len);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_HLT: /* only without an in-kernel APIC */
		break;
	case KVM_EXIT_SHUTDOWN:
		end_triple_fault(vcpu);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		handle_system_event(vcpu);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		end_internal(vcpu, "KVM internal error");
		break;
	case KVM_EXIT_FAIL_ENTRY:
		end_internal(vcpu, "KVM could not enter the guest:");
		break;
	default:
		end_internal(vcpu, "unexpected KVM exit");
		break;
	}
}

static void block_signals(void)
{
	sigset_t mask;

	sigfillset(&mask);
	sigdelset(&mask, VCPU_KICK_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	char name[16];

	snprintf(name, sizeof(name), "vcpu-%u", vcpu->index);
	pthread_setname_np(pthread_self(), name);
	block_signals();
	while (!atomic_load(&vcpu->machine->stopping)) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
			handle_exit(vcpu);
			continue;
		}
		if (errno == EINTR || errno == EAGAIN)
			continue;
		machine_end(vcpu->machine, VMM_END_INTERNAL_ERROR, "KVM_RUN on vCPU %u: %s",
			    vcpu->index, err_reason(errno));
	}
	return NULL;
}

int vcpu_start(struct vcpu *vcpu, struct err *err)
{
	struct sigaction action = {.sa_handler = on_kick};
	pthread_attr_t attr;
	int r;

	if (sigaction(VCPU_KICK_SIGNAL, &action, NULL) < 0)
		return err_sys(err, errno, "sigaction");
	r = pthread_attr_init(&attr);
	if (r != 0)
		return err_sys(err, r, "thread of vCPU %u", vcpu->index);
	(void)pthread_attr_setstacksize(&attr, VCPU_STACK_BYTES);
	r = pthread_create(&vcpu->thread, &attr, vcpu_thread, vcpu);
	pthread_attr_destroy(&attr);
	if (r != 0)
		return err_sys(err, r, "thread of vCPU %u", vcpu->index);
	vcpu->started = true;
	return 0;
}

void vcpu_kick(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(vcpu->thread, VCPU_KICK_SIGNAL);
}

void vcpu_join(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	pthread_join(vcpu->thread, NULL);
	vcpu->started = false;
}
