/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json field by field, apart from process and resources: a good value, another type, values that are refused, absence. What
 * good values become is in oci_config_test.c; here they only have to pass.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "oci/config.h"

/* Before and after the field, and how errors name it; all namespaces, so that no setting lacks its own */
#define NAMESPACES                                                                           \
	"{\"type\":\"pid\"},{\"type\":\"network\"},{\"type\":\"mount\"},{\"type\":\"ipc\"}," \
	"{\"type\":\"uts\"},{\"type\":\"user\"},{\"type\":\"cgroup\"},{\"type\":\"time\"}"
#define MAP "[{\"containerID\":0,\"hostID\":1,\"size\":9}]"
#define IDS ",\"uidMappings\":" MAP ",\"gidMappings\":" MAP
#define ROOT "\"root\":{\"path\":\"r\"}"
#define LINUX "\"linux\":{\"namespaces\":[" NAMESPACES "]" IDS "}"
#define VERSION "\"ociVersion\":\"1.0.0\""
#define BEFORE "{" VERSION "," ROOT "," LINUX ","

#define TOP "{" ROOT "," LINUX ",", "}", ""
#define NAME BEFORE, "}", ""
#define ROOT_ "{" VERSION "," LINUX ",\"root\":{", "}}", "root."
#define MOUNT BEFORE "\"mounts\":[{", "}]}", "mounts[0]."
#define MOUNT_ID                                                                              \
	BEFORE "\"mounts\":[{\"destination\":\"/a\",\"source\":\"/b\","                       \
	       "\"options\":[\"bind\",\"idmap\"],\"gidMappings\":" MAP ",\"uidMappings\":[{", \
		"}]}]}", "mounts[0].uidMappings[0]."
#define HOOK BEFORE "\"hooks\":{\"createRuntime\":[{", "}]}}", "hooks.createRuntime[0]."
#define ANNOTATION BEFORE "\"annotations\":{", "}}", "annotations."
#define IN_LINUX \
	"{" VERSION "," ROOT ",\"linux\":{\"namespaces\":[" NAMESPACES "]" IDS ",", "}}", "linux."
#define NAMESPACE \
	"{" VERSION "," ROOT ",\"linux\":{\"namespaces\":[{", "}]}}", "linux.namespaces[0]."
#define UIDS                                                                                    \
	"{" VERSION "," ROOT ",\"linux\":{\"namespaces\":[" NAMESPACES "],\"gidMappings\":" MAP \
	",\"uidMappings\":[{",                                                                  \
		"}]}}", "linux.uidMappings[0]."
#define CLOCK IN_LINUX_OBJECT("timeOffsets\":{\"monotonic"), "linux.timeOffsets.monotonic."
#define IN_LINUX_OBJECT(name)                                                                     \
	"{" VERSION "," ROOT ",\"linux\":{\"namespaces\":[" NAMESPACES "]" IDS ",\"" name "\":{", \
		"}}}}"
#define DEVICE                                                                                    \
	"{" VERSION "," ROOT ",\"linux\":{\"namespaces\":[" NAMESPACES "]" IDS ",\"devices\":[{", \
		"}]}}", "linux.devices[0]."
#define OBJECT(name)                                                                              \
	"{" VERSION "," ROOT ",\"linux\":{\"namespaces\":[" NAMESPACES "]" IDS ",\"" name "\":{", \
		"}}}", "linux." name "."
#define NET_DEVICE IN_LINUX_OBJECT("netDevices\":{\"eth0"), "linux.netDevices.eth0."
#define KERNEL BEFORE "\"vm\":{\"kernel\":{", "}}}", "vm.kernel."
#define HW BEFORE "\"vm\":{\"hwConfig\":{", "}}}", "vm.hwConfig."
#define VM BEFORE "\"vm\":{", "}}", "vm."

#define RANGE " is out of range"
#define LONG64 "0123456789012345678901234567890123456789012345678901234567890123"

