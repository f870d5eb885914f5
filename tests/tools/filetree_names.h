/* SPDX-License-Identifier: Apache-2.0 */
/* Part of filetree.c: names. Creating, renaming, linking, listing, removing. */
#ifndef TESTS_TOOLS_FILETREE_NAMES_H
#define TESTS_TOOLS_FILETREE_NAMES_H

#include "tests/tools/filetree.h"

static void test_create(void)
{
	char name[300];

	umask(027);
	CHECK(close(open("a", O_CREAT | O_EXCL | O_RDWR, 0666)) == 0);
	CHECK(mode_of("a") == 0640);
	FAILS(open("a", O_CREAT | O_EXCL | O_RDWR, 0666), EEXIST);
	CHECK(close(open("a", O_CREAT | O_RDWR, 0666)) == 0);
	CHECK(mkdir("d", 0777) == 0 && mode_of("d") == 0750);
	FAILS(mkdir("d", 0777), EEXIST);
	FAILS(mkdir("a/b", 0777), ENOTDIR);
	FAILS(open("none/b", O_CREAT | O_RDWR, 0666), ENOENT);
	FAILS(open("a", O_DIRECTORY), ENOTDIR);
	FAILS(open("d", O_WRONLY), EISDIR);
	FAILS(unlink("d"), EISDIR);
	FAILS(rmdir("a"), ENOTDIR);
	CHECK(put("d/x", "1") == 0);
	FAILS(rmdir("d"), ENOTEMPTY);
	CHECK(st_of(".").st_nlink >= 1);
	memset(name, 'n', 255);
	name[255] = 0;
	CHECK(put(name, "long") == 0 && holds(name, "long"));
	CHECK(rename(name, "short") == 0 && rename("short", name) == 0 && unlink(name) == 0);
	name[255] = 'n';
	name[256] = 0;
	FAILS(open(name, O_CREAT | O_WRONLY, 0600), ENAMETOOLONG);
	FAILS(lstat(name, &(struct stat){0}), ENAMETOOLONG);
	CHECK(put("\xff\x01 strange\n\xc3\xa4", "name") == 0 &&
	      holds("\xff\x01 strange\n\xc3\xa4", "name"));
	CHECK(put("...", "dots") == 0 && holds("...", "dots"));
}

static int rename2(const char *from, const char *to, unsigned int flags)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

