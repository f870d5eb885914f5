/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's port on x86. Access to it is opened for the length of one write, since children inherit it, also over execve.
 */
#include "guest/port.h"

#include <errno.h>
#include <sys/io.h>

#include "lib/machine.h"

int port_notify(uint32_t what, uint16_t argument)
{
	if (ioperm(MACHINE_PORT_AGENT, 4, 1) < 0)
		return -errno;
	outl(what << 16 | argument, MACHINE_PORT_AGENT);
	(void)ioperm(MACHINE_PORT_AGENT, 4, 0);
	return 0;
}
