/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file server on this host's own FUSE client: real system calls against it, at native speed, without a guest.
 *
 *   fuse_mount MOUNTPOINT DIR[:ro][:coherent]... -- PROGRAM [ARGUMENT...]
 *
 * Mounts the server by /dev/fuse on MOUNTPOINT (a directory; its entries "0", "1", … are the DIRs), runs PROGRAM and ends with
 * its exit status. Like the vmm the server runs in a user namespace of its own with all ids mapped onto themselves, with
 * only the capabilities that it needs, and its roots are detached mounts, nodev and nosuid. Needs root.
 *
 * What differs from virtio-fs: no submounts (each root is a directory of one device). FUSE_INTERRUPT, which virtio-fs cannot send, is
 * dropped here, and the agent's lock thread runs in this process, as it does in a guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fuse.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/events.h"
#include "guest/locks.h"
#include "kvm/fuse/internal.h"
#include "kvm/fuse/server.h"
#include "lib/cleanup.h"

#define BUFFER ((1u << 20) + 8192)
#define THREADS 4

static struct fuse_server *server;
static int dev_fd;

static void die(const char *what)
{
	fprintf(stderr, "fuse_mount: %s: %s\n", what, strerror(errno));
	exit(125);
}

struct job {
	struct fuse_request request;
	struct iovec in[3], out[4];
	char *in_buffer, *out_buffer;
};

static void send_answer(struct job *job, size_t len)
{
	/* ENOENT: the kernel has given up on the request */
	if (len > 0 && write(dev_fd, job->out_buffer, len) < 0 && errno != ENOENT &&
	    errno != ENODEV)
		fprintf(stderr, "fuse_mount: answer of %zu bytes: %s\n", len, strerror(errno));
}

static void job_free(struct job *job)
{
	free(job->in_buffer);
	free(job->out_buffer);
	free(job);
}

static void on_complete(struct fuse_request *request, size_t written)
{
	struct job *job = container_of(request, struct job, request);

	send_answer(job, written);
	job_free(job);
}

static struct job *job_new(void)
{
	struct job *job = calloc(1, sizeof(*job));

	job->in_buffer = malloc(BUFFER);
	job->out_buffer = malloc(BUFFER);
	job->request = (struct fuse_request){
		.in = job->in, .out = job->out, .complete = on_complete};
	return job;
}

/* Cuts the buffers at odd places, as a driver might */
static unsigned int cut(struct iovec *iov, char *buffer, size_t len, const size_t *parts,
			unsigned int nparts)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i <= nparts && len > 0; i++) {
		size_t part = i < nparts && parts[i] < len ? parts[i] : len;

		iov[n++] = (struct iovec){buffer, part};
		buffer += part;
		len -= part;
	}
	return n;
}

/* virtio-fs sends no interrupts; only the agent's own read may be ended by one, when we end the agent */
static bool drop_it(const struct fuse_in_header *header)
{
	static _Atomic uint64_t agent_read, events_read;

	if (header->opcode == FUSE_READ && header->nodeid == NODEID_LOCKS)
		agent_read = header->unique;
	if (header->opcode == FUSE_READ && header->nodeid == NODEID_EVENTS)
		events_read = header->unique;
	return header->opcode == FUSE_INTERRUPT &&
	       ((const struct fuse_interrupt_in *)(header + 1))->unique != agent_read &&
	       ((const struct fuse_interrupt_in *)(header + 1))->unique != events_read;
}

static void *worker(void *arg)
{
	struct job *job = job_new();

	(void)arg;
	for (;;) {
		ssize_t n = read(dev_fd, job->in_buffer, BUFFER);

		if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT))
			continue;
		if (n < 0)
			break;
		if (drop_it((struct fuse_in_header *)job->in_buffer))
			continue;
		job->request.nin = cut(job->in, job->in_buffer, (size_t)n, (size_t[]){40, 17}, 2);
		job->request.nout = cut(job->out, job->out_buffer, BUFFER, (size_t[]){16, 5, 4096},
					3);
		n = fuse_server_handle(server, &job->request);
		if (n == FUSE_DEFERRED) {
			job = job_new();
			continue;
		}
		send_answer(job, (size_t)n);
	}
	job_free(job);
	return NULL;
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(path);
	close(fd);
}

static int detached(const char *dir, bool read_only)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID |
					      (read_only ? MOUNT_ATTR_RDONLY : 0)};
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, dir,
			      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (fd < 0 || syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr,
			      sizeof(attr)) < 0)
		die(dir);
	return fd;
}

static void drop_capabilities(void)
{
	const uint32_t keep = 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH | 1u << CAP_CHOWN |
			      1u << CAP_FOWNER | 1u << CAP_FSETID | 1u << CAP_SETUID |
			      1u << CAP_SETGID | 1u << CAP_SETFCAP;
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{.effective = keep, .permitted = keep}};

	for (int cap = 0; cap < 64; cap++)
		if (cap > 31 || !(keep & (1u << cap)))
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	if (syscall(SYS_capset, &header, data) < 0)
		die("capset");
}

