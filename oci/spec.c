/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default config.json. Scripts edit what `runc spec` writes with jq or sed, so fields, values,
 * order and layout are the same; only the versions' number and the host name are ours. The cgroup
 * namespace is always there: every guest has cgroup v2.
 */
#include "oci/spec.h"

#include <string.h>

#include "oci/config.h"
#include "oci/json.h"

#define SPEC_MAX (64u << 10)
#define OPTIONS_MAX 8

static const char *const env[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"TERM=xterm",
};
static const char *const caps[] = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"};
static const char *const cap_sets[] = {"bounding", "effective", "permitted"};
static const char *const masked[] = {
	"/proc/acpi",	       "/proc/asound",	   "/proc/kcore",	"/proc/keys",
	"/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
	"/sys/firmware",       "/proc/scsi",
};
static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
				       "/proc/sysrq-trigger"};
static const char *const namespaces[] = {"pid", "network", "ipc", "uts", "mount", "cgroup"};
static const char *const rootless_namespaces[] = {"pid", "ipc", "uts", "mount", "cgroup", "user"};

struct spec_mount {
	const char *destination, *type, *source;
	const char *options[OPTIONS_MAX];
};

static const struct spec_mount mounts[] = {
	{"/proc", "proc", "proc", {0}},
	{"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
	{"/dev/pts",
	 "devpts",
	 "devpts",
	 {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
	{"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
	{"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
	{"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}},
	{"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}},
};
static const struct spec_mount rootless_sys = {
	"/sys", "none", "/sys", {"rbind", "nosuid", "noexec", "nodev", "ro"}};

static void member(struct json_writer *w, const char *key, const char *value)
{
	json_write_key(w, key);
	json_write_string(w, value);
}

static void number(struct json_writer *w, const char *key, uint64_t value)
{
	json_write_key(w, key);
	json_write_uint(w, value);
}

static void write_process(struct json_writer *w)
{
	static const char *const args[] = {"sh"};

	json_write_key(w, "process");
	json_write_open(w, '{');
	json_write_key(w, "terminal");
	json_write_bool(w, true);
	json_write_key(w, "user");
	json_write_open(w, '{');
	number(w, "uid", 0);
	number(w, "gid", 0);
	json_write_close(w, '}');
	json_write_key(w, "args");
	json_write_strings(w, args, ARRAY_SIZE(args));
	json_write_key(w, "env");
	json_write_strings(w, env, ARRAY_SIZE(env));
	member(w, "cwd", "/");
	json_write_key(w, "capabilities");
	json_write_open(w, '{');
	for (size_t i = 0; i < ARRAY_SIZE(cap_sets); i++) {
		json_write_key(w, cap_sets[i]);
		json_write_strings(w, caps, ARRAY_SIZE(caps));
	}
	json_write_close(w, '}');
	json_write_key(w, "rlimits");
	json_write_open(w, '[');
	json_write_open(w, '{');
	member(w, "type", "RLIMIT_NOFILE");
	number(w, "hard", 1024);
	number(w, "soft", 1024);
	json_write_close(w, '}');
	json_write_close(w, ']');
	json_write_key(w, "noNewPrivileges");
	json_write_bool(w, true);
	json_write_close(w, '}');
}

static void write_root(struct json_writer *w)
{
	json_write_key(w, "root");
	json_write_open(w, '{');
	member(w, "path", "rootfs");
	json_write_key(w, "readonly");
	json_write_bool(w, true);
	json_write_close(w, '}');
	member(w, "hostname", "caisson");
}

static void write_mount(struct json_writer *w, const struct spec_mount *mount, bool rootless)
{
	json_write_open(w, '{');
	member(w, "destination", mount->destination);
	member(w, "type", mount->type);
	member(w, "source", mount->source);
	if (mount->options[0]) {
		json_write_key(w, "options");
		json_write_open(w, '[');
		for (size_t i = 0; i < OPTIONS_MAX && mount->options[i]; i++) {
			/* group 5 is not mapped in a rootless container */
			if (!rootless || strncmp(mount->options[i], "gid=", 4) != 0)
				json_write_string(w, mount->options[i]);
		}
		json_write_close(w, ']');
	}
	json_write_close(w, '}');
}

static void write_mounts(struct json_writer *w, bool rootless)
{
	json_write_key(w, "mounts");
	json_write_open(w, '[');
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		bool is_sys = strcmp(mounts[i].destination, rootless_sys.destination) == 0;

		write_mount(w, rootless && is_sys ? &rootless_sys : &mounts[i], rootless);
	}
	json_write_close(w, ']');
}

static void write_mapping(struct json_writer *w, const char *key, uint32_t id)
{
	json_write_key(w, key);
	json_write_open(w, '[');
	json_write_open(w, '{');
	number(w, "containerID", 0);
	number(w, "hostID", id);
	number(w, "size", 1);
	json_write_close(w, '}');
	json_write_close(w, ']');
}

static void write_resources(struct json_writer *w)
{
	json_write_key(w, "resources");
	json_write_open(w, '{');
	json_write_key(w, "devices");
	json_write_open(w, '[');
	json_write_open(w, '{');
	json_write_key(w, "allow");
	json_write_bool(w, false);
	member(w, "access", "rwm");
	json_write_close(w, '}');
	json_write_close(w, ']');
	json_write_close(w, '}');
}

static void write_linux(struct json_writer *w, bool rootless, uid_t uid, gid_t gid)
{
	const char *const *list = rootless ? rootless_namespaces : namespaces;
	size_t n = rootless ? ARRAY_SIZE(rootless_namespaces) : ARRAY_SIZE(namespaces);

	json_write_key(w, "linux");
	json_write_open(w, '{');
	if (rootless) {
		write_mapping(w, "uidMappings", uid);
		write_mapping(w, "gidMappings", gid);
	} else {
		write_resources(w);
	}
	json_write_key(w, "namespaces");
	json_write_open(w, '[');
	for (size_t i = 0; i < n; i++) {
		json_write_open(w, '{');
		member(w, "type", list[i]);
		json_write_close(w, '}');
	}
	json_write_close(w, ']');
	json_write_key(w, "maskedPaths");
	json_write_strings(w, masked, ARRAY_SIZE(masked));
	json_write_key(w, "readonlyPaths");
	json_write_strings(w, readonly, ARRAY_SIZE(readonly));
	json_write_close(w, '}');
}

ssize_t oci_spec_write(bool rootless, uid_t uid, gid_t gid, char **out, struct err *err)
{
	struct json_writer w;

	json_write_init(&w, "\t", SPEC_MAX);
	json_write_open(&w, '{');
	member(&w, "ociVersion", OCI_VERSION);
	write_process(&w);
	write_root(&w);
	write_mounts(&w, rootless);
	write_linux(&w, rootless, uid, gid);
	json_write_close(&w, '}');
	return json_write_end(&w, out, err);
}
