/* SPDX-License-Identifier: Apache-2.0 */
/* State directories: see runtime/container.h. */
#include "runtime/container.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "lib/io.h"
#include "lib/log.h"
#include "lib/path.h"
#include "shim/control.h"

#define LOCK_TIMEOUT_MS \
	60000 /* for another command on the same container, or for a monitor that gives up */
#define STOP_TIMEOUT_MS 15000 /* for a monitor that was asked to end; then it is killed */
#define KILL_TIMEOUT_MS 30000 /* for one that was killed */
#define RETRY_MS 20

static const struct container none = {.root_fd = -1, .dir_fd = -1, .lock_fd = -1};

/* ---- processes ---- */

int process_identity(pid_t pid, uint64_t *start_time)
{
	cleanup_free char *text = NULL;
	char path[64];
	const char *end;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	n = io_read_file(AT_FDCWD, path, 4096, &text, NULL);
	if (n < 0)
		return n == -ENOENT ? -ESRCH : (int)n;
	end = strrchr(text, ')'); /* the name before it may hold anything */
	if (!end || end[1] != ' ' || end[2] == 'Z' || end[2] == 'X')
		return -ESRCH;
	return io_proc_start_time(pid, start_time);
}

void host_boot_id(char *out, size_t size)
{
	cleanup_free char *text = NULL;

	out[0] = '\0';
	if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128, &text, NULL) > 0)
		(void)snprintf(out, size, "%.*s", (int)strcspn(text, "\n"), text);
}

/* In doubt (no descriptor or memory is left to look with) it is: nobody must take away what may still run */
static bool is_same_process(const struct oci_state *state)
{
	char boot_id[64];
	uint64_t start_time;
	int r;

	host_boot_id(boot_id, sizeof(boot_id));
	if (boot_id[0] && state->boot_id && state->boot_id[0] &&
	    strcmp(boot_id, state->boot_id) != 0)
		return false;
	r = process_identity(state->pid, &start_time);
	return r == 0 ? start_time == state->start_time : r != -ESRCH;
}

int container_pidfd(const struct container *container)
{
	cleanup_close int fd = -1;

	if (!container->state)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, container->state->pid, 0);
	if (fd < 0)
		return -errno;
	/* Checked after opening: what the descriptor refers to cannot change any more */
	return is_same_process(container->state) ? take_fd(&fd) : -ESRCH;
}

/* ---- locks ---- */

static void pause_ms(long ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	(void)nanosleep(&time, NULL);
}

/* Take the lock within the time; Return: 0, -ETIMEDOUT, -errno */
static int lock_within(int fd, int timeout_ms, void (*meanwhile)(int dir_fd), int dir_fd)
{
	uint64_t deadline = io_now_ms() + (uint64_t)timeout_ms;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (io_now_ms() >= deadline)
			return -ETIMEDOUT;
		if (meanwhile)
			meanwhile(dir_fd);
		pause_ms(RETRY_MS);
	}
	return 0;
}

