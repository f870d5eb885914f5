/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's port (lib/machine.h): how PID 1 tells the machine something. One file per architecture. */
#ifndef GUEST_PORT_H
#define GUEST_PORT_H

#include <stdint.h>

/** port_notify() - Tell the machine MACHINE_AGENT_* with an argument; Return: 0 or -errno when there is no such port */
int port_notify(uint32_t what, uint16_t argument);

#endif
