/* SPDX-License-Identifier: Apache-2.0 */
/* Part of filetree.c: who may do what. Attributes, ACLs, owners, modes, device nodes, identities. */
#ifndef TESTS_TOOLS_FILETREE_RIGHTS_H
#define TESTS_TOOLS_FILETREE_RIGHTS_H

#include "tests/tools/filetree.h"

/* ---- extended attributes ---- */

static bool listed(const char *path, const char *name)
{
	char list[4096];
	ssize_t n = listxattr(path, list, sizeof(list));

	for (ssize_t i = 0; i < n; i += (ssize_t)strlen(list + i) + 1)
		if (!strcmp(list + i, name))
			return true;
	return false;
}

static void test_xattr(void)
{
	char big[3000], back[3000];

	CHECK(put("a", "A") == 0);
	if (setxattr("a", "user.one", "1", 1, 0) < 0 && errno == EOPNOTSUPP)
		SKIP("no user attributes here");
	CHECK(getxattr("a", "user.one", NULL, 0) == 1 && getxattr("a", "user.one", back, 10) == 1 &&
	      back[0] == '1');
	FAILS(setxattr("a", "user.one", "2", 1, XATTR_CREATE), EEXIST);
	FAILS(setxattr("a", "user.two", "2", 1, XATTR_REPLACE), ENODATA);
	CHECK(setxattr("a", "user.one", "22", 2, XATTR_REPLACE) == 0 &&
	      getxattr("a", "user.one", back, 10) == 2);
	FAILS(getxattr("a", "user.one", back, 1), ERANGE);
	FAILS(getxattr("a", "user.none", back, 10), ENODATA);
	FAILS(removexattr("a", "user.none"), ENODATA);
	FAILS(setxattr("a", "nonsense", "1", 1, 0), EOPNOTSUPP);
	memset(big, 'b', sizeof(big));
	CHECK(setxattr("a", "user.big", big, sizeof(big), 0) == 0);
	CHECK(getxattr("a", "user.big", back, sizeof(back)) == sizeof(big) &&
	      !memcmp(big, back, sizeof(big)));
	CHECK(setxattr("a", "user.empty", "", 0, 0) == 0 &&
	      getxattr("a", "user.empty", back, 10) == 0);
	CHECK(listed("a", "user.one") && listed("a", "user.big") && listed("a", "user.empty"));
	CHECK(removexattr("a", "user.one") == 0 && !listed("a", "user.one"));
	CHECK(mkdir("d", 0755) == 0 && setxattr("d", "user.dir", "1", 1, 0) == 0 &&
	      listed("d", "user.dir"));
	CHECK(link("a", "b") == 0 && getxattr("b", "user.big", NULL, 0) == sizeof(big));
	CHECK(mkfifo("fifo", 0600) == 0);
	FAILS(setxattr("fifo", "user.x", "1", 1, 0), EPERM);
}

static void test_trusted(void)
{
	char back[64];

	CHECK(put("a", "A") == 0 && mkdir("d", 0755) == 0 && chmod(".", 0755) == 0);
	if (setxattr("a", "trusted.t", "T", 1, 0) < 0 && (errno == EOPNOTSUPP || errno == EPERM))
		SKIP("no trusted attributes here");
	CHECK(getxattr("a", "trusted.t", back, sizeof(back)) == 1 && back[0] == 'T' &&
	      listed("a", "trusted.t"));
	CHECK(setxattr("d", "trusted.overlay.opaque", "y", 1, 0) == 0 &&
	      listed("d", "trusted.overlay.opaque"));
	FAILS(setxattr("a", "trusted.t", "2", 1, XATTR_CREATE), EEXIST);
	FAILS(getxattr("a", "trusted.none", back, sizeof(back)), ENODATA);
	IN_CHILD({
		become(USER, GROUP, 0);
		FAILS(getxattr("a", "trusted.t", back, sizeof(back)), ENODATA);
		FAILS(setxattr("a", "trusted.u", "U", 1, 0), EPERM);
	});
	CHECK(removexattr("a", "trusted.t") == 0);
	FAILS(getxattr("a", "trusted.t", back, sizeof(back)), ENODATA);
}

