/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order matters: the bounding set needs CAP_SETPCAP, which goes with the user; permitted capabilities survive setuid only with
 * KEEPCAPS; the directory is tried as root first, since a container's root may enter what its user may not, and again as
 * the user when that was refused (a root-squashing share).
 *
 * A seccomp filter comes after all of it, so that it need not allow what is done here. Unless no_new_privs is set, its loading
 * takes CAP_SYS_ADMIN, which therefore stays until then. No code of the container's runs in between.
 *
 * Raw system calls: the sets are exact, and no library decides what is "reasonable".
 */
#define _GNU_SOURCE
#include "guest/creds.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"

#include "guest/lookup.h"

#define DEFAULT_UMASK 0022
#define DEFAULT_NOFILE_SOFT 1024
#define DEFAULT_NOFILE_HARD 524288
#define FILTER_CAP (1ull << CAP_SYS_ADMIN) /* what seccomp(2) wants without no_new_privs */

int creds_set_oom_score_adj(int score, struct err *err)
{
	cleanup_close int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", score);

	if (fd < 0 || write(fd, text, (size_t)n) < 0)
		return err_sys(err, errno, "cannot set process.oomScoreAdj");
	return 0;
}

int creds_raise_limits(const struct oci_process *process, struct err *err)
{
	for (size_t i = 0; i < process->nrlimits; i++) {
		const struct oci_rlimit *wanted = &process->rlimits[i];
		__rlimit_resource_t resource = (__rlimit_resource_t)wanted->resource;
		struct rlimit limit;

		if (getrlimit(resource, &limit) < 0)
			return err_sys(err, errno, "cannot read process.rlimits[%zu]", i);
		if (limit.rlim_max >= wanted->hard)
			continue;
		limit.rlim_max = wanted->hard;
		if (setrlimit(resource, &limit) < 0)
			return err_sys(err, errno, "cannot raise process.rlimits[%zu]", i);
	}
	return 0;
}

static int set_rlimits(const struct oci_process *process, struct err *err)
{
	/* The agent's own limit is for the agent */
	struct rlimit nofile = {DEFAULT_NOFILE_SOFT, DEFAULT_NOFILE_HARD};

	if (setrlimit(RLIMIT_NOFILE, &nofile) < 0 && getrlimit(RLIMIT_NOFILE, &nofile) == 0) {
		nofile.rlim_cur = nofile.rlim_max < DEFAULT_NOFILE_SOFT ? nofile.rlim_max
									: DEFAULT_NOFILE_SOFT;
		(void)setrlimit(RLIMIT_NOFILE, &nofile);
	}
	for (size_t i = 0; i < process->nrlimits; i++) {
		const struct oci_rlimit *wanted = &process->rlimits[i];
		struct rlimit limit = {.rlim_cur = wanted->soft, .rlim_max = wanted->hard};

		if (setrlimit((__rlimit_resource_t)wanted->resource, &limit) < 0)
			return err_sys(err, errno, "cannot set process.rlimits[%zu]", i);
	}
	return 0;
}

static int drop_bounding(uint64_t keep, struct err *err)
{
	for (unsigned int cap = 0; cap < 64; cap++) {
		if (keep & (1ull << cap))
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL)
				return 0; /* beyond the last one that this kernel knows */
			return err_sys(err, errno,
				       "cannot drop capability %u from the bounding set", cap);
		}
	}
	return 0;
}

/* @extra: permitted and effective besides */
static int set_sets(const uint64_t caps[OCI_CAP_SETS], uint64_t extra, struct err *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++) {
		data[i].effective = (uint32_t)((caps[OCI_CAP_EFFECTIVE] | extra) >> (32 * i));
		data[i].permitted = (uint32_t)((caps[OCI_CAP_PERMITTED] | extra) >> (32 * i));
		data[i].inheritable = (uint32_t)(caps[OCI_CAP_INHERITABLE] >> (32 * i));
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return err_sys(err, errno, "cannot set capabilities");
	return 0;
}

static int set_caps(const uint64_t caps[OCI_CAP_SETS], uint64_t extra, struct err *err)
{
	int r = set_sets(caps, extra, err);

	if (r < 0)
		return r;
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned int cap = 0; cap < 64; cap++) {
		/* One that is not permitted and inheritable too cannot be raised: left out, as newer runc does */
		if (caps[OCI_CAP_AMBIENT] & (1ull << cap))
			(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
	}
	return 0;
}