/* In a child: a user namespace that @go says is mapped, then the server, until the file system is unmounted */
static void serve(int ready, int go, const int *roots, const uint32_t *flags, unsigned int nroots)
{
	unsigned int node_max = getenv("NODE_MAX") ? (unsigned int)atoi(getenv("NODE_MAX")) : 4096;
	pthread_t threads[THREADS];
	struct err err = {0};
	int proc_fd;
	char c = 0;

	/* ThreadSanitizer has a thread of its own, with which there is no unshare */
	if ((!getenv("NO_USERNS") && unshare(CLONE_NEWUSER) < 0) || write(ready, &c, 1) != 1 ||
	    read(go, &c, 1) != 1)
		die("user namespace");
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		die("setresuid");
	drop_capabilities();
	proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	server = fuse_server_new(proc_fd, node_max, &err);
	for (unsigned int i = 0; server && i < nroots; i++) {
		if (fuse_server_add_root(server, i, roots[i], flags[i], &err) < 0)
			break;
	}
	if (err.code) {
		fprintf(stderr, "fuse_mount: %s\n", err.msg);
		exit(125);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, worker, NULL);
	if (write(ready, &c, 1) != 1)
		die("pipe");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	fuse_server_free(server);
	close(proc_fd);
	close(dev_fd);
	exit(0);
}

static pid_t start_server(const int *roots, const uint32_t *flags, unsigned int nroots)
{
	int ready[2], go[2];
	char path[64], c = 0;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
		die("pipe");
	pid = fork();
	if (pid == 0)
		serve(ready[1], go[0], roots, flags, nroots);
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		exit(125);
	if (!getenv("NO_USERNS")) {
		snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
		write_text(path, "0 0 4294967295");
		snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
		write_text(path, "0 0 4294967295");
	}
	if (write(go[1], &c, 1) != 1 || read(ready[0], &c, 1) != 1)
		exit(125);
	return pid;
}

static pid_t agent;

/* The agent's part, in a process of its own, so that it can be ended */
static void start_agent(const char *mountpoint)
{
	agent = fork();
	if (agent == 0) {
		int top = open(mountpoint, O_RDONLY | O_DIRECTORY),
		    proc = open("/proc", O_PATH | O_DIRECTORY);
		struct err err = {0};

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (locks_start(top, proc, &err) < 0 || events_start(top, proc, &err) < 0)
			fprintf(stderr, "fuse_mount: %s\n", err.msg);
		close(top);
		for (;;)
			pause();
	}
}

static void kill_agent(void)
{
	kill(agent, SIGKILL);
	waitpid(agent, NULL, 0);
}

int main(int argc, char **argv)
{
	int roots[16], status, i, server_status;
	unsigned int nroots = 0;
	uint32_t flags[16];
	char options[128];
	pid_t pid, child;

	for (i = 2; i < argc && strcmp(argv[i], "--") != 0 && nroots < 16; i++, nroots++) {
		bool ro = strstr(argv[i], ":ro"), mount_ro = strstr(argv[i], ":mountro"),
		     coherent = strstr(argv[i], ":coherent");

		flags[nroots] = (ro ? FUSE_ROOT_READ_ONLY : 0) |
				(coherent ? FUSE_ROOT_COHERENT | FUSE_ROOT_WATCH : 0);
		argv[i][strcspn(argv[i], ":")] = 0;
		roots[nroots] = detached(argv[i], mount_ro);
	}
	if (nroots == 0 || i + 1 >= argc) {
		fprintf(stderr, "usage: fuse_mount MOUNTPOINT DIR[:ro][:coherent]... -- PROGRAM "
				"[ARGUMENT...]\n");
		return 2;
	}
	dev_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (dev_fd < 0)
		die("/dev/fuse");
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
		 dev_fd);
	if (mount("caisson", argv[1], "fuse.caisson", 0, options) < 0)
		die(argv[1]);
	pid = start_server(roots, flags, nroots);
	close(dev_fd);
	for (unsigned int k = 0; k < nroots; k++)
		close(roots[k]);
	start_agent(argv[1]);
	child = fork();
	if (child == 0) {
		execvp(argv[i + 1], argv + i + 1);
		die(argv[i + 1]);
	}
	waitpid(child, &status, 0);
	/* its read of the control file would keep the file system busy */
	kill_agent();
	if (umount2(argv[1], 0) < 0) {
		fprintf(stderr, "fuse_mount: %s: %s\n", argv[1], strerror(errno));
		umount2(argv[1], MNT_DETACH);
	}
	waitpid(pid, &server_status, 0);
	if (server_status != 0)
		fprintf(stderr, "fuse_mount: the server ended with status %#x\n", server_status);
	return server_status	   ? 125
	       : WIFEXITED(status) ? WEXITSTATUS(status)
				   : 128 + WTERMSIG(status);
}
