/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "create" as an array of steps: each does one thing and knows how to undo it. When one fails, or a
 * signal arrived meanwhile, what was done is undone from the last to the first, so that a failed
 * create leaves nothing.
 *
 * Errors here avoid the words that engines take for a fault of the container's program (lib/err.h).
 */
#include "runtime/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/io.h"
#include "lib/log.h"
#include "oci/features.h"
#include "oci/seccomp.h"
#include "runtime/hooks.h"
#include "runtime/interrupt.h"
#include "runtime/pidfd.h"
#include "runtime/pidfile.h"
#include "runtime/size.h"

#define KVM_MAJOR 10
#define KVM_MINOR 232

/* ---- bundle and configuration ---- */

/* Sockets of a service manager, which runc would pass on (sd_listen_fds(3)) */
static int check_descriptors(const struct launch_options *options, struct err *err)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

	if (options->preserve_fds != 0)
		return err_set(err, EINVAL,
			       "--preserve-fds %ld: descriptors cannot be passed into a guest",
			       options->preserve_fds);
	if (pid && fds && strtol(pid, NULL, 10) == getpid())
		return err_set(err, EINVAL,
			       "LISTEN_FDS=%.16s: descriptors cannot be passed into a guest", fds);
	return 0;
}

static int open_bundle(struct launch *l, struct err *err)
{
	const char *path = l->options->bundle && l->options->bundle[0] ? l->options->bundle : ".";
	int r = container_check_id(l->id, err);

	if (r < 0)
		return r;
	r = check_descriptors(l->options, err);
	if (r < 0)
		return r;
	l->bundle_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l->bundle_fd < 0)
		return err_sys(err, errno, "bundle '%s'", path);
	l->bundle = realpath(path, NULL);
	if (!l->bundle)
		return err_sys(err, errno, "bundle '%s'", path);
	/* It is kept in state.json, for exec */
	for (size_t i = 0, len = strlen(l->bundle), step; i < len; i += step) {
		step = json_utf8_step(l->bundle + i, len - i);
		if (step == 0)
			return err_set(err, EINVAL, "bundle '%s': the path is not valid UTF-8",
				       path);
	}
	return 0;
}

static int read_config(struct launch *l, struct err *err)
{
	ssize_t n = io_read_file(l->bundle_fd, "config.json", OCI_CONFIG_MAX, &l->config_text, err);

	if (n == -ENOENT)
		return err_set(err, ENOENT, "JSON specification file config.json not found");
	if (n < 0)
		return (int)n;
	l->config_len = (size_t)n;
	return oci_config_parse(l->config_text, l->config_len, &l->config, err);
}

static int check_rootfs(struct launch *l, struct err *err)
{
	const char *path = l->config->root.path;
	struct stat st;
	int n;

	if (fstatat(l->bundle_fd, path, &st, 0) < 0)
		return err_sys(err, errno, "invalid rootfs: '%s'", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, EINVAL, "invalid rootfs: '%s' is no folder", path);
	n = path[0] == '/' ? asprintf(&l->rootfs, "%s", path)
			   : asprintf(&l->rootfs, "%s/%s", l->bundle, path);
	if (n < 0) {
		l->rootfs = NULL;
		return err_sys(err, ENOMEM, "create");
	}
	return 0;
}

/* What is the host's to give, and has no way into a guest yet */
static int check_unsupported(const struct oci_config *config, struct err *err)
{
	if (config->linux_.intel_rdt.present)
		return err_set(err, ENOTSUP, "config.json: linux.intelRdt: not supported yet");
	if (config->linux_.memory_policy.present)
		return err_set(err, ENOTSUP,
			       "config.json: linux.memoryPolicy: not supported: a guest has one "
			       "memory node");
	if (config->linux_.net_devices.n)
		return err_set(err, ENOTSUP, "config.json: linux.netDevices: not supported yet");
	return oci_check_guest(config, err);
}

