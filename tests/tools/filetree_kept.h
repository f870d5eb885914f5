/* SPDX-License-Identifier: Apache-2.0 */
/* Part of filetree.c: what one side leaves behind and the other looks at, a guest and its host for example. */
#ifndef TESTS_TOOLS_FILETREE_KEPT_H
#define TESTS_TOOLS_FILETREE_KEPT_H

#include "tests/tools/filetree_rights.h"

#define KEPT_PAGE 4096
#define KEPT_PUNCHED_PAGES 64
#define KEPT_HOLE 16 /* its first page; 32 pages long */

static const struct acl kept_acl = {
	2, {{1, 6, -1u}, {2, 6, USER}, {4, 0, -1u}, {0x10, 6, -1u}, {0x20, 0, -1u}}};

static const char *kept_long_name(void)
{
	static char name[256];

	memset(name, 'n', 255);
	return name;
}

static int set_kept_acl(const char *path, const char *attribute)
{
	return setxattr(path, attribute, &kept_acl, sizeof(kept_acl), 0);
}

static void make_kept_rights(void)
{
	CHECK(put("acl", "A") == 0 && mkdir("acl-dir", 0755) == 0);
	if (set_kept_acl("acl", "system.posix_acl_access") < 0 && errno == EOPNOTSUPP)
		CHECK(put("no-acls", "") == 0); /* virtio-fs: see docs/files.md */
	else
		CHECK(mode_of("acl") == 0660 &&
		      set_kept_acl("acl-dir", "system.posix_acl_default") == 0);
}

static void make_kept_data(void)
{
	static char page[KEPT_PAGE];
	char *map;
	int fd;

	memset(page, 'p', sizeof(page));
	fd = open("punched", O_CREAT | O_RDWR, 0644);
	for (int i = 0; i < KEPT_PUNCHED_PAGES; i++)
		CHECK(write(fd, page, KEPT_PAGE) == KEPT_PAGE);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, KEPT_HOLE * KEPT_PAGE,
			32 * KEPT_PAGE) == 0);
	close(fd);
	fd = open("mapped", O_CREAT | O_RDWR, 0644);
	CHECK(ftruncate(fd, 3 * KEPT_PAGE) == 0);
	map = mmap(NULL, 3 * KEPT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (CHECK(map != MAP_FAILED)) {
		memcpy(map, "first", 5);
		memcpy(map + KEPT_PAGE - 3, "across", 6);
		map[3 * KEPT_PAGE - 1] = 'z';
		munmap(map, 3 * KEPT_PAGE);
	}
	close(fd);
}

static void make_kept_names(void)
{
	char path[64];
	int fd;

	CHECK(mknod("sock", S_IFSOCK | 0640, 0) == 0);
	CHECK(put(kept_long_name(), "long") == 0);
	CHECK(put("one", "was one") == 0 && put("two", "was two") == 0 &&
	      renameat2(AT_FDCWD, "one", AT_FDCWD, "two", RENAME_EXCHANGE) == 0);
	CHECK(put("before", "moved") == 0 && rename("before", "dir/after") == 0);
	fd = open(".", O_TMPFILE | O_RDWR, 0604);
	if (fd < 0 && errno == EOPNOTSUPP) {
		printf("# no O_TMPFILE here\n");
		fd = open("linked", O_CREAT | O_RDWR, 0604);
		CHECK(write(fd, "from nowhere", 12) == 12);
	} else {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		CHECK(write(fd, "from nowhere", 12) == 12 &&
		      linkat(AT_FDCWD, path, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW) == 0);
	}
	close(fd);
}