static int copy_self(const char *to, mode_t mode)
{
	int in = open("/proc/self/exe", O_RDONLY),
	    out = open(to, O_CREAT | O_WRONLY | O_TRUNC, 0755);
	static char buffer[65536];
	ssize_t n;

	while ((n = read(in, buffer, sizeof(buffer))) > 0)
		if (write(out, buffer, (size_t)n) != n)
			return -1;
	close(in);
	if (fchmod(out, mode) < 0)
		return -1;
	return close(out);
}

/* Runs ./@program --probe as another user; Return: its exit code: 1 = uid 0 in effect, 2 = may chroot */
static int probe(const char *program)
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		become(USER, GROUP, 0);
		execl(program, program, "--probe", (char *)NULL);
		_exit(99);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_capability(void)
{
	struct vfs_cap_data cap = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
				   .data[0].permitted = 1u << CAP_SYS_CHROOT};
	struct vfs_ns_cap_data back;
	struct statvfs v;
	int fd;

	CHECK(chmod(".", 0777) == 0 && copy_self("prog", 0755) == 0);
	CHECK(probe("./prog") == 0);
	if (!CHECK(setxattr("prog", "security.capability", &cap, sizeof(cap), 0) == 0))
		return;
	CHECK(getxattr("prog", "security.capability", &back, sizeof(back)) == sizeof(cap) &&
	      !memcmp(&back, &cap, sizeof(cap)));
	CHECK(listed("prog", "security.capability"));
	CHECK(statvfs(".", &v) == 0);
	if (v.f_flag & ST_NOSUID)
		printf("# nosuid here: the capability is stored, but not used\n");
	else
		CHECK(probe("./prog") == 2);
	/* a write takes it away */
	fd = open("prog", O_WRONLY | O_APPEND);
	CHECK(write(fd, "x", 1) == 1);
	close(fd);
	FAILS(getxattr("prog", "security.capability", &back, sizeof(back)), ENODATA);
	CHECK(setxattr("prog", "security.capability", &cap, sizeof(cap), 0) == 0 &&
	      chown("prog", USER, GROUP) == 0);
	FAILS(getxattr("prog", "security.capability", &back, sizeof(back)), ENODATA);
}

/* ---- ACLs: the kernel's attribute format ---- */

struct acl {
	uint32_t version;
	struct {
		uint16_t tag, perm;
		uint32_t id;
	} e[5];
};