static void test_rename(void)
{
	ino_t ino;

	CHECK(put("a", "A") == 0 && put("b", "B") == 0 && mkdir("d", 0755) == 0 &&
	      mkdir("e", 0755) == 0);
	ino = st_of("a").st_ino;
	CHECK(rename("a", "c") == 0 && st_of("a").st_mode == 0 && holds("c", "A") &&
	      st_of("c").st_ino == ino);
	CHECK(rename("c", "b") == 0 && holds("b", "A") && st_of("c").st_mode == 0);
	CHECK(put("c", "C") == 0);
	FAILS(rename2("b", "c", RENAME_NOREPLACE), EEXIST);
	CHECK(holds("c", "C") && holds("b", "A"));
	CHECK(rename2("b", "n", RENAME_NOREPLACE) == 0 && holds("n", "A"));
	CHECK(rename2("n", "c", RENAME_EXCHANGE) == 0 && holds("n", "C") && holds("c", "A"));
	CHECK(rename2("n", "d", RENAME_EXCHANGE) == 0 && S_ISDIR(st_of("n").st_mode) &&
	      holds("d", "C"));
	CHECK(rename2("n", "d", RENAME_EXCHANGE) == 0 && S_ISDIR(st_of("d").st_mode));
	FAILS(rename2("n", "none", RENAME_EXCHANGE), ENOENT);
	FAILS(rename2("n", "x", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
	CHECK(rename("n", "d/n") == 0 && holds("d/n", "C"));
	FAILS(rename("d", "d/sub"), EINVAL);
	FAILS(rename("c", "d"), EISDIR);
	FAILS(rename("d", "c"), ENOTDIR);
	FAILS(rename("e", "d"), ENOTEMPTY);
	CHECK(rename("d", "e") == 0 && holds("e/n", "C"));
	CHECK(link("c", "c2") == 0 && rename("c", "c2") == 0 &&
	      st_of("c").st_mode != 0); /* the same file: nothing happens */
}

static void test_whiteout(void)
{
	struct stat st;
	int r;

	CHECK(put("a", "A") == 0 && put("b", "B") == 0);
	r = rename2("a", "c", RENAME_WHITEOUT);
	if (r < 0 && errno == EINVAL)
		SKIP("this file system cannot leave whiteouts");
	CHECK(r == 0 && holds("c", "A"));
	st = st_of("a");
	CHECK(S_ISCHR(st.st_mode) && st.st_rdev == 0 && (st.st_mode & 07777) == 0);
	CHECK(rename2("b", "c", RENAME_WHITEOUT) == 0 && holds("c", "B") &&
	      S_ISCHR(st_of("b").st_mode));
	CHECK(put("d", "D") == 0);
	FAILS(rename2("d", "c", RENAME_WHITEOUT | RENAME_NOREPLACE), EEXIST);
	CHECK(holds("d", "D") && holds("c", "B"));
	CHECK(unlink("a") == 0 && unlink("b") == 0);
}

static void test_link(void)
{
	CHECK(put("a", "A") == 0 && mkdir("d", 0755) == 0);
	CHECK(link("a", "d/b") == 0);
	CHECK(st_of("a").st_nlink == 2 && st_of("d/b").st_ino == st_of("a").st_ino &&
	      st_of("d/b").st_dev == st_of("a").st_dev);
	FAILS(link("a", "d/b"), EEXIST);
	FAILS(link("d", "d2"), EPERM);
	CHECK(put("d/b", "other") == 0 && holds("a", "other"));
	CHECK(symlink("a", "s") == 0 && link("s", "s2") == 0 && S_ISLNK(st_of("s2").st_mode) &&
	      st_of("s").st_nlink == 2);
	CHECK(linkat(AT_FDCWD, "s", AT_FDCWD, "t", AT_SYMLINK_FOLLOW) == 0 &&
	      st_of("t").st_ino == st_of("a").st_ino);
	CHECK(unlink("a") == 0 && holds("d/b", "other") && st_of("d/b").st_nlink == 2);
}

static void test_symlink(void)
{
	char target[4096], back[4096];
	struct timespec times[2] = {{1000, 1}, {2000, 2}};

	memset(target, 'x', 4000);
	target[4000] = 0;
	CHECK(symlink(target, "long") == 0 && readlink("long", back, sizeof(back)) == 4000 &&
	      !memcmp(back, target, 4000));
	CHECK(st_of("long").st_size == 4000);
	CHECK(symlink("loop", "loop") == 0);
	FAILS(open("loop", O_RDONLY), ELOOP);
	FAILS(open("long", O_RDONLY), ENAMETOOLONG);
	CHECK(put("file", "F") == 0 && mkdir("d", 0755) == 0 && symlink("../file", "d/up") == 0 &&
	      holds("d/up", "F"));
	CHECK(symlink("/nowhere", "abs") == 0);
	FAILS(open("abs", O_RDONLY), ENOENT);
	CHECK(lchown("d/up", USER, GROUP) == 0 && st_of("d/up").st_uid == USER &&
	      st_of("file").st_uid == 0);
	CHECK(utimensat(AT_FDCWD, "d/up", times, AT_SYMLINK_NOFOLLOW) == 0 &&
	      st_of("d/up").st_mtim.tv_sec == 2000);
	CHECK(st_of("file").st_mtim.tv_sec != 2000);
	FAILS(readlink("file", back, sizeof(back)), EINVAL);
	FAILS(open("d/up", O_RDONLY | O_NOFOLLOW), ELOOP);
}

static void test_unlinked(void)
{
	int fds[200], fd, dir;
	char name[32], buffer[8] = {0};
	struct stat st;

	fd = open("a", O_CREAT | O_RDWR, 0644);
	CHECK(write(fd, "hello", 5) == 5 && unlink("a") == 0);
	CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 5);
	CHECK(pread(fd, buffer, 5, 0) == 5 && !memcmp(buffer, "hello", 5));
	CHECK(pwrite(fd, "J", 1, 0) == 1 && ftruncate(fd, 3) == 0 && fchmod(fd, 0600) == 0 &&
	      fchown(fd, USER, GROUP) == 0);
	CHECK(fstat(fd, &st) == 0 && st.st_size == 3 && (st.st_mode & 07777) == 0600 &&
	      st.st_uid == USER);
	CHECK(fsetxattr(fd, "user.x", "1", 1, 0) == 0 || errno == EOPNOTSUPP);
	close(fd);
	fd = open("b", O_CREAT | O_RDWR, 0644); /* replaced by a rename */
	CHECK(write(fd, "old", 3) == 3 && put("c", "new") == 0 && rename("c", "b") == 0);
	CHECK(pread(fd, buffer, 3, 0) == 3 && !memcmp(buffer, "old", 3) && holds("b", "new"));
	close(fd);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		fds[i] = open(name, O_CREAT | O_RDWR, 0600);
		CHECK(write(fds[i], name, 4) == 4 && unlink(name) == 0);
	}
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		CHECK(pread(fds[i], buffer, 4, 0) == 4 && !memcmp(buffer, name, 2) &&
		      fstat(fds[i], &st) == 0 && st.st_nlink == 0);
		close(fds[i]);
	}
	CHECK(mkdir("gone", 0755) == 0);
	dir = open("gone", O_RDONLY | O_DIRECTORY);
	CHECK(rmdir("gone") == 0 && fstat(dir, &st) == 0);
	FAILS(openat(dir, "x", O_CREAT | O_WRONLY, 0600), ENOENT);
	close(dir);
}