static const struct {
	const char *before, *after, *path;
	const char *others; /* what its object needs besides */
	const char *key, *good;
	const char *type;	     /* what it is */
	const char *bad, *sentence;  /* NULL: there is no impossible value */
	const char *absent_sentence; /* NULL: it may be absent */
} rows[] = {
	{TOP, "", "ociVersion", "\"1.0.0\"", "a string", "\"2.0.0\"",
	 "'2.0.0' is not a version that is supported (1.x)", "is missing"},
	{TOP, "", "ociVersion", "\"1.3.0\"", "a string", "\"0.9.0\"",
	 "'0.9.0' is not a version that is supported (1.x)", "is missing"},
	{TOP, "", "ociVersion", "\"1.0.2-dev\"", "a string", "\"1.0\"",
	 "'1.0' is not a version like 1.2.0", "is missing"},
	{TOP, "", "ociVersion", "\"1.1.0-rc.1+x.2-3\"", "a string", "\"1.0.0-\"",
	 "'1.0.0-' is not a version like 1.2.0", "is missing"},
	{TOP, "", "ociVersion", "\"1.10.20+dev\"", "a string", "\"1.0.0+a..b\"",
	 "'1.0.0+a..b' is not a version like 1.2.0", "is missing"},
	{TOP, "", "ociVersion", "\"1.99.0\"", "a string", "\"1.01.0\"",
	 "'1.01.0' is not a version like 1.2.0", "is missing"},
	{TOP, "", "ociVersion", "\"1.0.0-rc5\"", "a string", "\"1.0.0 \"",
	 "'1.0.0 ' is not a version like 1.2.0", "is missing"},
	{TOP, "", "ociVersion", "\"1.0.0\"", "a string", "\"v1.0.0\"",
	 "'v1.0.0' is not a version like 1.2.0", "is missing"},
	{ROOT_, "", "path", "\"/r\"", "a string", "\"\"", "is empty", "is missing"},
	{ROOT_, ",\"path\":\"r\"", "readonly", "true", "a boolean", NULL, NULL, NULL},
	{NAME, "", "hostname", "\"" LONG64 "\"", "a string", "\"x" LONG64 "\"",
	 "longer than 64 bytes", NULL},
	{NAME, "", "hostname", "\"\"", "a string", NULL, NULL, NULL},
	{NAME, "", "domainname", "\"d\"", "a string", "\"x" LONG64 "\"", "longer than 64 bytes",
	 NULL},
	{MOUNT, "", "destination", "\"/a\"", "a string", "\"\"", "is empty", "is missing"},
	{MOUNT, "", "destination", "\"deprecated\"", "a string", NULL, NULL, "is missing"},
	{MOUNT, ",\"destination\":\"/a\"", "type", "\"tmpfs\"", "a string", NULL, NULL, NULL},
	{MOUNT, ",\"destination\":\"/a\",\"type\":\"bind\"", "source", "\"s\"", "a string", "\"\"",
	 "is missing", "is missing"},
	{MOUNT, ",\"destination\":\"/a\",\"type\":\"tmpfs\"", "source", "\"\"", "a string", NULL,
	 NULL, NULL},
	{MOUNT, ",\"destination\":\"/a\"", "options", "[\"ro\"]", "an array", NULL, NULL, NULL},
	{MOUNT, ",\"destination\":\"/a\",\"type\":\"bind\",\"source\":\"b\"", "uidMappings",
	 MAP ",\"gidMappings\":" MAP, "an array", NULL, NULL, NULL},
	{MOUNT, ",\"destination\":\"/a\",\"type\":\"bind\",\"source\":\"b\"", "gidMappings",
	 MAP ",\"uidMappings\":" MAP, "an array", NULL, NULL, NULL},
	{MOUNT_ID, ",\"hostID\":0,\"size\":1", "containerID", "0", "a number", "4294967296",
	 "4294967296" RANGE, "is missing"},
	{MOUNT_ID, ",\"containerID\":0,\"size\":1", "hostID", "4294967294", "a number", "-1",
	 "-1" RANGE, "is missing"},
	{MOUNT_ID, ",\"containerID\":0,\"hostID\":1", "size", "4294967294", "a number", "0",
	 "0" RANGE, "is missing"},
	{HOOK, "", "path", "\"/h\"", "a string", "\"h\"", "'h' is not absolute", "is missing"},
	{HOOK, ",\"path\":\"/h\"", "args", "[\"h\",\"1\"]", "an array", NULL, NULL, NULL},
	{HOOK, ",\"path\":\"/h\"", "env", "[\"A=b\"]", "an array", NULL, NULL, NULL},
	{HOOK, ",\"path\":\"/h\"", "timeout", "1", "a number", "0", "0" RANGE, NULL},
	{HOOK, ",\"path\":\"/h\"", "timeout", "2147483647", "a number", "2147483648",
	 "2147483648" RANGE, NULL},
	{HOOK, ",\"path\":\"/h\"", "timeout", "5", "a number", "-1", "-1" RANGE, NULL},
	{ANNOTATION, "", "a", "\"\"", "a string", NULL, NULL, "null, not a string"},
	{NAMESPACE, "", "type", "\"pid\"", "a string", "\"PID\"", "'PID' is unknown", "is missing"},
	{NAMESPACE, "", "type", "\"time\"", "a string", "\"\"", "'' is unknown", "is missing"},
	{NAMESPACE, ",\"type\":\"network\"", "path", "\"/n\"", "a string", "\"n\"",
	 "'n' is not absolute", NULL},
	{UIDS, ",\"hostID\":0,\"size\":1", "containerID", "0", "a number", "-1", "-1" RANGE,
	 "is missing"},
	{UIDS, ",\"containerID\":0,\"size\":1", "hostID", "0", "a number", "4294967296",
	 "4294967296" RANGE, "is missing"},
	{UIDS, ",\"containerID\":0,\"hostID\":0", "size", "1", "a number", "0", "0" RANGE,
	 "is missing"},
	{CLOCK, "", "secs", "-9223372036854775808", "a number", "9223372036854775808",
	 "9223372036854775808" RANGE, NULL},
	{CLOCK, "", "nanosecs", "999999999", "a number", "1000000000", "1000000000" RANGE, NULL},
	{DEVICE, ",\"type\":\"p\"", "path", "\"/outside/dev\"", "a string", "\"d\"",
	 "'d' is not absolute", "is missing"},
	{DEVICE, ",\"path\":\"/d\",\"major\":1,\"minor\":1", "type", "\"u\"", "a string", "\"x\"",
	 "'x' is unknown", "is missing"},
	{DEVICE, ",\"path\":\"/d\",\"type\":\"b\",\"minor\":1", "major", "8", "a number", "-1",
	 "-1" RANGE, "is missing"},
	{DEVICE, ",\"path\":\"/d\",\"type\":\"b\",\"major\":1", "minor", "0", "a number",
	 "4294967296", "4294967296" RANGE, "is missing"},
	{DEVICE, ",\"path\":\"/d\",\"type\":\"p\"", "fileMode", "438", "a number", "-1", "-1" RANGE,
	 NULL},
	{DEVICE, ",\"path\":\"/d\",\"type\":\"p\"", "uid", "0", "a number", "4294967296",
	 "4294967296" RANGE, NULL},
	{DEVICE, ",\"path\":\"/d\",\"type\":\"p\"", "gid", "5", "a number", "1.5",
	 "1.5 is not an integer", NULL},
	{IN_LINUX, "", "cgroupsPath", "\"system.slice:p:n\"", "a string", NULL, NULL, NULL},
	{IN_LINUX, "", "mountLabel", "\"l\"", "a string", NULL, NULL, NULL},
	{IN_LINUX, "", "maskedPaths", "[\"/proc/kcore\"]", "an array", NULL, NULL, NULL},
	{IN_LINUX, "", "readonlyPaths", "[\"/proc/sys\"]", "an array", NULL, NULL, NULL},
	{IN_LINUX, "", "rootfsPropagation", "\"slave\"", "a string", "\"MS_SLAVE\"",
	 "'MS_SLAVE' is unknown", NULL},
	{IN_LINUX, "", "rootfsPropagation", "\"rslave\"", "a string", "\"rrslave\"",
	 "'rrslave' is unknown", NULL},
	{IN_LINUX, "", "rootfsPropagation", "\"unbindable\"", "a string", "\" \"", "' ' is unknown",
	 NULL},
	{IN_LINUX, "", "rootfsPropagation", "\"runbindable\"", "a string", NULL, NULL, NULL},
	{IN_LINUX, "", "rootfsPropagation", "\"private\"", "a string", NULL, NULL, NULL},
	{IN_LINUX, "", "rootfsPropagation", "\"rprivate\"", "a string", NULL, NULL, NULL},
	{IN_LINUX, "", "rootfsPropagation", "\"shared\"", "a string", NULL, NULL, NULL},
	{IN_LINUX, "", "rootfsPropagation", "\"rshared\"", "a string", NULL, NULL, NULL},
	{IN_LINUX, "", "rootfsPropagation", "\"\"", "a string", NULL, NULL, NULL},
	{IN_LINUX, "", "seccomp", "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}", "an object", NULL, NULL,
	 NULL},
	{IN_LINUX, "", "resources", "{}", "an object", NULL, NULL, NULL},
	{IN_LINUX, "", "intelRdt", "{}", "an object", NULL, NULL, NULL},
	{IN_LINUX, "", "timeOffsets", "{}", "an object", NULL, NULL, NULL},
	{IN_LINUX, "", "netDevices", "{}", "an object", NULL, NULL, NULL},
	{OBJECT("sysctl"), "", "net.ipv4.ip_forward", "\"1\"", "a string", NULL, NULL,
	 "null, not a string"},
	{OBJECT("intelRdt"), "", "closID", "\"/\"", "a string", "\"a/b\"",
	 "'a/b' is not the name of a group", NULL},
	{OBJECT("intelRdt"), "", "closID", "\"group\"", "a string", "\"..\"",
	 "'..' is not the name of a group", NULL},
	{OBJECT("intelRdt"), "", "l3CacheSchema", "\"L3:0=7f0;1=1f\"", "a string",
	 "\"L3:0=1\\nL3:1=1\"", "contains a newline", NULL},
	{OBJECT("intelRdt"), "", "memBwSchema", "\"MB:0=20\"", "a string", "\"MB:0=1\\n\"",
	 "contains a newline", NULL},
	{OBJECT("intelRdt"), "", "memBwSchema", "\"\"", "a string", "\"L3:0=1\"",
	 "does not begin with 'MB:'", NULL},
	{OBJECT("intelRdt"), "", "schemata", "[\"L3:0=1\"]", "an array", NULL, NULL, NULL},
	{OBJECT("intelRdt"), "", "enableMonitoring", "true", "a boolean", NULL, NULL, NULL},
	{OBJECT("memoryPolicy"), "", "mode", "\"MPOL_DEFAULT\"", "a string", "\"MPOL_NONE\"",
	 "'MPOL_NONE' is unknown", "is missing"},
	{OBJECT("memoryPolicy"), "", "mode", "\"MPOL_PREFERRED\"", "a string", "\"\"",
	 "'' is unknown", "is missing"},
	{OBJECT("memoryPolicy"), ",\"mode\":\"MPOL_BIND\"", "nodes", "\"0\"", "a string", "\"x\"",
	 "'x' is not a list like \"0-3,7\"", "MPOL_BIND requires at least one"},
	{OBJECT("memoryPolicy"), ",\"mode\":\"MPOL_LOCAL\"", "nodes", "\"\"", "a string", "\"0\"",
	 "MPOL_LOCAL takes none", NULL},
	{OBJECT("memoryPolicy"), ",\"mode\":\"MPOL_LOCAL\"", "flags", "[\"MPOL_F_NUMA_BALANCING\"]",
	 "an array", NULL, NULL, NULL},
	{NET_DEVICE, "", "name", "\"container_eth0\"", "a string", "\"a/b\"",
	 "'a/b' is not the name of a network device", NULL},
	{NET_DEVICE, "", "name", "\"\"", "a string", "\"0123456789abcdef\"",
	 "'0123456789abcdef' is not the name of a network device", NULL},
	{NET_DEVICE, "", "name", "\"eth%d\"", "a string", "\"a b\"",
	 "'a b' is not the name of a network device", NULL},
	{KERNEL, "", "path", "\"/k\"", "a string", "\"k\"", "'k' is not absolute", NULL},
	{KERNEL, "", "initrd", "\"/i\"", "a string", "\"i\"", "'i' is not absolute", NULL},
	{KERNEL, "", "parameters", "[\"a=b\",\"c d\"]", "an array", NULL, NULL, NULL},
	{HW, "", "memory", "4194304", "a number", "9223372036854775808",
	 "9223372036854775808" RANGE, NULL},
	{HW, "", "vcpus", "65535", "a number", "65536", "65536" RANGE, NULL},
	{HW, "", "deviceTree", "\"\"", "a string", "\"/d.dtb\"",
	 "not supported: the guest's devices are virtio's", NULL},
	{HW, "", "dtdevs", "[]", "an array", "[\"x\"]",
	 "not supported: devices are not passed through", NULL},
	{HW, "", "iomems", "[]", "an array", "[{\"firstMFN\":1,\"nrMFNs\":1}]",
	 "not supported: devices are not passed through", NULL},
	{HW, "", "irqs", "[]", "an array", "[11]", "not supported: devices are not passed through",
	 NULL},
	{VM, "", "hypervisor", "{}", "an object", "{\"path\":\"/x\",\"parameters\":[\"a\"]}",
	 "not supported: the guest is run by this program itself", NULL},
	{VM, "", "image", "{}", "an object", "{\"path\":\"/x\",\"format\":\"raw\"}",
	 "not supported: the guest boots from vm.kernel.initrd", NULL},
	{VM, "", "kernel", "{}", "an object", NULL, NULL, NULL},
	{VM, "", "hwConfig", "{}", "an object", NULL, NULL, NULL},
};

