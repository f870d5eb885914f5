/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User and time namespaces, in the agent as a whole; the host is this machine. See tests/unit/agent_machine.c.
 */
#include "tests/unit/agent_machine.c"

#define USER "{\"type\":\"user\"}," NAMESPACES
#define MAPS                                                                                     \
	",\"uidMappings\":[{\"containerID\":0,\"hostID\":70000,\"size\":1000},{\"containerID\":" \
	"5000,\"hostID\":90000,\"size\":1}],\"gidMappings\":[{\"containerID\":0,\"hostID\":"     \
	"80000,\"size\":1000}]"

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

static void own(const char *name, uid_t uid, gid_t gid)
{
	char path[256];

	path_in(path, name);
	assert_int_equal(lchown(path, uid, gid), 0);
}

static void owner_is(const char *name, uid_t uid, gid_t gid)
{
	char path[256];
	struct stat st;

	path_in(path, name);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_uid, uid);
	assert_int_equal(st.st_gid, gid);
}

static void test_ids(void **state)
{
	struct spec spec = {.namespaces = USER, .linux_ = MAPS};

	(void)state;
	expect("id -u; id -g; cat /proc/self/uid_map | tr -s ' '; cat /proc/self/gid_map | tr -s ' "
	       "'; "
	       "echo $$; touch /tmp/root; stat -c %u:%g /tmp/root",
	       &spec, "0\n0\n 0 70000 1000\n 5000 90000 1\n 0 80000 1000\n1\n0:0\n");
	owner_is("roots/0/tmp/root", 70000, 80000);
	spec.process =
		",\"user\":{\"uid\":5000,\"gid\":7,\"additionalGids\":[8]},\"cwd\":\"/tmp/new\"";
	expect("id -u; id -G; pwd; touch /tmp/user; echo again > /dev/stdout", &spec,
	       "5000\n7 8\n/tmp/new\nagain\n");
	owner_is("roots/0/tmp/user", 90000, 80007);
	owner_is("roots/0/tmp/new", 70000, 80000);
}

static void test_mounts(void **state)
{
	struct spec spec = {
		.namespaces = USER,
		.linux_ = MAPS
		",\"maskedPaths\":[\"/proc/version\",\"/etc/sub\"],\"readonlyPaths\":[\"/tmp\"]",
		.mounts = ",{\"destination\":\"/tmp/vol\",\"type\":\"bind\",\"source\":\"x\","
			  "\"options\":[\"rbind\",\"ro\",\"nosuid\"]}"};

	(void)state;
	expect("cat /tmp/vol/data; grep -c ' /tmp/vol ro,nosuid' /proc/self/mountinfo; ls "
	       "/etc/sub; "
	       "stat -c %t:%T /proc/version; touch /tmp/x 2>/dev/null; echo $?; echo x > "
	       "/dev/null; "
	       "head -c 2 /dev/zero | wc -c; ls -d /sys/class/net/lo; cat /proc/self/cgroup | grep "
	       "^0",
	       &spec, "volume\n2\n1:3\n1\n2\n/sys/class/net/lo\n0::/\n");
}

static void test_devices(void **state)
{
	struct spec spec = {
		.namespaces = USER,
		.linux_ = MAPS
		",\"devices\":[{\"path\":\"/dev/sub/x\",\"type\":\"c\",\"major\":1,\"minor\":5,"
		"\"fileMode\":420,\"uid\":5000,\"gid\":2},{\"path\":\"/dev/"
		"fifo\",\"type\":\"p\"}]"};

	(void)state;
	expect("stat -c '%n %t:%T %a %u:%g' /dev/null /dev/tty /dev/sub/x; stat -c %F /dev/fifo; "
	       "head -c 1 "
	       "/dev/sub/x | wc -c; readlink /dev/ptmx",
	       &spec,
	       "/dev/null 1:3 666 0:0\n/dev/tty 5:0 666 0:0\n/dev/sub/x 1:5 644 5000:2\nfifo\n1\n"
	       "pts/ptmx\n");
	spec.linux_ = MAPS
		",\"devices\":[{\"path\":\"/dev/x\",\"type\":\"c\",\"major\":1,\"minor\":5,"
		"\"uid\":1000}]";
	refuse(&spec, "the owner of device '/dev/x' is not mapped");
}