static int check_config(struct launch *l, struct err *err)
{
	const struct oci_config *config = l->config;
	int r;

	if (!config->has_process)
		return err_set(err, EINVAL, "config.json: process: is missing");
	if (config->process.args.n == 0)
		return err_set(err, EINVAL, "config.json: process.args: is empty");
	if (!config->process.args.items[0][0])
		return err_set(err, EINVAL, "config.json: process.args[0]: is empty");
	r = check_unsupported(config, err);
	return r < 0 ? r : check_rootfs(l, err);
}

static int check_terminal(struct launch *l, struct err *err)
{
	bool terminal = l->config->process.terminal, detach = l->options->detach;
	const char *socket = l->options->console_socket;
	bool has_socket = socket && socket[0];

	if (detach && terminal && !has_socket)
		return err_set(err, EINVAL,
			       "cannot allocate tty if caisson will detach without setting console "
			       "socket");
	if ((!detach || !terminal) && has_socket)
		return err_set(
			err, EINVAL,
			"cannot use console socket if caisson will not detach or allocate tty");
	return 0;
}

static int load_config(struct launch *l, struct err *err)
{
	int r = read_config(l, err);

	if (r < 0)
		return r;
	r = check_config(l, err);
	if (r < 0)
		return r;
	return check_terminal(l, err);
}

static void forget_config(struct launch *l)
{
	oci_config_free(l->config);
	l->config = NULL;
}

/* An ordinary thing: a profile lists the system calls of every kernel and machine */
static void log_unknown(const struct sysfilter *filter)
{
	for (size_t i = 0; i < filter->nrules && log_get_level() >= LOG_DEBUG; i++) {
		for (size_t n = 0; n < filter->rules[i].nnames; n++) {
			if (!sysfilter_syscall_is_known(filter->rules[i].names[n]))
				log_debug("config.json: linux.seccomp.syscalls[%zu]: unknown "
					  "system call '%.64s', ignoring",
					  i, filter->rules[i].names[n]);
		}
	}
}

static int compile_seccomp(struct launch *l, struct err *err)
{
	const struct oci_seccomp *seccomp = l->config->linux_.seccomp;
	int r;

	if (!seccomp)
		return 0;
	log_unknown(&seccomp->filter);
	r = sysfilter_compile(&seccomp->filter, &l->seccomp, err);
	if (r < 0)
		err_prefix(err, "config.json: linux.seccomp");
	else
		log_debug("The seccomp filter has %zu instructions, its flags are %#x",
			  l->seccomp.n, seccomp->flags);
	return r;
}

static int load_settings(struct launch *l, struct err *err)
{
	int r = settings_load(l->globals, &l->settings, err);

	if (r == 0)
		r = settings_override(&l->settings, &l->config->annotations, err);
	if (r == 0 && l->settings.debug)
		log_set_level(LOG_DEBUG);
	if (r == 0)
		log_debug("Configuration: %s",
			  l->settings.file ? l->settings.file : "what is built in");
	return r;
}

/* ---- the guest's parts ---- */

/* The container's own word (vm.kernel), else the operator's */
static const char *first_of(const char *a, const char *b)
{
	return a && a[0] ? a : b;
}

/* Where this program lies */
static int program_dir(char *out, size_t size, struct err *err)
{
	ssize_t n = readlink("/proc/self/exe", out, size - 1);
	char *slash;

	if (n < 0)
		return err_sys(err, errno, "/proc/self/exe");
	out[n] = '\0';
	slash = strrchr(out, '/');
	if (slash)
		*slash = '\0';
	return 0;
}

int guest_file_open(const char *what, const char *given, const char *name, struct err *err)
{
	char dir[PATH_MAX / 2], beside[PATH_MAX], installed[PATH_MAX];
	int fd, r;

	if (given) {
		fd = io_open_regular(given);
		return fd < 0 ? err_sys(err, -fd, "%s '%s' of the configuration", what, given) : fd;
	}
	r = program_dir(dir, sizeof(dir), err);
	if (r < 0)
		return r;
	(void)snprintf(beside, sizeof(beside), "%s/guest/%s", dir, name);
	fd = io_open_regular(beside);
	if (fd >= 0)
		return fd;
	(void)snprintf(installed, sizeof(installed), "%s/%s", CAISSON_LIBDIR, name);
	fd = io_open_regular(installed);
	if (fd >= 0)
		return fd;
	return err_set(err, -fd,
		       "%s: neither '%s' nor '%s' can be read (%s): install Caisson again, or name "
		       "another in caisson.json",
		       what, beside, installed, err_reason(-fd));
}

