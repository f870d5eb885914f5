/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kill for lack of memory in the guest, shown on the host.
 *
 * Engines learn of such a kill from memory.events of the cgroup X in which they found the container's pid: containerd's shim and
 * conmon wait until its oom_kill rises, and it does when the host's kernel kills a process in X, or below X, and not otherwise: the
 * file cannot be written. So when the guest's kernel has killed, and only then, a process of ours is killed for the same reason:
 *
 *    X  monitor, vmm                     as engines find it
 *    X/caisson.guest  monitor, vmm       a cgroup that passes a controller on may hold no processes itself
 *    X  +memory
 *    X/caisson.oom    memory.max = 0     a child is born there; its first page is the last: oom_kill rises there and in X
 *    X  -memory, monitor, vmm            and both children are removed
 *
 * The victim can only be that child. A charge is tried from the leaf upwards, and the leaf's limit of nothing is met before any of X's
 * is looked at; the kernel then chooses among the processes of the leaf alone. memory.oom.group of X is not asked for the
 * same reason: the group is looked for between the victim's cgroup and the one whose limit was met. Nothing in X is
 * charged for it but what the kernel needs to make two cgroups.
 *
 * What stays in X meanwhile: its limits and its statistics, which cover what is below. What the processes had used before stays charged to X.
 *
 * It cannot be done when somebody else's processes are in X (they are not ours to move), or when the hierarchy is mounted with
 * memory_localevents (nothing rises in X): both are said. In version 1 a kill in a child is not counted in its parent at all.
 *
 * In the single-threaded monitor, synchronously: the count has risen before the container's end can be seen.
 */
#include "shim/oom.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

#define VICTIM_NAME "caisson-oom" /* as the kernel's log calls it */
#define VICTIM_BYTES (1u << 20)	  /* what it touches when no limit stops it */
#define VICTIM_TIMEOUT_MS 5000
#define EVENTS_MAX 4096

/* ---- files of cgroups ---- */

