/* SPDX-License-Identifier: Apache-2.0 */
/* Part of filetree.c: what files hold. Sizes, holes, mappings, appending, times. */
#ifndef TESTS_TOOLS_FILETREE_DATA_H
#define TESTS_TOOLS_FILETREE_DATA_H

#include "tests/tools/filetree.h"

static void test_truncate(void)
{
	char buffer[10];
	struct stat st;
	int fd = open("a", O_CREAT | O_RDWR, 0644);

	CHECK(write(fd, "0123456789", 10) == 10 && ftruncate(fd, 4) == 0 && fstat(fd, &st) == 0 &&
	      st.st_size == 4);
	CHECK(ftruncate(fd, 8) == 0 && pread(fd, buffer, 10, 0) == 8 &&
	      !memcmp(buffer, "0123\0\0\0\0", 8));
	CHECK(truncate("a", 2) == 0 && fstat(fd, &st) == 0 && st.st_size == 2 &&
	      pread(fd, buffer, 10, 0) == 2);
	CHECK(truncate("a", 1 << 20) == 0 && st_of("a").st_size == 1 << 20);
	close(fd);
	fd = open("a", O_RDONLY | O_TRUNC);
	CHECK(fd >= 0 && st_of("a").st_size == 0);
	FAILS(ftruncate(fd, 1), EINVAL);
	close(fd);
	FAILS(truncate("a", -1), EINVAL);
	FAILS(truncate(".", 0), EISDIR);
}

static void test_fallocate(void)
{
	char buffer[4096];
	struct stat st;
	int fd = open("a", O_CREAT | O_RDWR, 0644);

	if (fallocate(fd, 0, 0, 1 << 20) < 0 && errno == EOPNOTSUPP)
		SKIP("no fallocate here");
	CHECK(fstat(fd, &st) == 0 && st.st_size == 1 << 20 && st.st_blocks >= (1 << 20) / 512);
	CHECK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 1 << 20, 1 << 20) == 0 && fstat(fd, &st) == 0 &&
	      st.st_size == 1 << 20);
	memset(buffer, 'x', sizeof(buffer));
	for (int i = 0; i < 256; i++)
		CHECK(pwrite(fd, buffer, 4096, i * 4096) == 4096);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, 65536) == 0);
	CHECK(pread(fd, buffer, 4096, 65536) == 4096 && buffer[0] == 0 && buffer[4095] == 0);
	CHECK(pread(fd, buffer, 4096, 131072) == 4096 && buffer[0] == 'x');
	FAILS(fallocate(fd, 0, 0, 0), EINVAL);
	FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10), EOPNOTSUPP);
	close(fd);
}

static void test_holes(void)
{
	int fd = open("a", O_CREAT | O_RDWR, 0644);
	char buffer[65536];

	memset(buffer, 'x', sizeof(buffer));
	CHECK(pwrite(fd, buffer, sizeof(buffer), 1 << 20) == sizeof(buffer) &&
	      ftruncate(fd, 4 << 20) == 0 && fsync(fd) == 0);
	CHECK(lseek(fd, 0, SEEK_DATA) == 1 << 20);
	CHECK(lseek(fd, 1 << 20, SEEK_HOLE) == (1 << 20) + (off_t)sizeof(buffer));
	CHECK(lseek(fd, 0, SEEK_HOLE) == 0);
	FAILS(lseek(fd, 2 << 20, SEEK_DATA), ENXIO);
	FAILS(lseek(fd, 4 << 20, SEEK_HOLE), ENXIO);
	CHECK(lseek(fd, 0, SEEK_END) == 4 << 20);
	close(fd);
}

static void test_sparse(void)
{
	const off_t end = (off_t)5 << 30;
	char buffer[4] = {1, 1, 1, 1};
	struct stat st;
	int fd = open("a", O_CREAT | O_RDWR, 0644);

	CHECK(pwrite(fd, "end", 3, end - 3) == 3 && fsync(fd) == 0);
	CHECK(fstat(fd, &st) == 0 && st.st_size == end && st.st_blocks < 2048);
	CHECK(pread(fd, buffer, 4, (off_t)3 << 30) == 4 && !memcmp(buffer, "\0\0\0\0", 4));
	CHECK(pread(fd, buffer, 4, end - 3) == 3 && !memcmp(buffer, "end", 3));
	CHECK(lseek(fd, 0, SEEK_DATA) >= end - (2 << 20));
	close(fd);
}