static int open_guest(struct launch *l, struct err *err)
{
	l->exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (l->exe_fd < 0)
		return err_sys(err, errno, "/proc/self/exe");
	l->kernel_fd = guest_file_open("guest kernel",
				       first_of(l->config->vm.kernel_path, l->settings.kernel),
				       "vmlinux", err);
	if (l->kernel_fd < 0)
		return l->kernel_fd;
	l->initramfs_fd = guest_file_open(
		"guest initramfs", first_of(l->config->vm.initrd_path, l->settings.initramfs),
		"initramfs", err);
	return l->initramfs_fd < 0 ? l->initramfs_fd : 0;
}

static int open_kvm(struct launch *l, struct err *err)
{
	struct stat st;

	l->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (l->kvm_fd < 0 && errno == ENOENT)
		return err_set(err, ENXIO,
			       "/dev/kvm is missing: load its module (modprobe kvm_intel or "
			       "kvm_amd), with virtualization switched on in the firmware or by "
			       "the hypervisor ('caisson check' says more)");
	if (l->kvm_fd < 0 && (errno == EACCES || errno == EPERM))
		return err_set(err, ENXIO,
			       "/dev/kvm is not open to this user: add the user to group kvm "
			       "('caisson check' says more)");
	if (l->kvm_fd < 0)
		return err_sys(err, errno, "/dev/kvm");
	if (fstat(l->kvm_fd, &st) < 0 || !S_ISCHR(st.st_mode) ||
	    st.st_rdev != makedev(KVM_MAJOR, KVM_MINOR))
		return err_set(err, ENXIO,
			       "/dev/kvm is not KVM's device ('caisson check' says more)");
	return 0;
}

/* How large it is, and whether its limits are any that a cgroup can take */
static int size(struct launch *l, struct err *err)
{
	struct limits limits = {0};
	int r = size_guest(l->config, &l->settings, &l->machine, err);

	if (r < 0)
		return r;
	r = limits_plan(&l->config->linux_.resources, LIMITS_HOST, &l->machine, &limits, err);
	limits_release(&limits);
	if (r < 0)
		err_prefix(err, "config.json: linux.resources");
	return r;
}

/* ---- state directory, console, monitor ---- */

static int make_state(struct launch *l, struct err *err)
{
	int r = container_make(l->globals, l->id, &l->container, err);

	if (r == -ENOSPC || r == -EDQUOT)
		return err_set(err, ENOSPC, "no space is left for the container's state in '%s'",
			       l->globals->root);
	return r;
}

/* What hooks are told; borrowed from @l */
static struct oci_state hook_state(const struct launch *l, pid_t pid)
{
	return (struct oci_state){
		.oci_version = l->config->oci_version,
		.id = (char *)l->id,
		.pid = pid,
		.bundle = l->bundle,
		.annotations = l->config->annotations,
	};
}

int launch_remove(struct launch *l, struct err *err)
{
	const struct oci_state state = hook_state(l, 0);
	int r = container_remove(&l->container, err);

	/* Whoever was faster has run them */
	if (r == 0 && l->attempted)
		hooks_delete(l->config->hooks, &state);
	return r;
}

static void remove_state(struct launch *l)
{
	struct err err = {0};

	if (l->container.dir_fd >= 0 && launch_remove(l, &err) < 0)
		log_debug("Undoing: %s", err.msg);
}

static int store_hooks(struct launch *l, struct err *err)
{
	return hooks_store(l->container.dir_fd, l->config, l->bundle, err);
}