static int set_user(const struct oci_process *process, struct err *err)
{
	gid_t *groups = process->user.additional_gids;

	/* The raw calls: glibc's would signal other threads, of which there are none */
	if (syscall(SYS_setgroups, process->user.nadditional_gids, groups) < 0)
		return err_sys(err, errno, "cannot set process.user.additionalGids");
	if (syscall(SYS_setresgid, process->user.gid, process->user.gid, process->user.gid) < 0)
		return errno == EINVAL
			       ? err_set(err, EINVAL,
					 "cannot setgid to unmapped gid %u in user namespace",
					 process->user.gid)
			       : err_sys(err, errno, "cannot set process.user.gid");
	if (syscall(SYS_setresuid, process->user.uid, process->user.uid, process->user.uid) < 0)
		return errno == EINVAL
			       ? err_set(err, EINVAL,
					 "cannot setuid to unmapped uid %u in user namespace",
					 process->user.uid)
			       : err_sys(err, errno, "cannot set process.user.uid");
	return 0;
}

/* A directory from outside of the root would be a way out; getcwd(2) tells it by "(unreachable)" */
static int check_dir(struct err *err)
{
	char path[PATH_MAX];

	if (syscall(SYS_getcwd, path, sizeof(path)) > 0 && path[0] != '/')
		return err_set(err, EINVAL,
			       "current working directory is outside of container mount namespace "
			       "root -- possible container breakout detected");
	return 0;
}

/* Worded as runc does: engines look for these words */
static int change_dir(const char *cwd, struct err *err)
{
	if (chdir(cwd) == 0)
		return 0;
	return err_set(err, errno, "chdir to cwd (\"%s\") set in config.json failed: %s", cwd,
		       lookup_words(errno));
}

int creds_apply(const struct oci_process *process, bool will_filter, struct err *err)
{
	bool again;
	int r = set_rlimits(process, err);

	if (r < 0)
		return r;
	if (process->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot set process.noNewPrivileges");
	r = change_dir(process->cwd, err);
	again = r == -EACCES || r == -EPERM;
	if (r < 0 && !again)
		return r;
	r = drop_bounding(process->caps[OCI_CAP_BOUNDING], err);
	if (r < 0)
		return r;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot keep capabilities");
	r = set_user(process, err);
	if (r < 0)
		return r;
	if (again) {
		r = change_dir(process->cwd, err);
		if (r < 0)
			return r;
	}
	r = check_dir(err);
	if (r < 0)
		return r;
	(void)prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	(void)umask(process->user.has_umask ? process->user.umask & 0777 : DEFAULT_UMASK);
	return set_caps(process->caps, will_filter && !process->no_new_privileges ? FILTER_CAP : 0,
			err);
}

/* Lowering the permitted set lowers the ambient one with it */
int creds_finish(const struct oci_process *process, struct err *err)
{
	if (process->no_new_privileges || (process->caps[OCI_CAP_EFFECTIVE] & FILTER_CAP))
		return 0;
	return set_sets(process->caps, 0, err);
}

/* ---- home ---- */

/* name:password:uid:gid:gecos:home:shell; Return: start of field @n of the line at @line, or NULL */
static const char *field(const char *line, const char *end, int n)
{
	while (n-- > 0) {
		line = memchr(line, ':', (size_t)(end - line));
		if (!line)
			return NULL;
		line++;
	}
	return line;
}

static bool home_of_line(const char *line, const char *end, uint32_t uid, char *out)
{
	const char *id = field(line, end, 2), *home = field(line, end, 5), *stop;
	char *id_end;
	unsigned long value;

	if (!id || !home || *id < '0' || *id > '9')
		return false;
	value = strtoul(id, &id_end, 10);
	if (*id_end != ':' || value != uid)
		return false;
	stop = memchr(home, ':', (size_t)(end - home));
	if (!stop)
		stop = end;
	if (stop == home || stop - home >= PATH_MAX)
		return false;
	memcpy(out, home, (size_t)(stop - home));
	out[stop - home] = '\0';
	return true;
}

void creds_home(const char *passwd, uint32_t uid, char *out)
{
	for (const char *line = passwd; *line;) {
		const char *end = strchrnul(line, '\n');

		if (home_of_line(line, end, uid, out))
			return;
		line = *end ? end + 1 : end;
	}
	(void)strcpy(out, "/");
}
