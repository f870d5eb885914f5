/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the file server with sequences of FUSE requests (kvm/fuse/server.c and all behind it).
 *
 * The input is a list of requests: {opcode, choice of node, choice of handle, length} and that many bytes of arguments. Nodes and
 * handles are mostly ones that the server has given out, so that the handlers are reached, and the header's length is mostly
 * right. Below is one small directory, exported twice, with a socket in it; no answer may be longer than its room. Runs as any user.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"

#define KNOWN 8u /* nodes and handles remembered */
#define ROOM 4096u
#define DEFERRED_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t nodes[KNOWN], handles[KNOWN];
static unsigned int nnodes, nhandles;

struct job {
	struct fuse_request request;
	struct iovec in, out;
	uint8_t in_bytes[2048], out_bytes[ROOM];
};

static void on_complete(struct fuse_request *request, size_t written)
{
	if (written > ROOM)
		abort();
	free(container_of(request, struct job, request));
}

static char directory[] = "/tmp/caisson-fuzz-XXXXXX";

static void remove_directory(void)
{
	char command[80];

	(void)snprintf(command, sizeof(command), "rm -rf %s", directory);
	(void)!system(command);
}

/* One directory for the whole run, with a file, a directory and a link in it; inputs may leave more */
static int make_directory(void)
{
	static bool made;
	int dir, fd;

	if (!made && (!mkdtemp(directory) || atexit(remove_directory) != 0))
		abort();
	made = true;
	dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(dir, "a", O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd >= 0)
		close(fd);
	(void)mkdirat(dir, "d", 0700);
	(void)!symlinkat("a", dir, "s");
	(void)mknodat(dir, "u", S_IFSOCK | 0600, 0);
	return dir;
}

static void remember(const struct fuse_in_header *h, const struct job *job, ssize_t n)
{
	const struct fuse_entry_out *entry = (const void *)(job->out_bytes +
							    sizeof(struct fuse_out_header));
	bool makes_entry = h->opcode == FUSE_LOOKUP || h->opcode == FUSE_CREATE ||
			   h->opcode == FUSE_MKDIR || h->opcode == FUSE_MKNOD ||
			   h->opcode == FUSE_TMPFILE || h->opcode == FUSE_SYMLINK;
	uint64_t value;

	if (makes_entry && (size_t)n >= sizeof(struct fuse_out_header) + sizeof(*entry)) {
		memcpy(&value, &entry->nodeid, sizeof(value));
		nodes[nnodes++ % KNOWN] = value;
		if (h->opcode == FUSE_CREATE || h->opcode == FUSE_TMPFILE)
			memcpy(&handles[nhandles++ % KNOWN], entry + 1, sizeof(value));
	}
	if ((h->opcode == FUSE_OPEN || h->opcode == FUSE_OPENDIR) &&
	    (size_t)n >= sizeof(struct fuse_out_header) + 16)
		memcpy(&handles[nhandles++ % KNOWN], entry, sizeof(value));
}

/* The monitor's part: a socket that was looked up is relayed, or not, a request later */
static uint32_t asked;

static int on_socket(void *arg, uint32_t id, unsigned int root, int fd)
{
	(void)arg;
	if (root != 1 || fcntl(fd, F_GETFD) < 0)
		abort();
	if (asked)
		return -EAGAIN;
	asked = id;
	return 0;
}

static void answer_asked(struct fuse_server *server, bool relayed)
{
	uint32_t id = asked;

	asked = 0;
	if (id)
		fuse_server_socket_done(server, id, relayed);
}

static void run(struct fuse_server *server, const struct fuse_in_header *h, const uint8_t *args,
		size_t len, size_t room)
{
	struct job *job = calloc(1, sizeof(*job));
	ssize_t n;

	memcpy(job->in_bytes, h, sizeof(*h));
	memcpy(job->in_bytes + sizeof(*h), args, len);
	job->in = (struct iovec){job->in_bytes, sizeof(*h) + len};
	job->out = (struct iovec){job->out_bytes, room};
	job->request = (struct fuse_request){
		.in = &job->in, .nin = 1, .out = &job->out, .nout = 1, .complete = on_complete};
	n = fuse_server_handle(server, &job->request);
	if (n == FUSE_DEFERRED)
		return;
	if (n < 0 || (size_t)n > room)
		abort();
	if (n > 0)
		remember(h, job, n);
	free(job);
}