static int write_at(int dirfd, const char *file, const char *text)
{
	cleanup_close int fd = openat(dirfd, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : io_write_full(fd, text, strlen(text));
}

/* Return: 0 with oom_kill of memory.events, -ENOTSUP without the file */
static int read_kills(int cgroup_fd, uint64_t *kills)
{
	cleanup_free char *text = NULL;
	unsigned long long value;
	const char *line;
	ssize_t n = io_read_file(cgroup_fd, "memory.events", EVENTS_MAX, &text, NULL);

	if (n < 0)
		return n == -ENOENT ? -ENOTSUP : (int)n;
	line = strstr(text, "oom_kill ");
	if (!line || sscanf(line, "oom_kill %llu", &value) != 1)
		return -ENOTSUP;
	*kills = value;
	return 0;
}

/* Return: descriptor of the child @name, made if it does not exist, or -errno */
static int make_child(int cgroup_fd, const char *name)
{
	int fd;

	if (mkdirat(cgroup_fd, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(cgroup_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* ---- moving ---- */

/* A vmm that has just ended has nowhere to go */
static int move_to(int cgroup_fd, pid_t vmm_pid)
{
	char text[16];
	int r;

	if (vmm_pid > 0) {
		(void)snprintf(text, sizeof(text), "%d", (int)vmm_pid);
		r = write_at(cgroup_fd, "cgroup.procs", text);
		if (r < 0 && r != -ESRCH)
			return r;
	}
	return write_at(cgroup_fd, "cgroup.procs", "0");
}

static void come_back(int cgroup_fd, pid_t vmm_pid, bool moved)
{
	int r;

	(void)write_at(cgroup_fd, "cgroup.subtree_control", "-memory");
	r = move_to(cgroup_fd, vmm_pid);
	if (r < 0 && moved)
		log_warn("The monitor stays in a cgroup below the container's: %s", err_reason(-r));
	(void)unlinkat(cgroup_fd, OOM_VICTIM_NAME, AT_REMOVEDIR);
	(void)unlinkat(cgroup_fd, OOM_GUEST_NAME, AT_REMOVEDIR);
}

void oom_clean(int cgroup_fd)
{
	if (faccessat(cgroup_fd, OOM_GUEST_NAME, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return; /* made first, removed last */
	(void)unlinkat(cgroup_fd, OOM_VICTIM_NAME, AT_REMOVEDIR);
	(void)write_at(cgroup_fd, "cgroup.subtree_control", "-memory");
	(void)unlinkat(cgroup_fd, OOM_GUEST_NAME, AT_REMOVEDIR);
}

/* ---- the victim ---- */

static void victim_main(void) __attribute__((noreturn));
static void victim_main(void)
{
	volatile char *page = mmap(NULL, VICTIM_BYTES, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (size_t i = 0; page != MAP_FAILED && i < VICTIM_BYTES; i += 4096)
		page[i] = 1;
	_exit(EXIT_SUCCESS);
}

/* Return: 0 when it was killed */
static int await_victim(pid_t pid, int pidfd, struct err *err)
{
	struct pollfd end = {.fd = pidfd, .events = POLLIN};
	int status = 0, n;

	do
		n = poll(&end, 1, VICTIM_TIMEOUT_MS);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (n != 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return 0;
	return err_set(err, EIO, "a process without memory is not killed");
}

/* The child has this process's name; the kernel's log shall not say that the monitor was killed */
static int sacrifice(int victim_fd, struct err *err)
{
	struct clone_args args = {.flags = CLONE_PIDFD | CLONE_INTO_CGROUP,
				  .exit_signal = SIGCHLD,
				  .cgroup = (uint64_t)victim_fd};
	cleanup_close int pidfd = -1;
	char name[16] = "";
	long pid;
	int code;

	args.pidfd = (uintptr_t)&pidfd;
	(void)prctl(PR_GET_NAME, name);
	(void)prctl(PR_SET_NAME, VICTIM_NAME);
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		victim_main();
	code = errno;
	(void)prctl(PR_SET_NAME, name);
	if (pid < 0)
		return err_sys(err, code, "making a process that is killed instead");
	return await_victim((pid_t)pid, pidfd, err);
}

/* ---- both ---- */

static int kill_below(int cgroup_fd, struct err *err)
{
	cleanup_close int victim = -1;
	int r = write_at(cgroup_fd, "cgroup.subtree_control", "+memory");

	if (r == -EBUSY)
		return err_set(err, EBUSY, "other processes are in it");
	if (r < 0)
		return err_sys(err, -r, "passing the memory controller on");
	victim = make_child(cgroup_fd, OOM_VICTIM_NAME);
	if (victim < 0)
		return err_sys(err, -victim, "the cgroup '" OOM_VICTIM_NAME "' in it");
	(void)write_at(victim, "memory.swap.max", "0");
	r = write_at(victim, "memory.max", "0");
	if (r < 0)
		return err_sys(err, -r, "limiting the memory of '" OOM_VICTIM_NAME "'");
	return sacrifice(victim, err);
}

int oom_show(int cgroup_fd, pid_t vmm_pid, struct err *err)
{
	cleanup_close int guest = -1;
	uint64_t before = 0, after = 0;
	bool moved;
	int r = read_kills(cgroup_fd, &before);

	if (r < 0)
		return err_set(err, -r, "there is no memory.events");
	guest = make_child(cgroup_fd, OOM_GUEST_NAME);
	if (guest < 0)
		return err_sys(err, -guest, "the cgroup '" OOM_GUEST_NAME "' in it");
	r = move_to(guest, vmm_pid);
	moved = r == 0;
	if (r < 0)
		r = err_sys(err, -r, "moving to '" OOM_GUEST_NAME "'");
	else
		r = kill_below(cgroup_fd, err);
	come_back(cgroup_fd, vmm_pid, moved);
	if (r < 0)
		return r;
	if (read_kills(cgroup_fd, &after) < 0 || after <= before)
		return err_set(err, EIO,
			       "oom_kill in its memory.events has not risen: the hierarchy is "
			       "mounted with memory_localevents, or this kernel counts otherwise");
	return 0;
}