static void test_acl(void)
{
	struct acl acl = {2,
			  {{1, 6, -1u}, {2, 6, USER}, {4, 0, -1u}, {0x10, 6, -1u}, {0x20, 0, -1u}}},
		   back;

	CHECK(put("a", "A") == 0 && chmod("a", 0600) == 0 && mkdir("d", 0777) == 0 &&
	      chmod(".", 0755) == 0);
	if (setxattr("a", "system.posix_acl_access", &acl, sizeof(acl), 0) < 0 &&
	    errno == EOPNOTSUPP)
		SKIP("no ACLs here");
	CHECK(getxattr("a", "system.posix_acl_access", &back, sizeof(back)) == sizeof(acl) &&
	      !memcmp(&acl, &back, sizeof(acl)));
	CHECK(mode_of("a") == 0660); /* the group bits show the mask */
	IN_CHILD({
		become(USER, GROUP, 0);
		CHECK(holds("a", "A") && put("a", "B") == 0);
	});
	IN_CHILD({
		become(USER + 1, GROUP, 0);
		FAILS(open("a", O_RDONLY), EACCES);
	});
	CHECK(chmod("a", 0600) == 0); /* now the mask is empty */
	IN_CHILD({
		become(USER, GROUP, 0);
		FAILS(open("a", O_RDONLY), EACCES);
	});
	/* a default ACL takes the umask's place */
	CHECK(setxattr("d", "system.posix_acl_default", &acl, sizeof(acl), 0) == 0);
	umask(077);
	CHECK(close(open("d/new", O_CREAT | O_WRONLY, 0666)) == 0 && mode_of("d/new") == 0660);
	CHECK(getxattr("d/new", "system.posix_acl_access", &back, sizeof(back)) == sizeof(acl));
	CHECK(mkdir("d/sub", 0777) == 0 &&
	      getxattr("d/sub", "system.posix_acl_default", &back, sizeof(back)) == sizeof(acl));
	umask(022);
	CHECK(removexattr("a", "system.posix_acl_access") == 0);
	FAILS(getxattr("a", "system.posix_acl_access", &back, sizeof(back)), ENODATA);
	/* setgid goes when one sets an ACL on a file of a group one is not in */
	CHECK(put("g", "G") == 0 && chown("g", USER, TEAM) == 0 && chmod("g", 02770) == 0);
	IN_CHILD({
		become(USER, GROUP, 0);
		CHECK(setxattr("g", "system.posix_acl_access", &acl, sizeof(acl), 0) == 0 &&
		      !(mode_of("g") & S_ISGID));
	});
}

/* ---- owners and modes ---- */

static void test_chown(void)
{
	CHECK(put("a", "A") == 0 && chown("a", USER, GROUP) == 0 && st_of("a").st_uid == USER &&
	      st_of("a").st_gid == GROUP);
	CHECK(chmod("a", 06755) == 0 && mode_of("a") == 06755);
	CHECK(chown("a", 0, 0) == 0 && mode_of("a") == 0755); /* setuid and setgid go */
	CHECK(chmod("a", 06755) == 0 && chown("a", USER, (gid_t)-1) == 0 && mode_of("a") == 0755);
	CHECK(mkdir("d", 0755) == 0 && chmod("d", 02755) == 0 && chown("d", USER, GROUP) == 0 &&
	      mode_of("d") == 02755);
	CHECK(chmod(".", 0777) == 0 && chmod("a", 0644) == 0);
	IN_CHILD({
		become(USER, GROUP, TEAM);
		FAILS(chown("a", USER + 1, (gid_t)-1), EPERM);
		FAILS(chown("a", (uid_t)-1, 7), EPERM);
		CHECK(chown("a", (uid_t)-1, TEAM) == 0 && st_of("a").st_gid == TEAM);
		CHECK(put("mine", "M") == 0 && st_of("mine").st_uid == USER &&
		      st_of("mine").st_gid == GROUP);
		CHECK(mkdir("mydir", 0755) == 0 && st_of("mydir").st_uid == USER);
		CHECK(symlink("x", "mylink") == 0 && st_of("mylink").st_uid == USER);
		CHECK(mkfifo("myfifo", 0600) == 0 && st_of("myfifo").st_uid == USER);
	});
	FAILS(chmod("none", 0600), ENOENT);
	CHECK(chmod("a", 07777) == 0 && mode_of("a") == 07777);
}

