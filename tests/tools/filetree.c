/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file tree test: does a directory behave as on a local Linux file system?
 *
 *   filetree [-n ENTRIES] [-o TEST] [-k] [-m FILE] DIR     run all tests (or one) below DIR, as root; -k: leave DIR/kept behind;
 *                                                -m: two processes map FILE and write "1" and "2" at its beginning
 *   filetree --host DIR                          on the host: is DIR/kept what the guest left there?
 *   filetree --list DIR                          print the names in DIR as they come, without a look at the files
 *   filetree --stay FILE                         hold a write lock on FILE until standard input ends; prints "locked"
 *
 * It runs on ext4, tmpfs and overlayfs first, which proves the expectations, and then on virtio-fs inside a guest. TAP on
 * standard output, exit status 1 if anything failed. One static program; its parts are the headers beside it.
 */
#include "tests/tools/filetree.h"
#include "tests/tools/filetree_data.h"
#include "tests/tools/filetree_locks.h"
#include "tests/tools/filetree_names.h"
#include "tests/tools/filetree_rights.h"
#include "tests/tools/filetree_kept.h" /* uses the others */

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"create", test_create},
	{"rename", test_rename},
	{"whiteout", test_whiteout},
	{"link", test_link},
	{"symlink", test_symlink},
	{"unlinked-open", test_unlinked},
	{"tmpfile", test_tmpfile},
	{"deep", test_deep},
	{"parallel", test_parallel},
	{"truncate", test_truncate},
	{"fallocate", test_fallocate},
	{"holes", test_holes},
	{"sparse-5G", test_sparse},
	{"mmap", test_mmap},
	{"append", test_append},
	{"copy", test_copy},
	{"random-io", test_random_io},
	{"times", test_times},
	{"statfs", test_statfs},
	{"xattr", test_xattr},
	{"trusted", test_trusted},
	{"capability", test_capability},
	{"acl", test_acl},
	{"chown", test_chown},
	{"killpriv", test_killpriv},
	{"setgid-dir", test_setgid_dir},
	{"identities", test_identities},
	{"mknod", test_mknod},
	{"fifo-socket", test_fifo_socket},
	{"fcntl-locks", test_fcntl_locks},
	{"flock", test_flock},
	{"waiter", test_waiter_gets_lock},
	{"killed-waiter", test_killed_waiter},
	{"deadlock", test_deadlock},
	{"hundred-waiters", test_hundred_waiters},
	{"big-directory", test_big_directory},
};
#define NTESTS (sizeof(tests) / sizeof(tests[0]))

static void remove_tree(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	struct dirent *entry;
	DIR *dir;

	if (fd < 0) {
		unlinkat(dirfd, name, 0);
		return;
	}
	dir = fdopendir(fd);
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			remove_tree(fd, entry->d_name);
	closedir(dir);
	unlinkat(dirfd, name, AT_REMOVEDIR);
}

/* Runs test @i in a child and a directory of its own; Return: 1 if it failed */
static int run_test(const char *top, size_t i)
{
	int status = -1, skipped[2];
	char reason[200] = "";
	double start = seconds();
	ssize_t n;
	pid_t pid;

	fflush(stdout);
	if (pipe(skipped) < 0)
		return 1;
	pid = fork();
	if (pid == 0) {
		close(skipped[0]);
		umask(022);
		if (chdir(top) < 0 ||
		    (remove_tree(AT_FDCWD, tests[i].name), mkdir(tests[i].name, 0755)) < 0 ||
		    chdir(tests[i].name) < 0) {
			printf("# %s/%s: %s\n", top, tests[i].name, strerror(errno));
			_exit(1);
		}
		tests[i].run();
		if (skip_reason && !failed)
			(void)!write(skipped[1], skip_reason, strlen(skip_reason));
		fflush(stdout);
		if (chdir(top) == 0 && !failed)
			remove_tree(AT_FDCWD, tests[i].name);
		_exit(failed);
	}
	close(skipped[1]);
	waitpid(pid, &status, 0);
	n = read(skipped[0], reason, sizeof(reason) - 1);
	close(skipped[0]);
	if (n > 0)
		printf("ok %zu - %s # SKIP %s\n", i + 1, tests[i].name, reason);
	else
		printf("%s %zu - %s (%.1f s)\n", status == 0 ? "ok" : "not ok", i + 1,
		       tests[i].name, seconds() - start);
	fflush(stdout);
	return status != 0;
}

static int list_main(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);

	if (!dir)
		return 1;
	for (errno = 0; (entry = readdir(dir)); errno = 0)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			puts(entry->d_name);
	return errno != 0 || fflush(stdout) != 0;
}

static int probe_main(void)
{
	/* to its own root: nothing changes, but only with the capability */
	return (geteuid() == 0 ? 1 : 0) | (chroot("/") == 0 ? 2 : 0);
}

static int stay_main(const char *path)
{
	int fd = open(path, O_RDWR);
	char c;

	if (fd < 0 || lock_range(fd, F_SETLK, F_WRLCK, 0, 0) < 0 ||
	    flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 1;
	printf("locked\n");
	fflush(stdout);
	return read(0, &c, 1) != 0;
}

int main(int argc, char **argv)
{
	const char *only = NULL, *mapped = NULL;
	int option, nfailed = 0;
	bool keep = false;

	if (argc == 2 && !strcmp(argv[1], "--probe"))
		return probe_main();
	if (argc == 3 && !strcmp(argv[1], "--host"))
		return check_kept(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "--list"))
		return list_main(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "--stay"))
		return stay_main(argv[2]);
	while ((option = getopt(argc, argv, "n:o:km:")) != -1) {
		if (option == 'n')
			big_entries = (unsigned int)atoi(optarg);
		else if (option == 'o')
			only = optarg;
		else if (option == 'k')
			keep = true;
		else if (option == 'm')
			mapped = optarg;
		else
			return 2;
	}
	if (optind + 1 != argc || chdir(argv[optind]) < 0) {
		fprintf(stderr, "usage: filetree [-n ENTRIES] [-o TEST] [-k] [-m FILE] DIR\n");
		return 2;
	}
	printf("1..%zu\n", only ? 1 : NTESTS);
	for (size_t i = 0; i < NTESTS; i++) {
		if (!only || !strcmp(only, tests[i].name))
			nfailed += run_test(".", i);
	}
	if (keep) {
		remove_tree(AT_FDCWD, "kept");
		make_kept();
	}
	if (mapped)
		map_twice(mapped);
	return nfailed > 0 || failed;
}
