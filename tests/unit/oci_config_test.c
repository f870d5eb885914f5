/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json: a whole one, each field's wrong forms and the words for them, the limits, no memory.
 *
 * LDFLAGS: -Wl,--wrap=calloc -Wl,--wrap=strdup
 */
#include "oci/config.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

#define HEAD "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"rootfs\"}"

static int parse(const char *text, struct oci_config **out, struct err *err)
{
	return oci_config_parse(text, strlen(text), out, err);
}

static void test_least(void **state)
{
	struct oci_config *config = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(parse(HEAD "}", &config, &err), 0);
	assert_string_equal(config->oci_version, "1.0.2");
	assert_string_equal(config->root.path, "rootfs");
	assert_false(config->root.readonly);
	assert_false(config->has_process);
	assert_null(config->hostname);
	assert_int_equal(config->nmounts, 0);
	assert_int_equal(config->linux_.resources.memory.limit.value, 0);
	assert_null(oci_annotation(config, "a"));
	oci_config_free(config);
	oci_config_free(NULL);
}

static const char whole[] = HEAD
	",\"hostname\":\"h\",\"domainname\":\"d\","
	"\"process\":{\"terminal\":true,\"consoleSize\":{\"height\":24,\"width\":80},"
	"\"user\":{\"uid\":1,\"gid\":2,\"umask\":18,\"additionalGids\":[3,4]},\"args\":[\"sh\",\"-"
	"c\"],\"env\":[\"A=b\",\"C=\"],"
	"\"cwd\":\"/"
	"x\",\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_KILL\",\"CAP_NOT_YET\"],"
	"\"effective\":[],"
	"\"ambient\":[\"CAP_CHECKPOINT_RESTORE\"]},\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\","
	"\"soft\":10,"
	"\"hard\":18446744073709551615}],\"noNewPrivileges\":true,\"oomScoreAdj\":-1000,"
	"\"apparmorProfile\":\"p\","
	"\"selinuxLabel\":\"l\",\"ioPriority\":{\"class\":\"IOPRIO_CLASS_RT\",\"priority\":7},"
	"\"execCPUAffinity\":{\"initial\":\"0-3,7\"},\"scheduler\":{\"policy\":\"SCHED_FIFO\","
	"\"priority\":3,\"flags\":[\"SCHED_FLAG_RESET_ON_FORK\"]}},"
	"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/v\",\"source\":\"vol\",\"options\":[\"rbind\",\"ro\"]},"
	"{\"destination\":\"w\",\"type\":\"bind\",\"source\":\"/"
	"s\",\"options\":[\"ridmap\"],\"uidMappings\":[{\"containerID\":0,\"hostID\":7,\"size\":1}]"
	",\"gidMappings\":[{\"containerID\":0,\"hostID\":8,\"size\":1}]}],"
	"\"hooks\":{\"prestart\":[{\"path\":\"/"
	"h\",\"args\":[\"h\",\"1\"],\"env\":[\"X=y\"],\"timeout\":5}],\"poststop\":[]},"
	"\"annotations\":{\"z\":\"1\",\"a\":\"2\",\"z\":\"3\"},"
	"\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\",\"path\":\"/"
	"n\"},{\"type\":\"ipc\",\"path\":\"\"},{\"type\":\"uts\"},{\"type\":\"mount\"},{\"type\":"
	"\"user\"},{\"type\":\"time\"}],"
	"\"devices\":[{\"path\":\"/dev/"
	"x\",\"type\":\"c\",\"major\":10,\"minor\":229,\"fileMode\":438,\"uid\":0,\"gid\":5},"
	"{\"path\":\"/dev/p\",\"type\":\"p\"}],\"sysctl\":{\"net.x\":\"1\"},\"maskedPaths\":[\"/"
	"m\"],"
	"\"readonlyPaths\":[\"/"
	"r\"],\"cgroupsPath\":\"c\",\"rootfsPropagation\":\"rslave\",\"mountLabel\":\"ml\","
	"\"uidMappings\":[{\"containerID\":0,\"hostID\":1000,\"size\":10},{\"containerID\":10,"
	"\"hostID\":2000,\"size\":5}],"
	"\"gidMappings\":[{\"containerID\":0,\"hostID\":3000,\"size\":1}],"
	"\"timeOffsets\":{\"monotonic\":{\"secs\":-5,\"nanosecs\":999999999},\"boottime\":{}},"
	"\"intelRdt\":{\"closID\":\"g\",\"l3CacheSchema\":\"L3:0=f\",\"memBwSchema\":\"MB:0=20\","
	"\"schemata\":[\"L2:0=f\"],\"enableMonitoring\":true},"
	"\"memoryPolicy\":{\"mode\":\"MPOL_BIND\",\"nodes\":\"0-1\",\"flags\":[\"MPOL_F_STATIC_"
	"NODES\"]},"
	"\"netDevices\":{\"eth1\":{\"name\":\"net%d\"},\"eth0\":{}},"
	"\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\"},\"resources\":{\"memory\":{\"limit\":"
	"1048576}}},"
	"\"vm\":{\"kernel\":{\"path\":\"/k\",\"initrd\":\"/i\",\"parameters\":[\"q\"]},"
	"\"hwConfig\":{\"memory\":268435456,\"vcpus\":4}},\"somethingNew\":[1,{\"x\":[]}]}";