static int parse(const char *text, struct err *err)
{
	CLEANUP(oci_config) struct oci_config *config = NULL;
	int r = oci_config_parse(text, strlen(text), &config, err);

	assert_true((r == 0) == (config != NULL));
	return r;
}

static void document(size_t row, const char *value, char *out, size_t size)
{
	int n = snprintf(out, size, "%s\"%s\":%s%s%s", rows[row].before, rows[row].key, value,
			 rows[row].others, rows[row].after);

	assert_true(n > 0 && (size_t)n < size);
}

static void accepted(size_t row, const char *value)
{
	struct err err = {0};
	char text[1024];

	document(row, value, text, sizeof(text));
	if (parse(text, &err) < 0)
		fail_msg("%s\n   %s", text, err.msg);
}

static void refused(size_t row, const char *value, const char *sentence)
{
	struct err err = {0};
	char text[1024], wanted[512];

	document(row, value, text, sizeof(text));
	(void)snprintf(wanted, sizeof(wanted), "config.json: %s%s: %s", rows[row].path,
		       rows[row].key, sentence);
	if (parse(text, &err) != -EINVAL || strcmp(err.msg, wanted) != 0)
		fail_msg("%s\n   gave '%s', not '%s'", text, err.msg, wanted);
}

static void test_fields(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool number = strcmp(rows[i].type, "a number") == 0;
		char sentence[64];

		accepted(i, rows[i].good);
		(void)snprintf(sentence, sizeof(sentence), "%s, not %s",
			       number ? "a string" : "a number", rows[i].type);
		refused(i, number ? "\"1\"" : "1", sentence);
		if (rows[i].bad)
			refused(i, rows[i].bad, rows[i].sentence);
		if (rows[i].absent_sentence)
			refused(i, "null", rows[i].absent_sentence);
		else
			accepted(i, "null");
	}
}

