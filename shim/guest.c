/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest, seen from the monitor: starting its vmm, the vmm's messages (kvm/vmm.h), the guest kernel's log.
 *
 * The vmm is less trusted than the monitor (a guest may have taken it over): its messages are checked by vmm_recv(), its
 * texts are cleaned before anybody reads them, and its silence has a deadline.
 *
 * The kernel's log is passed on at debug level only, line by line, at a bounded rate: what exceeds it is read and dropped,
 * so that the guest is not held up by it and the host's disk is not filled.
 */
#include "shim/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

#define GUEST_LOG_BURST (256u << 10) /* bytes */
#define GUEST_LOG_RATE (64u << 10)   /* bytes per second after that */

/* ---- the guest kernel's log ---- */

static void guest_log_refill(struct shim_log *log)
{
	uint64_t now = io_now_ms(), fill = (now - log->refilled_ms) * GUEST_LOG_RATE / 1000;

	if (!fill)
		return;
	log->refilled_ms = now;
	log->budget = fill + log->budget > GUEST_LOG_BURST ? GUEST_LOG_BURST
							   : log->budget + (size_t)fill;
}

static void guest_log_flush(struct shim_log *log)
{
	if (!log->len)
		return;
	guest_log_refill(log);
	if (log->budget < log->len) {
		if (!log->skipping)
			log_debug("Guest: (the log comes faster than %u KiB/s, lines are left out)",
				  GUEST_LOG_RATE >> 10);
		log->skipping = true;
	} else {
		log->skipping = false;
		log->budget -= log->len;
		log->line[log->len] = 0;
		text_clean(log->line);
		log_debug("Guest: %s", log->line);
	}
	log->len = 0;
}

static void on_guest_log(struct loop_source *source, uint32_t events)
{
	struct shim_log *log = container_of(source, struct shim_log, source);
	char chunk[4096];
	ssize_t n = read(source->fd, chunk, sizeof(chunk));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (ssize_t i = 0; i < n; i++) {
		if (chunk[i] == '\n' || log->len == sizeof(log->line) - 1)
			guest_log_flush(log);
		if (chunk[i] && chunk[i] != '\n' && chunk[i] != '\r')
			log->line[log->len++] = chunk[i];
	}
	if (n <= 0) {
		guest_log_flush(log);
		loop_del(source);
		close_fd(&source->fd);
	}
}

/* @out: the end for the vmm, -1 when nobody wants the log */
static int guest_log_open(struct shim *s, int *out, struct err *err)
{
	cleanup_close int theirs = -1;
	int fds[2], r;

	if (!s->args->debug)
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "the guest's log");
	theirs = fds[1];
	s->guest_log.source = (struct loop_source){.fd = fds[0], .on_event = on_guest_log};
	s->guest_log.budget = GUEST_LOG_BURST;
	s->guest_log.refilled_ms = io_now_ms();
	r = io_set_nonblock(fds[0], true);
	if (r < 0)
		return err_sys(err, -r, "the guest's log");
	r = loop_add(s->loop, &s->guest_log.source, EPOLLIN, err);
	if (r < 0)
		return r;
	*out = take_fd(&theirs);
	return 0;
}

/* What the kernel said last is often why it ended */
static void guest_log_close(struct shim *s)
{
	while (s->guest_log.source.loop)
		on_guest_log(&s->guest_log.source, EPOLLIN);
	close_fd(&s->guest_log.source.fd);
}

/* ---- messages ---- */

static void gone(struct shim *s, const char *how, const char *text)
{
	snprintf(s->guest_text, sizeof(s->guest_text), "%s%s%.*s", how, text[0] ? ": " : "",
		 VMM_TEXT_MAX - 1, text);
	text_clean(s->guest_text);
	s->guest_gone = true;
	loop_del(&s->vmm_source);
	memory_on_gone(s);
	end_on_guest_gone(s);
}

/* Return: false when nothing may follow */
static bool on_message(struct shim *s, const struct vmm_msg *msg, int *fd)
{
	switch (msg->type) {
	case VMM_MSG_STARTED:
		log_debug("The guest's vCPUs run");
		return true;
	case VMM_MSG_READY:
		s->vmm_ready = true;
		return true;
	case VMM_MSG_ACCEPT:
		/* What nobody takes ends as the descriptor is closed */
		if (msg->value == MACHINE_VSOCK_PORT_RELAY)
			relays_accept(s, take_fd(fd));
		return true;
	case VMM_MSG_SOCKET:
		sockets_on_found(s, msg->value, msg->flags, take_fd(fd));
		return true;
	case VMM_MSG_NET_ADDED:
	case VMM_MSG_NET_REMOVED:
		network_on_vmm(s, msg);
		return true;
	case VMM_MSG_MEMORY_GROWN:
		memory_on_vmm(s, msg);
		return true;
	case VMM_MSG_ENDED:
		gone(s, vmm_end_name((enum vmm_end)msg->value), msg->text);
		return false;
	default:
		gone(s, "the vmm spoke out of turn", "");
		return false;
	}
}

static void on_vmm(struct loop_source *source, uint32_t events)
{
	struct shim *s = container_of(source, struct shim, vmm_source);

	(void)events;
	/* A bounded batch, so that a vmm that never stops talking does not stop the rest */
	for (int i = 0; i < 16; i++) {
		cleanup_close int fd = -1;
		struct vmm_msg msg;
		int r = vmm_recv(&s->vmm, &msg, &fd);

		if (r == -EAGAIN || r == -EINTR)
			return;
		if (r <= 0) {
			gone(s, r == 0 ? "the vmm died" : "the vmm broke its protocol", "");
			return;
		}
		if (!on_message(s, &msg, &fd))
			return;
	}
}