static void check_process(const struct oci_process *p)
{
	assert_true(p->terminal);
	assert_int_equal(p->console_size.height, 24);
	assert_int_equal(p->user.uid, 1);
	assert_int_equal(p->user.gid, 2);
	assert_true(p->user.has_umask);
	assert_int_equal(p->user.umask, 022);
	assert_int_equal(p->user.nadditional_gids, 2);
	assert_int_equal(p->user.additional_gids[1], 4);
	assert_int_equal(p->args.n, 2);
	assert_null(p->args.items[2]);
	assert_string_equal(p->env.items[1], "C=");
	assert_string_equal(p->cwd, "/x");
	assert_true(p->has_capabilities);
	assert_int_equal(p->caps[OCI_CAP_BOUNDING], 1u << 0 | 1u << 5);
	assert_true(p->caps[OCI_CAP_AMBIENT] == 1ull << 40);
	assert_string_equal(p->unknown_caps, "CAP_NOT_YET");
	assert_int_equal(p->nrlimits, 1);
	assert_int_equal(p->rlimits[0].resource, RLIMIT_NOFILE);
	assert_true(p->rlimits[0].hard == UINT64_MAX);
	assert_true(p->no_new_privileges);
	assert_true(p->has_oom_score_adj);
	assert_int_equal(p->oom_score_adj, -1000);
}

static void check_linux(const struct oci_config *c)
{
	assert_true(c->linux_.namespaces[OCI_NS_PID].present);
	assert_null(c->linux_.namespaces[OCI_NS_PID].path);
	assert_string_equal(c->linux_.namespaces[OCI_NS_NETWORK].path, "/n");
	assert_null(c->linux_.namespaces[OCI_NS_IPC].path);
	assert_true(c->linux_.namespaces[OCI_NS_USER].present);
	assert_false(c->linux_.namespaces[OCI_NS_CGROUP].present);
	assert_int_equal(c->linux_.ndevices, 2);
	assert_int_equal(c->linux_.devices[0].minor, 229);
	assert_int_equal(c->linux_.devices[0].mode, 0666);
	assert_int_equal(c->linux_.devices[1].type, 'p');
	assert_false(c->linux_.devices[1].has_mode);
	assert_string_equal(c->linux_.sysctl.items[0].key, "net.x");
	assert_string_equal(c->linux_.masked_paths.items[0], "/m");
	assert_string_equal(c->linux_.cgroups_path, "c");
	assert_string_equal(c->linux_.rootfs_propagation, "rslave");
	assert_non_null(c->linux_.seccomp);
	assert_true(c->linux_.has_resources);
	assert_int_equal(c->linux_.resources.memory.limit.value, 1048576);
}

