/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's pure parts: mount options, /etc/passwd, ids, words.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#include "guest/agent.h"
#include "guest/creds.h"
#include "guest/lookup.h"
#include "guest/mount_options.h"
#include "guest/support.h"
#include "guest/sysctl.h"
#include "guest/userns.h"
#include "oci/features.h"

static int parse(const char *const *words, struct mount_options *out)
{
	struct oci_strings options = {.items = (char **)(uintptr_t)words};

	while (words[options.n])
		options.n++;
	return mount_options_parse(&options, out, NULL);
}

#define PARSE(out, ...) assert_int_equal(parse((const char *const[]){__VA_ARGS__, NULL}, out), 0)

static void test_flags(void **state)
{
	struct mount_options o;

	(void)state;
	PARSE(&o, "defaults");
	assert_int_equal(o.flags, 0);
	assert_string_equal(o.data, "");
	PARSE(&o, "ro", "nosuid", "nodev", "noexec", "noatime", "mode=755", "size=1k");
	assert_int_equal(o.flags, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME);
	assert_int_equal(o.attr_set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
					     MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME);
	assert_int_equal(o.attr_clear, MOUNT_ATTR__ATIME);
	assert_string_equal(o.data, "mode=755,size=1k");
	PARSE(&o, "ro", "nosuid", "rw", "suid");
	assert_int_equal(o.flags, 0);
	assert_int_equal(o.attr_set, 0);
	/* A flag that is cleared is a wish too: the source of a bind mount may have it */
	assert_int_equal(o.attr_clear, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID);
	PARSE(&o, "suid", "nosuid", "atime");
	assert_int_equal(o.attr_set, MOUNT_ATTR_NOSUID);
	assert_int_equal(o.attr_clear, MOUNT_ATTR__ATIME);
	PARSE(&o, "sync", "dirsync", "mand", "iversion", "lazytime", "silent", "nodiratime",
	      "nosymfollow", "remount", "relatime");
	assert_int_equal(o.flags, MS_SYNCHRONOUS | MS_DIRSYNC | MS_MANDLOCK | MS_I_VERSION |
					  MS_LAZYTIME | MS_SILENT | MS_NODIRATIME |
					  256 /* nosymfollow */ | MS_REMOUNT | MS_RELATIME);
	PARSE(&o, "sync", "async", "mand", "nomand", "iversion", "noiversion", "lazytime",
	      "nolazytime", "silent", "loud", "nosymfollow", "symfollow", "nodiratime", "diratime",
	      "relatime", "norelatime", "strictatime", "nostrictatime", "noexec", "exec", "nodev",
	      "dev");
	assert_int_equal(o.flags, 0);
	assert_string_equal(o.data, "");
	PARSE(&o, "rbind", "strictatime");
	assert_int_equal(o.flags, MS_BIND | MS_REC | MS_STRICTATIME);
	assert_int_equal(o.attr_set, MOUNT_ATTR_STRICTATIME);
}

static void test_recursive(void **state)
{
	struct mount_options o;

	(void)state;
	PARSE(&o, "rro", "rnosuid", "rsuid", "rnoatime");
	assert_int_equal(o.rec_set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME);
	assert_int_equal(o.rec_clear, MOUNT_ATTR_NOSUID | MOUNT_ATTR__ATIME);
	assert_int_equal(o.flags, 0);
	assert_string_equal(o.data, "");
	/* Not to be taken for "r" and a word */
	PARSE(&o, "relatime", "rw");
	assert_int_equal(o.rec_set, 0);
	assert_int_equal(o.rec_clear, 0);
	PARSE(&o, "rrw", "rdev", "rexec", "rdiratime", "rsymfollow", "rsuid");
	assert_int_equal(o.rec_set, 0);
	assert_int_equal(o.rec_clear, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
					      MOUNT_ATTR_NODIRATIME | 0x00200000 |
					      MOUNT_ATTR_NOSUID);
	PARSE(&o, "rnodev", "rnoexec", "rnodiratime", "rnosymfollow", "rstrictatime");
	assert_int_equal(o.rec_set, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODIRATIME |
					    0x00200000 | MOUNT_ATTR_STRICTATIME);
	PARSE(&o, "rnoatime", "ratime", "rrelatime", "rnorelatime", "rnostrictatime");
	assert_int_equal(o.rec_set, 0);
	assert_int_equal(o.rec_clear, MOUNT_ATTR__ATIME);
	assert_string_equal(o.data, "");
}

static void test_sysctl_keys(void **state)
{
	static const char *const cases[][2] = {
		{"net.ipv4.ip_forward", "net/ipv4/ip_forward"},
		{"net/ipv4/ip_forward", "net/ipv4/ip_forward"},
		{"net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"},
		{"net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"},
		{"plain", "plain"},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char key[64];

		(void)strcpy(key, cases[i][0]);
		sysctl_path(key);
		assert_string_equal(key, cases[i][1]);
	}
}