static void test_killpriv(void)
{
	int fd;

	CHECK(chmod(".", 0777) == 0 && put("a", "A") == 0 && chmod("a", 06777) == 0);
	fd = open("a", O_WRONLY); /* root has CAP_FSETID: the bits stay */
	CHECK(write(fd, "x", 1) == 1 && mode_of("a") == 06777);
	close(fd);
	IN_CHILD({
		become(USER, GROUP, 0);
		fd = open("a", O_WRONLY);
		CHECK(write(fd, "y", 1) == 1 && mode_of("a") == 0777);
		close(fd);
	});
	CHECK(chmod("a", 06777) == 0);
	IN_CHILD({
		become(USER, GROUP, 0);
		CHECK(truncate("a", 0) == 0 && mode_of("a") == 0777);
	});
	CHECK(chmod("a", 06777) == 0);
	IN_CHILD({
		become(USER, GROUP, 0);
		CHECK(close(open("a", O_WRONLY | O_TRUNC)) == 0 && mode_of("a") == 0777);
	});
	CHECK(put("a", "content") == 0 && put("from", "from") == 0 && chmod("a", 06777) == 0);
	IN_CHILD({
		become(USER, GROUP, 0);
		fd = open("a", O_WRONLY);
		CHECK((fallocate(fd, 0, 0, 100) == 0 && mode_of("a") == 0777) ||
		      errno == EOPNOTSUPP);
		close(fd);
	});
	for (int root = 0; root < 2; root++) {
		CHECK(chmod("a", 06777) == 0);
		IN_CHILD({
			loff_t in = 0;
			loff_t out = 0;

			if (!root)
				become(USER, GROUP, 0);
			fd = open("a", O_WRONLY);
			CHECK(copy_file_range(open("from", O_RDONLY), &in, fd, &out, 4, 0) == 4 &&
			      mode_of("a") == (root ? 06777 : 0777));
			close(fd);
		});
	}
	CHECK(chmod("a", 02767) == 0); /* without group execute setgid is no privilege */
	IN_CHILD({
		become(USER, GROUP, 0);
		fd = open("a", O_WRONLY);
		CHECK(write(fd, "z", 1) == 1);
		close(fd);
	});
	CHECK(copy_self("suid", 04755) == 0);
	struct statvfs v;

	if (statvfs(".", &v) == 0 && !(v.f_flag & ST_NOSUID))
		CHECK(probe("./suid") & 1);
}

static void test_setgid_dir(void)
{
	CHECK(mkdir("team", 0777) == 0 && chown("team", 0, TEAM) == 0 &&
	      chmod("team", 02777) == 0 && chmod(".", 0755) == 0);
	IN_CHILD({
		umask(002);
		become(USER, GROUP, TEAM);
		CHECK(put("team/file", "F") == 0 && st_of("team/file").st_gid == TEAM &&
		      st_of("team/file").st_uid == USER);
		CHECK(mkdir("team/dir", 0775) == 0 && st_of("team/dir").st_gid == TEAM &&
		      (mode_of("team/dir") & S_ISGID));
		CHECK(close(open("team/exec", O_CREAT | O_WRONLY, 02775)) == 0 &&
		      (mode_of("team/exec") & S_ISGID));
		CHECK(mknod("team/fifo", S_IFIFO | 0660, 0) == 0 &&
		      st_of("team/fifo").st_gid == TEAM);
		CHECK(chmod("team/file", 02770) == 0 && (mode_of("team/file") & S_ISGID));
	});
	IN_CHILD({ /* not of that group: its setgid programs are not for him to make */
		   umask(0);
		   become(USER, GROUP, 0);
		   CHECK(close(open("team/not", O_CREAT | O_WRONLY, 02775)) == 0 &&
			 st_of("team/not").st_gid == TEAM);
		   CHECK(!(mode_of("team/not") & S_ISGID));
		   CHECK(chmod("team/not", 02770) == 0 && !(mode_of("team/not") & S_ISGID));
		   CHECK(mkdir("team/dir2", 0775) == 0 && (mode_of("team/dir2") & S_ISGID));
	});
	CHECK(put("team/root", "R") == 0 && st_of("team/root").st_gid == TEAM &&
	      st_of("team/root").st_uid == 0);
}

