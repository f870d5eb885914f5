/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's /init for tests of the machine, without an agent: prints what the guest sees, then ends the guest in the way
 * that the kernel's command line asks for: guest_test=poweroff (default), failed, reset, panic, oops, triple, hang, halt, spin.
 * Static; the initramfs is this file alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "lib/machine.h"

static char *slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return buf;
}

static void show(const char *path)
{
	static char buf[65536];

	printf("--- %s\n%s", path, slurp(path, buf, sizeof(buf)));
}

static void agent(unsigned int code, unsigned int argument)
{
	if (iopl(3) == 0)
		outl(code << 16 | argument, MACHINE_PORT_AGENT);
}

static void end(const char *how)
{
	if (strcmp(how, "failed") == 0)
		agent(MACHINE_AGENT_FAILED, ENOENT);
	else if (strcmp(how, "reset") == 0)
		reboot(RB_AUTOBOOT);
	else if (strcmp(how, "panic") == 0)
		exit(1); /* "Attempted to kill init" */
	else if (strcmp(how, "halt") == 0)
		reboot(RB_HALT_SYSTEM);
	else if (strcmp(how, "triple") == 0)
		exit(1); /* with reboot=t on the command line */
	else if (strcmp(how, "hang") == 0 && iopl(3) == 0)
		for (;;)
			__asm__ volatile("cli; hlt");
	else if (strcmp(how, "spin") == 0)
		for (;;)
			;
	else
		agent(MACHINE_AGENT_POWER_OFF, 0);
	for (;;)
		pause();
}

int main(void)
{
	static char cmdline[4096];
	struct timespec now;
	struct utsname u;
	char *how;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	clock_gettime(CLOCK_BOOTTIME, &now);
	agent(MACHINE_AGENT_READY, 0);
	uname(&u);
	printf("guest: Linux %s, %ld processors of %ld, init after %ld.%03ld s\n", u.release,
	       sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_NPROCESSORS_CONF), (long)now.tv_sec,
	       now.tv_nsec / 1000000);
	slurp("/proc/cmdline", cmdline, sizeof(cmdline));
	if (strstr(cmdline, "guest_show")) {
		show("/proc/cmdline");
		show("/proc/interrupts");
		show("/proc/iomem");
		show("/proc/meminfo");
		show("/sys/devices/system/clocksource/clocksource0/current_clocksource");
		show("/proc/cpuinfo");
	}
	fflush(stdout);
	how = strstr(cmdline, "guest_test=");
	end(how ? strtok(how + strlen("guest_test="), " \n") : "poweroff");
	return 0;
}
