/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What does the vmm's jail hold? A process started exactly as a vmm is (vmm_start(): namespaces, descriptors, exec) receives its
 * configuration, calls jail_enter() and then tries to get out. Prints TAP; exit status 0 if nothing escaped.
 *
 *   jail_probe [KVM]        KVM: any file to pass as /dev/kvm (default /dev/null); needs root, no KVM
 *
 * The last export is on purpose not a detached mount but a plain directory: it must escape, or the test could not have seen the
 * others do so.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvm/jail.h"
#include "kvm/vmm_wire.h"
#include "lib/cleanup.h"

#define FD_LIMIT 512
#define CAPS_KEPT 0x800000dfull /* chown to setuid without kill, setfcap */

static int output, failures, number;

static void check(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void check(bool ok, const char *fmt, ...)
{
	va_list ap;

	failures += !ok;
	dprintf(output, "%sok %d - ", ok ? "" : "not ", ++number);
	va_start(ap, fmt);
	vdprintf(output, fmt, ap);
	va_end(ap);
	dprintf(output, "\n");
}

static int error_of(long r)
{
	return r < 0 ? errno : 0;
}

/* Walk up from @fd; true if that ends in another mount than it began in, or at a directory with a host's etc/passwd in it */
static bool walks_out(int fd)
{
	struct statx start = {0}, now = {0};
	int at = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (at < 0)
		return false;
	(void)statx(at, "", AT_EMPTY_PATH, STATX_MNT_ID, &start);
	for (int i = 0; i < 64; i++) {
		int up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (up < 0)
			break;
		close(at);
		at = up;
		(void)statx(at, "", AT_EMPTY_PATH, STATX_MNT_ID, &now);
		if (now.stx_mnt_id != start.stx_mnt_id ||
		    faccessat(at, "etc/passwd", F_OK, 0) == 0) {
			close(at);
			return true;
		}
	}
	close(at);
	return false;
}

static void check_descriptors(int proc_fd, const int *fds, size_t nfds)
{
	int unexpected = 0;

	for (int fd = 0; fd < FD_LIMIT; fd++) {
		bool known = fd <= VMM_CONTROL_FD || fd == proc_fd;

		for (size_t i = 0; i < nfds; i++)
			known |= fds[i] == fd;
		if (fcntl(fd, F_GETFD) < 0)
			continue;
		unexpected += !known;
		if (nfds > 0 && fd == fds[nfds - 1])
			continue;
		check(!walks_out(fd), "descriptor %d: '..' does not lead out", fd);
		if (fd != proc_fd)
			check(openat(fd, "../../../../../../etc/passwd", O_RDONLY) < 0,
			      "descriptor %d: no host file above it", fd);
	}
	check(unexpected == 0, "no descriptor is open that was not handed over");
	check(nfds > 0 && walks_out(fds[nfds - 1]),
	      "(a plain directory does lead out: the test can see it)");
}

static void check_proc(int proc_fd)
{
	static const char *const hidden[] = {"../root/etc/passwd",
					     "../cwd/etc/passwd",
					     "../../1/root/etc/passwd",
					     "../../2",
					     "../../sys",
					     "../../sysrq-trigger",
					     "../../kcore",
					     "../../../etc/passwd",
					     "../../../../etc/passwd",
					     "../task/1/root/etc/passwd",
					     "../exe/../../etc/passwd"};
	char path[64];
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		check(openat(proc_fd, hidden[i], O_PATH) < 0, "/proc/self/fd/%s does not exist",
		      hidden[i]);
	fd = openat(proc_fd, "../oom_score_adj", O_WRONLY);
	check(fd < 0 && errno == EROFS, "/proc is read-only");
	snprintf(path, sizeof(path), "%d", VMM_CONTROL_FD);
	check(faccessat(proc_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0,
	      "/proc/self/fd shows our descriptors");
	fd = openat(proc_fd, "../ns/mnt", O_RDONLY);
	check(fd >= 0 && setns(fd, 0) < 0 && errno == EPERM, "a namespace cannot be joined");
	close(fd);
}

static void check_root(void)
{
	static const char *const paths[] = {"/etc/passwd", "/dev/kvm", "/bin", "/usr",
					    "/sys",	   "/tmp",     "/old", "../../etc/passwd"};
	struct dirent *e;
	DIR *d = opendir("/");
	int entries = 0;

	while (d && (e = readdir(d)))
		entries += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
			   strcmp(e->d_name, "proc") != 0;
	check(d && entries == 0, "the root directory is empty");
	closedir(d);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		check(access(paths[i], F_OK) < 0, "%s does not exist", paths[i]);
	check(open("/x", O_CREAT | O_WRONLY, 0600) < 0, "nothing can be created in it");
	check(mkdir("/x", 0700) < 0, "no directory can be created in it");
	check(error_of(mount("x", "/", "tmpfs", 0, NULL)) == EPERM, "mount is forbidden");
	check(error_of(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL)) == EPERM,
	      "so is a remount");
	check(error_of(chroot("/")) == EPERM, "so is chroot");
	check(error_of(syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE)) == EPERM,
	      "so is open_tree");
	check(error_of(syscall(SYS_fsopen, "tmpfs", 0)) == EPERM, "so is fsopen");
}