static void check_linux_rest(const struct oci_config *c)
{
	uint32_t id = 77;

	assert_int_equal(c->linux_.uid_mappings.n, 2);
	assert_true(oci_idmap_to_host(&c->linux_.uid_mappings, 14, &id));
	assert_int_equal(id, 2004);
	assert_false(oci_idmap_to_host(&c->linux_.uid_mappings, 15, &id));
	assert_true(oci_idmap_has_host(&c->linux_.uid_mappings, 2004));
	assert_false(oci_idmap_has_host(&c->linux_.uid_mappings, 2005));
	assert_false(oci_idmap_has_host(&c->linux_.uid_mappings, 14));
	assert_int_equal(id, 2004);
	assert_int_equal(c->linux_.gid_mappings.items[0].host_id, 3000);
	assert_int_equal(c->linux_.time_offsets[OCI_CLOCK_MONOTONIC].secs, -5);
	assert_int_equal(c->linux_.time_offsets[OCI_CLOCK_MONOTONIC].nanosecs, 999999999);
	assert_true(c->linux_.time_offsets[OCI_CLOCK_BOOTTIME].present);
	assert_true(c->linux_.intel_rdt.present);
	assert_true(c->linux_.intel_rdt.enable_monitoring);
	assert_string_equal(c->linux_.intel_rdt.clos_id, "g");
	assert_string_equal(c->linux_.intel_rdt.l3_cache_schema, "L3:0=f");
	assert_string_equal(c->linux_.intel_rdt.mem_bw_schema, "MB:0=20");
	assert_string_equal(c->linux_.intel_rdt.schemata.items[0], "L2:0=f");
	assert_true(c->linux_.memory_policy.present);
	assert_int_equal(c->linux_.memory_policy.mode, MPOL_BIND);
	assert_int_equal(c->linux_.memory_policy.flags, MPOL_F_STATIC_NODES);
	assert_string_equal(c->linux_.memory_policy.nodes, "0-1");
	assert_int_equal(c->linux_.net_devices.n, 2);
	assert_string_equal(c->linux_.net_devices.items[0].key, "eth0");
	assert_string_equal(c->linux_.net_devices.items[0].value, "eth0");
	assert_string_equal(c->linux_.net_devices.items[1].value, "net%d");
}

static void test_whole(void **state)
{
	struct oci_config *c = NULL;
	struct err err = {0};

	(void)state;
	if (parse(whole, &c, &err) < 0)
		fail_msg("%s", err.msg);
	check_process(&c->process);
	check_linux(c);
	check_linux_rest(c);
	assert_string_equal(c->hostname, "h");
	assert_string_equal(c->domainname, "d");
	assert_int_equal(c->nmounts, 3);
	assert_false(c->mounts[0].is_bind);
	assert_true(c->mounts[1].is_bind);
	assert_null(c->mounts[1].type);
	assert_false(c->mounts[1].is_idmapped);
	assert_true(c->mounts[2].is_bind);
	assert_true(c->mounts[2].is_idmapped);
	assert_true(c->mounts[2].idmap_recursive);
	assert_int_equal(c->mounts[2].gid_mappings.items[0].host_id, 8);
	assert_string_equal(c->mounts[2].destination, "/w");
	assert_int_equal(c->hooks[OCI_HOOK_PRESTART].n, 1);
	assert_int_equal(c->hooks[OCI_HOOK_PRESTART].items[0].timeout_s, 5);
	assert_int_equal(c->hooks[OCI_HOOK_POSTSTOP].n, 0);
	assert_int_equal(c->annotations.n, 2);
	assert_string_equal(c->annotations.items[0].key, "a");
	assert_string_equal(oci_annotation(c, "z"), "3");
	assert_string_equal(c->vm.kernel_path, "/k");
	assert_string_equal(c->vm.initrd_path, "/i");
	assert_int_equal(c->vm.memory_bytes, 268435456);
	assert_int_equal(c->vm.vcpus, 4);
	oci_config_free(c);
}