static void test_identities(void)
{
	CHECK(chmod(".", 0755) == 0 && mkdir("private", 0700) == 0 && put("private/x", "X") == 0);
	CHECK(put("secret", "S") == 0 && chmod("secret", 0) == 0 && put("theirs", "T") == 0 &&
	      chmod("theirs", 0) == 0);
	CHECK(chown("theirs", USER, GROUP) == 0 && mkdir("sticky", 01777) == 0 &&
	      chmod("sticky", 01777) == 0);
	CHECK(put("sticky/root", "R") == 0 && chmod("sticky/root", 0666) == 0 &&
	      put("ro", "R") == 0 && chmod("ro", 0444) == 0);
	CHECK(holds("secret", "S") && holds("theirs", "T")); /* root */
	IN_CHILD({
		CHECK(drop_cap(CAP_DAC_OVERRIDE) && drop_cap(CAP_DAC_READ_SEARCH));
		FAILS(open("secret", O_RDONLY), EACCES);
		FAILS(open("theirs", O_RDONLY), EACCES);
		CHECK(holds("private/x", "X"));
		CHECK(chown("private", USER, GROUP) == 0);
		FAILS(open("private/x", O_RDONLY), EACCES);
		FAILS(open("private/new", O_CREAT | O_WRONLY, 0600), EACCES);
		FAILS(access("secret", R_OK), EACCES);
		CHECK(chown("private", 0, 0) == 0);
	});
	IN_CHILD({
		become(USER, GROUP, 0);
		FAILS(open("private/x", O_RDONLY), EACCES);
		FAILS(opendir("private") ? 0 : -1, EACCES);
		FAILS(open("new", O_CREAT | O_WRONLY, 0600), EACCES);
		FAILS(unlink("ro"), EACCES);
		FAILS(unlink("sticky/root"), EPERM);
		FAILS(rename("sticky/root", "sticky/r2"), EPERM);
		CHECK(put("sticky/mine", "M") == 0 && unlink("sticky/mine") == 0);
		FAILS(open("ro", O_WRONLY), EACCES);
		FAILS(chmod("ro", 0777), EPERM);
		FAILS(utimensat(AT_FDCWD, "ro", (struct timespec[2]){{1, 1}, {1, 1}}, 0), EPERM);
		CHECK(access("ro", R_OK) == 0);
		CHECK(chmod("theirs", 0600) == 0 && holds("theirs", "T"));
		FAILS(mknod("sticky/dev", S_IFCHR | 0600, makedev(1, 3)), EPERM);
	});
	IN_CHILD({ /* another uid that kept the capability may all the same */
		   CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
		   become(USER + 7, GROUP + 7, 0);
		   struct __user_cap_header_struct header = {
			   .version = _LINUX_CAPABILITY_VERSION_3};
		   struct __user_cap_data_struct data[2] = {{.effective = 1u << CAP_DAC_OVERRIDE,
							     .permitted = 1u << CAP_DAC_OVERRIDE}};
		   CHECK(syscall(SYS_capset, &header, data) == 0);
		   CHECK(put("private/by-cap", "C") == 0 &&
			 st_of("private/by-cap").st_uid == USER + 7);
	});
}

/* ---- device nodes, fifos, sockets ---- */

static unsigned char type_of_entry(const char *name)
{
	DIR *dir = opendir(".");
	unsigned char type = 0;
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (!strcmp(entry->d_name, name))
			type = entry->d_type;
	if (dir)
		closedir(dir);
	return type;
}

static bool is_node(const char *path, mode_t type, unsigned int major, unsigned int minor,
		    mode_t mode)
{
	struct stat st = st_of(path);

	return (st.st_mode & S_IFMT) == type && st.st_rdev == makedev(major, minor) &&
	       (st.st_mode & 07777) == mode;
}

