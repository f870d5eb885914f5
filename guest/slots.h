/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's late device slots (lib/machine.h), as the guest's kernel knows them: platform devices that its virtio-mmio
 * driver is told to look at again once the vmm has filled them, and to let go before the vmm empties them.
 *
 * The agent's sysfs is used: it shows the network devices of the guest's first network namespace, where the driver makes
 * them. A slot whose interface was moved to another namespace has no name here; unbinding it works all the same.
 */
#ifndef GUEST_SLOTS_H
#define GUEST_SLOTS_H

#include <net/if.h>

#include "lib/err.h"

/**
 * slot_bind() - Bind a filled slot's driver; the device exists when it returns
 *
 * Return: 0 (bound already is fine), -ENODEV if the slot is empty or does not exist, -errno
 */
int slot_bind(unsigned int slot, struct err *err);

/** slot_bind_memory() - The same for the slot by which memory is added */
int slot_bind_memory(struct err *err);

/** slot_unbind() - The reverse: interfaces of the slot vanish, in whatever namespace they are; Return: 0 (nothing bound, too) or -errno */
int slot_unbind(unsigned int slot, struct err *err);

/** slot_netdev() - The name of a bound slot's network interface; Return: 0, -ENODEV if it has none here, -errno */
int slot_netdev(unsigned int slot, char name[IFNAMSIZ], struct err *err);

#endif