static void make_kept(void)
{
	umask(0);
	CHECK(mkdir("kept", 0755) == 0 && chdir("kept") == 0);
	CHECK(put("plain", "plain content") == 0 && chmod("plain", 0640) == 0 &&
	      chown("plain", USER, GROUP) == 0);
	CHECK(mkdir("dir", 02775) == 0 && chmod("dir", 02775) == 0 &&
	      link("plain", "dir/hard") == 0);
	CHECK(symlink("../plain", "dir/soft") == 0 && mkfifo("fifo", 0600) == 0);
	CHECK(mknod("chr", S_IFCHR | 0666, makedev(1, 3)) == 0 &&
	      mknod("blk", S_IFBLK | 0600, makedev(8, 1)) == 0);
	CHECK(mknod("white", S_IFCHR, 0) == 0);
	CHECK(setxattr("plain", "user.kept", "yes", 3, 0) == 0 &&
	      setxattr("plain", "trusted.kept", "T", 1, 0) == 0);
	CHECK(truncate("dir", 0) < 0 && put("sparse", "") == 0 &&
	      truncate("sparse", (off_t)5 << 30) == 0);
	CHECK(copy_self("prog", 0755) == 0);
	struct vfs_cap_data cap = {.magic_etc = VFS_CAP_REVISION_2,
				   .data[0].permitted = 1u << CAP_SYS_CHROOT};
	struct timespec times[2] = {{1111111111, 111111111}, {2222222222, 222222222}};

	CHECK(setxattr("prog", "security.capability", &cap, sizeof(cap), 0) == 0);
	make_kept_rights();
	make_kept_data();
	make_kept_names();
	CHECK(utimensat(AT_FDCWD, "plain", times, 0) == 0 && chdir("..") == 0);
}

/* A device node: itself, or the file that stands for it */
static bool host_node(const char *path, mode_t type, unsigned int major, unsigned int minor,
		      mode_t mode)
{
	char expected[32], value[32] = "";
	struct stat st = st_of(path);

	snprintf(expected, sizeof(expected), "%c %u:%u", type == S_IFCHR ? 'c' : 'b', major, minor);
	if (S_ISREG(st.st_mode))
		return st.st_size == 0 && mode_of(path) == mode &&
		       getxattr(path, "user.caisson.node", value, 31) > 0 &&
		       !strcmp(value, expected);
	return is_node(path, type, major, minor, mode);
}

/* Does @path's attribute hold the ACL that make_kept_rights() gave? */
static bool has_kept_acl(const char *path, const char *attribute)
{
	struct acl back;

	return getxattr(path, attribute, &back, sizeof(back)) == sizeof(back) &&
	       !memcmp(&back, &kept_acl, sizeof(back));
}

/* Bytes @from to @to of @fd are all @c */
static bool all_are(int fd, off_t from, off_t to, char c)
{
	char buffer[KEPT_PAGE];

	for (; from < to; from += KEPT_PAGE) {
		size_t len = to - from < KEPT_PAGE ? (size_t)(to - from) : KEPT_PAGE;

		if (pread(fd, buffer, len, from) != (ssize_t)len)
			return false;
		for (size_t i = 0; i < len; i++)
			if (buffer[i] != c)
				return false;
	}
	return true;
}

static void check_kept_data(void)
{
	int fd = open("punched", O_RDONLY);
	off_t hole = KEPT_HOLE * KEPT_PAGE, back = (KEPT_HOLE + 32) * KEPT_PAGE;
	off_t end = KEPT_PUNCHED_PAGES * KEPT_PAGE;
	char buffer[8];

	CHECK(st_of("punched").st_size == end && all_are(fd, 0, hole, 'p') &&
	      all_are(fd, hole, back, 0) && all_are(fd, back, end, 'p'));
	/* 32 pages and what the file system needs itself */
	CHECK(st_of("punched").st_blocks < (KEPT_PUNCHED_PAGES - 16) * KEPT_PAGE / 512);
	CHECK(lseek(fd, 0, SEEK_HOLE) == hole && lseek(fd, hole, SEEK_DATA) == back);
	close(fd);
	fd = open("mapped", O_RDONLY);
	CHECK(st_of("mapped").st_size == 3 * KEPT_PAGE && pread(fd, buffer, 6, 0) == 6 &&
	      !memcmp(buffer, "first\0", 6));
	CHECK(pread(fd, buffer, 8, KEPT_PAGE - 4) == 8 && !memcmp(buffer, "\0across\0", 8));
	CHECK(all_are(fd, KEPT_PAGE + 3, 3 * KEPT_PAGE - 1, 0) &&
	      pread(fd, buffer, 2, 3 * KEPT_PAGE - 1) == 1 && buffer[0] == 'z');
	close(fd);
}