/* Many arguments begin with a handle or another node: mostly, give them a real one */
static void put_known(uint32_t opcode, uint8_t choice, uint8_t *args, size_t len)
{
	static const uint64_t by_handle = 1ull << FUSE_READ | 1ull << FUSE_WRITE |
					  1ull << FUSE_RELEASE | 1ull << FUSE_FSYNC |
					  1ull << FUSE_FLUSH | 1ull << FUSE_READDIR |
					  1ull << FUSE_READDIRPLUS | 1ull << FUSE_RELEASEDIR |
					  1ull << FUSE_FSYNCDIR | 1ull << FUSE_GETLK |
					  1ull << FUSE_SETLK | 1ull << FUSE_SETLKW |
					  1ull << FUSE_FALLOCATE | 1ull << FUSE_LSEEK |
					  1ull << FUSE_COPY_FILE_RANGE;
	static const uint64_t by_node = 1ull << FUSE_RENAME | 1ull << FUSE_RENAME2 |
					1ull << FUSE_LINK;

	if (choice >= 0xc0 || len < 8)
		return;
	if (by_handle >> opcode & 1)
		memcpy(args, &handles[choice % KNOWN], 8);
	else if (by_node >> opcode & 1)
		memcpy(args, &nodes[choice % KNOWN], 8);
}

static void init(struct fuse_server *server)
{
	struct fuse_init_in in = {.major = 7, .minor = 41, .flags = ~0u, .flags2 = ~0u};
	struct fuse_in_header h = {.opcode = FUSE_INIT, .len = sizeof(h) + sizeof(in)};

	run(server, &h, (const uint8_t *)&in, sizeof(in), ROOM);
	h = (struct fuse_in_header){
		.opcode = FUSE_LOOKUP, .nodeid = NODEID_TOP, .len = sizeof(h) + 2};
	run(server, &h, (const uint8_t *)"0", 2, ROOM);
	h = (struct fuse_in_header){
		.opcode = FUSE_LOOKUP, .nodeid = nodes[0], .len = sizeof(h) + 2};
	run(server, &h, (const uint8_t *)"a", 2, ROOM);
	h.nodeid = NODEID_TOP;
	run(server, &h, (const uint8_t *)"1", 2, ROOM);
	h.nodeid = nodes[2];
	h.len = sizeof(h) + sizeof(SOCKETS_NAME);
	run(server, &h, (const uint8_t *)SOCKETS_NAME, sizeof(SOCKETS_NAME), ROOM);
	h.opcode = FUSE_OPEN;
	h.nodeid = nodes[1];
	h.len = sizeof(h) + sizeof(struct fuse_open_in);
	run(server, &h, (const uint8_t *)&(struct fuse_open_in){.flags = O_RDWR},
	    sizeof(struct fuse_open_in), ROOM);
}

static void run_input(const uint8_t *data, size_t size)
{
	int dir = make_directory(),
	    proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct fuse_server *server = fuse_server_new(proc_fd, 64, NULL);
	unsigned int count = 0;

	memset(nodes, 0, sizeof(nodes));
	memset(handles, 0, sizeof(handles));
	nnodes = nhandles = 0;
	if (!server ||
	    fuse_server_add_root(server, 1, dup(dir), FUSE_ROOT_COHERENT | FUSE_ROOT_WATCH, NULL) <
		    0 ||
	    fuse_server_add_root(server, 0, dir, 0, NULL) < 0)
		abort();
	asked = 0;
	fuse_server_on_socket(server, on_socket, NULL);
	init(server);
	while (size >= 6 && count++ < DEFERRED_MAX) {
		struct fuse_in_header h = {.opcode = data[0] % 56,
					   .unique = count,
					   .uid = geteuid(),
					   .gid = getegid(),
					   .pid = data[2] & 0x40 ? 2 : 1};
		size_t len = data[3] | (size_t)(data[4] & 3) << 8,
		       room = data[5] & 0x80 ? data[5] & 0x7f : ROOM;
		uint8_t args[1024];

		if (h.opcode == FUSE_SYNCFS) /* slow, and nothing to find */
			h.opcode = FUSE_LOOKUP;
		h.nodeid = data[1] & 0x80 ? data[1] & 0x1f : nodes[data[1] % KNOWN];
		data += 6;
		size -= 6;
		len = len < size ? len : size;
		memcpy(args, data, len);
		put_known(h.opcode, data[-4], args, len);
		h.len = (uint32_t)(sizeof(h) + len);
		answer_asked(server, count & 1);
		run(server, &h, args, len, room);
		data += len;
		size -= len;
	}
	fuse_server_free(server);
	close(proc_fd);
}

struct input {
	const uint8_t *data;
	size_t size;
};

static void *input_main(void *arg)
{
	const struct input *input = arg;

	run_input(input->data, input->size);
	return NULL;
}

/* In a thread of its own, whose working directory the server may change */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	pthread_t thread;

	if (pthread_create(&thread, NULL, input_main, &input) != 0)
		abort();
	pthread_join(thread, NULL);
	return 0;
}
