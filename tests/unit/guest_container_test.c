/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent as a whole: what a container finds around it. See tests/unit/agent_machine.c for how the agent runs here.
 *
 * LDFLAGS: -Wl,--wrap=sync
 */
#include <sys/sysmacros.h>

#include "tests/unit/agent_machine.c"

/* For a message: what a summary shows of a failure is its first line. Good for two texts at a time */
static const char *one_line(const char *text)
{
	static char lines[2][4096];
	static unsigned int turn;
	char *out = lines[turn++ % 2];
	size_t n = 0;

	for (; *text && n < sizeof(lines[0]) - 3; text++) {
		if (*text == '\n') {
			out[n++] = '\\';
			out[n++] = 'n';
		} else {
			out[n++] = *text;
		}
	}
	out[n] = '\0';
	return out;
}

static void expect(const char *script, const struct spec *spec, const char *wanted)
{
	static char text[65536];
	int code = run_sh(script, spec, text, sizeof(text));

	if (strcmp(text, wanted) != 0 || code != 0)
		fail_msg("'%s' gave %d and '%s', not '%s'", script, code, one_line(text),
			 one_line(wanted));
}

static void refuse(const struct spec *given, enum ttrpc_code code, const char *words)
{
	struct io none = {.fds = {-1, -1, -1}};
	struct spec spec = *given;

	if (!spec.args)
		spec.args = "\"true\"";
	if (create("refused", &spec, &none) != code)
		fail_msg("code %d and '%s', not %d", (int)last.code, last.message, (int)code);
	if (!strstr(last.message, words))
		fail_msg("'%s' does not say '%s'", last.message, words);
}

static void test_namespaces(void **state)
{
	struct spec host = {.top = ",\"hostname\":\"box\",\"domainname\":\"example.org\""};

	(void)state;
	assert_int_equal(hello(1), TTRPC_OK);
	expect("hostname; cat /proc/sys/kernel/domainname; echo $$; cat /proc/self/cgroup | grep "
	       "^0",
	       &host, "box\nexample.org\n1\n0::/\n");
	expect("echo /proc/[0-9]*", NULL, "/proc/1\n");
	expect("cat /proc/sys/kernel/hostname | grep -c box; true", NULL, "0\n");
}

static void test_files(void **state)
{
	struct spec ro = {.readonly = true};

	(void)state;
	expect("cat /etc/sub/file; echo new > /tmp/new; cat /tmp/new", NULL, "below\nnew\n");
	expect("pwd; ls -d /.. /../etc; test ! -e /roots; echo $?", NULL, "/\n/..\n/../etc\n0\n");
	expect("touch /tmp/x 2>&1; touch /dev/shm/x && echo ok", &ro,
	       "touch: /tmp/x: Read-only file system\nok\n");
	expect("cut -d' ' -f5 /proc/self/mountinfo", NULL,
	       "/\n/proc\n/dev\n/dev/pts\n/dev/shm\n/dev/mqueue\n/sys\n/sys/fs/cgroup\n");
}

static void test_devices(void **state)
{
	struct spec more = {.linux_ = ",\"devices\":[{\"path\":\"/dev/sub/"
				      "one\",\"type\":\"c\",\"major\":1,\"minor\":7,"
				      "\"fileMode\":416,\"uid\":7,\"gid\":8},{\"path\":\"/dev/"
				      "fifo\",\"type\":\"p\"}]"};

	(void)state;
	expect("stat -c '%n %F %t:%T %a' /dev/null /dev/zero /dev/full /dev/random /dev/urandom "
	       "/dev/tty",
	       NULL,
	       "/dev/null character special file 1:3 666\n/dev/zero character special file 1:5 "
	       "666\n"
	       "/dev/full character special file 1:7 666\n/dev/random character special file 1:8 "
	       "666\n"
	       "/dev/urandom character special file 1:9 666\n/dev/tty character special file 5:0 "
	       "666\n");
	expect("for i in ptmx fd stdin stdout stderr; do readlink /dev/$i; done; test -e "
	       "/dev/console; echo $?",
	       NULL,
	       "pts/ptmx\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n1\n");
	expect("stat -c '%F %t:%T %a %u:%g' /dev/sub/one /dev/fifo", &more,
	       "character special file 1:7 640 7:8\nfifo 0:0 666 0:0\n");
	expect("echo again > /dev/stdout; echo x > /dev/null", NULL, "again\n");
	expect("stat -c '%a' /dev /dev/shm; stat -f -c %s /dev/shm; dd if=/dev/zero of=/dev/shm/x "
	       "bs=1M count=70 2>/dev/null; "
	       "stat -c %s /dev/shm/x",
	       NULL, "755\n1777\n4096\n67108864\n");
}

