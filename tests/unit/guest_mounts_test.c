/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What config.json mounts, and the nodes of /dev: in the agent as a whole. See tests/unit/agent_machine.c.
 */
#include "tests/unit/agent_machine.c"

static void expect(const char *script, const struct spec *spec, const char *wanted)
{
	static char text[65536];
	int code = run_sh(script, spec, text, sizeof(text));

	if (strcmp(text, wanted) != 0 || code != 0)
		fail_msg("'%s' gave %d and '%s', not '%s'", script, code, text, wanted);
}

static void refuse(const struct spec *given, const char *words)
{
	struct io none = {.fds = {-1, -1, -1}};
	struct spec spec = *given;

	spec.args = "\"true\"";
	if (create("refused", &spec, &none) == TTRPC_OK)
		fail_msg("it was accepted, where '%s' was to be said", words);
	if (!strstr(last.message, words))
		fail_msg("'%s' does not say '%s'", last.message, words);
}

#define MOUNT(dest, type, source, options)                                                         \
	",{\"destination\":\"" dest "\",\"type\":\"" type "\",\"source\":\"" source "\",\"options" \
	"\":[" options "]}"
#define BIND(dest, options) MOUNT(dest, "bind", "x", options)
#define TMPFS(dest, options) MOUNT(dest, "tmpfs", "tmpfs", options)

static void test_bind_options(void **state)
{
	struct spec spec = {.mounts = BIND("/vol",
					   "\"rbind\",\"ro\",\"nosuid\",\"nodev\",\"noexec\","
					   "\"noatime\",\"nodiratime\",\"nosymfollow\"")};

	(void)state;
	expect("grep ' /vol ' /proc/self/mountinfo | cut -d' ' -f6", &spec,
	       "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow\n");
	spec.mounts = BIND("/vol",
			   "\"bind\",\"rro\",\"rnosuid\",\"rnodev\",\"rnoexec\",\"rstrictatime\"");
	expect("grep ' /vol ' /proc/self/mountinfo | cut -d' ' -f6", &spec,
	       "ro,nosuid,nodev,noexec\n");
	spec.mounts = BIND("/vol",
			   "\"bind\",\"sync\",\"dirsync\",\"mand\",\"silent\",\"lazytime\"");
	expect("cat /vol/data", &spec, "volume\n");
	spec.mounts = BIND("/vol", "\"bind\",\"size=1m\"");
	expect("cat /vol/data", &spec, "volume\n");
	spec.mounts = MOUNT("/bin/busybox", "bind", "/usr", "\"bind\"");
	refuse(&spec,
	       "mounts[7] at '/bin/busybox': mounting a directory at a file: not a directory");
}

static void test_cleared(void **state)
{
	struct spec spec = {.mounts = MOUNT("/p", "none", "/proc", "\"bind\",\"suid\",\"exec\"")};

	(void)state;
	expect("a=$(grep -c ' / /p [^ ]*nosuid' /proc/self/mountinfo); echo $a", &spec, "0\n");
}

static void test_propagation(void **state)
{
	struct spec spec = {.mounts = BIND("/a", "\"rbind\",\"rshared\"")
				    BIND("/etc/sub/file", "\"bind\",\"shared\",\"private\"")
					    BIND("/c", "\"rbind\",\"runbindable\"")};

	(void)state;
	expect("for d in /a /etc/sub/file /c; do grep -c \\\" $d .*shared:\\\" "
	       "/proc/self/mountinfo; done; "
	       "grep -c ' /c .* unbindable ' /proc/self/mountinfo",
	       &spec, "1\n0\n0\n1\n");
	spec = (struct spec){.linux_ = ",\"rootfsPropagation\":\"shared\""};
	expect("grep -c ' / / [^ ]* shared:' /proc/self/mountinfo; grep -c ' / [^ ]* shared:' "
	       "/proc/self/mountinfo",
	       &spec, "0\n1\n");
	spec.linux_ = ",\"rootfsPropagation\":\"unbindable\"";
	expect("grep -c ' / [^ ]* unbindable ' /proc/self/mountinfo", &spec, "1\n");
}

