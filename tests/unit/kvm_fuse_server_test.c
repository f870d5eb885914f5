/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file server at the level of its protocol: what a hostile guest may send is refused, and what an honest one relies on holds.
 *
 * How requests are built and sent: tests/unit/fuse_client.h.
 */
#include "tests/unit/fuse_client.h"

/* ---- refusals ---- */

static void test_names(void **state)
{
	struct world *w = *state;
	static const char *const bad[] = {"", ".", "..", "/", "a/b", "../x", "/etc", "file/"};
	static const uint32_t removers[] = {FUSE_LOOKUP, FUSE_UNLINK, FUSE_RMDIR};
	uint64_t file;
	char name[300];

	assert_int_equal(lookup(w, w->root, "file", &file), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(removers); k++) {
			begin(&w->call, removers[k], w->root);
			add_name(&w->call, bad[i]);
			assert_int_equal(send_call(w->server, &w->call), -EINVAL);
		}
		begin(&w->call, FUSE_MKDIR, w->root);
		add(&w->call, &(struct fuse_mkdir_in){.mode = 0755}, sizeof(struct fuse_mkdir_in));
		add_name(&w->call, bad[i]);
		assert_int_equal(send_call(w->server, &w->call), -EINVAL);
		begin(&w->call, FUSE_RENAME2, w->root);
		add(&w->call, &(struct fuse_rename2_in){.newdir = w->root},
		    sizeof(struct fuse_rename2_in));
		add_name(&w->call, "file");
		add_name(&w->call, bad[i]);
		assert_int_equal(send_call(w->server, &w->call), -EINVAL);
		begin(&w->call, FUSE_RENAME2, w->root);
		add(&w->call, &(struct fuse_rename2_in){.newdir = w->root},
		    sizeof(struct fuse_rename2_in));
		add_name(&w->call, bad[i]);
		add_name(&w->call, "moved");
		assert_int_equal(send_call(w->server, &w->call), -EINVAL);
		begin(&w->call, FUSE_MKNOD, w->root);
		add(&w->call, &(struct fuse_mknod_in){.mode = S_IFREG | 0644},
		    sizeof(struct fuse_mknod_in));
		add_name(&w->call, bad[i]);
		assert_int_equal(send_call(w->server, &w->call), -EINVAL);
		begin(&w->call, FUSE_CREATE, w->root);
		add(&w->call, &(struct fuse_create_in){.flags = O_RDWR | O_CREAT, .mode = 0644},
		    sizeof(struct fuse_create_in));
		add_name(&w->call, bad[i]);
		assert_int_equal(send_call(w->server, &w->call), -EINVAL);
		begin(&w->call, FUSE_LINK, w->root);
		add(&w->call, &(struct fuse_link_in){.oldnodeid = file},
		    sizeof(struct fuse_link_in));
		add_name(&w->call, bad[i]);
		assert_int_equal(send_call(w->server, &w->call), -EINVAL);
		begin(&w->call, FUSE_SYMLINK, w->root);
		add_name(&w->call, bad[i]);
		add_name(&w->call, "target");
		assert_int_equal(send_call(w->server, &w->call), -EINVAL);
		assert_int_equal(lookup(w, NODEID_TOP, bad[i], NULL), -EINVAL);
	}
	memset(name, 'n', sizeof(name));
	name[256] = 0;
	assert_int_equal(lookup(w, w->root, name, NULL), -ENAMETOOLONG);
	name[255] = 0;
	assert_int_equal(lookup(w, w->root, name, NULL), -ENOENT);
	begin(&w->call, FUSE_LOOKUP, w->root); /* not terminated */
	add(&w->call, "file", 4);
	assert_int_equal(send_call(w->server, &w->call), -EINVAL);
	begin(&w->call, FUSE_LOOKUP, w->root); /* and something behind it */
	add(&w->call, "file\0x", 7);
	assert_int_equal(send_call(w->server, &w->call), -EINVAL);
	assert_int_equal(lookup(w, NODEID_TOP, "1", NULL), -ENOENT);
	assert_int_equal(lookup(w, NODEID_TOP, "00", NULL), -ENOENT);
	assert_int_equal(lookup(w, NODEID_TOP, "4294967296", NULL), -ENOENT);
	assert_int_equal(faccessat(w->dirfd, "file", F_OK, 0), 0);
}