/* Allocations that succeed before one fails; -1: all do */
static int allowed = -1;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

static bool may_allocate(void)
{
	return allowed < 0 || allowed-- > 0;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return may_allocate() ? __real_calloc(n, size) : NULL;
}

char *__wrap_strdup(const char *text)
{
	return may_allocate() ? __real_strdup(text) : NULL;
}

/* Whichever allocation fails, the parser says so and nothing leaks */
static void test_no_memory(void **state)
{
	int failures = 0;

	(void)state;
	for (int n = 0;; n++) {
		struct oci_config *config = NULL;
		struct err err = {0};
		int r;

		allowed = n;
		r = parse(whole, &config, &err);
		allowed = -1;
		oci_config_free(config);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_int_equal(err.code, ENOMEM);
		assert_null(config);
		failures++;
	}
	assert_true(failures > 50);
}

/* Cut anywhere, it is refused and nothing leaks (the sanitizers see) */
static void test_cut(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		struct oci_config *config = NULL;

		assert_int_equal(oci_config_parse(whole, len, &config, NULL), -EINVAL);
		assert_null(config);
	}
}

#define P ",\"process\":{\"cwd\":\"/\""
#define L ",\"linux\":{"

static const struct {
	const char *text, *message;
} bad[] = {
	{"[]", "not an object"},
	{"\"x\"", "not an object"},
	{"{}", "ociVersion: is missing"},
	{"{\"ociVersion\":\"\"}", "ociVersion: is empty"},
	{"{\"ociVersion\":5}", "ociVersion: a number, not a string"},
	{"{\"ociVersion\":\"2.0.0\"}",
	 "ociVersion: '2.0.0' is not a version that is supported (1.x)"},
	{"{\"ociVersion\":\"1\"}", "ociVersion: '1' is not a version like 1.2.0"},
	{"{\"ociVersion\":\"1.0.0\"}", "root: is missing"},
	{"{\"ociVersion\":\"1.0.0\",\"root\":null}", "root: is missing"},
	{"{\"ociVersion\":\"1.0.0\",\"root\":{}}", "root.path: is missing"},
	{"{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"\"}}", "root.path: is empty"},
	{"{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"x\",\"readonly\":\"yes\"}}",
	 "root.readonly: a string, not a boolean"},
	{HEAD ",\"process\":[]}", "process: an array, not an object"},
	{HEAD ",\"process\":{}}", "process.cwd: is missing"},
	{HEAD ",\"process\":{\"cwd\":\"x\"}}", "process.cwd: 'x' is not absolute"},
	{HEAD P ",\"args\":\"sh\"}}", "process.args: a string, not an array"},
	{HEAD P ",\"args\":[\"a\",1]}}", "process.args[1]: a number, not a string"},
	{HEAD P ",\"args\":[null]}}", "process.args[0]: null, not a string"},
	{HEAD P ",\"env\":[\"A=b\",\"C\"]}}", "process.env[1]: not of the form NAME=VALUE"},
	{HEAD P ",\"env\":[\"=b\"]}}", "process.env[0]: not of the form NAME=VALUE"},
	{HEAD P ",\"user\":{\"uid\":-1}}}", "process.user.uid: -1 is out of range"},
	{HEAD P ",\"user\":{\"uid\":4294967295}}}", "process.user.uid: 4294967295 is out of range"},
	{HEAD P ",\"user\":{\"uid\":1.0}}}", "process.user.uid: 1.0 is not an integer"},
	{HEAD P ",\"user\":{\"uid\":1e3}}}", "process.user.uid: 1e3 is not an integer"},
	{HEAD P ",\"user\":{\"additionalGids\":[1,-2]}}}",
	 "process.user.additionalGids[1]: -2 is out of range"},
	{HEAD P ",\"user\":{\"additionalGids\":[1.5]}}}",
	 "process.user.additionalGids[0]: 1.5 is out of range"},
	{HEAD P ",\"user\":{\"umask\":99999}}}", "process.user.umask: 99999 is out of range"},
	{HEAD P ",\"oomScoreAdj\":1001}}", "process.oomScoreAdj: 1001 is out of range"},
	{HEAD P ",\"oomScoreAdj\":-1001}}", "process.oomScoreAdj: -1001 is out of range"},
	{HEAD P ",\"consoleSize\":{\"height\":65536}}}",
	 "process.consoleSize.height: 65536 is out of range"},
	{HEAD P ",\"capabilities\":{\"bounding\":{}}}}",
	 "process.capabilities.bounding: an object, not an array"},
	{HEAD P ",\"rlimits\":[{}]}}", "process.rlimits[0].type: is missing"},
	{HEAD P ",\"rlimits\":[{\"type\":\"NOFILE\"}]}}",
	 "process.rlimits[0].type: 'NOFILE' is unknown"},
	{HEAD P ",\"rlimits\":[{\"type\":\"RLIMIT_AS\"}]}}", "process.rlimits[0].soft: is missing"},
	{HEAD P ",\"rlimits\":[{\"type\":\"RLIMIT_AS\",\"soft\":2,\"hard\":1}]}}",
	 "process.rlimits[0]: soft is larger than hard"},
	{HEAD P
	 ",\"rlimits\":[{\"type\":\"RLIMIT_AS\",\"soft\":18446744073709551616,\"hard\":1}]}}",
	 "process.rlimits[0].soft: 18446744073709551616 is out of range"},
	{HEAD P ",\"rlimits\":[{\"type\":\"RLIMIT_AS\",\"soft\":1,\"hard\":1},{\"type\":\"RLIMIT_"
		"AS\",\"soft\":1,\"hard\":1}]}}",
	 "process.rlimits: RLIMIT_AS is given twice"},
	{HEAD ",\"mounts\":{}}", "mounts: an object, not an array"},
	{HEAD ",\"mounts\":[1]}", "mounts[0]: a number, not an object"},
	{HEAD ",\"mounts\":[{\"destination\":\"/a\"},{}]}", "mounts[1].destination: is missing"},
	{HEAD ",\"mounts\":[{\"destination\":\"\"}]}", "mounts[0].destination: is empty"},
	{HEAD ",\"mounts\":[{\"destination\":\"/a\",\"type\":\"bind\"}]}",
	 "mounts[0].source: is missing"},
	{HEAD ",\"mounts\":[{\"destination\":\"/a\",\"options\":[\"bind\"],\"source\":\"\"}]}",
	 "mounts[0].source: is missing"},
	{HEAD ",\"hooks\":{\"prestart\":[{\"path\":\"x\"}]}}",
	 "hooks.prestart[0].path: 'x' is not absolute"},
	{HEAD ",\"hooks\":{\"poststop\":[{\"path\":\"/x\",\"timeout\":0}]}}",
	 "hooks.poststop[0].timeout: 0 is out of range"},
	{HEAD ",\"annotations\":{\"a\":1}}", "annotations.a: a number, not a string"},
	{HEAD ",\"annotations\":{\"\":\"x\"}}", "annotations.: an empty key"},
	{HEAD ",\"annotations\":{\"a\\u0007\":1}}", "annotations.a?: a number, not a string"},
	{HEAD L "\"namespaces\":[{}]}}", "linux.namespaces[0].type: is missing"},
	{HEAD L "\"namespaces\":[{\"type\":\"bogus\"}]}}",
	 "linux.namespaces[0].type: 'bogus' is unknown"},
	{HEAD L "\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]}}",
	 "linux.namespaces[1].type: 'pid' is given twice"},
	{HEAD L "\"namespaces\":[{\"type\":\"pid\",\"path\":\"x\"}]}}",
	 "linux.namespaces[0].path: 'x' is not absolute"},
	{HEAD L "\"devices\":[{\"path\":\"/d\"}]}}", "linux.devices[0].type: is missing"},
	{HEAD L "\"devices\":[{\"path\":\"/d\",\"type\":\"cc\"}]}}",
	 "linux.devices[0].type: 'cc' is unknown"},
	{HEAD L "\"devices\":[{\"path\":\"/d\",\"type\":\"\"}]}}",
	 "linux.devices[0].type: '' is unknown"},
	{HEAD L "\"devices\":[{\"path\":\"/d\",\"type\":\"c\"}]}}",
	 "linux.devices[0].major: is missing"},
	{HEAD L "\"devices\":[{\"path\":\"/d\",\"type\":\"c\",\"major\":-1,\"minor\":1}]}}",
	 "linux.devices[0].major: -1 is out of range"},
	{HEAD L "\"sysctl\":{\"a\":[]}}}", "linux.sysctl.a: an array, not a string"},
	{HEAD L "\"maskedPaths\":[\"x\"]}}", "linux.maskedPaths[0]: 'x' is not absolute"},
	{HEAD L "\"rootfsPropagation\":\"wide\"}}", "linux.rootfsPropagation: 'wide' is unknown"},
	{HEAD L "\"seccomp\":true}}", "linux.seccomp: a boolean, not an object"},
	{HEAD L "\"resources\":{\"memory\":{\"limit\":-2}}}}",
	 "linux.resources.memory.limit: -2 is out of range"},
	{HEAD L "\"resources\":{\"memory\":{\"limit\":9223372036854775808}}}}",
	 "linux.resources.memory.limit: 9223372036854775808 is out of range"},
	{HEAD ",\"vm\":{\"kernel\":{\"path\":\"k\"}}}", "vm.kernel.path: 'k' is not absolute"},
	{HEAD ",\"vm\":{\"hwConfig\":{\"memory\":-1}}}", "vm.hwConfig.memory: -1 is out of range"},
	{HEAD ",\"vm\":{\"hwConfig\":{\"vcpus\":\"2\"}}}",
	 "vm.hwConfig.vcpus: a string, not a number"},
	{HEAD ",\"hostname\":\"a\\u0000b\"}", "line 1, column 61: a NUL character in a string"},
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct oci_config *config = NULL;
		struct err err = {0};
		int r = parse(bad[i].text, &config, &err);

		if (r != -EINVAL || config || strncmp(err.msg, "config.json: ", 13) != 0 ||
		    strcmp(err.msg + 13, bad[i].message) != 0)
			fail_msg("%s\n   gave %d '%s', not '%s'", bad[i].text, r, err.msg,
				 bad[i].message);
		/* Nothing that an engine takes for the container's program */
		assert_null(strstr(err.msg, "no such file"));
	}
}

static void test_size(void **state)
{
	size_t len = OCI_CONFIG_MAX + 1;
	char *text = malloc(len);
	struct oci_config *config = NULL;
	struct err err = {0};

	(void)state;
	assert_non_null(text);
	memset(text, ' ', len);
	memcpy(text, HEAD "}", sizeof(HEAD));
	assert_int_equal(oci_config_parse(text, len, &config, &err), -EFBIG);
	assert_int_equal(oci_config_parse(text, len - 1, &config, &err), 0);
	oci_config_free(config);
	free(text);
}

static void test_last_wins(void **state)
{
	struct oci_config *config = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(parse(HEAD ",\"linux\":{\"namespaces\":[{\"type\":\"uts\"}]},\"hostname\":"
				    "\"a\",\"hostname\":\"b\",\"root\":{\"path\":"
				    "\"x\"},\"root\":{\"path\":\"y\"}}",
			       &config, &err),
			 0);
	assert_string_equal(config->hostname, "b");
	assert_string_equal(config->root.path, "y");
	oci_config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_least),	  cmocka_unit_test(test_whole),
		cmocka_unit_test(test_cut),	  cmocka_unit_test(test_bad),
		cmocka_unit_test(test_size),	  cmocka_unit_test(test_last_wins),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
