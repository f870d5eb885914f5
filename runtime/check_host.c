/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of `caisson check`: a table of checks, each filling one result. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/settings.h"

#define MEMORY_WANTED_KIB (640ull << 10) /* the default guest and its processes */
#define MEMORY_LEAST_KIB (192ull << 10)	 /* the smallest useful one */
#define FILES_WANTED 1024		 /* the file server holds one descriptor per file in use */
#define PROCESSES_LEAST 64
#define HEAD_BYTES 1024
#define KERNEL_OLDEST_MAJOR 6
#define KERNEL_OLDEST_MINOR 1

static void set(struct kvm_probe_result *out, enum kvm_probe_status status, const char *text,
		const char *fix)
{
	out->status = status;
	(void)snprintf(out->text, sizeof(out->text), "%.255s", text);
	(void)snprintf(out->fix, sizeof(out->fix), "%.255s", fix);
}

static void check_kernel_version(const struct globals *globals, struct kvm_probe_result *out)
{
	struct utsname name;
	int major = 0, minor = 0;

	(void)globals;
	(void)uname(&name);
	(void)sscanf(name.release, "%d.%d", &major, &minor);
	set(out, KVM_PROBE_OK, name.release, "");
	if (major < KERNEL_OLDEST_MAJOR ||
	    (major == KERNEL_OLDEST_MAJOR && minor < KERNEL_OLDEST_MINOR)) {
		out->status = KVM_PROBE_WARN;
		(void)snprintf(out->fix, sizeof(out->fix),
			       "Caisson is tested on Linux %d.%d and later: upgrade the kernel",
			       KERNEL_OLDEST_MAJOR, KERNEL_OLDEST_MINOR);
	}
}

static unsigned long long available_kib(void)
{
	cleanup_free char *text = NULL;
	const char *line;

	if (io_read_file(AT_FDCWD, "/proc/meminfo", 64 << 10, &text, NULL) < 0)
		return 0;
	line = strstr(text, "MemAvailable:");
	return line ? strtoull(line + strlen("MemAvailable:"), NULL, 10) : 0;
}

static void check_memory(const struct globals *globals, struct kvm_probe_result *out)
{
	unsigned long long kib = available_kib();

	(void)globals;
	set(out, KVM_PROBE_OK, "", "");
	(void)snprintf(out->text, sizeof(out->text), "%llu MiB available", kib >> 10);
	if (kib >= MEMORY_WANTED_KIB)
		return;
	out->status = kib >= MEMORY_LEAST_KIB ? KVM_PROBE_WARN : KVM_PROBE_FAIL;
	(void)snprintf(out->fix, sizeof(out->fix),
		       "A guest has 512 MiB unless a limit says otherwise: free memory, or set "
		       "linux.resources.memory.limit");
}

static bool is_mounted(const char *path, long type)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == type;
}

static void check_cgroup(const struct globals *globals, struct kvm_probe_result *out)
{
	(void)globals;
	if (is_mounted("/sys/fs/cgroup", CGROUP2_SUPER_MAGIC))
		set(out, KVM_PROBE_OK, "version 2 on /sys/fs/cgroup", "");
	else if (is_mounted("/sys/fs/cgroup/memory", CGROUP_SUPER_MAGIC))
		set(out, KVM_PROBE_WARN, "version 1 below /sys/fs/cgroup",
		    "Limits hold, but engines do not see a guest's out-of-memory kills: boot with "
		    "systemd.unified_cgroup_hierarchy=1");
	else
		set(out, KVM_PROBE_WARN, "no cgroup file system on /sys/fs/cgroup",
		    "Containers run without limits and statistics: mount -t cgroup2 none "
		    "/sys/fs/cgroup");
}

bool check_is_kernel(const unsigned char *head, size_t len)
{
	/*
	 * ELF64, little-endian, x86-64; or the boot protocol's header
	 * (Documentation/arch/x86/boot.rst)
	 */
	if (len >= 20 && memcmp(head, "\177ELF\2\1", 6) == 0 && head[18] == 62)
		return true;
	return len >= 0x206 && head[0x1fe] == 0x55 && head[0x1ff] == 0xaa &&
	       memcmp(head + 0x202, "HdrS", 4) == 0;
}