static void test_unknown(void **state)
{
	struct world *w = *state;
	static const uint64_t ids[] = {0, 5, 15, 9999, UINT64_MAX, 1ull << 63};
	struct fuse_read_in read_in = {.fh = 12345, .size = 100};
	uint64_t id, fh;

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		assert_int_equal(getattr(w, ids[i]), -ENOENT);
		assert_int_equal(lookup(w, ids[i], "file", NULL), -ENOENT);
		forget(w, ids[i], 5);
	}
	assert_int_equal(lookup(w, w->root, "file", &id), 0);
	begin(&w->call, FUSE_READ, id);
	add(&w->call, &read_in, sizeof(read_in));
	assert_int_equal(send_call(w->server, &w->call), -EBADF);
	assert_int_equal(open_node(w, id, O_RDONLY, &fh), 0);
	read_in.fh = fh;
	begin(&w->call, FUSE_READ, w->root); /* another node's handle */
	add(&w->call, &read_in, sizeof(read_in));
	assert_int_equal(send_call(w->server, &w->call), -EBADF);
	begin(&w->call, FUSE_READDIR, id); /* a file's as a directory's */
	add(&w->call, &read_in, sizeof(read_in));
	assert_int_equal(send_call(w->server, &w->call), -EBADF);
	begin(&w->call, FUSE_READ, id);
	add(&w->call, &read_in, sizeof(read_in));
	assert_int_equal(send_call(w->server, &w->call), 0);
	assert_memory_equal(payload(&w->call), "content", 7);
	for (uint32_t opcode = 0; opcode < 5000; opcode++) {
		bool known = opcode <= 52 && opcode != 0 && opcode != 7 && opcode != 19 &&
			     opcode != FUSE_BMAP && opcode != FUSE_POLL &&
			     opcode != FUSE_NOTIFY_REPLY && opcode != FUSE_SETUPMAPPING &&
			     opcode != FUSE_REMOVEMAPPING && opcode != FUSE_ACCESS;

		begin(&w->call, opcode, id);
		if (!known)
			assert_int_equal(send_call(w->server, &w->call), -ENOSYS);
	}
}

/* Every operation with every length of arguments, and every little room for the answer */
static void test_sizes(void **state)
{
	struct world *w = *state;
	static const uint8_t fill[] = {0, 1, 0xff, 'a'};
	uint64_t id;

	assert_int_equal(lookup(w, w->root, "file", &id), 0);
	for (uint32_t opcode = 1; opcode <= 52; opcode++) {
		for (size_t len = 0; len < 160; len++) {
			if (opcode == FUSE_INIT || opcode == FUSE_DESTROY || opcode == FUSE_SYNCFS)
				continue;
			begin(&w->call, opcode, len % 3 ? id : w->root);
			memset(w->call.args, fill[len % sizeof(fill)], len);
			w->call.len = len;
			w->call.room = len * 2;
			(void)send_call(w->server, &w->call);
		}
	}
	for (int off = -41; off < 5000; off += 7) { /* a header that lies about its length */
		if (off == 0)
			continue;
		begin(&w->call, FUSE_LOOKUP, w->root);
		add_name(&w->call, "file");
		w->call.h.len = (uint32_t)((int)sizeof(w->call.h) + 5 + off);
		assert_int_equal(send_call(w->server, &w->call), -EINVAL);
	}
	begin(&w->call, FUSE_LOOKUP, w->root);
	add_name(&w->call, "file");
	w->call.h.total_extlen = 1000;
	assert_int_equal(send_call(w->server, &w->call), -EINVAL);
	begin(&w->call, FUSE_GETATTR, w->root); /* too long */
	w->call.len = 300;
	assert_int_equal(send_call(w->server, &w->call), -EINVAL);
	assert_int_equal(getattr(w, w->root), 0);
}

static void test_write_sizes(void **state)
{
	struct world *w = *state;
	struct fuse_write_in in = {.size = 5};
	uint64_t id;

	assert_int_equal(lookup(w, w->root, "file", &id), 0);
	assert_int_equal(open_node(w, id, O_RDWR, &in.fh), 0);
	for (uint32_t size = 0; size < 20; size++) {
		begin(&w->call, FUSE_WRITE, id);
		in.size = size;
		add(&w->call, &in, sizeof(in));
		add(&w->call, "12345", 5);
		assert_int_equal(send_call(w->server, &w->call), size == 5 ? 0 : -EINVAL);
	}
	in.size = 5;
	in.offset = UINT64_MAX;
	begin(&w->call, FUSE_WRITE, id);
	add(&w->call, &in, sizeof(in));
	add(&w->call, "12345", 5);
	assert_int_equal(send_call(w->server, &w->call), -EINVAL);
}