/* Inside of the image everything resolves in the image */
static void test_destinations(void **state)
{
	struct spec spec = {.mounts = TMPFS("/escape/../up", "") TMPFS("/../../above", "")
				    TMPFS("/escape", "\"mode=711\"")};

	(void)state;
	expect("grep -o ' /up \\\\| /above \\\\| /outside ' /proc/self/mountinfo; stat -c %a "
	       "/outside",
	       &spec, " /up \n /above \n /outside \n711\n");
	assert_int_equal(access("/outside", F_OK), -1);
	assert_int_equal(access("/above", F_OK), -1);
	spec.mounts = TMPFS("/", "");
	refuse(&spec, "mounts[7] at '/': the mount point is the root itself");
	spec.mounts = TMPFS("/etc/..", "");
	refuse(&spec, "the mount point is the root itself");
	spec.mounts = MOUNT("/escape", "proc", "proc", "");
	refuse(&spec, "mounts[7] at '/escape': a file system of type 'proc' must be mounted on an "
		      "ordinary folder");
	spec.mounts = MOUNT("/etc/passwd", "sysfs", "sysfs", "");
	refuse(&spec, "must be mounted on an ordinary folder");
	spec.mounts = TMPFS("/etc/passwd/x", "");
	refuse(&spec, "mounts[7] at '/etc/passwd/x'");
}

static void test_tmpfs_modes(void **state)
{
	struct spec spec = {.mounts = TMPFS("/fresh", "") TMPFS("/root", "")
				    TMPFS("/run/ro", "\"ro\",\"mode=700\"") MOUNT(
					    "/run/ro/in", "none", "/proc/sys/kernel", "\"bind\"")};

	(void)state;
	/* Like what it covers; over nothing as the kernel makes it. Read-only, when all is in it that is to be */
	expect("stat -c %a /fresh /root /run/ro; ls /run/ro/in/shmmax; touch /run/ro/x "
	       "2>/dev/null; "
	       "echo $?",
	       &spec, "1777\n755\n700\n/run/ro/in/shmmax\n1\n");
}

static void test_remount(void **state)
{
	struct spec spec = {.mounts = TMPFS("/t", "\"size=1m\"")
				    TMPFS("/t", "\"remount\",\"ro\",\"size=2m\"")};

	(void)state;
	expect("grep -c ' /t ' /proc/self/mountinfo; grep ' /t ' /proc/self/mountinfo | grep -c "
	       "size=2048k; touch /t/x 2>/dev/null; echo $?",
	       &spec, "1\n1\n1\n");
	spec.mounts = TMPFS("/t", "\"nodev\"")
		MOUNT("/t", "none", "/proc", "\"remount\",\"bind\",\"ro\",\"noexec\"");
	expect("grep ' /t ' /proc/self/mountinfo | cut -d' ' -f6", &spec,
	       "ro,nodev,noexec,relatime\n");
	spec.mounts = TMPFS("/nothing/there", "\"remount\",\"ro\"");
	refuse(&spec, "mounts[7] at '/nothing/there'");
	spec.mounts = TMPFS("/etc", "\"remount\",\"ro\"");
	refuse(&spec, "mounts[7] at '/etc': cannot change the mount that is there");
}

static void test_overlay(void **state)
{
	struct spec spec = {.mounts = TMPFS("/rw", "") MOUNT("/etc/sub", "overlay", "o",
							     "\"lowerdir=/bin:/escape/../etc\"")};

	(void)state;
	expect("ls -d /etc/sub/busybox /etc/sub/passwd; touch /etc/sub/x 2>/dev/null; "
	       "echo $?",
	       &spec, "/etc/sub/busybox\n/etc/sub/passwd\n1\n");
	/* The agent's own tree is out of reach */
	spec.mounts = MOUNT("/o", "overlay", "o", "\"lowerdir=/roots:/etc\"");
	refuse(&spec,
	       "mounts[7] at '/o': the overlay's directories are looked up in the container: "
	       "cannot open '/roots'");
	spec.mounts = MOUNT("/o", "overlay", "o", "\"lowerdir=etc:/bin\"");
	refuse(&spec, "the overlay's directory 'etc' is not absolute");
}

static void test_types(void **state)
{
	struct spec spec = {.mounts = MOUNT("/m/proc", "proc", "proc", "\"nosuid\",\"ro\"")
				    MOUNT("/m/cg", "cgroup", "cgroup", "\"ro\",\"all\"")
					    MOUNT("/m/cg2", "cgroup2", "cgroup2", "")};

	(void)state;
	expect("grep ' /m/' /proc/self/mountinfo | sed 's/.* - //; s/ .*//'", &spec,
	       "proc\ncgroup2\ncgroup2\n");
	spec.mounts = MOUNT("/m", "tmpfs", "tmpfs", "\"no-such-option\"");
	refuse(&spec, "mounts[7] at '/m': cannot mount a file system of type 'tmpfs'");
}

