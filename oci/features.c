/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The features document. Engines read it to decide what to ask for (Docker and CRI-O look for the
 * mount option "rro", containerd for the user namespace), so a name stands here only when it is
 * really done. What this runtime parses and refuses is stated as disabled; memoryPolicy, which has no such
 * flag, is left out.
 */
#include "oci/features.h"

#include <string.h>

#include "oci/capability.h"
#include "oci/config.h"
#include "oci/hooks.h"
#include "oci/json.h"
#include "oci/seccomp.h"

#define FEATURES_MAX (64u << 10)

/* Those that guest/mount_options.c knows; its unit test compares */
static const char *const mount_options[] = {
	"async",
	"atime",
	"bind",
	"defaults",
	"dev",
	"diratime",
	"dirsync",
	"exec",
	"iversion",
	"lazytime",
	"loud",
	"mand",
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
/* Annotations that change what a container gets; "." at the end: all that begin so */
static const char *const unsafe_annotations[] = {"org.caisson."};
static const char *const namespaces[] = {"cgroup", "ipc",  "mount", "network",
					 "pid",	   "time", "user",  "uts"};

static void member(struct json_writer *w, const char *key, const char *value)
{
	json_write_key(w, key);
	json_write_string(w, value);
}

static void flag(struct json_writer *w, const char *key, bool value)
{
	json_write_key(w, key);
	json_write_bool(w, value);
}

static void enabled(struct json_writer *w, const char *key, bool value)
{
	json_write_key(w, key);
	json_write_open(w, '{');
	flag(w, "enabled", value);
	json_write_close(w, '}');
}

static void write_linux(struct json_writer *w)
{
	json_write_key(w, "linux");
	json_write_open(w, '{');
	json_write_key(w, "namespaces");
	json_write_strings(w, namespaces, ARRAY_SIZE(namespaces));
	json_write_key(w, "capabilities");
	json_write_open(w, '[');
	for (int i = 0; i < OCI_CAPABILITIES; i++)
		json_write_string(w, oci_capability_name(i));
	json_write_close(w, ']');
	json_write_key(w, "cgroup");
	json_write_open(w, '{');
	flag(w, "v1", true);
	flag(w, "v2", true);
	flag(w, "systemd", true);
	flag(w, "systemdUser", true);
	flag(w, "rdma", false);
	json_write_close(w, '}');
	json_write_key(w, "seccomp");
	json_write_open(w, '{');
	flag(w, "enabled", true);
	oci_seccomp_write_features(w);
	json_write_close(w, '}');
	enabled(w, "apparmor", false);
	enabled(w, "selinux", false);
	json_write_key(w, "intelRdt");
	json_write_open(w, '{');
	flag(w, "enabled", false);
	flag(w, "schemata", false);
	flag(w, "monitoring", false);
	json_write_close(w, '}');
	json_write_key(w, "mountExtensions");
	json_write_open(w, '{');
	enabled(w, "idmap", false);
	json_write_close(w, '}');
	enabled(w, "netDevices", false);
	json_write_close(w, '}');
}

static void write_hooks(struct json_writer *w)
{
	json_write_key(w, "hooks");
	json_write_open(w, '[');
	for (int kind = 0; kind < OCI_HOOK_COUNT; kind++)
		json_write_string(w, oci_hook_name((enum oci_hook_kind)kind));
	json_write_close(w, ']');
}

ssize_t oci_features_write(const char *version, char **out, struct err *err)
{
	struct json_writer w;

	json_write_init(&w, "    ", FEATURES_MAX);
	json_write_open(&w, '{');
	member(&w, "ociVersionMin", "1.0.0");
	member(&w, "ociVersionMax", OCI_VERSION);
	write_hooks(&w);
	json_write_key(&w, "mountOptions");
	json_write_strings(&w, mount_options, ARRAY_SIZE(mount_options));
	write_linux(&w);
	json_write_key(&w, "annotations");
	json_write_open(&w, '{');
	member(&w, "org.opencontainers.runc.checkpoint.enabled", "false");
	member(&w, "org.caisson.version", version);
	json_write_close(&w, '}');
	json_write_key(&w, "potentiallyUnsafeConfigAnnotations");
	json_write_strings(&w, unsafe_annotations, ARRAY_SIZE(unsafe_annotations));
	json_write_close(&w, '}');
	return json_write_end(&w, out, err);
}

bool oci_features_mount_option(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(mount_options); i++) {
		if (strcmp(mount_options[i], word) == 0)
			return true;
	}
	return false;
}