static void check_privileges(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {0};
	struct rlimit core = {1, 1}, files = {0};
	unsigned long long bounding = 0;
	long child;

	(void)syscall(SYS_capget, &header, d);
	for (int i = 0; i < 63; i++)
		bounding |= prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1 ? 1ull << i : 0;
	check((d[0].effective | (unsigned long long)d[1].effective << 32) == CAPS_KEPT,
	      "effective capabilities %#x", d[0].effective);
	check((d[0].permitted | (unsigned long long)d[1].permitted << 32) == CAPS_KEPT,
	      "permitted capabilities %#x", d[0].permitted);
	check(d[0].inheritable == 0 && d[1].inheritable == 0, "inheritable capabilities %#x",
	      d[0].inheritable);
	check(bounding == CAPS_KEPT, "bounding capabilities %#llx", bounding);
	check(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "no_new_privs");
	check(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0, "not dumpable");
	check(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) ==
		      (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
		       SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
		       SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED | SECBIT_KEEP_CAPS_LOCKED),
	      "securebits are locked");
	(void)getrlimit(RLIMIT_CORE, &core);
	(void)getrlimit(RLIMIT_NOFILE, &files);
	check(core.rlim_cur == 0 && core.rlim_max == 0, "no core dumps");
	check(files.rlim_cur == files.rlim_max, "as many descriptors as allowed");
	child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, 0);
	if (child == 0)
		_exit(0);
	check(child < 0 && errno == ENOSPC, "no new user namespace: %s", strerror(errno));
	check(error_of(unshare(CLONE_NEWNS)) == EPERM, "no new mount namespace");
	check(error_of(sethostname("x", 1)) == EPERM, "the host name cannot be set");
}

static void check_world(const int *exports, size_t nexports)
{
	int signal = 0;
	char name[64] = "";

	check(getpid() == 1 && getppid() == 0, "pid 1, of a parent that is not in sight");
	check(kill(2, 0) < 0 && errno == ESRCH && kill(-1, 0) < 0, "no other process");
	(void)prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0);
	check(signal == SIGKILL, "dies with its parent");
	(void)gethostname(name, sizeof(name));
	check(environ[0] == NULL || strstr(environ[0], "SAN_OPTIONS"), "an empty environment");
	check(mknodat(exports[0], "device", S_IFCHR | 0600, 0x101) < 0,
	      "no device node can be made in an export");
	check(faccessat(exports[0], "file", R_OK, 0) == 0, "an export's file can be reached");
	check(openat(exports[0], "to-passwd", O_RDONLY) < 0,
	      "a symlink in an export leads nowhere");
	if (nexports > 1)
		check(openat(exports[1], "new", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS,
		      "a read-only export cannot be written");
}

static int jailed_main(void)
{
	static struct vmm_wire_config wire;
	int fds[IO_PASS_FDS_MAX], proc_fd = -1;
	struct err err = {0};
	size_t nfds = 0;

	if (io_recv_fds(VMM_CONTROL_FD, &wire, sizeof(wire), fds, IO_PASS_FDS_MAX, &nfds) !=
		    sizeof(wire) ||
	    nfds < 4)
		return 99;
	output = fds[2]; /* the console's place */
	if (vmm_wire_valid(&wire, nfds, &err) < 0 || jail_enter(&proc_fd, &err) < 0) {
		dprintf(output, "Bail out! %s\n", err.msg);
		return 99;
	}
	check_descriptors(proc_fd, fds, nfds);
	check_proc(proc_fd);
	check_root();
	check_privileges();
	check_world(fds + 3, wire.nexports);
	close(proc_fd);
	for (size_t i = 0; i < nfds; i++)
		if (fds[i] != output)
			close(fds[i]);
	dprintf(output, "1..%d\n", number);
	return failures ? 1 : 0;
}

/* ---- the starting side -------------------------------------------------------------------------------------------- */

static int clone_tree(const char *path, unsigned long long attrs)
{
	struct mount_attr attr = {.attr_set = attrs | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID};
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path,
			      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (fd >= 0 && syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr,
			       sizeof(attr)) < 0)
		close_fd(&fd);
	return fd;
}

static void copy_output(int fd)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		(void)!write(STDOUT_FILENO, buf, (size_t)n);
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/jail_probe.XXXXXX", path[128];
	struct vmm_export exports[3] = {{.id = 0}, {.id = 1}, {.id = 2}};
	struct vmm_config config = {.memory_bytes = VMM_MEMORY_MIN,
				    .nvcpus = 1,
				    .max_vcpus = 1,
				    .name = "jail_probe",
				    .initramfs_fd = -1,
				    .log_fd = -1,
				    .exports = exports,
				    .nexports = 3};
	struct vmm vmm = {0, -1, -1};
	struct err err = {0};
	siginfo_t info = {0};
	int pipe_fds[2];

	if (strcmp(argv[0], VMM_PROGRAM_NAME) == 0)
		return jailed_main();
	if (!mkdtemp(dir) || pipe2(pipe_fds, O_CLOEXEC) < 0)
		return 99;
	snprintf(path, sizeof(path), "%s/file", dir);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	snprintf(path, sizeof(path), "%s/to-passwd", dir);
	(void)!symlink("/etc/passwd", path);
	exports[0].fd = clone_tree(dir, 0);
	exports[1].fd = clone_tree(dir, MOUNT_ATTR_RDONLY);
	exports[2].fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	config.console_fd = pipe_fds[1];
	config.exe_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	config.kvm_fd = config.kernel_fd = open(argc > 1 ? argv[1] : "/dev/null",
						O_RDWR | O_CLOEXEC);
	if (exports[0].fd < 0 || exports[1].fd < 0 || config.kvm_fd < 0)
		return 99;
	if (vmm_start(&config, &vmm, &err) < 0) {
		printf("Bail out! %s\n", err.msg);
		return 99;
	}
	close(pipe_fds[1]);
	copy_output(pipe_fds[0]);
	(void)waitid(P_PIDFD, (id_t)vmm.pidfd, &info, WEXITED | WNOWAIT);
	vmm_release(&vmm);
	(void)unlink(path);
	snprintf(path, sizeof(path), "%s/file", dir);
	(void)unlink(path);
	(void)rmdir(dir);
	return info.si_code == CLD_EXITED ? info.si_status : 98;
}