static void test_before_init(void **state)
{
	struct world *w = *state;
	struct fuse_init_in in = {.major = 7, .minor = 35};

	fuse_server_reset(w->server);
	assert_int_equal(getattr(w, NODEID_TOP), -EIO);
	begin(&w->call, FUSE_INIT, 0);
	add(&w->call, &in, sizeof(in));
	assert_int_equal(send_call(w->server, &w->call), -EPROTO);
	in.major = 8;
	begin(&w->call, FUSE_INIT, 0);
	add(&w->call, &in, sizeof(in));
	assert_int_equal(send_call(w->server, &w->call), 0);
	assert_int_equal(((const struct fuse_init_out *)payload(&w->call))->major, 7);
	assert_int_equal(getattr(w, NODEID_TOP), -EIO);
	assert_int_equal(init_server(w, &w->call), 0);
	assert_int_equal(getattr(w, NODEID_TOP), 0);
	assert_int_equal(getattr(w, w->root), -ENOENT); /* the last mount's */
}

static void test_read_only(void **state)
{
	struct world *w = *state;
	static const uint32_t writers[] = {
		FUSE_SETATTR,  FUSE_SYMLINK,	 FUSE_MKNOD,   FUSE_MKDIR,   FUSE_UNLINK,
		FUSE_RMDIR,    FUSE_RENAME,	 FUSE_RENAME2, FUSE_LINK,    FUSE_WRITE,
		FUSE_SETXATTR, FUSE_REMOVEXATTR, FUSE_CREATE,  FUSE_TMPFILE, FUSE_FALLOCATE};
	struct fuse_copy_file_range_in copy = {.len = 3};
	uint64_t root, id, fh;

	assert_int_equal(
		fuse_server_add_root(w->server, 5, dup(w->dirfd), FUSE_ROOT_READ_ONLY, NULL), 0);
	assert_int_equal(lookup(w, NODEID_TOP, "5", &root), 0);
	assert_int_equal(lookup(w, root, "file", &id), 0);
	for (size_t i = 0; i < ARRAY_SIZE(writers); i++) {
		begin(&w->call, writers[i], i % 2 ? root : id);
		assert_int_equal(send_call(w->server, &w->call), -EROFS);
		begin(&w->call, writers[i], NODEID_TOP);
		assert_int_equal(send_call(w->server, &w->call), -EROFS);
	}
	assert_int_equal(open_node(w, id, O_WRONLY, &fh), -EROFS);
	assert_int_equal(open_node(w, id, O_RDWR, &fh), -EROFS);
	assert_int_equal(open_node(w, id, O_RDONLY | O_TRUNC, &fh), -EROFS);
	assert_int_equal(open_node(w, id, O_RDONLY, &fh), 0);
	copy.fh_in = copy.fh_out = fh;
	copy.nodeid_out = id;
	begin(&w->call, FUSE_COPY_FILE_RANGE, id);
	add(&w->call, &copy, sizeof(copy));
	assert_int_equal(send_call(w->server, &w->call), -EROFS);
	begin(&w->call, FUSE_RENAME, w->root); /* from a writable root into it */
	add(&w->call, &(struct fuse_rename_in){root}, sizeof(struct fuse_rename_in));
	add_name(&w->call, "file");
	add_name(&w->call, "moved");
	assert_int_equal(send_call(w->server, &w->call), -EXDEV);
}

static void test_special_files(void **state)
{
	struct world *w = *state;
	uint64_t id, fh;

	assert_int_equal(mkfifoat(w->dirfd, "fifo", 0600), 0);
	assert_int_equal(symlinkat("/etc/passwd", w->dirfd, "link"), 0);
	assert_int_equal(lookup(w, w->root, "fifo", &id), 0);
	assert_int_equal(open_node(w, id, O_RDONLY, &fh), -EACCES); /* would wait for a writer */
	assert_int_equal(lookup(w, w->root, "link", &id), 0);
	assert_int_equal(open_node(w, id, O_RDONLY, &fh), -EACCES); /* never followed */
	assert_int_equal(lookup(w, id, "x", NULL), -ENOTDIR);
	assert_int_equal(open_node(w, w->root, O_RDONLY, &fh), -EISDIR);
}