#define BIND(dest, options)                                                                       \
	",{\"destination\":\"" dest "\",\"type\":\"bind\",\"source\":\"x\",\"options\":[" options \
	"]}"

static void test_binds(void **state)
{
	struct spec spec = {
		.mounts = BIND("/vol", "\"rbind\",\"rprivate\"") BIND("/etc/one", "\"bind\",\"ro\"")
			BIND("/escape/ro", "\"rbind\",\"ro\",\"nosuid\",\"noexec\"")};

	char path[256], file[300];

	(void)state;
	expect("cat /vol/data /etc/one; echo more > /vol/more; cat /escape/ro/more; touch "
	       "/escape/ro/x /etc/one 2>&1; "
	       "grep -c ' /outside/ro ro,nosuid,nodev,noexec,' /proc/self/mountinfo",
	       &spec,
	       "volume\nsingle file\nmore\ntouch: /escape/ro/x: Read-only file system\ntouch: "
	       "/etc/one: Read-only file system\n1\n");
	/* A host user who owns a file of a volume can make a device of it: not here, unless asked for */
	spec.mounts = BIND("/vol", "\"rbind\"") BIND("/etc/one", "\"bind\"")
		BIND("/dev-vol", "\"rbind\",\"nodev\",\"dev\"");
	path_in(path, "roots/2");
	assert_int_equal(rename(path, strcat(strcpy(file, path), ".file")), 0);
	assert_int_equal(mknod(path, S_IFCHR | 0666, makedev(1, 11)), 0);
	expect("echo x > /etc/one || echo none", &spec,
	       "none\nsh: can't create /etc/one: Permission denied\n");
	assert_int_equal(unlink(path), 0);
	/* Hiding a file by /dev/null is common */
	assert_int_equal(mknod(path, S_IFCHR | 0666, makedev(1, 3)), 0);
	expect("echo x > /etc/one && echo null", &spec, "null\n");
	assert_int_equal(rename(file, path), 0);
	path_in(path, "roots/1/null");
	assert_int_equal(mknod(path, S_IFCHR | 0666, makedev(1, 3)), 0);
	expect("echo x > /vol/null || echo none; echo x > /dev-vol/null && echo device", &spec,
	       "none\ndevice\nsh: can't create /vol/null: Permission denied\n");
	assert_int_equal(unlink(path), 0);
	spec.mounts = NULL;
	/* The symlink in the image led to the image's own /outside */
	assert_int_equal(access("/outside", F_OK), -1);
	spec.mounts = ",{\"destination\":\"/x\",\"type\":\"Bind\",\"source\":\"/"
		      "etc\",\"options\":[\"bind\"]}";
	refuse(&spec, TTRPC_INTERNAL, "mounts[7]: the source '/etc' was not exported to the guest");
}

static void test_guest_binds(void **state)
{
	struct spec spec = {.mounts = ",{\"destination\":\"/gdev\",\"type\":\"none\",\"source\":\"/"
				      "dev\",\"options\":[\"bind\"]}"};

	(void)state;
	expect("test -c /gdev/null && echo there", &spec, "there\n");
	spec.mounts = ",{\"destination\":\"/x\",\"type\":\"none\",\"source\":\"/dev/../"
		      "etc\",\"options\":[\"bind\"]}";
	refuse(&spec, TTRPC_INTERNAL, "was not exported");
}

#define TMPFS(dest, options)        \
	",{\"destination\":\"" dest \
	"\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[" options "]}"