static void test_host_ids(void **state)
{
	struct oci_idmap maps[] = {{0, 100000, 1000}, {4294967290u, 5, 4}};
	struct oci_config config = {0};
	uid_t uid;
	gid_t gid;

	(void)state;
	assert_int_equal(userns_host_ids(&config, 7, 8, &uid, &gid), 0);
	assert_int_equal(uid, 7);
	assert_int_equal(gid, 8);
	config.linux_.namespaces[OCI_NS_USER].present = true;
	config.linux_.uid_mappings = (struct oci_idmaps){maps, 2};
	config.linux_.gid_mappings = (struct oci_idmaps){maps, 1};
	assert_int_equal(userns_host_ids(&config, 999, 0, &uid, &gid), 0);
	assert_int_equal(uid, 100999);
	assert_int_equal(gid, 100000);
	assert_int_equal(userns_host_ids(&config, 4294967293u, 1, &uid, &gid), 0);
	assert_int_equal(uid, 8);
	assert_int_equal(userns_host_ids(&config, 1000, 0, &uid, &gid), -EINVAL);
	assert_int_equal(userns_host_ids(&config, 4294967294u, 0, &uid, &gid), -EINVAL);
	assert_int_equal(userns_host_ids(&config, 0, 4294967290u, &uid, &gid), -EINVAL);
}

/* The specification's mount options */
static const char *const spec_options[] = {
	"acl",
	"async",
	"atime",
	"bind",
	"defaults",
	"dev",
	"diratime",
	"dirsync",
	"exec",
	"idmap",
	"iversion",
	"lazytime",
	"loud",
	"mand",
	"noacl",
	"noatime",
	"nodev",
	"nodiratime",
	"noexec",
	"noiversion",
	"nolazytime",
	"nomand",
	"norelatime",
	"nostrictatime",
	"nosuid",
	"nosymfollow",
	"private",
	"ratime",
	"rbind",
	"rdev",
	"rdiratime",
	"relatime",
	"remount",
	"rexec",
	"ridmap",
	"rnoatime",
	"rnodev",
	"rnodiratime",
	"rnoexec",
	"rnorelatime",
	"rnostrictatime",
	"rnosuid",
	"rnosymfollow",
	"ro",
	"rprivate",
	"rrelatime",
	"rro",
	"rrw",
	"rshared",
	"rslave",
	"rstrictatime",
	"rsuid",
	"rsymfollow",
	"runbindable",
	"rw",
	"shared",
	"silent",
	"slave",
	"strictatime",
	"suid",
	"symfollow",
	"sync",
	"tmpcopyup",
	"unbindable",
};

/* `features` names those of the specification's options that are known here, and no others */
static void test_features(void **state)
{
	cleanup_free char *text = NULL;
	const char *list, *end;

	(void)state;
	assert_true(oci_features_write("0", &text, NULL) > 0);
	list = strstr(text, "\"mountOptions\"");
	assert_non_null(list);
	end = strchr(list, ']');
	assert_non_null(end);
	for (size_t i = 0; i < ARRAY_SIZE(spec_options); i++) {
		struct mount_options o;
		char quoted[32];
		const char *found;

		(void)snprintf(quoted, sizeof(quoted), "\"%s\"", spec_options[i]);
		found = strstr(list, quoted);
		PARSE(&o, spec_options[i]);
		if ((found && found < end) != !o.data[0])
			fail_msg("%s is %s", spec_options[i],
				 o.data[0] ? "listed, unknown" : "not listed");
	}
}

static void test_propagation(void **state)
{
	const char *many[MOUNT_PROPAGATIONS_MAX + 2] = {0};
	struct mount_options o;

	(void)state;
	PARSE(&o, "rslave", "shared", "tmpcopyup");
	assert_int_equal(o.npropagation, 2);
	assert_int_equal(o.propagation[0], MS_SLAVE | MS_REC);
	assert_int_equal(o.propagation[1], MS_SHARED);
	assert_true(o.copy_up);
	for (size_t i = 0; i < MOUNT_PROPAGATIONS_MAX + 1; i++)
		many[i] = "private";
	assert_int_equal(parse(many, &o), -E2BIG);
	many[MOUNT_PROPAGATIONS_MAX] = NULL;
	assert_int_equal(parse(many, &o), 0);
	assert_int_equal(o.npropagation, MOUNT_PROPAGATIONS_MAX);
	assert_int_equal(mount_propagation_parse("runbindable"), MS_UNBINDABLE | MS_REC);
	assert_int_equal(mount_propagation_parse("rprivat"), 0);
}