static void test_tmpfile(void)
{
	char path[64];
	struct stat st;
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);

	if (fd < 0 && errno == EOPNOTSUPP)
		SKIP("no O_TMPFILE here");
	CHECK(fd >= 0 && write(fd, "tmp", 3) == 3 && fstat(fd, &st) == 0 && st.st_nlink == 0 &&
	      st.st_size == 3);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
	CHECK(holds("named", "tmp") && mode_of("named") == (0640 & ~022) && fstat(fd, &st) == 0 &&
	      st.st_nlink == 1);
	close(fd);
	fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	FAILS(linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW), ENOENT);
	close(fd);
	IN_CHILD({
		CHECK(chmod(".", 0777) == 0);
		become(USER, GROUP, 0);
		fd = open(".", O_TMPFILE | O_RDWR, 0600);
		CHECK(fstat(fd, &st) == 0 && st.st_uid == USER && st.st_gid == GROUP);
	});
}

/* Lists with a small buffer too, goes back to a remembered place, and removes while reading */
static void test_big_directory(void)
{
	unsigned int n = big_entries, seen = 0, after = 0;
	unsigned char *found = calloc(n, 1);
	struct dirent *entry;
	char name[64];
	long place = 0;
	DIR *dir;

	CHECK(mkdir("big", 0755) == 0 && chdir("big") == 0);
	for (unsigned int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "entry-%06u", i);
		if (!CHECK(mknod(name, S_IFREG | 0644, 0) == 0))
			return;
	}
	dir = opendir(".");
	while ((entry = readdir(dir))) {
		unsigned int i = n;

		if (sscanf(entry->d_name, "entry-%u", &i) != 1)
			continue;
		CHECK(i < n && !found[i] && entry->d_type == DT_REG);
		found[i < n ? i : 0] = 1;
		if (++seen == n / 2)
			place = telldir(dir);
	}
	CHECK(seen == n);
	seekdir(dir, place);
	while ((entry = readdir(dir)))
		after += entry->d_name[0] == 'e';
	CHECK(after == n - n / 2);
	rewinddir(dir);
	for (seen = 0; (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		if (seen % 1000 == 0)
			CHECK(S_ISREG(st_of(entry->d_name).st_mode));
		if (!CHECK(unlink(entry->d_name) == 0))
			return;
		seen++;
	}
	closedir(dir);
	CHECK(seen == n && chdir("..") == 0 && rmdir("big") == 0);
	free(found);
}

static void test_deep(void)
{
	char path[PATH_MAX];
	struct stat st;
	int depth = 400, back;

	for (int i = 0; i < depth; i++) {
		if (!CHECK(mkdir("d", 0755) == 0 && chdir("d") == 0))
			return;
	}
	CHECK(put("bottom", "deep") == 0 && holds("bottom", "deep"));
	CHECK(getcwd(path, sizeof(path)) != NULL);
	CHECK(unlink("bottom") == 0);
	for (back = 0; back < depth && CHECK(chdir("..") == 0 && rmdir("d") == 0); back++)
		;
	CHECK(stat("d", &st) < 0);
}

/* Processes make, rename and remove in one directory at once */
static void test_parallel(void)
{
	pid_t pids[8];
	int status;

	for (int p = 0; p < 8; p++) {
		fflush(stdout);
		pids[p] = fork();
		if (pids[p] != 0)
			continue;
		for (int i = 0; i < 100; i++) {
			char a[32], b[32];

			snprintf(a, sizeof(a), "p%d-%d", p, i);
			snprintf(b, sizeof(b), "q%d-%d", p, i);
			CHECK(put(a, a) == 0 && rename(a, b) == 0 && holds(b, a) && unlink(b) == 0);
			snprintf(b, sizeof(b), "shared%d", i % 5);
			(void)put(b, "x");
			(void)rename(b, "target");
			(void)unlink(b);
		}
		fflush(stdout);
		_exit(failed);
	}
	for (int p = 0; p < 8; p++)
		CHECK(waitpid(pids[p], &status, 0) == pids[p] && status == 0);
}

#endif
