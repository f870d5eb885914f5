/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail: what is left to a vmm whose guest has taken it over.
 *
 * vmm_start() has already made the process in new user, mount, pid, network, ipc, uts and cgroup namespaces and executed the
 * program afresh, with descriptors 0 to 3 only. The configuration has been received: guest images, exports (detached mounts),
 * sockets and /dev/kvm are open. jail_enter() runs before anything of the guest is looked at.
 *
 * Should:
 *  1. see no file system: "/" is an empty, read-only tmpfs without a free inode; the old tree is unmounted from the namespace
 *  2. reach exported files, and only those, through their descriptors: each export is a detached mount of its own, whose
 *     root is where ".." ends. A descriptor of a mounted directory would be a way to the host's "/" (fd, "..", again);
 *     the jail cannot mend that, so whoever passes descriptors to a vmm passes detached mounts
 *  3. keep one /proc/self/fd directory, to reopen O_PATH nodes and for extended attributes: of a procfs of its own pid
 *     namespace, which shows this process only, without the tree outside of processes (subset=pid; read-only as well: with
 *     the caller's root mapped 1:1, sysctls would else be the host's root's to write)
 *  4. keep eight capabilities, in its own user namespace: they let the file server act as the guest's kernel asks, on the
 *     files of users that are mapped here
 *  5. die with its parent
 *
 * Mustn't:
 *  1. gain privileges by executing anything (no_new_privs; nothing executable is in sight anyway)
 *  2. regain capabilities: bounding, inheritable and ambient sets are empty or cut, root is nobody special (securebits locked).
 *     NO_SETUID_FIXUP: a thread that sets its fsuid for a creating request keeps CAP_DAC_OVERRIDE, since permissions are
 *     the guest kernel's business
 *  3. be looked at by, or leave a core dump to, other processes of the same user (not dumpable)
 *  4. mount, unshare, load, configure: CAP_SYS_ADMIN and the like are gone, and new user namespaces, where they would be
 *     had again, are forbidden by this namespace's own limit of them
 *
 * Sanitizer builds keep a /proc mounted in the empty root: LeakSanitizer reads /proc/self/maps and task when the process
 * ends. They are not for production.
 */
#include "kvm/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define JAIL_KEEPS_PROC true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define JAIL_KEEPS_PROC true
#endif
#endif
#ifndef JAIL_KEEPS_PROC
#define JAIL_KEEPS_PROC false
#endif

#define JAIL_MOUNT_ATTRS \
	(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

/* What the file server does as root of its user namespace */
static const uint8_t kept_caps[] = {
	CAP_CHOWN,	     /* chown */
	CAP_DAC_OVERRIDE,    /* open what its owner may not: the guest's kernel has decided */
	CAP_DAC_READ_SEARCH, /* the same for reading; linkat of an O_TMPFILE */
	CAP_FOWNER,	     /* chmod, utimens, sticky directories, O_NOATIME */
	CAP_FSETID,	     /* keep set-id bits when the guest's kernel keeps them */
	CAP_SETGID,	     /* fsgid and groups of creating requests */
	CAP_SETUID,	     /* fsuid of creating requests */
	CAP_SETFCAP,	     /* security.capability */
};

/* Mount @type as a detached mount; @options is a list of key, value pairs ended by NULL, a value may be NULL (a flag) */
static int make_mount(const char *type, const char *const *options, unsigned int attrs,
		      struct err *err)
{
	cleanup_close int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
	int mnt;

	if (fs < 0)
		return err_sys(err, errno, "jail: cannot open the file system type %s", type);
	for (; options[0]; options += 2) {
		unsigned int command = options[1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;

		if (syscall(SYS_fsconfig, fs, command, options[0], options[1], 0) < 0)
			return err_sys(err, errno, "jail: %s option %s", type, options[0]);
	}
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(err, errno, "jail: cannot make a %s", type);
	mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attrs);
	if (mnt < 0)
		return err_sys(err, errno, "jail: cannot mount a %s", type);
	return mnt;
}

/* A procfs of our pid namespace; @options also decides what is in it */
static int mount_proc(const char *const *options, unsigned int attrs, struct err *err)
{
	int fd = make_mount("proc", options, attrs, err);

	if (fd == -EPERM)
		err_prefix(err,
			   "this host covers parts of /proc (a container with a masked /proc?)");
	return fd;
}

static int forbid_user_namespaces(struct err *err)
{
	static const char *const all[] = {NULL};
	cleanup_close int proc = mount_proc(
		all, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, err);
	cleanup_close int fd = -1;

	if (proc < 0)
		return proc;
	fd = openat(proc, "sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) < 0)
		return err_sys(err, errno, "jail: forbidding user namespaces");
	return 0;
}

/* An empty tmpfs; with "proc" in it when @proc >= 0. Two inodes: its root, and that directory. */
static int make_root(bool with_proc, struct err *err)
{
	static const char *const options[] = {"size", "4k", "nr_inodes", "2", "mode", "0500", NULL};
	const struct mount_attr read_only = {.attr_set = JAIL_MOUNT_ATTRS};
	cleanup_close int root = make_mount("tmpfs", options, 0, err);

	if (root < 0)
		return root;
	if (with_proc && mkdirat(root, "proc", 0500) < 0)
		return err_sys(err, errno, "jail: making /proc");
	if (syscall(SYS_mount_setattr, root, "", AT_EMPTY_PATH, &read_only, sizeof(read_only)) < 0)
		return err_sys(err, errno, "jail: making the root read-only");
	return take_fd(&root);
}

/* Put @root over "/", make it the root of the namespace, and drop what was there */
static int change_root(int root, struct err *err)
{
	if (syscall(SYS_move_mount, root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "jail: mounting the empty root");
	if (fchdir(root) < 0)
		return err_sys(err, errno, "jail: entering the empty root");
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_sys(err, errno, "jail: pivot_root");
	if (umount2(".", MNT_DETACH) < 0)
		return err_sys(err, errno, "jail: unmounting the old root");
	if (chdir("/") < 0)
		return err_sys(err, errno, "jail: entering the empty root");
	return 0;
}

static int enter_file_systems(int *proc_fd, struct err *err)
{
	static const char *const processes_only[] = {"subset", "pid", NULL};
	cleanup_close int proc = -1, visible = -1, root = -1, self = -1;
	int r;

	proc = mount_proc(processes_only, JAIL_MOUNT_ATTRS, err);
	if (proc < 0)
		return proc;
	if (JAIL_KEEPS_PROC) {
		visible = mount_proc(processes_only, JAIL_MOUNT_ATTRS, err);
		if (visible < 0)
			return visible;
	}
	self = openat(proc, "self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (self < 0)
		return err_sys(err, errno, "jail: /proc/self/fd");
	root = make_root(JAIL_KEEPS_PROC, err);
	if (root < 0)
		return root;
	r = change_root(root, err);
	if (r < 0)
		return r;
	/* A second one, so that the descriptor's stays detached here too */
	if (JAIL_KEEPS_PROC &&
	    syscall(SYS_move_mount, visible, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "jail: mounting /proc");
	*proc_fd = take_fd(&self);
	return 0;
}

static int drop_capabilities(struct err *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
			     SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
			     SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED | SECBIT_KEEP_CAPS_LOCKED;
	uint64_t keep = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kept_caps); i++)
		keep |= 1ull << kept_caps[i];
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (!(keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_sys(err, errno, "jail: dropping capability %d", cap);
	if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0)
		return err_sys(err, errno, "jail: securebits");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_sys(err, errno, "jail: clearing ambient capabilities");
	data[0].effective = data[0].permitted = (uint32_t)keep;
	data[1].effective = data[1].permitted = (uint32_t)(keep >> 32);
	if (syscall(SYS_capset, &header, data) < 0)
		return err_sys(err, errno, "jail: dropping capabilities");
	return 0;
}

static int set_limits(struct err *err)
{
	const struct rlimit no_core = {0};
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_sys(err, errno, "jail: getrlimit");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &no_core) < 0)
		return err_sys(err, errno, "jail: setrlimit");
	return 0;
}

int jail_enter(int *proc_fd, struct err *err)
{
	cleanup_close int proc = -1;
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, "jail: no_new_privs");
	r = set_limits(err);
	if (r < 0)
		return r;
	r = forbid_user_namespaces(err);
	if (r < 0)
		return r;
	r = enter_file_systems(&proc, err);
	if (r < 0)
		return r;
	r = drop_capabilities(err);
	if (r < 0)
		return r;
	/* Last: changing credentials clears both. A parent that is gone already has closed the control socket, which is seen. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_sys(err, errno, "jail: prctl");
	*proc_fd = take_fd(&proc);
	return 0;
}