static int open_pidfd_socket(struct launch *l, struct err *err)
{
	return pidfd_socket_connect(l->options->pidfd_socket, &l->pidfd_socket, err);
}

static int send_pidfd(struct launch *l, struct err *err)
{
	int r = pidfd_socket_send(l->pidfd_socket, l->monitor.pidfd, "standard", err);

	close_fd(&l->pidfd_socket);
	return r;
}

static int open_console(struct launch *l, struct err *err)
{
	int pair[2], r;

	if (!l->config->process.terminal)
		return 0;
	if (l->options->detach) {
		l->console_fd = console_socket_connect(l->options->console_socket, err);
		return l->console_fd < 0 ? l->console_fd : 0;
	}
	r = host_terminal_open(&l->terminal, err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "the terminal's socket");
	l->console_fd = pair[0];
	l->terminal_fd = pair[1];
	return 0;
}

static int on_namespaces(pid_t pid, void *arg, struct err *err)
{
	const struct launch *l = arg;
	const struct oci_state state = hook_state(l, pid);

	return hooks_create(l->config->hooks, &state, l->bundle_fd, err);
}

static int start_monitor(struct launch *l, struct err *err)
{
	struct monitor_args args = {
		.id = l->id,
		.config = l->config,
		.config_text = l->config_text,
		.config_len = l->config_len,
		.seccomp = l->seccomp.insns,
		.seccomp_len = l->seccomp.n,
		.seccomp_flags = l->config->linux_.seccomp ? l->config->linux_.seccomp->flags : 0,
		.bundle_fd = l->bundle_fd,
		.state_fd = l->container.dir_fd,
		.exe_fd = l->exe_fd,
		.kvm_fd = l->kvm_fd,
		.kernel_fd = l->kernel_fd,
		.initramfs_fd = l->initramfs_fd,
		.memory_bytes = l->machine.memory_bytes,
		.nvcpus = l->machine.nvcpus,
		.kernel_parameters = l->settings.kernel_parameters,
		.boot_timeout_s = (uint32_t)l->settings.boot_timeout_s,
		.heartbeat_s = (uint32_t)l->settings.heartbeat_s,
		.bind_mount_events = l->settings.bind_mount_events,
		.stdio = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO},
		.console_socket_fd = l->console_fd,
		.systemd_cgroup = l->globals->systemd_cgroup,
		.debug = l->globals->debug || l->settings.debug,
		.bundle = l->bundle,
		.rootfs = l->rootfs,
		.on_namespaces = on_namespaces,
		.arg = l,
	};
	struct monitor monitor;
	int r;

	l->attempted = true;
	r = monitor_spawn(&args, &monitor, err);
	if (r < 0)
		return r;
	l->monitor = monitor;
	close_fd(&l->console_fd);
	return 0;
}

static void stop_monitor(struct launch *l)
{
	struct err err = {0};

	if (l->monitor.pid <= 0)
		return;
	if (container_end_monitor(l->container.dir_fd, l->monitor.pidfd, &err) < 0)
		log_debug("Undoing: %s", err.msg);
	(void)waitpid(l->monitor.pid, NULL, 0);
	close_fd(&l->monitor.pidfd);
	l->monitor.pid = 0;
}

/* ---- state.json and pid file ---- */

static char *now_text(void)
{
	struct timespec now = {0};
	struct tm tm = {0};
	char text[32] = "", *out;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	return asprintf(&out, "%s.%09ldZ", text, now.tv_nsec) < 0 ? NULL : out;
}

/* The monitor's cgroup as the kernel tells it; "" when there is none */
static char *cgroup_of(pid_t pid)
{
	cleanup_free char *text = NULL;
	char path[64], *line;

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	if (io_read_file(AT_FDCWD, path, 64 << 10, &text, NULL) < 0)
		return strdup("");
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		if (strncmp(line, "0::", 3) == 0)
			return strdup(strcmp(line + 3, "/") == 0 ? "" : line + 3);
	}
	return strdup("");
}