static void test_mmap(void)
{
	const size_t len = 1 << 20;
	char *a, *b, buffer[16];
	int fd = open("a", O_CREAT | O_RDWR, 0644), second;

	CHECK(ftruncate(fd, (off_t)len) == 0);
	a = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!CHECK(a != MAP_FAILED))
		return;
	memcpy(a + 5000, "mapped", 6);
	CHECK(pread(fd, buffer, 6, 5000) == 6 && !memcmp(buffer, "mapped", 6));
	CHECK(pwrite(fd, "written", 7, 9000) == 7 && !memcmp(a + 9000, "written", 7));
	close(fd); /* the mapping lives on */
	memcpy(a + len - 4, "last", 4);
	CHECK(msync(a, len, MS_SYNC) == 0);
	second = open("a", O_RDONLY);
	b = mmap(NULL, len, PROT_READ, MAP_SHARED, second, 0);
	CHECK(b != MAP_FAILED && !memcmp(b + len - 4, "last", 4) && !memcmp(b + 5000, "mapped", 6));
	IN_CHILD(memcpy(a + 20000, "child", 5));
	CHECK(!memcmp(b + 20000, "child", 5));
	CHECK(munmap(a, len) == 0 && munmap(b, len) == 0);
	CHECK(pread(second, buffer, 5, 20000) == 5 && !memcmp(buffer, "child", 5));
	close(second);
	a = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, second = open("a", O_RDONLY), 0);
	CHECK(a != MAP_FAILED);
	a[0] = 'p';
	CHECK(pread(second, buffer, 1, 0) == 1 && buffer[0] == 0);
	close(second);
}

static void test_append(void)
{
	pid_t pids[4];
	char record[512], *all;
	int fd, status, counts[4] = {0};

	for (int p = 0; p < 4; p++) {
		fflush(stdout);
		pids[p] = fork();
		if (pids[p] != 0)
			continue;
		fd = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644);
		memset(record, 'a' + p, sizeof(record));
		for (int i = 0; i < 100; i++)
			CHECK(write(fd, record, sizeof(record)) == sizeof(record));
		_exit(failed);
	}
	for (int p = 0; p < 4; p++)
		CHECK(waitpid(pids[p], &status, 0) == pids[p] && status == 0);
	CHECK(st_of("log").st_size == 4 * 100 * (off_t)sizeof(record));
	fd = open("log", O_RDONLY);
	all = calloc(400, sizeof(record));
	CHECK(read(fd, all, 400 * sizeof(record)) == 400 * (ssize_t)sizeof(record));
	for (size_t i = 0; i < 400; i++) {
		char *r = all + i * sizeof(record);

		CHECK(r[0] >= 'a' && r[0] <= 'd' && r[0] == r[511]);
		counts[(r[0] - 'a') & 3]++;
	}
	CHECK(counts[0] == 100 && counts[1] == 100 && counts[2] == 100 && counts[3] == 100);
	close(fd);
	free(all);
}

static void test_copy(void)
{
	char *data = malloc(3 << 20), *back = malloc(3 << 20);
	loff_t from = 0, to = 0;
	size_t left = 3 << 20;
	int in, out;

	for (size_t i = 0; i < left; i++)
		data[i] = (char)(i * 2654435761u >> 13);
	in = open("in", O_CREAT | O_RDWR, 0644);
	out = open("out", O_CREAT | O_RDWR, 0644);
	CHECK(write(in, data, left) == (ssize_t)left);
	while (left > 0) {
		ssize_t n = copy_file_range(in, &from, out, &to, left, 0);

		if (!CHECK(n > 0))
			break;
		left -= (size_t)n;
	}
	CHECK(pread(out, back, 3 << 20, 0) == 3 << 20 && !memcmp(data, back, 3 << 20));
	CHECK(ftruncate(out, 0) == 0 && lseek(in, 0, SEEK_SET) == 0);
	CHECK(sendfile(out, in, NULL, 1 << 20) > 0);
	CHECK(fsync(out) == 0 && fdatasync(out) == 0 && syncfs(out) == 0);
	close(in);
	close(out);
	in = open(".", O_RDONLY);
	CHECK(fsync(in) == 0);
	free(data);
	free(back);
}