static void test_tmpfs(void **state)
{
	struct spec spec = {.mounts = TMPFS("/new/deep", "\"nosuid\",\"size=1m\",\"mode=1770\"")
				    TMPFS("/etc", "\"ro\",\"tmpcopyup\"")
					    TMPFS("/root", "\"noatime\"")};

	(void)state;
	expect("stat -c '%a' /new/deep; cat /etc/sub/file; stat -c %a /etc/sub/file /root; touch "
	       "/etc/x 2>&1; "
	       "grep -c '/new/deep rw,nosuid,relatime' /proc/self/mountinfo; grep -c '/root "
	       "rw,noatime' /proc/self/mountinfo",
	       &spec, "1770\nbelow\n600\n755\ntouch: /etc/x: Read-only file system\n1\n1\n");
	spec.mounts = TMPFS("/t", "\"nonsense=1\"");
	refuse(&spec, TTRPC_INTERNAL,
	       "mounts[7] at '/t': cannot mount a file system of type 'tmpfs'");
	spec.mounts = ",{\"destination\":\"/t\",\"type\":\"nosuchfs\",\"source\":\"x\"}";
	refuse(&spec, TTRPC_INTERNAL, "type 'nosuchfs'");
}

static void test_overlay(void **state)
{
	struct spec spec = {
		.mounts = TMPFS(
			"/w",
			"\"rw\"") ",{\"destination\":\"/o\",\"type\":\"overlay\",\"source\":\"o\","
				  "\"options\":[\"lowerdir=/bin:/etc\"]}"};

	(void)state;
	expect("grep -c ' /o .* overlay ' /proc/self/mountinfo", &spec, "1\n");
}

static void test_hidden(void **state)
{
	struct spec spec = {.linux_ = ",\"maskedPaths\":[\"/proc/version\",\"/etc/sub\",\"/"
				      "nope\",\"/etc/passwd/x\",\"/proc/acpi\"],"
				      "\"readonlyPaths\":[\"/proc/sys\",\"/tmp\",\"/nope\"]"};

	(void)state;
	expect("stat -c '%t:%T' /proc/version; ls /etc/sub; touch /etc/sub/x /tmp/x "
	       "/proc/sys/kernel/hostname 2>&1; true",
	       &spec,
	       "1:3\ntouch: /etc/sub/x: Read-only file system\ntouch: /tmp/x: Read-only file "
	       "system\n"
	       "touch: /proc/sys/kernel/hostname: Read-only file system\n");
}

static void test_sysctl(void **state)
{
	struct spec spec = {.linux_ = ",\"sysctl\":{\"kernel.shmmax\":\"12345\",\"net.ipv4.ip_"
				      "default_ttl\":\"77\"}"};

	(void)state;
	expect("cat /proc/sys/kernel/shmmax /proc/sys/net/ipv4/ip_default_ttl", &spec,
	       "12345\n77\n");
	spec.linux_ =
		",\"sysctl\":{\"net/ipv4/ip_default_ttl\":\"78\",\"net.ipv4.conf.lo.tag\":\"9\"}";
	expect("cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/net/ipv4/conf/lo/tag", &spec,
	       "78\n9\n");
	spec.linux_ = ",\"sysctl\":{\"no.such\":\"1\"}";
	refuse(&spec, TTRPC_INTERNAL, "sysctl");
}

static void test_user(void **state)
{
	struct spec spec = {.process = ",\"user\":{\"uid\":1000,\"gid\":1001,\"umask\":63,"
				       "\"additionalGids\":[5,7]},"
				       "\"capabilities\":{\"bounding\":[\"CAP_KILL\",\"CAP_CHOWN\"]"
				       ",\"effective\":[\"CAP_CHOWN\"],"
				       "\"permitted\":[\"CAP_CHOWN\"],\"inheritable\":[\"CAP_"
				       "CHOWN\"],\"ambient\":[\"CAP_CHOWN\"]},"
				       "\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":100,"
				       "\"hard\":200}],\"noNewPrivileges\":true,"
				       "\"oomScoreAdj\":321"};

	(void)state;
	expect("id -u; id -g; id -G; umask; grep -E '^(Cap|NoNew)' /proc/self/status; ulimit -n; "
	       "ulimit -Hn; echo $HOME; "
	       "cat /proc/self/oom_score_adj; echo direct > /dev/stdout",
	       &spec,
	       "1000\n1001\n1001 5 "
	       "7\n0077\nCapInh:\t0000000000000001\nCapPrm:\t0000000000000001\nCapEff:"
	       "\t0000000000000001\n"
	       "CapBnd:\t0000000000000021\nCapAmb:\t0000000000000001\nNoNewPrivs:\t1\n100\n200\n/"
	       "home/user\n321\ndirect\n");
	spec.process = NULL;
	expect("umask; grep ^Cap /proc/self/status; ulimit -n; echo $HOME; grep -E '^Sig(Blk|Ign)' "
	       "/proc/self/status; ls /proc/self/fd",
	       &spec,
	       "0022\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:"
	       "\t0000000000000000\nCapBnd:\t0000000000000000\n"
	       "CapAmb:\t0000000000000000\n1024\n/"
	       "root\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n0\n1\n2\n3\n");
	spec.process =
		",\"env\":[\"PATH=/bin\",\"HOME=/given\",\"A=1\",\"A=2\"],\"cwd\":\"/made/here\"";
	expect("echo $HOME $A; pwd", &spec, "/given 2\n/made/here\n");
}