/* ---- what the vmm is doing: for a guest that hangs ---- */

/* A letter and clock ticks of all its threads; the name before may hold anything */
static bool read_stat(const struct shim *s, char *state, uint64_t *ticks)
{
	unsigned long long user, kernel;
	char text[1024];
	const char *end;
	ssize_t n;

	n = s->vmm_stat_fd < 0 ? -1 : pread(s->vmm_stat_fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return false;
	text[n] = 0;
	end = strrchr(text, ')');
	if (!end || sscanf(end, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", state,
			   &user, &kernel) != 3)
		return false;
	*ticks = user + kernel;
	return true;
}

/* Later this process sees no /proc of its own */
static void stat_open(struct shim *s)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)s->vmm.pid);
	s->vmm_stat_fd = open(path, O_RDONLY | O_CLOEXEC);
}

void guest_note_ticks(struct shim *s)
{
	char state;

	(void)read_stat(s, &state, &s->vmm_ticks);
}

const char *guest_activity(const struct shim *s, char *out, size_t size)
{
	long per_second = sysconf(_SC_CLK_TCK);
	uint64_t ticks;
	char state;

	out[0] = 0;
	if (!read_stat(s, &state, &ticks) || per_second <= 0)
		return out;
	if (state == 'T' || state == 't')
		snprintf(out, size, ", its vmm is stopped");
	else
		snprintf(out, size, ", its vmm used %.1f s of CPU time meanwhile",
			 (double)(ticks - s->vmm_ticks) / (double)per_second);
	return out;
}

/* ---- start and stop ---- */

/* The last word is the bundle's: where a parameter is given twice, the kernel takes the last */
static int join_parameters(const struct monitor_args *args, char *out, size_t size, struct err *err)
{
	const struct oci_strings *parameters = &args->config->vm.kernel_parameters;
	const char *first = args->kernel_parameters ? args->kernel_parameters : "";
	size_t len = 0;
	int n = snprintf(out, size, "%s", first);

	for (size_t i = 0; i < parameters->n && n >= 0 && (size_t)n < size - len; i++) {
		len += (size_t)n;
		n = snprintf(out + len, size - len, "%s%s", len ? " " : "", parameters->items[i]);
	}
	if (n < 0 || (size_t)n >= size - len)
		return err_set(err, EINVAL,
			       "the guest kernel's parameters, with vm.kernel.parameters of "
			       "config.json, are longer than %zu bytes",
			       size - 1);
	return 0;
}

static int start_vmm(struct shim *s, int console_fd, struct err *err)
{
	char cmdline[VMM_CMDLINE_MAX / 2];
	const struct monitor_args *args = s->args;
	struct vmm_config config = {
		.memory_bytes = args->memory_bytes,
		.nvcpus = args->nvcpus,
		.max_vcpus = args->nvcpus,
		.cmdline_extra = cmdline,
		.name = args->id,
		.exe_fd = s->exe_fd,
		.kvm_fd = s->kvm_fd,
		.kernel_fd = s->kernel_fd,
		.initramfs_fd = s->initramfs_fd,
		.console_fd = console_fd,
		.log_fd = log_fd(),
		.log_level = log_get_level(),
		.log_format = log_get_format(),
		.exports = s->exports->items,
		.nexports = s->exports->n,
		.disks = s->exports->disks,
		.ndisks = s->exports->ndisks,
	};
	int r;

	r = join_parameters(args, cmdline, sizeof(cmdline), err);
	if (r < 0)
		return r;
	r = vmm_start(&config, &s->vmm, err);
	if (r < 0)
		return r;
	exports_close_vmm(s->exports);
	close_fd(&s->exe_fd);
	close_fd(&s->kvm_fd);
	close_fd(&s->kernel_fd);
	close_fd(&s->initramfs_fd);
	return 0;
}

int guest_start(struct shim *s, struct err *err)
{
	cleanup_close int console_fd = -1;
	int r;

	r = guest_log_open(s, &console_fd, err);
	if (r < 0)
		return r;
	r = start_vmm(s, console_fd, err);
	if (r < 0)
		return r;
	close_fd(&console_fd);
	stat_open(s);
	s->vmm_source = (struct loop_source){.fd = s->vmm.control_fd, .on_event = on_vmm};
	r = loop_add(s->loop, &s->vmm_source, EPOLLIN, err);
	if (r < 0)
		return r;
	return shim_wait(s, &s->vmm_ready, s->args->boot_timeout_s * 1000ull, "starting the guest",
			 err);
}

void guest_stop(struct shim *s)
{
	loop_del(&s->vmm_source);
	close_fd(&s->vmm_stat_fd);
	if (s->vmm.pidfd >= 0)
		vmm_release(&s->vmm);
	s->vmm = (struct vmm){.pidfd = -1, .control_fd = -1};
	guest_log_close(s);
}

int guest_connect(struct shim *s, uint32_t port, struct err *err)
{
	struct vmm_msg msg = {.type = VMM_MSG_CONNECT, .value = port};
	cleanup_close int ours = -1, theirs = -1;
	int fds[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, errno, "a stream to the guest");
	ours = fds[0];
	theirs = fds[1];
	r = vmm_send(&s->vmm, &msg, theirs);
	if (r < 0)
		return err_sys(err, -r, "a stream to the guest");
	return take_fd(&ours);
}