static int copy_annotations(const struct oci_pairs *from, struct oci_pairs *to)
{
	to->items = calloc(from->n + 1, sizeof(*to->items));
	if (!to->items)
		return -ENOMEM;
	for (; to->n < from->n; to->n++) {
		to->items[to->n].key = strdup(from->items[to->n].key);
		to->items[to->n].value = strdup(from->items[to->n].value);
		if (!to->items[to->n].key || !to->items[to->n].value) {
			to->n++;
			return -ENOMEM;
		}
	}
	return 0;
}

static int fill_state(struct launch *l, struct oci_state *state)
{
	char boot_id[64];

	host_boot_id(boot_id, sizeof(boot_id));
	state->status = OCI_CREATED;
	state->pid = l->monitor.pid;
	state->guest_memory_bytes = l->machine.memory_bytes;
	state->guest_vcpus = l->machine.nvcpus;
	state->memory_limit = l->config->linux_.resources.memory.limit.value;
	state->memory_swap = l->config->linux_.resources.memory.swap.value;
	state->oci_version = strdup(l->config->oci_version);
	state->id = strdup(l->id);
	state->boot_id = strdup(boot_id);
	state->bundle = strdup(l->bundle);
	state->rootfs = strdup(l->rootfs);
	state->created = now_text();
	state->cgroup = cgroup_of(l->monitor.pid);
	if (!state->oci_version || !state->id || !state->boot_id || !state->bundle ||
	    !state->rootfs || !state->created || !state->cgroup)
		return -ENOMEM;
	return copy_annotations(&l->config->annotations, &state->annotations);
}

static int write_state(struct launch *l, struct err *err)
{
	CLEANUP(oci_state) struct oci_state *state = calloc(1, sizeof(*state));
	int r;

	if (!state || fill_state(l, state) < 0)
		return err_sys(err, ENOMEM, "the container's state");
	r = process_identity(l->monitor.pid, &state->start_time);
	if (r < 0 && r != -ESRCH)
		return err_sys(err, -r, "the monitor");
	/*
	 * A container that ended at once is a container that has stopped: start time 0 is nobody's
	 */
	r = container_store(l->container.dir_fd, state, err);
	if (r == -ENOSPC || r == -EDQUOT)
		return err_set(err, ENOSPC, "no space is left for the container's state in '%s'",
			       l->globals->root);
	if (r < 0)
		return r;
	l->container.state = take_ptr(&state);
	l->container.status = OCI_CREATED;
	return 0;
}

static int write_pid(struct launch *l, struct err *err)
{
	return pid_file_write(l->options->pid_file, l->monitor.pid, err);
}

static void remove_pid(struct launch *l)
{
	pid_file_remove(l->options->pid_file);
}

/* ---- the steps ---- */

static const struct step {
	const char *name;
	int (*run)(struct launch *launch, struct err *err);
	void (*undo)(struct launch *launch);
} steps[] = {
	{"bundle", open_bundle, NULL},
	{"configuration", load_config, forget_config},
	{"settings", load_settings, NULL},
	{"seccomp", compile_seccomp, NULL},
	{"state", make_state, remove_state},
	{"guest", open_guest, NULL},
	{"kvm", open_kvm, NULL},
	{"size", size, NULL},
	{"console", open_console, NULL},
	{"hooks", store_hooks, NULL},
	{"pidfd socket", open_pidfd_socket, NULL},
	{"monitor", start_monitor, stop_monitor},
	{"state file", write_state, NULL},
	{"pidfd", send_pidfd, NULL},
	{"pid file", write_pid, remove_pid},
};

static void undo(struct launch *l, size_t done)
{
	while (done-- > 0) {
		log_debug("Create: undoing %s", steps[done].name);
		if (steps[done].undo)
			steps[done].undo(l);
	}
}

void launch_undo(struct launch *l)
{
	undo(l, ARRAY_SIZE(steps));
}

