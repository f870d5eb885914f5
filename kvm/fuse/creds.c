/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose file it becomes: the identity of a thread while it creates something.
 *
 * The guest's kernel decides what a process may do (default_permissions); the server acts as root of its user namespace. Only what
 * is created takes its owner from the requester, atomically, so the thread's fsuid and fsgid are switched around that one
 * call. These are per thread in the kernel; glibc's setfsuid() is the plain system call.
 *
 * Leaving fsuid 0 clears the file capabilities (CHOWN, DAC_*, FOWNER, FSETID) from the thread's effective set, and coming
 * back restores them. In between they are raised again by capset(): a guest process that has CAP_DAC_OVERRIDE but another
 * uid was allowed by its kernel and must not be refused here, and with CAP_FSETID the host keeps the setgid bit that the guest's
 * kernel left in the mode. So the requester's supplementary groups make no difference here, and
 * FUSE_CREATE_SUPP_GROUP is not asked for.
 *
 * umask is a property of the thread's fs_struct, which threads share unless they unshare(CLONE_FS). Each thread that serves
 * requests does, so that the real umask(2) can be used: a host directory's default ACL overrides it, as the kernel does for
 * local programs. The same private working directory is /proc/self/fd: extended attribute calls have no *at form on
 * the kernels we support and name an O_PATH descriptor as "<number>" relative to it.
 *
 * System calls: unshare(CLONE_FS), fchdir, umask, setfsuid, setfsgid, capget, capset.
 */
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvm/fuse/internal.h"

static __thread struct {
	int proc_fd; /* + 1; 0: this thread is not prepared */
	mode_t mask;
	bool switched;
	uid_t uid; /* our own: root of the user namespace, except in tests */
	gid_t gid;
	uint32_t effective[2], permitted[2], inheritable[2];
} creds;

static int caps_get(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		creds.effective[i] = data[i].effective;
		creds.permitted[i] = data[i].permitted;
		creds.inheritable[i] = data[i].inheritable;
	}
	return 0;
}

static int caps_raise(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++) {
		data[i].effective = creds.effective[i];
		data[i].permitted = creds.permitted[i];
		data[i].inheritable = creds.inheritable[i];
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int creds_thread_init(int proc_fd)
{
	int r;

	if (creds.proc_fd == proc_fd + 1)
		return 0;
	r = caps_get();
	if (r < 0)
		return r;
	if (unshare(CLONE_FS) < 0 || fchdir(proc_fd) < 0)
		return -errno;
	creds.mask = 0;
	creds.uid = geteuid();
	creds.gid = getegid();
	(void)umask(0);
	creds.proc_fd = proc_fd + 1;
	return 0;
}

int creds_enter(uint32_t uid, uint32_t gid, uint32_t mask)
{
	mask &= 0777;
	if (mask != creds.mask) {
		(void)umask(mask);
		creds.mask = mask;
	}
	if (uid == creds.uid && gid == creds.gid)
		return 0;
	creds.switched = true;
	(void)setfsgid(gid);
	(void)setfsuid(uid);
	/* They cannot say that they failed, but tell what is set; (uid_t)-1 is never valid and changes nothing */
	if ((uint32_t)setfsgid((gid_t)-1) != gid || (uint32_t)setfsuid((uid_t)-1) != uid) {
		creds_leave();
		return -EINVAL; /* not mapped in our user namespace: as mkdir answers a local program */
	}
	if (uid != 0 && caps_raise() < 0) {
		creds_leave();
		return -EPERM;
	}
	return 0;
}

void creds_leave(void)
{
	if (!creds.switched)
		return;
	creds.switched = false;
	(void)setfsuid(creds.uid);
	(void)setfsgid(creds.gid);
}