/* Writes and reads at odd places and sizes against a copy in memory; O_DIRECT where the file system has it */
static void test_random_io(void)
{
	const size_t len = 2 << 20;
	char *model = calloc(1, len), *back = malloc(len);
	int fd = open("a", O_CREAT | O_RDWR, 0644), direct;
	unsigned int seed = 1;
	void *aligned;

	CHECK(ftruncate(fd, (off_t)len) == 0);
	for (int i = 0; i < 300; i++) {
		size_t at = (size_t)rand_r(&seed) % len,
		       n = (size_t)rand_r(&seed) % (len - at < 300000 ? len - at : 300000);

		memset(model + at, 'A' + i % 26, n);
		CHECK(pwrite(fd, model + at, n, (off_t)at) == (ssize_t)n);
		at = (size_t)rand_r(&seed) % len;
		n = (size_t)rand_r(&seed) % (len - at);
		CHECK(pread(fd, back, n, (off_t)at) == (ssize_t)n && !memcmp(back, model + at, n));
	}
	direct = open("a", O_RDWR | O_DIRECT);
	if (direct >= 0 && posix_memalign(&aligned, 4096, len) == 0) {
		CHECK(pread(direct, aligned, len, 0) == (ssize_t)len &&
		      !memcmp(aligned, model, len));
		memset(aligned, 'D', 65536);
		memset(model + 65536, 'D', 65536);
		CHECK(pwrite(direct, aligned, 65536, 65536) == 65536);
		CHECK(pread(fd, back, len, 0) == (ssize_t)len && !memcmp(back, model, len));
		free(aligned);
	}
	free(model);
	free(back);
}

static void test_times(void)
{
	struct timespec times[2] = {{1234567890, 123456789}, {4000000000, 987654321}}, now;
	struct statx stx;
	struct stat st;

	CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0 && put("a", "A") == 0);
	CHECK(statx(AT_FDCWD, "a", 0, STATX_ALL, &stx) == 0);
	if (stx.stx_mask & STATX_BTIME)
		CHECK(llabs((long long)stx.stx_btime.tv_sec - now.tv_sec) < 60);
	else
		printf("# no birth time here\n");
	CHECK(utimensat(AT_FDCWD, "a", times, 0) == 0);
	st = st_of("a");
	CHECK(st.st_atim.tv_sec == 1234567890 && st.st_atim.tv_nsec == 123456789);
	CHECK(st.st_mtim.tv_sec == 4000000000 && st.st_mtim.tv_nsec == 987654321);
	times[0].tv_nsec = UTIME_OMIT;
	times[1].tv_nsec = UTIME_NOW;
	CHECK(utimensat(AT_FDCWD, "a", times, 0) == 0);
	st = st_of("a");
	CHECK(st.st_atim.tv_nsec == 123456789 &&
	      llabs((long long)st.st_mtim.tv_sec - now.tv_sec) < 600);
	times[1] = (struct timespec){-1000, 5};
	CHECK(utimensat(AT_FDCWD, "a", times, 0) == 0 && st_of("a").st_mtim.tv_sec == -1000);
	CHECK(chmod("a", 0600) == 0 &&
	      llabs((long long)st_of("a").st_ctim.tv_sec - now.tv_sec) < 600);
	CHECK(mkdir("d", 0755) == 0 && utimensat(AT_FDCWD, "d", times, 0) == 0 &&
	      put("d/x", "") == 0);
	CHECK(st_of("d").st_mtim.tv_sec != -1000);
}

static void test_statfs(void)
{
	struct statvfs v;
	int fd = open(".", O_RDONLY);

	CHECK(statvfs(".", &v) == 0 && v.f_blocks > 0 && v.f_bsize >= 512 && v.f_namemax == 255 &&
	      v.f_bfree <= v.f_blocks);
	CHECK(fstatvfs(fd, &v) == 0 && v.f_files > 0);
	close(fd);
}

#endif