/* ---- what is no single field's ---- */

#define HEAD "{" VERSION "," ROOT
#define L(text) HEAD ",\"linux\":{" text "}}"
#define NS(type) "\"namespaces\":[{\"type\":\"" type "\"}]"
#define TEN "\"uidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":10},"

static const struct {
	const char *text, *message; /* NULL: accepted */
} documents[] = {
	/* namespaces */
	{L("\"namespaces\":{}"), "linux.namespaces: an object, not an array"},
	{L("\"namespaces\":[{\"type\":\"user\"},{\"type\":\"user\"}]"),
	 "linux.namespaces[1].type: 'user' is given twice"},
	{HEAD ",\"hostname\":\"h\"}",
	 "hostname: unable to set hostname without a private UTS namespace"},
	{HEAD ",\"domainname\":\"h\"}",
	 "domainname: unable to set domainname without a private UTS namespace"},
	{L("\"maskedPaths\":[\"/x\"]"),
	 "linux: unable to restrict sys entries without a private MNT namespace"},
	{L("\"readonlyPaths\":[\"/x\"]"),
	 "linux: unable to restrict sys entries without a private MNT namespace"},
	{L("\"readonlyPaths\":[\"/x\"]," NS("mount")), NULL},
	{L("\"maskedPaths\":[\"/x\",\"y\"]"), "linux.maskedPaths[1]: 'y' is not absolute"},
	{L("\"readonlyPaths\":[\"y\"]"), "linux.readonlyPaths[0]: 'y' is not absolute"},
	/* user namespaces */
	{L("\"uidMappings\":" MAP), "linux: user namespace mappings specified, but user namespace "
				    "isn't enabled in the config"},
	{L(NS("user")),
	 "linux: user namespaces enabled, but no namespace path to join nor mappings "
	 "to apply specified"},
	{L(NS("user") ",\"uidMappings\":" MAP),
	 "linux.gidMappings: user namespaces enabled, but no mappings found"},
	{L(NS("user") ",\"gidMappings\":" MAP),
	 "linux.uidMappings: user namespaces enabled, but no mappings found"},
	{L(NS("user") ",\"gidMappings\":" MAP
		      ",\"uidMappings\":[{\"containerID\":1,\"hostID\":0,\"size\":1}]"),
	 "linux.uidMappings: user namespaces enabled, but no mapping found for 0"},
	{L("\"namespaces\":[{\"type\":\"user\",\"path\":\"/u\"}]"), NULL},
	{L(TEN "{\"containerID\":9,\"hostID\":99,\"size\":1}]"),
	 "linux.uidMappings[1]: overlaps another range"},
	{L(TEN "{\"containerID\":10,\"hostID\":9,\"size\":1}]"),
	 "linux.uidMappings[1]: overlaps another range"},
	{L("\"gidMappings\":[{\"containerID\":5,\"hostID\":5,\"size\":9},{\"containerID\":0,"
	   "\"hostID\":90,\"size\":6}]"),
	 "linux.gidMappings[1]: overlaps another range"},
	{L(NS("user") "," TEN
		      "{\"containerID\":10,\"hostID\":10,\"size\":1}],\"gidMappings\":" MAP),
	 NULL},
	{L("\"uidMappings\":[{\"containerID\":1,\"hostID\":0,\"size\":4294967295}]"),
	 "linux.uidMappings[0]: reaches beyond the last id"},
	{L("\"uidMappings\":[{\"containerID\":0,\"hostID\":4294967295,\"size\":1}]"),
	 "linux.uidMappings[0]: reaches beyond the last id"},
	{L("\"uidMappings\":[1]"), "linux.uidMappings[0]: a number, not an object"},
	/* time namespaces */
	{L("\"timeOffsets\":{\"boottime\":{\"secs\":1}}"),
	 "linux.timeOffsets: time namespace offsets specified, but time namespace isn't enabled in "
	 "the "
	 "config"},
	{L("\"namespaces\":[{\"type\":\"time\",\"path\":\"/"
	   "t\"}],\"timeOffsets\":{\"monotonic\":{}}"),
	 "linux.timeOffsets: time namespace enabled, but both namespace path and time offsets "
	 "specified -- you may only provide one"},
	{L(NS("time") ",\"timeOffsets\":{\"boottime\":{\"secs\":1}}"), NULL},
	{L(NS("time") ",\"timeOffsets\":{\"realtime\":{}}"),
	 "linux.timeOffsets.realtime: an unknown clock"},
	{L(NS("time") ",\"timeOffsets\":{\"boottime\":1}"),
	 "linux.timeOffsets.boottime: a number, not an object"},
	/* id-mapped mounts */
	{HEAD ",\"mounts\":[{\"destination\":\"/a\",\"source\":\"/b\",\"options\":[\"bind\","
	      "\"idmap\"]}]}",
	 "mounts[0]: id-mapped mounts must have both uid and gid mappings specified"},
	{HEAD ",\"mounts\":[{\"destination\":\"/a\",\"source\":\"/b\",\"options\":[\"rbind\","
	      "\"ridmap\"]}],\"linux\":{\"namespaces\":[{\"type\":\"user\",\"path\":\"/u\"}]}}",
	 NULL},
	{HEAD ",\"mounts\":[{\"destination\":\"/a\",\"source\":\"/b\",\"type\":\"bind\","
	      "\"uidMappings\":" MAP "}]}",
	 "mounts[0]: id-mapped mounts must have both uid and gid mappings specified"},
	{HEAD ",\"mounts\":[{\"destination\":\"/a\",\"type\":\"tmpfs\",\"options\":[\"idmap\"]}]}",
	 "mounts[0]: id-mapped mounts are only supported for bind-mounts"},
	{HEAD ",\"mounts\":[{\"destination\":\"/a\",\"type\":\"tmpfs\",\"uidMappings\":[],"
	      "\"gidMappings\":[]}]}",
	 NULL},
	/* sysctls: any, but a name */
	{L("\"sysctl\":{\"vm.overcommit_memory\":\"1\",\"kernel.hostname\":\"x\"}"), NULL},
	{L(NS("uts") ",\"sysctl\":{\"kernel.hostname\":\"x\"}"),
	 "linux.sysctl.kernel.hostname: not allowed as it conflicts with the OCI \"hostname\" "
	 "field"},
	{L(NS("uts") ",\"sysctl\":{\"kernel/hostname\":\"x\"}"),
	 "linux.sysctl.kernel.hostname: not allowed as it conflicts with the OCI \"hostname\" "
	 "field"},
	{L(NS("uts") ",\"sysctl\":{\"kernel.domainname\":\"x\"}"), NULL},
	{L("\"sysctl\":{\".a\":\"1\"}"), "linux.sysctl..a: not the name of a sysctl"},
	{L("\"sysctl\":{\"a.\":\"1\"}"), "linux.sysctl.a.: not the name of a sysctl"},
	{L("\"sysctl\":{\"a..b\":\"1\"}"), "linux.sysctl.a..b: not the name of a sysctl"},
	{L("\"sysctl\":{\"a.//.b\":\"1\"}"), "linux.sysctl.a.//.b: not the name of a sysctl"},
	{L("\"sysctl\":{\"/a\":\"1\"}"), "linux.sysctl..a: not the name of a sysctl"},
	{L("\"sysctl\":{\"\":\"1\"}"), "linux.sysctl.: an empty key"},
	{L("\"sysctl\":[]"), "linux.sysctl: an array, not an object"},
	/* devices */
	{L("\"devices\":[{\"path\":\"/opt/fifo\",\"type\":\"p\"},{\"path\":\"/opt/"
	   "c\",\"type\":\"c\","
	   "\"major\":1,\"minor\":3}]"),
	 NULL},
	/* network devices */
	{L("\"netDevices\":{\"eth0\":{}}"),
	 "linux.netDevices: unable to move network devices without a NET namespace"},
	{L(NS("network") ",\"netDevices\":{\"eth0\":{}}"), NULL},
	{L(NS("network") ",\"netDevices\":{\"eth:0\":{}}"),
	 "linux.netDevices.eth:0: not the name of a network device"},
	{L(NS("network") ",\"netDevices\":{\"..\":{}}"),
	 "linux.netDevices...: not the name of a network device"},
	{L(NS("network") ",\"netDevices\":{\"eth0\":1}"),
	 "linux.netDevices.eth0: a number, not an object"},
	/* Intel RDT, memory policy */
	{L("\"intelRdt\":{\"schemata\":[\"L3:0=1\",\"L2:0=1\\nL2:1=1\"]}"),
	 "linux.intelRdt.schemata[1]: contains a newline"},
	{L("\"memoryPolicy\":{\"mode\":\"MPOL_PREFERRED\",\"nodes\":\"0-1\",\"flags\":[\"MPOL_F_"
	   "STATIC_NODES\",\"MPOL_F_RELATIVE_NODES\"]}"),
	 NULL},
	{L("\"memoryPolicy\":{\"mode\":\"MPOL_LOCAL\",\"flags\":[\"x\"]}"),
	 "linux.memoryPolicy.flags[0]: 'x' is unknown"},
	{L("\"memoryPolicy\":{}"), "linux.memoryPolicy.mode: is missing"},
	{L("\"memoryPolicy\":1"), "linux.memoryPolicy: a number, not an object"},
	/* resources within the whole */
	{L("\"resources\":{\"memory\":{\"swap\":5}}"),
	 "linux.resources.memory.swap: unable to set swap limit without memory limit"},
	{L("\"resources\":{\"memory\":{\"limit\":-1,\"swap\":5}}"),
	 "linux.resources.memory.swap: unable to set swap limit without memory limit"},
	{L("\"resources\":{\"memory\":{\"limit\":-1,\"swap\":-1}}"), NULL},
	{L("\"resources\":{\"unified\":{\"a/b\":\"\"}}"),
	 "linux.resources.unified.a/b: must be a file name (no slashes)"},
	/* all six hooks */
	{HEAD ",\"hooks\":{\"prestart\":[{\"path\":\"/a\"}],\"createRuntime\":[{\"path\":\"/a\"}],"
	      "\"createContainer\":[{\"path\":\"/a\"}],\"startContainer\":[{\"path\":\"/a\"}],"
	      "\"poststart\":[{\"path\":\"/a\"}],\"poststop\":[{\"path\":\"/a\"}]}}",
	 NULL},
	{HEAD ",\"hooks\":{\"startContainer\":[{\"path\":\"/a\"},{\"path\":\"\"}]}}",
	 "hooks.startContainer[1].path: is empty"},
	{HEAD ",\"hooks\":{\"poststart\":{}}}", "hooks.poststart: an object, not an array"},
	{HEAD ",\"hooks\":[]}", "hooks: an array, not an object"},
	/* sections of another type */
	{HEAD ",\"linux\":[]}", "linux: an array, not an object"},
	{HEAD ",\"vm\":[]}", "vm: an array, not an object"},
	{HEAD ",\"vm\":{\"image\":[]}}", "vm.image: an array, not an object"},
	{HEAD ",\"annotations\":[]}", "annotations: an array, not an object"},
	{HEAD ",\"solaris\":{},\"windows\":[],\"new\":1}", NULL},
};