/* What takes capabilities that root of the namespace has not */
static void test_privileged(void **state)
{
	struct spec spec = {
		.namespaces = USER,
		.linux_ = MAPS ",\"sysctl\":{\"net.ipv4.ip_default_ttl\":\"99\",\"kernel.shmmni\":"
			       "\"123\",\"kernel.domainname\":\"dom\"}",
		.process =
			",\"scheduler\":{\"policy\":\"SCHED_FIFO\",\"priority\":5},\"ioPriority\":{"
			"\"class\":\"IOPRIO_CLASS_RT\",\"priority\":1}"};

	(void)state;
	expect("cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/shmmni "
	       "/proc/sys/kernel/domainname; cut -d' ' -f40,41 /proc/self/stat; /bin/busybox "
	       "ionice",
	       &spec, "99\n123\ndom\n5 1\nrealtime: prio 1\n");
	spec.linux_ = MAPS ",\"sysctl\":{\"no.such\":\"1\"}";
	refuse(&spec, "linux.sysctl: cannot set 'no.such'");
}

static void test_capabilities(void **state)
{
	struct spec spec = {
		.namespaces = USER,
		.linux_ = MAPS,
		.process = ",\"capabilities\":{\"bounding\":[\"CAP_SYS_ADMIN\",\"CAP_CHOWN\",\"CAP_"
			   "NET_"
			   "ADMIN\"],\"effective\":[\"CAP_SYS_ADMIN\",\"CAP_CHOWN\",\"CAP_NET_"
			   "ADMIN\"],"
			   "\"permitted\":[\"CAP_SYS_ADMIN\",\"CAP_CHOWN\",\"CAP_NET_ADMIN\"]}"};

	(void)state;
	/* Root of its own mounts, files and network, not of the guest's */
	expect("mount -t tmpfs t /root && echo mounted; touch /tmp/f; /bin/busybox chown 5000:3 "
	       "/tmp/f && "
	       "echo given; /bin/busybox ip link set lo mtu 1400 && echo set; hostname inside && "
	       "hostname; mount -t ext2 x /root "
	       "2>/dev/null; echo $?; /bin/busybox dmesg -n 1 2>/dev/null; echo $?",
	       &spec, "mounted\ngiven\nset\ninside\n1\n1\n");
	owner_is("roots/0/tmp/f", 90000, 80003);
}