void launch_release(struct launch *l)
{
	free(l->bundle);
	free(l->rootfs);
	free(l->config_text);
	oci_config_free(l->config);
	settings_release(&l->settings);
	sysfilter_release(&l->seccomp);
	container_release(&l->container);
	close_fd(&l->bundle_fd);
	close_fd(&l->exe_fd);
	close_fd(&l->kvm_fd);
	close_fd(&l->kernel_fd);
	close_fd(&l->initramfs_fd);
	close_fd(&l->console_fd);
	close_fd(&l->pidfd_socket);
	close_fd(&l->terminal_fd);
	host_terminal_release(&l->terminal);
	close_fd(&l->monitor.pidfd);
}

static int run_steps(struct launch *l, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int r;

		log_debug("Create: %s", steps[i].name);
		r = steps[i].run(l, err);
		if (r < 0) {
			undo(l, i);
			return r;
		}
		if (interrupt_signal()) {
			undo(l, i + 1);
			return -EINTR;
		}
	}
	return 0;
}

/* A guest that is smaller than its container's limits, because of the operator's maxima */
static void warn_size(const struct launch *l)
{
	const struct oci_resources *resources = &l->config->linux_.resources;
	int64_t limit = resources->memory.limit.value;
	uint64_t host_bytes = 0;

	if (l->config->vm.memory_bytes == 0 && limit > 0 &&
	    size_host_memory(&host_bytes, NULL) == 0 &&
	    l->machine.memory_bytes < size_memory_for((uint64_t)limit, host_bytes, UINT64_MAX))
		log_warn("The guest has %llu MiB, less than its memory limit: max-memory-bytes",
			 (unsigned long long)(l->machine.memory_bytes >> 20));
	if (l->config->vm.vcpus == 0 && l->machine.nvcpus == l->settings.max_vcpus &&
	    l->machine.nvcpus < size_vcpus_for(resources->cpu.quota.value,
					       resources->cpu.period.value, size_host_cpus()))
		log_warn("The guest has %u vCPUs, less than its CPU quota: max-vcpus",
			 l->machine.nvcpus);
}

/* Only now: a failure's one line is what engines want of the log */
static void warn_of_mount(const struct oci_mount *mount)
{
	if (mount->was_relative)
		log_warn("mount destination %s is not absolute: it is taken from the root",
			 mount->destination + 1);
	for (size_t i = 0; mount->is_bind && i < mount->options.n; i++)
		if (!oci_features_mount_option(mount->options.items[i]))
			log_warn("mount at '%s': '%s' has no effect on a bind mount, ignoring",
				 mount->destination, mount->options.items[i]);
}

static void warn(const struct launch *l)
{
	const char *text;

	warn_size(l);

	if (l->config->process.unknown_caps)
		log_warn("ignoring unknown or unavailable capabilities, such as '%.64s'",
			 l->config->process.unknown_caps);
	for (size_t i = 0; i < l->config->nmounts; i++)
		warn_of_mount(&l->config->mounts[i]);
	for (size_t i = 0; (text = limits_without_effect(&l->config->linux_.resources, i)); i++)
		log_warn("config.json: linux.resources.%s, ignoring", text);
}

int launch_create(const struct globals *globals, const struct launch_options *options,
		  const char *id, struct launch *out, struct err *err)
{
	struct launch l = {
		.globals = globals,
		.options = options,
		.id = id,
		.container = {.root_fd = -1, .dir_fd = -1, .lock_fd = -1},
		.bundle_fd = -1,
		.exe_fd = -1,
		.kvm_fd = -1,
		.kernel_fd = -1,
		.initramfs_fd = -1,
		.console_fd = -1,
		.terminal_fd = -1,
		.pidfd_socket = -1,
		.terminal = {.fd = -1},
		.monitor = {.pidfd = -1},
	};
	int r;

	interrupt_begin();
	r = run_steps(&l, err);
	if (r < 0) {
		launch_release(&l);
		/* What failed when the signal had come, failed because of it */
		return interrupt_signal() ? -EINTR : r;
	}
	warn(&l);
	*out = l;
	return 0;
}
