/* SPDX-License-Identifier: Apache-2.0 */
/* What the device rules of linux.resources say of a device: see oci/config.h. */
#include "oci/config.h"

#define ACCESS_ALL (OCI_ACCESS_MKNOD | OCI_ACCESS_READ | OCI_ACCESS_WRITE)

bool oci_device_rule_matches(const struct oci_device_rule *rule, char type, int64_t major,
			     int64_t minor)
{
	if (rule->type == 'a')
		return true;
	return rule->type == type && (rule->major < 0 || rule->major == major) &&
	       (rule->minor < 0 || rule->minor == minor);
}

unsigned int oci_device_access(const struct oci_resources *resources, char type, int64_t major,
			       int64_t minor)
{
	unsigned int undecided = ACCESS_ALL, allowed = 0;

	/* The last rule about each access decides; one of type 'a' is about all of them */
	for (size_t i = resources->ndevices; i-- > 0 && undecided;) {
		const struct oci_device_rule *rule = &resources->devices[i];
		unsigned int access = rule->type == 'a' ? ACCESS_ALL : rule->access;

		if (!oci_device_rule_matches(rule, type, major, minor))
			continue;
		if (rule->allow)
			allowed |= undecided & access;
		undecided &= ~access;
	}
	return allowed;
}

bool oci_devices_are_all_allowed(const struct oci_resources *resources)
{
	for (size_t i = resources->ndevices; i-- > 0;)
		if (resources->devices[i].type == 'a')
			return resources->devices[i].allow;
	return false;
}