static void test_devices(void **state)
{
	struct spec spec = {
		.linux_ = ",\"devices\":["
			  "{\"path\":\"/dev/null\",\"type\":\"c\",\"major\":1,\"minor\":3,"
			  "\"fileMode\":416,\"uid\":3,\"gid\":4},"
			  "{\"path\":\"/dev/ptmx\",\"type\":\"c\",\"major\":5,\"minor\":2},"
			  "{\"path\":\"/tmp/dev/u\",\"type\":\"u\",\"major\":1,\"minor\":5},"
			  "{\"path\":\"/tmp/b\",\"type\":\"c\",\"major\":1,\"minor\":7,"
			  "\"fileMode\":8624}]"};

	(void)state;
	/* One of a default's path takes its place; and again, on what the first left */
	for (int i = 0; i < 2; i++)
		expect("stat -c '%n %F %t:%T %a %u:%g' /dev/null /tmp/dev/u /tmp/b; readlink "
		       "/dev/ptmx",
		       &spec,
		       "/dev/null character special file 1:3 640 3:4\n"
		       "/tmp/dev/u character special file 1:5 666 0:0\n"
		       "/tmp/b character special file 1:7 660 0:0\npts/ptmx\n");
	spec.linux_ = ",\"devices\":[{\"path\":\"/tmp/b\",\"type\":\"c\",\"major\":1,\"minor\":7,"
		      "\"fileMode\":384,\"gid\":9}]";
	expect("stat -c '%a %u:%g' /tmp/b", &spec, "600 0:9\n");
	spec.linux_ = ",\"devices\":[{\"path\":\"/tmp/b\",\"type\":\"c\",\"major\":1,\"minor\":8}]";
	refuse(&spec, "'/tmp/b' is there and is another thing than the device");
	spec.linux_ =
		",\"devices\":[{\"path\":\"/etc/passwd\",\"type\":\"c\",\"major\":1,\"minor\":3}]";
	refuse(&spec, "'/etc/passwd' is there and is another thing");
	spec.linux_ = ",\"devices\":[{\"path\":\"/etc/\",\"type\":\"c\",\"major\":1,\"minor\":3}]";
	refuse(&spec, "'/etc/' is not a path for a device");
}

static void test_sysctl(void **state)
{
	struct spec spec = {.linux_ = ",\"sysctl\":{\"kernel/shmmni\":\"4000\","
				      "\"net.ipv4.conf.lo.forwarding\":\"1\"}"};

	(void)state;
	expect("cat /proc/sys/kernel/shmmni /proc/sys/net/ipv4/conf/lo/forwarding", &spec,
	       "4000\n1\n");
	spec.linux_ = ",\"sysctl\":{\"kernel.shmmni\":\"many\"}";
	refuse(&spec, "linux.sysctl: cannot set 'kernel.shmmni' to 'many'");
	spec.linux_ = ",\"sysctl\":{\"no.such.key\":\"1\"}";
	refuse(&spec, "linux.sysctl: cannot set 'no.such.key'");
	spec.linux_ = ",\"sysctl\":{\"net\":\"1\"}";
	refuse(&spec, "linux.sysctl: cannot set 'net'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bind_options), cmocka_unit_test(test_cleared),
		cmocka_unit_test(test_propagation),  cmocka_unit_test(test_destinations),
		cmocka_unit_test(test_tmpfs_modes),  cmocka_unit_test(test_remount),
		cmocka_unit_test(test_overlay),	     cmocka_unit_test(test_types),
		cmocka_unit_test(test_devices),	     cmocka_unit_test(test_sysctl),
	};
	int r;

	log_set_fd(-1);
	(void)signal(SIGPIPE, SIG_IGN);
	if (!start_machine()) {
		stop_machine();
		(void)printf("1..1\nok 1 - mounts # SKIP host: needs root, namespaces, cgroup2 and "
			     "a static busybox\n");
		return 0;
	}
	connect_agent();
	assert_int_equal(hello(1), TTRPC_OK);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	stop_machine();
	return r;
}