static void test_unsupported(void **state)
{
	struct spec spec = {.args = "\"true\"", .namespaces = "{\"type\":\"user\"}"};

	(void)state;
	refuse(&spec, TTRPC_INVALID_ARGUMENT, "user namespaces enabled, but no");
	spec.namespaces = "{\"type\":\"ipc\",\"path\":\"/proc/1/ns/ipc\"}";
	refuse(&spec, TTRPC_UNIMPLEMENTED,
	       "cannot join the ipc namespace '/proc/1/ns/ipc': it is one of the host's kernel");
	spec.namespaces = NULL;
	spec.process = ",\"apparmorProfile\":\"x\"";
	refuse(&spec, TTRPC_UNIMPLEMENTED,
	       "process.apparmorProfile 'x': the guest's kernel has no AppArmor");
	spec.process = ",\"apparmorProfile\":\"unconfined\"";
	expect("true", &spec, "");
	spec.process = NULL;
	spec.args = "";
	refuse(&spec, TTRPC_INVALID_ARGUMENT, "process.args");
	spec.args = "\"true\"";
	spec.top = ",";
	refuse(&spec, TTRPC_INVALID_ARGUMENT, "config.json");
}

static void test_bad_requests(void **state)
{
	static const char *const ids[] = {"", ".", "..", "a/b", "a b", "é"};
	Caisson__Agent__CreateRequest request = CAISSON__AGENT__CREATE_REQUEST__INIT;
	struct spec spec = {.args = "\"true\""};
	struct io none = {.fds = {-1, -1, -1}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		assert_int_equal(create(ids[i], &spec, &none), TTRPC_INVALID_ARGUMENT);
	assert_int_equal(start("nobody"), TTRPC_NOT_FOUND);
	assert_int_equal(process_call("Delete", "nobody", ""), TTRPC_NOT_FOUND);
	assert_int_equal(exec_in("nobody", "x", "\"true\"", NULL, &none), TTRPC_NOT_FOUND);
	request.id = (char *)"big";
	request.config.len = 3u << 20;
	request.config.data = calloc(1, request.config.len);
	assert_int_equal(call("Create", &request), TTRPC_INVALID_ARGUMENT);
	request.config.len = 100;
	request.root_export_id = 4096;
	assert_int_equal(call("Create", &request), TTRPC_INVALID_ARGUMENT);
	free(request.config.data);
	assert_int_equal(
		create("none",
		       &(struct spec){.args = "\"true\"",
				      .mounts = BIND("/a", "") BIND("/b", "") BIND("/c", "")},
		       &none),
		TTRPC_OK);
	delete ("none");
}

static void test_container_limit(void **state)
{
	struct spec spec = {.args = "\"true\""};
	struct io none = {.fds = {-1, -1, -1}};
	char id[16];

	(void)state;
	for (int i = 0; i < AGENT_CONTAINERS_MAX; i++) {
		(void)snprintf(id, sizeof(id), "n%d", i);
		assert_int_equal(create(id, &spec, &none), TTRPC_OK);
	}
	assert_int_equal(create("more", &spec, &none), TTRPC_RESOURCE_EXHAUSTED);
	for (int i = 0; i < AGENT_CONTAINERS_MAX; i++) {
		(void)snprintf(id, sizeof(id), "n%d", i);
		delete (id);
	}
}

static void test_nested_cgroups(void **state)
{
	struct spec spec = {
		.namespaces = "{\"type\":\"pid\"},{\"type\":\"mount\"},{\"type\":\"cgroup\"}",
		.mounts = ",{\"destination\":\"/cg\",\"type\":\"cgroup2\",\"source\":\"cgroup\"}"};

	(void)state;
	/* Removed with the container, however deep */
	expect("cd /cg && for i in $(seq 1 30); do mkdir d e && cd d; done; sleep 1000 & echo $! > "
	       "cgroup.procs; echo done",
	       &spec, "done\n");
}

/* Names that begin with a dot are cgroups like others: killed, joined and removed */
static void test_dotted_cgroups(void **state)
{
	struct spec spec = {
		.args = "\"sh\",\"-c\",\"mkdir -p /cg/.x/..y /cg/a..b; echo 0 > "
			"/cg/.x/..y/cgroup.procs; echo moved; sleep 1000\"",
		.namespaces = "{\"type\":\"mount\"},{\"type\":\"cgroup\"}",
		.mounts = ",{\"destination\":\"/cg\",\"type\":\"cgroup2\",\"source\":\"cgroup\"}"};
	struct io io = new_io(false);
	char text[64];

	(void)state;
	assert_int_equal(create("dots", &spec, &io), TTRPC_OK);
	assert_int_equal(start("dots"), TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), "moved\n");
	assert_int_equal(signal_to("dots", "", SIGTERM, true), TTRPC_OK);
	assert_int_equal(wait_for("dots", ""), 128 + SIGTERM);
	delete ("dots");
	close_io(&io);
}