static void test_mknod(void)
{
	struct stat st;
	int fd;

	umask(0);
	CHECK(mknod("chr", S_IFCHR | 0620, makedev(1, 3)) == 0 &&
	      is_node("chr", S_IFCHR, 1, 3, 0620));
	CHECK(mknod("blk", S_IFBLK | 0600, makedev(259, 70000)) == 0 &&
	      is_node("blk", S_IFBLK, 259, 70000, 0600));
	if (mknod("white", S_IFCHR, 0) < 0 &&
	    errno == EPERM) { /* overlayfs, natively: keeps them for itself */
		printf("# no whiteouts here\n");
		CHECK(mknod("white", S_IFCHR, makedev(1, 9)) == 0);
	} else {
		CHECK(is_node("white", S_IFCHR, 0, 0, 0));
		FAILS(open("white", O_RDONLY), ENXIO + (errno == EACCES ? EACCES - ENXIO : 0));
	}
	CHECK(mknod("fifo", S_IFIFO | 0640, 0) == 0 && is_node("fifo", S_IFIFO, 0, 0, 0640));
	CHECK(mknod("sock", S_IFSOCK | 0600, 0) == 0 && S_ISSOCK(st_of("sock").st_mode));
	CHECK(mknod("reg", S_IFREG | 0604, 0) == 0 && S_ISREG(st_of("reg").st_mode) &&
	      mode_of("reg") == 0604);
	FAILS(mknod("chr", S_IFCHR | 0600, makedev(1, 5)), EEXIST);
	CHECK(type_of_entry("chr") == DT_CHR && type_of_entry("blk") == DT_BLK &&
	      type_of_entry("white") == DT_CHR);
	CHECK(type_of_entry("fifo") == DT_FIFO && type_of_entry("sock") == DT_SOCK &&
	      type_of_entry("reg") == DT_REG);
	CHECK(chmod("chr", 0666) == 0 && chown("chr", USER, GROUP) == 0 &&
	      is_node("chr", S_IFCHR, 1, 3, 0666));
	CHECK(st_of("chr").st_uid == USER);
	CHECK(mkdir("d", 0755) == 0 && rename("chr", "d/moved") == 0 &&
	      is_node("d/moved", S_IFCHR, 1, 3, 0666));
	CHECK(mkdir("l", 0755) == 0 && link("blk", "l/linked") == 0 &&
	      is_node("l/linked", S_IFBLK, 259, 70000, 0600));
	CHECK(chdir("d") == 0 && type_of_entry("moved") == DT_CHR && chdir("../l") == 0 &&
	      type_of_entry("linked") == DT_BLK);
	CHECK(chdir("..") == 0 && st_of("blk").st_nlink == 2 && listxattr("blk", NULL, 0) == 0);
	fd = open("d/moved", O_RDWR);
	if (fd >= 0) /* where devices are not forbidden, it is the kernel's null device */
		CHECK(write(fd, "x", 1) == 1 && read(fd, &st, 1) == 0 && fstat(fd, &st) == 0 &&
		      st.st_rdev == makedev(1, 3));
	else
		CHECK(errno == EACCES);
	close(fd);
	CHECK(unlink("d/moved") == 0 && unlink("blk") == 0 && unlink("white") == 0);
}

static void test_fifo_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int fd, server, client, peer;
	char buffer[8];

	CHECK(mkfifo("fifo", 0600) == 0);
	IN_CHILD({
		pid_t pid = fork();

		if (pid == 0) {
			fd = open("fifo", O_WRONLY);
			_exit(write(fd, "through", 7) != 7);
		}
		fd = open("fifo", O_RDONLY);
		CHECK(read(fd, buffer, 7) == 7 && !memcmp(buffer, "through", 7) &&
		      read(fd, buffer, 1) == 0);
	});
	server = socket(AF_UNIX, SOCK_STREAM, 0);
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(bind(server, (void *)&address, sizeof(address)) == 0 && listen(server, 1) == 0);
	CHECK(S_ISSOCK(st_of("socket").st_mode));
	CHECK(connect(client, (void *)&address, sizeof(address)) == 0);
	peer = accept(server, NULL, NULL);
	CHECK(write(client, "hey", 3) == 3 && read(peer, buffer, 3) == 3);
	close(server);
	close(client);
	close(peer);
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	FAILS(connect(client, (void *)&address, sizeof(address)), ECONNREFUSED);
	close(client);
	FAILS(open("socket", O_RDONLY), ENXIO);
}

#endif