static void test_data_limit(void **state)
{
	static char longest[MOUNT_DATA_MAX + 2];
	static struct mount_options o;
	const char *words[] = {longest, NULL, NULL};

	(void)state;
	memset(longest, 'x', MOUNT_DATA_MAX - 1);
	assert_int_equal(parse(words, &o), 0);
	words[1] = "y";
	assert_int_equal(parse(words, &o), -E2BIG);
	memset(longest, 'x', MOUNT_DATA_MAX + 1);
	words[1] = NULL;
	assert_int_equal(parse(words, &o), -E2BIG);
}

static void test_home(void **state)
{
	static const struct {
		const char *passwd;
		uint32_t uid;
		const char *home;
	} cases[] = {
		{"", 0, "/"},
		{"root:x:0:0:r:/root:/bin/sh\n", 0, "/root"},
		{"root:x:0:0:r:/root:/bin/sh\nu:x:10:10::/home/u:/bin/sh", 10, "/home/u"},
		{"u:x:100:10::/no:/bin/sh\nv:x:10:1::/yes", 10, "/yes"},
		{"broken\n::\nu:x:7:7\nu:x:7x:7::/no:\nu:x:-7:7::/no:\nu:x:7:7::/home:", 7,
		 "/home"},
		{"u:x:7:7:::/bin/sh\n", 7, "/"},
		{"u:x:4294967303:7::/wraps:/bin/sh\n", 7, "/"},
	};
	char home[PATH_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		creds_home(cases[i].passwd, cases[i].uid, home);
		assert_string_equal(home, cases[i].home);
	}
}

static void test_ids(void **state)
{
	char id[AGENT_ID_MAX + 2];

	(void)state;
	memset(id, 'a', sizeof(id));
	id[AGENT_ID_MAX + 1] = '\0';
	assert_false(support_id_is_valid(id));
	id[AGENT_ID_MAX] = '\0';
	assert_true(support_id_is_valid(id));
	assert_true(support_id_is_valid("A-z_0.9+"));
	assert_false(support_id_is_valid(""));
	assert_false(support_id_is_valid(".."));
	assert_false(support_id_is_valid("../x"));
	assert_false(support_id_is_valid("a\nb"));
}

static void test_words(void **state)
{
	char *items[] = {(char *)"PATH=/a", (char *)"PATHS=/c", (char *)"PATH=/b", NULL};
	struct oci_strings env = {.items = items, .n = 3};

	(void)state;
	assert_string_equal(lookup_env(&env, "PATH"), "/b");
	assert_null(lookup_env(&env, "PAT"));
	assert_string_equal(lookup_words(ENOENT), "no such file or directory");
	assert_string_equal(lookup_words(ENOEXEC), "exec format error");
	assert_int_equal(lookup_code(-ENOENT), TTRPC_NOT_FOUND);
	assert_int_equal(lookup_code(EISDIR), TTRPC_PERMISSION_DENIED);
	assert_int_equal(lookup_code(EIO), TTRPC_INTERNAL);
}

/* Engines give these to every container; somebody's own choice is another matter */
static void test_labels(void **state)
{
	static const struct {
		const char *apparmor, *selinux, *mount;
		int r;
	} cases[] = {
		{"docker-default", "system_u:system_r:container_t:s0:c1,c2",
		 "system_u:object_r:container_file_t:s0:c1,c2", 0},
		{"containers-default-0.57.4", "system_u:system_r:svirt_lxc_net_t:s0", NULL, 0},
		{"cri-containerd.apparmor.d", "", "", 0},
		{"unconfined", "unconfined_u:unconfined_r:spc_t", NULL, 0},
		{"mine", NULL, NULL, -ENOTSUP},
		{"docker-default2", NULL, NULL, -ENOTSUP},
		{NULL, "system_u:system_r:mine_t:s0", NULL, -ENOTSUP},
		{NULL, "container_t", NULL, -ENOTSUP},
		{NULL, "a:b:container_tx:s0", NULL, -ENOTSUP},
		{NULL, NULL, "a:b:etc_t:s0", -ENOTSUP},
	};

	(void)state;
	log_set_fd(-1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *args[] = {(char *)"x", NULL};
		struct oci_config config = {
			.has_process = true,
			.process = {.args = {args, 1},
				    .apparmor_profile = (char *)(uintptr_t)cases[i].apparmor,
				    .selinux_label = (char *)(uintptr_t)cases[i].selinux}};
		struct err err = {0};

		config.linux_.mount_label = (char *)(uintptr_t)cases[i].mount;
		assert_int_equal(support_check_config(&config, &err), cases[i].r);
		if (cases[i].r < 0)
			assert_non_null(strstr(err.msg, "the guest's kernel has no"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flags),	    cmocka_unit_test(test_recursive),
		cmocka_unit_test(test_features),    cmocka_unit_test(test_propagation),
		cmocka_unit_test(test_data_limit),  cmocka_unit_test(test_home),
		cmocka_unit_test(test_ids),	    cmocka_unit_test(test_words),
		cmocka_unit_test(test_sysctl_keys), cmocka_unit_test(test_host_ids),
		cmocka_unit_test(test_labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
