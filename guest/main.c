/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of the guest: bring the system up, listen, serve (guest/agent.h).
 *
 * There is nobody to return to. A failure is a line in the kernel's log and a word to the machine, which ends the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/machine.h"

#include "guest/agent.h"
#include "guest/boot.h"
#include "guest/events.h"
#include "guest/locks.h"
#include "guest/port.h"

/* Two requests to the host, so not before the monitor knows that it may connect */
static void start_threads(void)
{
	cleanup_close int top = open(BOOT_ROOTS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err err = {0};

	if (top < 0 || proc < 0 || locks_start(top, proc, &err) < 0)
		log_warn("Killed processes may hang in file locks: %s", err.msg);
	if (top < 0 || proc < 0 || events_start(top, proc, &err) < 0)
		log_warn("Inotify watchers do not see what the host changes: %s", err.msg);
}

/* The machine takes the word and ends the guest: what comes after it is not reached, unless we run somewhere else */
static void notify(uint32_t what, uint16_t argument)
{
	int r = port_notify(what, argument);

	if (r < 0)
		log_error("Cannot tell the machine: %s", err_reason(-r));
	if (what == MACHINE_AGENT_READY) {
		start_threads();
		return;
	}
	for (;;)
		(void)pause();
}

static int serve(struct err *err)
{
	struct agent_config config = {
		.vsock = true,
		.roots_dir = BOOT_ROOTS_DIR,
		.stage_dir = BOOT_STAGE_DIR,
		.cgroup_dir = BOOT_CGROUP_DIR,
		.notify = notify,
	};
	int r = boot_system(err);

	if (r < 0)
		return r;
	config.agent_fd = boot_listen(MACHINE_VSOCK_PORT_AGENT, err);
	if (config.agent_fd < 0)
		return config.agent_fd;
	config.stream_fd = boot_listen(MACHINE_VSOCK_PORT_STREAM, err);
	if (config.stream_fd < 0)
		return config.stream_fd;
	return agent_run(&config, err);
}

int main(void)
{
	struct err err = {0};
	int r;

	if (getpid() != 1) {
		(void)fprintf(stderr, "The agent is the first program of Caisson's guest, nothing "
				      "to be run by hand\n");
		return 1;
	}
	r = serve(&err);
	log_error("%s", err.msg);
	notify(MACHINE_AGENT_FAILED, (uint16_t)-r);
	return 1;
}