static void test_exec(void **state)
{
	struct spec spec = {.args = "\"sleep\",\"1000\"", .namespaces = USER, .linux_ = MAPS};
	static char text[4096];
	struct io io = {.fds = {-1, -1, -1}};

	(void)state;
	assert_int_equal(create("u", &spec, &io), TTRPC_OK);
	assert_int_equal(start("u"), TTRPC_OK);
	io = new_io(false);
	assert_int_equal(
		exec_in("u", "e",
			"\"sh\",\"-c\",\"id -u; touch /tmp/exec; echo there > /dev/stdout; for n "
			"in "
			"user mnt pid net ipc uts cgroup; do test $(readlink /proc/1/ns/$n) = "
			"$(readlink /proc/self/ns/$n) || echo $n; done\"",
			",\"user\":{\"uid\":3,\"gid\":4},\"scheduler\":{\"policy\":\"SCHED_RR\","
			"\"priority\":1}",
			&io),
		TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	/* /proc/1/ns is for who may trace it: not this user */
	assert_memory_equal(text, "3\nthere\n", 8);
	owner_is("roots/0/tmp/exec", 70003, 80004);
	close_io(&io);
	io = new_io(true);
	assert_int_equal(
		exec_in("u", "t", "\"sh\",\"-c\",\"tty; stat -c %u $(tty); id -u\"", NULL, &io),
		TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	assert_string_equal(text, "/dev/pts/0\r\n0\r\n0\r\n");
	close_io(&io);
	io = (struct io){.fds = {-1, -1, -1}};
	assert_int_equal(exec_in("u", "x", "\"true\"", ",\"user\":{\"uid\":1000,\"gid\":0}", &io),
			 TTRPC_INTERNAL);
	assert_non_null(
		strstr(last.message, "the user 1000:0 is not mapped in the user namespace"));
	assert_int_equal(signal_to("u", "", SIGKILL, false), TTRPC_OK);
	assert_int_equal(wait_for("u", ""), 137);
	delete ("u");
}

static void test_exit_codes(void **state)
{
	struct spec spec = {.namespaces = USER, .linux_ = MAPS};
	char text[256];

	(void)state;
	for (int i = 0; i < 20; i++)
		assert_int_equal(run_sh("exit 7", &spec, text, sizeof(text)), 7);
	spec.process = ",\"user\":{\"uid\":0,\"gid\":1000}";
	refuse(&spec, "the user 0:1000 is not mapped");
	spec.process = ",\"user\":{\"uid\":0,\"gid\":0,\"additionalGids\":[1000]}";
	refuse(&spec, "cannot set process.user.additionalGids");
	spec.process = NULL;
	spec.args = "\"nowhere\"";
	assert_int_equal(create("refused", &spec, &(struct io){.fds = {-1, -1, -1}}),
			 TTRPC_NOT_FOUND);
	assert_non_null(strstr(last.message, "executable file not found"));
}

static void test_terminal(void **state)
{
	struct spec spec = {.args = "\"sh\",\"-c\",\"stat -c %u:%a /dev/console; tty\"",
			    .namespaces = USER,
			    .linux_ = MAPS,
			    .process = ",\"user\":{\"uid\":5000,\"gid\":0}"};
	struct io io = new_io(true);
	char text[256];

	(void)state;
	assert_int_equal(create("t", &spec, &io), TTRPC_OK);
	assert_int_equal(start("t"), TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	assert_string_equal(text, "5000:620\r\n/dev/pts/0\r\n");
	assert_int_equal(wait_for("t", ""), 0);
	delete ("t");
	close_io(&io);
}

static void test_time(void **state)
{
	struct spec spec = {
		.namespaces = "{\"type\":\"time\"}," NAMESPACES,
		.linux_ = ",\"timeOffsets\":{\"monotonic\":{\"secs\":1000,\"nanosecs\":5},"
			  "\"boottime\":{\"secs\":86400000}}"};

	(void)state;
	expect("cat /proc/self/timens_offsets | tr -s ' '; test $(cut -d. -f1 /proc/uptime) -ge "
	       "86400000; "
	       "echo $?",
	       &spec, "monotonic 1000 5\nboottime 86400000 0\n0\n");
	spec.linux_ = NULL;
	expect("cat /proc/self/timens_offsets | tr -s ' '", &spec, "monotonic 0 0\nboottime 0 0\n");
	spec.linux_ = ",\"timeOffsets\":{\"monotonic\":{\"secs\":-9000000000}}";
	refuse(&spec, "cannot set linux.timeOffsets");
	spec.namespaces = "{\"type\":\"time\"}," USER;
	spec.linux_ = MAPS ",\"timeOffsets\":{\"boottime\":{\"secs\":7000000}}";
	expect("test $(cut -d. -f1 /proc/uptime) -ge 7000000; echo $?; id -u", &spec, "0\n0\n");
}

static void test_time_exec(void **state)
{
	struct spec spec = {.args = "\"sleep\",\"1000\"",
			    .namespaces = "{\"type\":\"time\"}," NAMESPACES,
			    .linux_ = ",\"timeOffsets\":{\"boottime\":{\"secs\":5000000}}"};
	struct io io = {.fds = {-1, -1, -1}};
	char text[256];

	(void)state;
	assert_int_equal(create("time", &spec, &io), TTRPC_OK);
	assert_int_equal(start("time"), TTRPC_OK);
	io = new_io(false);
	assert_int_equal(
		exec_in("time", "e",
			"\"sh\",\"-c\",\"test $(cut -d. -f1 /proc/uptime) -ge 5000000; echo $?\"",
			NULL, &io),
		TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), NULL);
	assert_string_equal(text, "0\n");
	close_io(&io);
	delete ("time");
}

static void test_paths(void **state)
{
	static const char *const types[] = {"pid", "ipc", "uts", "mount", "cgroup", "time", "user"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		char namespaces[128], words[128];
		struct spec spec = {.namespaces = namespaces};

		(void)snprintf(namespaces, sizeof(namespaces),
			       "{\"type\":\"%s\",\"path\":\"/proc/1/ns/x\"}", types[i]);
		(void)snprintf(words, sizeof(words), "cannot join the %s namespace '/proc/1/ns/x'",
			       types[i]);
		refuse(&spec, words);
		refuse(&spec, "under a kernel of its own");
	}
}

int main(void)
{
	char path[256];
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),	     cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_devices),	     cmocka_unit_test(test_privileged),
		cmocka_unit_test(test_capabilities), cmocka_unit_test(test_exec),
		cmocka_unit_test(test_exit_codes),   cmocka_unit_test(test_terminal),
		cmocka_unit_test(test_time),	     cmocka_unit_test(test_time_exec),
		cmocka_unit_test(test_paths),
	};
	int r;

	log_set_fd(-1);
	(void)signal(SIGPIPE, SIG_IGN);
	if (!start_machine()) {
		stop_machine();
		(void)printf("1..1\nok 1 - namespaces # SKIP host: needs root, namespaces, cgroup2 "
			     "and a static busybox\n");
		return 0;
	}
	/* The image is the container's root's */
	own("roots/0", 70000, 80000);
	own("roots/0/tmp", 70000, 80000);
	own("roots/0/etc", 70000, 80000);
	path_in(path, "roots/0/tmp");
	assert_int_equal(chmod(path, 01777), 0);
	connect_agent();
	assert_int_equal(hello(1), TTRPC_OK);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	stop_machine();
	return r;
}