/* ---- roots, forgetting, the LRU ---- */

static void test_roots(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	uint64_t root, id;
	int fd = dup(w->dirfd);

	assert_int_equal(fuse_server_add_root(w->server, 0, fd, 0, &err), -EEXIST);
	assert_int_equal(fuse_server_add_root(w->server, 256, fd, 0, &err), -EINVAL);
	assert_int_equal(fuse_server_add_root(w->server, 7, w->proc_fd, 0, NULL), -EACCES);
	assert_int_equal(
		fuse_server_add_root(w->server, 7, open("/dev", O_PATH | O_DIRECTORY), 0, NULL),
		0); /* any directory of files */
	assert_int_equal(fuse_server_remove_root(w->server, 7, NULL), 0);
	assert_int_equal(fuse_server_add_root(w->server, 9, fd, 0, &err), 0);
	assert_int_equal(lookup(w, NODEID_TOP, "9", &root), 0);
	assert_int_equal(lookup(w, root, "file", &id), 0);
	assert_true(root != w->root); /* each export has its own nodes */
	assert_int_equal(fuse_server_remove_root(w->server, 9, NULL), 0);
	assert_int_equal(fuse_server_remove_root(w->server, 9, NULL), -ENOENT);
	assert_int_equal(getattr(w, id), -ESTALE);
	assert_int_equal(lookup(w, root, "file", NULL), -ESTALE);
	assert_int_equal(lookup(w, NODEID_TOP, "9", NULL), -ENOENT);
	forget(w, id, 1);
	forget(w, root, 1);
	assert_int_equal(getattr(w, id), -ENOENT);
}

static void test_forget(void **state)
{
	struct world *w = *state;
	uint64_t id, again;

	assert_int_equal(lookup(w, w->root, "file", &id), 0);
	assert_int_equal(lookup(w, w->root, "file", &again), 0);
	assert_true(id == again);
	forget(w, id, 1);
	assert_int_equal(getattr(w, id), 0);
	forget(w, id, 1);
	assert_int_equal(getattr(w, id), -ENOENT);
	forget(w, id, UINT64_MAX);
	assert_int_equal(lookup(w, w->root, "file", &again), 0);
	assert_true(id != again);     /* never used twice */
	forget(w, again, UINT64_MAX); /* more than there are */
	assert_int_equal(getattr(w, again), -ENOENT);
	forget(w, w->root, 1);
	assert_int_equal(getattr(w, w->root), -ENOENT);
	assert_int_equal(lookup(w, NODEID_TOP, "0", &w->root), 0);
}

static void test_lru(void **state)
{
	struct world *w = *state;
	unsigned int before = open_descriptors();
	uint64_t ids[500], dir, inner, kept, fh;
	char name[32];

	assert_int_equal(mkdirat(w->dirfd, "dir", 0755), 0);
	host_file(w, "dir/inner", "inner");
	assert_int_equal(lookup(w, w->root, "dir", &dir), 0);
	assert_int_equal(lookup(w, dir, "inner", &inner), 0);
	assert_int_equal(lookup(w, w->root, "file", &kept), 0);
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		host_file(w, name, name);
		assert_int_equal(lookup(w, w->root, name, &ids[i]), 0);
	}
	assert_true(open_descriptors() <= before + 66);
	/* reopened by parent and name, through a closed parent too */
	assert_int_equal(getattr(w, inner), 0);
	for (int i = 0; i < 500; i++)
		assert_int_equal(getattr(w, ids[i]), 0);
	/* replaced by the host while closed */
	assert_int_equal(unlinkat(w->dirfd, "f3", 0), 0);
	host_file(w, "f3", "another");
	assert_int_equal(getattr(w, ids[3]), -ESTALE);
	/* moved by the host */
	assert_int_equal(renameat(w->dirfd, "f4", w->dirfd, "elsewhere"), 0);
	assert_int_equal(getattr(w, ids[4]), -ESTALE);
	assert_int_equal(lookup(w, w->root, "elsewhere", &fh), 0);
	assert_true(fh == ids[4]);
	/* unlinked by the guest: stays usable, however many come after it */
	begin(&w->call, FUSE_UNLINK, w->root);
	add_name(&w->call, "f5");
	assert_int_equal(send_call(w->server, &w->call), 0);
	for (int i = 100; i < 500; i++)
		assert_int_equal(getattr(w, ids[i]), 0);
	assert_int_equal(getattr(w, ids[5]), 0);
	assert_int_equal(open_node(w, ids[5], O_RDONLY, &fh), 0);
	assert_true(open_descriptors() <= before + 70);
}