static bool is_being_made(int dir_fd)
{
	/* An own description: the lock must not outlive the question */
	cleanup_close int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static bool was_deleted(const struct container *container)
{
	struct stat st;

	return fstat(container->lock_fd, &st) < 0 || st.st_nlink == 0;
}

int container_lock(struct container *container, struct err *err)
{
	int r;

	container->lock_fd = openat(container->dir_fd, LOCK_FILE,
				    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (container->lock_fd < 0 && errno == ENOENT)
		return err_set(err, ENOENT, "container does not exist");
	if (container->lock_fd < 0)
		return err_sys(err, errno, "the lock of container '%s'", container->id);
	r = lock_within(container->lock_fd, LOCK_TIMEOUT_MS, NULL, -1);
	if (r < 0)
		return err_sys(err, -r, "the lock of container '%s'", container->id);
	if (was_deleted(container))
		return err_set(err, ENOENT, "container does not exist");
	return container_refresh(container, err);
}

/* ---- finding ---- */

/* A state.json that is missing or damaged; all else says nothing about the container */
static bool is_damage(int r)
{
	return r == -ENOENT || r == -EFBIG || r == -EISDIR || r == -ELOOP || r == -ENXIO;
}

static bool has_file(const struct container *container, const char *name)
{
	return faccessat(container->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int container_refresh(struct container *container, struct err *err)
{
	cleanup_free char *text = NULL;
	ssize_t n;
	int r;

	oci_state_free(container->state);
	container->state = NULL;
	n = io_read_file(container->dir_fd, STATE_FILE, OCI_STATE_MAX, &text, err);
	if (n < 0 && !is_damage((int)n))
		return (int)n;
	r = n < 0 ? (int)n : oci_state_parse(text, (size_t)n, &container->state, err);
	if (r == 0 && strcmp(container->state->id, container->id) != 0) {
		oci_state_free(container->state);
		container->state = NULL;
		r = err_set(err, EINVAL, "state.json: it is another container's");
	}
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		container->status = is_being_made(container->dir_fd) ? OCI_CREATING : OCI_STOPPED;
	else if (!is_same_process(container->state))
		container->status = OCI_STOPPED;
	else
		container->status = container->state->status;
	/* The monitor's word: state.json was written before, and `start` may have died */
	if (container->status == OCI_CREATED && has_file(container, CONTROL_STARTED_NAME))
		container->status = OCI_RUNNING;
	if ((container->status == OCI_CREATED || container->status == OCI_RUNNING) &&
	    has_file(container, CONTROL_PAUSED_NAME))
		container->status = OCI_PAUSED;
	return 0;
}

int container_check_id(const char *id, struct err *err)
{
	if (!*id)
		return err_set(err, EINVAL, "container id cannot be empty");
	if (!oci_id_is_valid(id))
		return err_set(err, EINVAL, "invalid container ID format");
	return 0;
}

int container_open(const struct globals *globals, const char *id, struct container *out,
		   struct err *err)
{
	struct container container = none;
	struct err why = {0};
	int r = container_check_id(id, err);

	if (r < 0)
		return r;
	container.id = id;
	container.root_fd = open(globals->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (container.root_fd >= 0)
		container.dir_fd = openat(container.root_fd, id,
					  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (container.dir_fd < 0) {
		int code = errno;

		container_release(&container);
		if (code == ENOENT || code == ENOTDIR || code == ENAMETOOLONG)
			return err_set(err, ENOENT, "container does not exist");
		return err_sys(err, code, "%s/%s", globals->root, id);
	}
	r = container_refresh(&container, &why);
	if (r < 0) {
		container_release(&container);
		return err_set(err, -r, "%s", why.msg);
	}
	if (!container.state)
		log_debug("Container '%s': %s", id, why.msg);
	*out = container;
	return 0;
}

int container_load(const struct globals *globals, const char *id, struct container *out,
		   struct err *err)
{
	int r = container_open(globals, id, out, err);

	if (r < 0 || out->state)
		return r;
	container_release(out);
	return err_set(err, ENOENT, "container does not exist");
}

void container_release(struct container *container)
{
	close_fd(&container->lock_fd);
	close_fd(&container->dir_fd);
	close_fd(&container->root_fd);
	oci_state_free(container->state);
	container->state = NULL;
}

int container_store(int dir_fd, const struct oci_state *state, struct err *err)
{
	cleanup_free char *text = NULL;
	ssize_t n = oci_state_store(state, &text, err);

	if (n < 0)
		return (int)n;
	return io_write_file(dir_fd, STATE_FILE, text, (size_t)n, 0600, err);
}

void container_owner(const struct container *container, char *out, size_t size)
{
	FILE *passwd = fopen("/etc/passwd", "re");
	struct passwd *entry;
	struct stat st = {0};

	(void)fstat(container->dir_fd, &st);
	(void)snprintf(out, size, "#%u", st.st_uid);
	if (!passwd)
		return;
	while ((entry = fgetpwent(passwd))) {
		if (entry->pw_uid == st.st_uid) {
			(void)snprintf(out, size, "%s", entry->pw_name);
			break;
		}
	}
	(void)fclose(passwd);
}

/* ---- making ---- */

static int make_root(const char *path, struct err *err)
{
	char part[PATH_MAX];

	(void)snprintf(part, sizeof(part), "%s", path);
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0711) < 0 && errno != EEXIST)
			return err_sys(err, errno, "making '%s'", part);
		*slash = '/';
	}
	if (mkdir(part, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "making '%s'", part);
	return 0;
}

/*
 * The pid in the lock file is for people; that it can be written shows that there is space for the
 * rest
 */
static int take_locks(struct container *container, struct err *err)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid()), r;

	/* Who asks for the status has it for a moment, delete --force until the directory is gone */
	r = lock_within(container->dir_fd, LOCK_TIMEOUT_MS, NULL, -1);
	if (r < 0)
		return err_sys(err, -r, "the lock of container '%s'", container->id);
	r = container_lock(container, err);
	if (r < 0)
		return r;
	r = io_write_full(container->lock_fd, text, (size_t)n);
	return r < 0 ? err_sys(err, -r, "the lock of container '%s'", container->id) : 0;
}

int container_make(const struct globals *globals, const char *id, struct container *out,
		   struct err *err)
{
	struct container container = none;
	int r = container_check_id(id, err);

	if (r < 0)
		return r;
	container.id = id;
	r = make_root(globals->root, err);
	if (r < 0)
		return r;
	container.root_fd = open(globals->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (container.root_fd < 0)
		return err_sys(err, errno, "%s", globals->root);
	if (mkdirat(container.root_fd, id, 0711) < 0) {
		r = errno == EEXIST ? err_set(err, EEXIST, "container with given ID already exists")
				    : err_sys(err, errno, "making '%s/%s'", globals->root, id);
		container_release(&container);
		return r;
	}
	container.dir_fd = openat(container.root_fd, id,
				  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = container.dir_fd < 0 ? err_sys(err, errno, "%s/%s", globals->root, id)
				 : take_locks(&container, err);
	if (r < 0) {
		if (container.dir_fd < 0)
			(void)unlinkat(container.root_fd, id, AT_REMOVEDIR);
		else
			(void)container_remove(&container, NULL);
		container_release(&container);
		return r;
	}
	*out = container;
	return 0;
}

/* ---- ending ---- */

/* Return: 0 when the process has ended within the time */
static int wait_end(int pidfd, int timeout_ms)
{
	uint64_t deadline = io_now_ms() + (uint64_t)timeout_ms;
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int n;

	do {
		uint64_t now = io_now_ms();

		n = poll(&p, 1, now < deadline ? (int)(deadline - now) : 0);
	} while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : -ETIMEDOUT;
}

static void ask_to_stop(int dir_fd)
{
	struct err err = {0};

	if (control_stop(dir_fd, &err) < 0)
		log_debug("Stopping: %s", err.msg);
}

int container_end_monitor(int dir_fd, int pidfd, struct err *err)
{
	int r;

	ask_to_stop(dir_fd);
	if (wait_end(pidfd, STOP_TIMEOUT_MS) == 0)
		return 0;
	(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	r = wait_end(pidfd, KILL_TIMEOUT_MS);
	return r < 0 ? err_set(err, EBUSY, "container init still running") : 0;
}

int container_stop(struct container *container, struct err *err)
{
	cleanup_close int pidfd = container_pidfd(container);

	if (pidfd == -ESRCH)
		return 0;
	if (pidfd < 0)
		return err_sys(err, -pidfd, "watching the monitor");
	return container_end_monitor(container->dir_fd, pidfd, err);
}

int container_wait_abandoned(struct container *container, struct err *err)
{
	int r = lock_within(container->dir_fd, LOCK_TIMEOUT_MS, ask_to_stop, container->dir_fd);

	if (r == -ETIMEDOUT)
		return err_set(err, EBUSY, "container %s is still being created", container->id);
	return r < 0 ? err_sys(err, -r, "container '%s'", container->id) : 0;
}

/* Is the directory we have open still the one of that name? Its inode cannot be another's as long as it is open */
static bool has_its_name(const struct container *container)
{
	struct stat ours, named;

	return fstat(container->dir_fd, &ours) == 0 &&
	       fstatat(container->root_fd, container->id, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

int container_remove(struct container *container, struct err *err)
{
	int r;

	if (!has_its_name(container))
		return err_set(err, ENOENT, "container does not exist");
	r = monitor_cgroup_remove(container->dir_fd, err);
	if (r < 0)
		return r;
	/* The container is gone all the same */
	if (monitor_network_remove(container->dir_fd, err) < 0)
		log_warn("%s", err->msg);
	return path_remove_tree(container->root_fd, container->id, err);
}
