/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits on the host: see shim/limits.h.
 *
 * The figures are oci/limits.c's. What the guest is held to as well may be missing here: a host whose cgroup2 hierarchy lacks a
 * controller (version 1 has it, or it was not delegated) gets a warning, and the container its limit in the guest. What only the
 * host can do (rates of block devices) is an error then.
 *
 * There are no device rules here: the vmm has no path to open a device by and no capability to make one (kvm/jail.c), and
 * /dev/kvm, the one device it has, was opened before.
 */
#include "shim/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "oci/limits.h"
#include "shim/cgroup_note.h"
#include "shim/control.h"
#include "shim/monitor.h"
#include "shim/systemd.h"

#define OOM_SCORE_FILE "/proc/self/oom_score_adj"
#define OOM_SCORE_LAST \
	(-999) /* -1000 would be never, and leave nothing to kill in a cgroup of one's own */
#define FDS_BESIDE_FILES 1024 /* of the vmm and of the monitor, beside known and open files */

static bool has_controller(const char *controllers, const char *file)
{
	size_t len = strcspn(file, ".");

	for (const char *p = controllers; *p; p += strcspn(p, " \n"), p += strspn(p, " \n")) {
		if (strcspn(p, " \n") == len && strncmp(p, file, len) == 0)
			return true;
	}
	return false;
}

/* Take out what the hierarchy has no controller for and the guest does too; Return: such a file's name for the warning, or NULL */
static const char *drop_unavailable(struct limits *limits, const char *controllers, char *name,
				    size_t size)
{
	size_t kept = 0;
	const char *dropped = NULL;

	for (size_t i = 0; i < limits->n; i++) {
		struct limits_write *write = &limits->items[i];

		if (strncmp(write->file, "io.", 3) == 0 ||
		    has_controller(controllers, write->file)) {
			limits->items[kept++] = *write;
			continue;
		}
		(void)snprintf(name, size, "%s", write->file);
		dropped = name;
		free(write->file);
		free(write->value);
	}
	limits->n = kept;
	return dropped;
}

static void warn_dropped(const char *file)
{
	if (file)
		log_warn("The container's cgroup on the host has no '%s': its limit holds "
			 "in the guest only",
			 file);
}

static int host_unified(int cgroup_fd, const struct oci_resources *resources,
			const struct limits_machine *machine, struct limits *undo, struct err *err)
{
	cleanup_free char *controllers = NULL;
	struct limits limits = {0};
	char name[128];
	int r = limits_plan(resources, LIMITS_HOST, machine, &limits, err);

	if (r == 0 && io_read_file(cgroup_fd, "cgroup.controllers", 4096, &controllers, NULL) >= 0)
		warn_dropped(drop_unavailable(&limits, controllers, name, sizeof(name)));
	if (r == 0)
		r = limits_apply(cgroup_fd, &limits, undo, err);
	limits_release(&limits);
	return r;
}

static int host_v1(const struct cgroup_note *note, const struct oci_resources *resources,
		   const struct limits_machine *machine, struct limits *undo, struct err *err)
{
	cleanup_free char *dropped = NULL;
	struct limits limits = {0};
	int r = limits_plan_v1(resources, machine, &limits, err);

	if (r == 0)
		r = limits_place_v1(&limits, note, &dropped, err);
	warn_dropped(dropped);
	if (r == 0 && resources->unified.n)
		log_warn("linux.resources.unified: cgroup v1 has no such files: it holds in the "
			 "guest only");
	if (r == 0)
		r = limits_apply(AT_FDCWD, &limits, undo, err);
	limits_release(&limits);
	return r;
}

int limits_host(int state_fd, int cgroup_fd, const struct oci_resources *resources,
		const struct limits_machine *machine, struct limits *undo, struct err *err)
{
	struct cgroup_note note;
	int r = cgroup_note_read(state_fd, &note, err);

	if (r < 0 && r != -ENOENT)
		return r;
	r = r == 0 && cgroup_note_is_v1(&note)
		    ? host_v1(&note, resources, machine, undo, err)
		    : host_unified(cgroup_fd, resources, machine, undo, err);
	cgroup_note_release(&note);
	return r;
}

int monitor_cgroup_limit(int state_fd, int cgroup_fd, const struct oci_resources *resources,
			 const struct limits_machine *machine, struct limits *undo, struct err *err)
{
	int r = limits_host(state_fd, cgroup_fd, resources, machine, undo, err);

	if (r < 0)
		return r;
	r = systemd_scope_set(state_fd, cgroup_fd, undo, err);
	if (r < 0)
		limits_restore(cgroup_fd, undo);
	return r;
}

void monitor_cgroup_restore(int state_fd, int cgroup_fd, const struct limits *undo)
{
	struct err err = {0};

	limits_restore(cgroup_fd, undo);
	if (systemd_scope_set(state_fd, cgroup_fd, undo, &err) < 0)
		log_warn("%s, ignoring", err.msg);
}

/* So that the files that a guest knows fit into the cgroup's memory; the file server divides what it finds */
static int limit_descriptors(const struct limits_machine *machine, struct err *err)
{
	rlim_t wanted = 2 * limits_files_known(machine) + FDS_BESIDE_FILES;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return err_sys(err, errno, "the limit of descriptors");
	if (limit.rlim_max <= wanted)
		return 0;
	limit.rlim_cur = limit.rlim_max = wanted;
	return setrlimit(RLIMIT_NOFILE, &limit) < 0
		       ? err_sys(err, errno, "the limit of descriptors")
		       : 0;
}

static int set_oom_score(int score)
{
	cleanup_close int fd = open(OOM_SCORE_FILE, O_WRONLY | O_CLOEXEC);
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", score);

	return fd < 0 ? -errno : io_write_full(fd, text, (size_t)n);
}

static bool has_limits(const struct oci_resources *resources, const struct limits_machine *machine)
{
	struct limits limits = {0};
	int r = limits_plan(resources, LIMITS_HOST, machine, &limits, NULL);
	bool has = r == 0 && limits.n > 0;

	limits_release(&limits);
	return has;
}

int limits_open(struct shim *s, int cgroup_fd, struct err *err)
{
	const struct oci_resources *resources = &s->args->config->linux_.resources;
	const struct oci_process *process = &s->args->config->process;
	struct limits_machine machine = {s->args->memory_bytes, s->args->nvcpus};
	int r = 0;

	if (cgroup_fd >= 0)
		r = limits_host(s->state_fd, cgroup_fd, resources, &machine, NULL, err);
	else if (has_limits(resources, &machine))
		log_warn("The container has no cgroup on the host: its limits hold in the guest "
			 "only");
	if (r < 0) {
		err_prefix(err, "linux.resources: on the host");
		return r;
	}
	if (resources->memory.limit.value > 0) {
		r = limit_descriptors(&machine, err);
		if (r < 0)
			return r;
	}
	if (process->has_oom_score_adj) {
		r = set_oom_score(process->oom_score_adj);
		if (r < 0)
			log_warn("process.oomScoreAdj cannot be %d on the host: %s, ignoring",
				 process->oom_score_adj, err_reason(-r));
	}
	return 0;
}

int limits_last_victim(struct shim *s, struct err *err)
{
	int r = set_oom_score(OOM_SCORE_LAST);

	(void)s;
	(void)err;
	if (r < 0)
		log_debug("The monitor's oom_score_adj stays as it is: %s", err_reason(-r));
	return 0;
}