/* ---- stored attributes ---- */

static void test_hidden_attributes(void **state)
{
	struct world *w = *state;
	struct fuse_getxattr_in in = {.size = 1000};
	uint64_t id;
	char value[16], path[128];

	assert_int_equal(lookup(w, w->root, "file", &id), 0);
	if (setxattr_of(w, id, "trusted.a", "1") == -EOPNOTSUPP)
		skip();
	snprintf(path, sizeof(path), "%s/file", w->dir);
	assert_int_equal(getxattr(path, "user.caisson.trusted.a", value, sizeof(value)), 1);
	assert_int_equal(setxattr_of(w, id, "security.selinux", "label"), 0);
	assert_int_equal(getxattr(path, "user.caisson.security.selinux", value, sizeof(value)), 5);
	assert_int_equal(setxattr(path, "user.caisson.node", "c 1:3", 5, 0), 0);
	assert_int_equal(getxattr_of(w, id, "user.caisson.node"), -ENODATA);
	assert_int_equal(getxattr_of(w, id, "user.caisson.trusted.a"), -ENODATA);
	assert_int_equal(getxattr_of(w, id, "trusted.a"), 0);
	assert_int_equal(setxattr_of(w, id, "user.caisson.node", "b 8:0"), -EPERM);
	assert_int_equal(setxattr_of(w, id, "nonsense.x", "1"), -EOPNOTSUPP);
	begin(&w->call, FUSE_LISTXATTR, id);
	add(&w->call, &in, sizeof(in));
	assert_int_equal(send_call(w->server, &w->call), 0);
	assert_null(memmem(payload(&w->call), (size_t)w->call.written - 16, "caisson", 7));
	assert_non_null(memmem(payload(&w->call), (size_t)w->call.written - 16, "trusted.a", 10));
	/* only an empty file is a device */
	assert_int_equal(getattr(w, id), 0);
	assert_true(S_ISREG(((const struct fuse_attr_out *)payload(&w->call))->attr.mode));
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(getattr(w, id), 0);
	assert_true(S_ISCHR(((const struct fuse_attr_out *)payload(&w->call))->attr.mode));
	assert_int_equal(((const struct fuse_attr_out *)payload(&w->call))->attr.rdev, 0x103);
}

/* ---- locks ---- */

static void test_locks(void **state)
{
	struct world *w = *state;
	struct call *waiting = calloc(1, sizeof(*waiting));
	const struct fuse_lk_out *out = payload(&w->call);
	uint64_t id, fh;

	assert_int_equal(lookup(w, w->root, "file", &id), 0);
	assert_int_equal(open_node(w, id, O_RDWR, &fh), 0);
	assert_int_equal(lock(w, &w->call, FUSE_SETLK, id, 999, 1, F_WRLCK, 0, 9), -EBADF);
	assert_int_equal(lock(w, &w->call, FUSE_SETLK, id, fh, 1, 77, 0, 9), -EINVAL);
	assert_int_equal(lock(w, &w->call, FUSE_SETLK, id, fh, 1, F_WRLCK, 9, 0), -EINVAL);
	assert_int_equal(lock(w, &w->call, FUSE_SETLK, id, fh, 1, F_WRLCK, 0, UINT64_MAX), -EINVAL);
	assert_int_equal(lock(w, &w->call, FUSE_SETLK, id, fh, 1, F_WRLCK, 0, 9), 0);
	assert_int_equal(lock(w, &w->call, FUSE_SETLK, id, fh, 2, F_RDLCK, 5, 5), -EAGAIN);
	assert_int_equal(lock(w, &w->call, FUSE_SETLK, id, fh, 2, F_WRLCK, 10, 19), 0);
	assert_int_equal(lock(w, &w->call, FUSE_GETLK, id, fh, 2, F_WRLCK, 0, INT64_MAX), 0);
	assert_true(out->lk.type == F_WRLCK && out->lk.start == 0 && out->lk.end == 9 &&
		    out->lk.pid == 1);
	/* 1 waits for 2; then 2 for 1 would be a deadlock */
	assert_int_equal(lock(w, waiting, FUSE_SETLKW, id, fh, 1, F_WRLCK, 15, 15), 2);
	assert_int_equal(lock(w, &w->call, FUSE_SETLKW, id, fh, 2, F_WRLCK, 5, 5), -EDEADLK);
	assert_int_equal(lock(w, &w->call, FUSE_SETLK, id, fh, 2, F_UNLCK, 12, 16), 0);
	assert_int_equal(wait_for(waiting), 0);
	/* a host process's lock: the poller finds its end */
	int fd = openat(w->dirfd, "file", O_RDWR);
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 1};

	assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
	assert_int_equal(lock(w, waiting, FUSE_SETLKW, id, fh, 1, F_WRLCK, 100, 100), 2);
	close(fd);
	assert_int_equal(wait_for(waiting), 0);
	/* FLUSH ends an owner's locks */
	begin(&w->call, FUSE_FLUSH, id);
	add(&w->call, &(struct fuse_flush_in){.fh = fh, .lock_owner = 1},
	    sizeof(struct fuse_flush_in));
	assert_int_equal(send_call(w->server, &w->call), 0);
	assert_int_equal(lock(w, &w->call, FUSE_SETLK, id, fh, 3, F_WRLCK, 100, 100), 0);
	free(waiting);
}