/* Without a cgroup namespace a container sees the guest's cgroups and may leave its own: it is killed all the same */
static void test_left_cgroup(void **state)
{
	struct spec spec = {
		.args = "\"sh\",\"-c\",\"echo 0 > /cg/cgroup.procs; echo moved; sleep 1000\"",
		.namespaces = "{\"type\":\"pid\"},{\"type\":\"mount\"}",
		.mounts = ",{\"destination\":\"/cg\",\"type\":\"cgroup2\",\"source\":\"cgroup\"}"};
	struct io io = new_io(false);
	char text[64];

	(void)state;
	assert_int_equal(create("left", &spec, &io), TTRPC_OK);
	assert_int_equal(start("left"), TTRPC_OK);
	(void)read_text(io.fds[1], text, sizeof(text), "moved\n");
	delete ("left");
	close_io(&io);
}

void __wrap_sync(void);
void __wrap_sync(void)
{
	(void)poll(NULL, 0, 1500);
}

/* Writing back takes a while; meanwhile the monitor must hear that we live */
static void test_shutdown(void **state)
{
	Caisson__Agent__Empty empty = CAISSON__AGENT__EMPTY__INIT;
	struct pollfd event = {.fd = machine.events, .events = POLLIN};
	struct answer answer;

	(void)state;
	begin(&answer, "Shutdown", &empty);
	assert_int_equal(finish(&answer), TTRPC_OK);
	assert_int_equal(call("Ping", &empty), TTRPC_OK);
	assert_int_equal(poll(&event, 1, 0), 0);
	assert_int_equal(next_event(), MACHINE_AGENT_POWER_OFF << 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_namespaces),	cmocka_unit_test(test_files),
		cmocka_unit_test(test_devices),		cmocka_unit_test(test_binds),
		cmocka_unit_test(test_guest_binds),	cmocka_unit_test(test_tmpfs),
		cmocka_unit_test(test_overlay),		cmocka_unit_test(test_hidden),
		cmocka_unit_test(test_sysctl),		cmocka_unit_test(test_user),
		cmocka_unit_test(test_unsupported),	cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_container_limit), cmocka_unit_test(test_nested_cgroups),
		cmocka_unit_test(test_dotted_cgroups),	cmocka_unit_test(test_left_cgroup),
		cmocka_unit_test(test_shutdown),
	};
	int r;

	log_set_fd(-1);
	(void)signal(SIGPIPE, SIG_IGN);
	if (!start_machine()) {
		stop_machine();
		(void)printf("1..1\nok 1 - container # SKIP host: needs root, namespaces, cgroup2 "
			     "and a static busybox\n");
		return 0;
	}
	connect_agent();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	stop_machine();
	return r;
}