static void test_documents(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		struct err err = {0};
		int r = parse(documents[i].text, &err);

		if (!documents[i].message && r == 0)
			continue;
		if (r != -EINVAL || !documents[i].message ||
		    strncmp(err.msg, "config.json: ", 13) != 0 ||
		    strcmp(err.msg + 13, documents[i].message) != 0)
			fail_msg("%s\n   gave %d '%s', not '%s'", documents[i].text, r, err.msg,
				 documents[i].message ? documents[i].message : "");
	}
}

static void test_sysctl_forms(void **state)
{
	static const char text[] = L(
		"\"sysctl\":{\"net/ipv4/conf/eth0.1/mtu\":\"1\",\"net.a.b/c\":\"2\"}");
	CLEANUP(oci_config) struct oci_config *config = NULL;

	(void)state;
	assert_int_equal(oci_config_parse(text, strlen(text), &config, NULL), 0);
	assert_string_equal(config->linux_.sysctl.items[0].key, "net.a.b/c");
	assert_string_equal(config->linux_.sysctl.items[1].key, "net.ipv4.conf.eth0/1.mtu");
}

/* More ranges than the kernel takes */
static void test_many_ranges(void **state)
{
	static char text[64 << 10];
	struct err err = {0};
	size_t len;

	(void)state;
	for (int n = 340; n <= 341; n++) {
		len = (size_t)snprintf(text, sizeof(text), "%s",
				       HEAD ",\"linux\":{" NS("user") ",\"gidMappings\":" MAP
								      ",\"uidMappings\":[");
		for (int i = 0; i < n; i++)
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"%s{\"containerID\":%d,\"hostID\":%d,\"size\":1}",
						i ? "," : "", i, 1000 + i);
		(void)snprintf(text + len, sizeof(text) - len, "]}}");
		assert_int_equal(parse(text, &err), n == 340 ? 0 : -EINVAL);
	}
	assert_string_equal(err.msg, "config.json: linux.uidMappings: more than 340 ranges");
}

static void test_namespace_names(void **state)
{
	(void)state;
	assert_string_equal(oci_namespace_name(OCI_NS_PID), "pid");
	assert_string_equal(oci_namespace_name(OCI_NS_TIME), "time");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_sysctl_forms),	cmocka_unit_test(test_many_ranges),
		cmocka_unit_test(test_namespace_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