static void test_waiters(void **state)
{
	struct world *w = *state;
	struct call *calls = calloc(SERVER_WAITERS_MAX + 1, sizeof(*calls)),
		    *reader = calloc(1, sizeof(*reader));
	struct fuse_read_in read_in = {.size = 100};
	struct fuse_write_in cancel = {.fh = FH_CONTROL, .size = 16};
	const struct control_waiter *report = payload(reader);
	uint64_t id, fh, uniques[2];

	assert_int_equal(lookup(w, w->root, "file", &id), 0);
	assert_int_equal(open_node(w, id, O_RDWR, &fh), 0);
	read_in.fh = FH_CONTROL;
	read_in.size = 4000;
	begin(reader, FUSE_READ, NODEID_LOCKS);
	add(reader, &read_in, sizeof(read_in));
	assert_int_equal(send_call(w->server, reader), 2); /* nobody waits yet */
	begin(&w->call, FUSE_READ, NODEID_LOCKS);
	add(&w->call, &read_in, sizeof(read_in));
	assert_int_equal(send_call(w->server, &w->call), -EBUSY);
	assert_int_equal(lock(w, &w->call, FUSE_SETLK, id, fh, 1, F_WRLCK, 0, 9), 0);
	for (unsigned int i = 0; i < SERVER_WAITERS_MAX; i++)
		assert_int_equal(lock(w, &calls[i], FUSE_SETLKW, id, fh, 10 + i, F_WRLCK, 0, 0), 2);
	assert_int_equal(lock(w, &w->call, FUSE_SETLKW, id, fh, 5, F_WRLCK, 0, 0), -ENOLCK);
	/* others are served */
	read_in = (struct fuse_read_in){.fh = fh, .size = 100};
	for (int i = 0; i < 1000; i++) {
		begin(&w->call, FUSE_READ, id);
		add(&w->call, &read_in, sizeof(read_in));
		assert_int_equal(send_call(w->server, &w->call), 0);
	}
	assert_int_equal(wait_for(reader), 0);
	assert_true(reader->written >= 16 + 2 * (ssize_t)sizeof(*report) &&
		    report[0].unique == calls[0].h.unique && report[0].pid == 7);
	uniques[0] = report[1].unique;
	uniques[1] = 424242;
	begin(&w->call, FUSE_WRITE, NODEID_LOCKS);
	add(&w->call, &cancel, sizeof(cancel));
	add(&w->call, uniques, sizeof(uniques));
	assert_int_equal(send_call(w->server, &w->call), 0);
	assert_true(calls[1].done && wait_for(&calls[1]) == -EINTR);
	/* the lock goes to the one that waits longest */
	assert_false(calls[0].done);
	assert_int_equal(lock(w, &w->call, FUSE_SETLK, id, fh, 1, F_UNLCK, 0, INT64_MAX), 0);
	assert_true(calls[0].done && wait_for(&calls[0]) == 0);
	assert_false(calls[2].done);
	fuse_server_reset(w->server);
	for (unsigned int i = 2; i < SERVER_WAITERS_MAX; i++)
		assert_int_equal(wait_for(&calls[i]), -ENOTCONN);
	free(calls);
	free(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unknown, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sizes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_write_sizes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_before_init, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_read_only, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_special_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_roots, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_forget, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lru, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hidden_attributes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_locks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_waiters, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