static void check_kept_rest(void)
{
	CHECK(holds("linked", "from nowhere") && mode_of("linked") == 0604 &&
	      st_of("linked").st_nlink == 1);
	if (access("no-acls", F_OK) == 0) {
		printf("# no ACLs there\n");
	} else {
		CHECK(has_kept_acl("acl", "system.posix_acl_access") && mode_of("acl") == 0660);
		CHECK(has_kept_acl("acl-dir", "system.posix_acl_default") &&
		      mode_of("acl-dir") == 0755);
	}
	CHECK(S_ISSOCK(st_of("sock").st_mode) && mode_of("sock") == 0640);
	CHECK(holds(kept_long_name(), "long"));
	CHECK(holds("one", "was two") && holds("two", "was one"));
	CHECK(st_of("before").st_mode == 0 && holds("dir/after", "moved"));
}

/*
 * Two processes map @path, over a second apart, so that the second one's lookup is a new one, and write to the same page: if that was
 * not one page of one cache, one write is lost.
 */
static void map_twice(const char *path)
{
	pid_t pid[2];
	int wait_fds[2], status;
	char c = 0;

	CHECK(pipe(wait_fds) == 0);
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			int fd = open(path, O_RDWR);
			char *map = mmap(NULL, 2 * KEPT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
					 fd, 0);

			close(wait_fds[1]);
			if (map == MAP_FAILED)
				_exit(1);
			map[i] = (char)('1' + i);
			/* both have it mapped until the end */
			_exit(read(wait_fds[0], &c, 1) != 0);
		}
		usleep(1500000); /* no wait for an event: the time is what is tested */
	}
	close(wait_fds[1]);
	close(wait_fds[0]);
	for (int i = 0; i < 2; i++)
		CHECK(waitpid(pid[i], &status, 0) == pid[i] && status == 0);
}

static int check_kept(const char *top)
{
	struct stat st;
	char value[64];

	if (!CHECK(chdir(top) == 0 && chdir("kept") == 0))
		return 1;
	st = st_of("plain");
	CHECK(holds("plain", "plain content") && st.st_uid == USER && st.st_gid == GROUP &&
	      mode_of("plain") == 0640);
	CHECK(st.st_nlink == 2 && st_of("dir/hard").st_ino == st.st_ino &&
	      st.st_mtim.tv_nsec == 222222222 && st.st_mtim.tv_sec == 2222222222);
	CHECK(mode_of("dir") == 02775 && holds("dir/soft", "plain content") &&
	      readlink("dir/soft", value, 64) == 8);
	CHECK(S_ISFIFO(st_of("fifo").st_mode) && mode_of("fifo") == 0600);
	CHECK(host_node("chr", S_IFCHR, 1, 3, 0666) && host_node("blk", S_IFBLK, 8, 1, 0600) &&
	      host_node("white", S_IFCHR, 0, 0, 0));
	CHECK(getxattr("plain", "user.kept", value, 64) == 3);
	CHECK(getxattr("plain", "trusted.kept", value, 64) == 1 ||
	      getxattr("plain", "user.caisson.trusted.kept", value, 64) == 1);
	st = st_of("sparse");
	CHECK(st.st_size == (off_t)5 << 30 && st.st_blocks < 2048);
	CHECK(getxattr("prog", "security.capability", value, 64) == sizeof(struct vfs_cap_data) &&
	      mode_of("prog") == 0755);
	check_kept_data();
	check_kept_rest();
	printf("%s 1 - kept tree as seen by the host\n1..1\n", failed ? "not ok" : "ok");
	return failed;
}

#endif
