/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the device numbers of config.json mean in the guest.
 *
 * They are the host's. A character device has the same number under every kernel, if this one has a driver for it; a block
 * device of the host's comes as a disk, whose driver numbers it anew: which is which says its serial number (lib/machine.h).
 */
#ifndef GUEST_DEVICE_NUMBERS_H
#define GUEST_DEVICE_NUMBERS_H

#include "lib/err.h"
#include "oci/config.h"

/**
 * device_numbers_resolve() - Give linux.devices and the device rules the guest's numbers
 * @sys:	"/sys"
 *
 * A device that the guest has not is an error that names it; where all devices are allowed (--privileged), when engines list all of the
 * host's, it is left out. Return: 0, or -ENOTSUP, -ENOMEM, with @err
 */
int device_numbers_resolve(struct oci_config *config, const char *sys, struct err *err);

/** device_numbers_in_rules() - The same for the rules alone, in a document of `update`; Return: 0 or -ENOMEM */
int device_numbers_in_rules(struct oci_resources *resources, const char *sys, struct err *err);

#endif