/* A mistake in the file is the first check's to report, the others go on with what is built in */
static void settings_or_defaults(const struct globals *globals, struct settings *out)
{
	if (settings_load(globals, out, NULL) < 0)
		settings_defaults(out);
}

static void check_configuration(const struct globals *globals, struct kvm_probe_result *out)
{
	struct settings settings = {0};
	struct err err = {0};

	if (settings_load(globals, &settings, &err) < 0)
		set(out, KVM_PROBE_FAIL, err.msg,
		    "Correct the file, see caisson.json(5): until then no container starts");
	else if (!settings.file)
		set(out, KVM_PROBE_OK,
		    "what is built in; there is no " CAISSON_SYSCONFDIR "/caisson/caisson.json",
		    "");
	else
		set(out, KVM_PROBE_OK, settings.file, "");
	settings_release(&settings);
}

static void check_guest_kernel(const struct globals *globals, struct kvm_probe_result *out)
{
	struct settings settings;
	struct err err = {0};
	cleanup_close int fd = -1;
	unsigned char head[HEAD_BYTES];
	ssize_t n;

	settings_or_defaults(globals, &settings);
	fd = guest_file_open("guest kernel", settings.kernel, "vmlinux", &err);
	settings_release(&settings);
	if (fd < 0) {
		set(out, KVM_PROBE_FAIL, err.msg,
		    "Build it with 'make kernel', or install Caisson again");
		return;
	}
	n = pread(fd, head, sizeof(head), 0);
	if (n > 0 && check_is_kernel(head, (size_t)n))
		set(out, KVM_PROBE_OK, "found, an x86-64 kernel", "");
	else
		set(out, KVM_PROBE_FAIL, "what is there is no x86-64 kernel",
		    "Build it with 'make kernel', or install Caisson again");
}

static void check_initramfs(const struct globals *globals, struct kvm_probe_result *out)
{
	struct settings settings;
	struct err err = {0};
	cleanup_close int fd = -1;
	struct stat st;

	settings_or_defaults(globals, &settings);
	fd = guest_file_open("guest initramfs", settings.initramfs, "initramfs", &err);
	settings_release(&settings);
	if (fd < 0)
		set(out, KVM_PROBE_FAIL, err.msg, "Build it with 'make', or install Caisson again");
	else if (fstat(fd, &st) < 0 || st.st_size == 0)
		set(out, KVM_PROBE_FAIL, "the file is empty",
		    "Build it with 'make', or install Caisson again");
	else
		set(out, KVM_PROBE_OK, "found", "");
}

static void check_files(const struct globals *globals, struct kvm_probe_result *out)
{
	struct rlimit limit = {0};

	(void)globals;
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	set(out, KVM_PROBE_OK, "", "");
	(void)snprintf(out->text, sizeof(out->text), "%llu open files, at most %llu",
		       (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
	if (limit.rlim_max >= FILES_WANTED)
		return;
	out->status = KVM_PROBE_WARN;
	(void)snprintf(out->fix, sizeof(out->fix),
		       "Containers with many open files will be slow: ulimit -n 65536");
}

static void check_processes(const struct globals *globals, struct kvm_probe_result *out)
{
	struct rlimit limit = {0};
	char text[32] = "unlimited";

	(void)globals;
	(void)getrlimit(RLIMIT_NPROC, &limit);
	if (limit.rlim_cur != RLIM_INFINITY)
		(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)limit.rlim_cur);
	set(out, KVM_PROBE_OK, "", "");
	(void)snprintf(out->text, sizeof(out->text), "%s for this user", text);
	if (limit.rlim_cur >= PROCESSES_LEAST)
		return;
	out->status = KVM_PROBE_FAIL;
	(void)snprintf(out->fix, sizeof(out->fix),
		       "A guest needs a few processes and threads: ulimit -u %d", PROCESSES_LEAST);
}

/* In a child, so that nothing of it stays */
static int try_namespaces(void)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return errno;
	if (pid == 0)
		_exit(unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
			      CLONE_NEWIPC | CLONE_NEWUTS) < 0
			      ? errno
			      : 0);
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return EIO;
	return WEXITSTATUS(status);
}

static void check_namespaces(const struct globals *globals, struct kvm_probe_result *out)
{
	int code = try_namespaces();

	(void)globals;
	if (code == 0) {
		set(out, KVM_PROBE_OK,
		    "user, mount, pid, network, ipc and uts namespaces can be made", "");
		return;
	}
	set(out, KVM_PROBE_FAIL, "", "Allow them: sysctl user.max_user_namespaces=10000");
	(void)snprintf(out->text, sizeof(out->text),
		       "namespaces for the guest's process cannot be made: %s", err_reason(code));
}

static void check_mounts(const struct globals *globals, struct kvm_probe_result *out)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID};
	cleanup_close int fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/",
					    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int code = 0;

	(void)globals;
	if (fd < 0 || syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		code = errno;
	if (code == 0) {
		set(out, KVM_PROBE_OK, "detached mounts can be made", "");
		return;
	}
	set(out, KVM_PROBE_FAIL, "",
	    code == ENOSYS
		    ? "The kernel lacks open_tree or mount_setattr: upgrade to Linux 6.1 or later"
		    : "Run as root, or in a user namespace that owns its mount namespace");
	(void)snprintf(out->text, sizeof(out->text),
		       "files cannot be exported as detached mounts: %s", err_reason(code));
}

static void check_state_root(const struct globals *globals, struct kvm_probe_result *out)
{
	char path[PATH_MAX], *slash;

	(void)snprintf(path, sizeof(path), "%s", globals->root);
	while (access(path, F_OK) < 0 && (slash = strrchr(path, '/')) && slash != path)
		*slash = '\0';
	if (access(path, W_OK | X_OK) == 0) {
		set(out, KVM_PROBE_OK, "", "");
		(void)snprintf(out->text, sizeof(out->text), "%.200s can be written",
			       globals->root);
		return;
	}
	set(out, KVM_PROBE_FAIL, "", "Choose another folder with --root");
	(void)snprintf(out->text, sizeof(out->text), "%.200s cannot be written: %s", path,
		       err_reason(errno));
}

static void check_network(const struct globals *globals, struct kvm_probe_result *out)
{
	cleanup_close int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC), vhost = -1;
	int code = errno;

	(void)globals;
	if (tun < 0) {
		set(out, KVM_PROBE_FAIL, "",
		    code == EACCES || code == EPERM
			    ? "Run as root, or let this user open /dev/net/tun"
			    : "Load the kernel's module: modprobe tun");
		(void)snprintf(out->text, sizeof(out->text),
			       "taps cannot be made: /dev/net/tun: %s", err_reason(code));
		return;
	}
	vhost = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
	if (vhost >= 0)
		set(out, KVM_PROBE_OK, "taps can be made, vhost-net serves them", "");
	else
		set(out, KVM_PROBE_OK,
		    "taps can be made; without /dev/vhost-net the guest's process serves them", "");
}

static const struct {
	const char *name;
	void (*run)(const struct globals *globals, struct kvm_probe_result *out);
} checks[] = {
	{"host-kernel", check_kernel_version},
	{"memory", check_memory},
	{"cgroups", check_cgroup},
	{"configuration", check_configuration},
	{"guest-kernel", check_guest_kernel},
	{"guest-initramfs", check_initramfs},
	{"open-files", check_files},
	{"processes", check_processes},
	{"namespaces", check_namespaces},
	{"mounts", check_mounts},
	{"network", check_network},
	{"state", check_state_root},
};

size_t check_host(const struct globals *globals, struct kvm_probe_result *out, size_t max)
{
	size_t n;

	for (n = 0; n < ARRAY_SIZE(checks) && n < max; n++) {
		out[n] = (struct kvm_probe_result){.name = checks[n].name};
		checks[n].run(globals, &out[n]);
	}
	return n;
}
