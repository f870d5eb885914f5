/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following a network namespace, with the vmm and the agent played by this file: what they are asked, in which order, and what
 * becomes of the namespace.
 *
 * LDFLAGS: -Wl,--wrap=vmm_add_net -Wl,--wrap=vmm_remove_net -Wl,--wrap=agent_set_network -Wl,--wrap=agent_error
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/agent.pb-c.h"
#include "lib/cleanup.h"
#include "lib/io.h"
#include "shim/monitor.h"

#define PATIENCE_MS 5000

static struct shim shim;
static struct monitor_args args = {.id = "c1", .nvcpus = 1};
static char story[1024]; /* "add0 set(eth0) remove0 " */
static bool vmm_is_slow; /* answers are given by the test */
static bool vmm_fails, agent_fails;
static int tap_fds[MACHINE_LATE_SLOTS]; /* as the vmm holds them */

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *format, ...)
{
	size_t len = strlen(story);
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(story + len, sizeof(story) - len, format, ap);
	va_end(ap);
}

/* ---- the vmm ---- */

static struct vmm_msg answers[MACHINE_LATE_SLOTS];
static size_t nanswers;

static void answer(enum vmm_msg_type type, uint32_t slot, bool fails)
{
	struct vmm_msg *msg = &answers[nanswers++];

	*msg = (struct vmm_msg){.type = type, .value = slot, .flags = fails ? EIO : 0};
	(void)snprintf(msg->text, sizeof(msg->text), "it\a burns");
}

int __wrap_vmm_add_net(const struct vmm *vmm, const struct vmm_net *net, struct err *err);
int __wrap_vmm_add_net(const struct vmm *vmm, const struct vmm_net *net, struct err *err)
{
	(void)vmm;
	(void)err;
	tell("add%u ", net->slot);
	assert_int_equal(net->npairs, 1);
	assert_true(fcntl(net->tap_fds[0], F_GETFL) & O_NONBLOCK);
	if (!vmm_fails)
		tap_fds[net->slot] = fcntl(net->tap_fds[0], F_DUPFD_CLOEXEC, 3);
	answer(VMM_MSG_NET_ADDED, net->slot, vmm_fails);
	return 0;
}

int __wrap_vmm_remove_net(const struct vmm *vmm, uint32_t slot, struct err *err);
int __wrap_vmm_remove_net(const struct vmm *vmm, uint32_t slot, struct err *err)
{
	(void)vmm;
	(void)err;
	tell("remove%u ", slot);
	close_fd(&tap_fds[slot]);
	answer(VMM_MSG_NET_REMOVED, slot, false);
	return 0;
}

static void vmm_speaks(void)
{
	while (nanswers) {
		struct vmm_msg msg = answers[0];

		memmove(answers, answers + 1, --nanswers * sizeof(answers[0]));
		network_on_vmm(&shim, &msg);
	}
}

/* ---- the agent ---- */

static ttrpc_on_result *on_set;
static void *on_set_arg;

int __wrap_agent_set_network(struct shim *s, const uint8_t *request, size_t len,
			     ttrpc_on_result *on_result, void *arg);
int __wrap_agent_set_network(struct shim *s, const uint8_t *request, size_t len,
			     ttrpc_on_result *on_result, void *arg)
{
	Caisson__Agent__SetNetworkRequest *message = caisson__agent__set_network_request__unpack(
		NULL, len, request);

	(void)s;
	assert_non_null(message);
	assert_null(on_set);
	tell("set(");
	for (size_t i = 0; i < message->n_interfaces; i++)
		tell("%s%s:%zu", i ? "," : "", message->interfaces[i]->name,
		     message->interfaces[i]->n_addresses);
	tell(") ");
	caisson__agent__set_network_request__free_unpacked(message, NULL);
	on_set = on_result;
	on_set_arg = arg;
	return 0;
}

int __wrap_agent_error(const struct ttrpc_result *result, struct err *err);
int __wrap_agent_error(const struct ttrpc_result *result, struct err *err)
{
	return result->code == TTRPC_OK ? 0 : err_set(err, EIO, "the agent: no");
}

static void agent_speaks(void)
{
	struct ttrpc_result result = {.code = agent_fails ? TTRPC_INTERNAL : TTRPC_OK};
	ttrpc_on_result *f = on_set;

	on_set = NULL;
	if (f)
		f(&result, on_set_arg);
}

/* ---- the test's hands ---- */

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("'%s' failed", command);
}

static bool says(const char *command, const char *words)
{
	static char text[16384];
	FILE *f = popen(command, "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	text[n] = 0;
	if (f)
		(void)pclose(f);
	return strstr(text, words);
}

static void turn(void)
{
	(void)loop_step(shim.loop, 50);
	if (!vmm_is_slow)
		vmm_speaks();
	agent_speaks();
}

/* Until the story is this one, and nothing more comes */
static void story_is(const char *wanted)
{
	uint64_t end = io_now_ms() + PATIENCE_MS;

	while (strcmp(story, wanted) != 0 && io_now_ms() < end)
		turn();
	for (int i = 0; i < 4; i++)
		turn();
	if (strcmp(story, wanted) != 0)
		fail_msg("the story is '%s', not '%s'", story, wanted);
}

static struct err settled;
static int nsettled;

static void on_settled(struct shim *s, const struct err *err, void *arg)
{
	(void)s;
	(void)arg;
	settled = *err;
	nsettled++;
}

static void wait_settled(int n)
{
	uint64_t end = io_now_ms() + PATIENCE_MS;

	while (nsettled < n && io_now_ms() < end)
		turn();
	assert_int_equal(nsettled, n);
}

static int set_up(void **state)
{
	struct err err = {0};

	(void)state;
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	shim = (struct shim){.args = &args, .state_fd = -1, .phase = SHIM_SERVING};
	shim.network.events.fd = shim.network.sock = -1;
	shim.network.devices = (struct net_devices){-1, -1, -1};
	shim.network.followed = true;
	shim.loop = loop_new(&err);
	story[0] = 0;
	nanswers = 0;
	nsettled = 0;
	vmm_is_slow = vmm_fails = agent_fails = false;
	for (int i = 0; i < MACHINE_LATE_SLOTS; i++)
		tap_fds[i] = -1;
	return shim.loop ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	network_release(&shim);
	for (int i = 0; i < MACHINE_LATE_SLOTS; i++)
		close_fd(&tap_fds[i]);
	loop_free(shim.loop);
	return 0;
}

static void make(const char *name, const char *address)
{
	char command[256];

	(void)snprintf(command, sizeof(command),
		       "ip tuntap add %s mode tap && ip addr add %s dev %s && ip link set %s up",
		       name, address, name, name);
	run(command);
}

/* As create does, but for the wait, which the test's own turns replace */
static void begin(void)
{
	struct err err = {0};

	if (network_open(&shim, &err) < 0)
		fail_msg("%s", err.msg);
	shim.network.active = true;
	assert_int_equal(network_settle(&shim, on_settled, NULL), 0);
}

/* A kernel that cannot redirect has nothing to follow with */
static bool can_redirect(void)
{
	int r = system("ip tuntap add x mode tap && tc qdisc add dev x clsact && tc filter add dev "
		       "x ingress u32 match u32 0 0 action mirred egress redirect dev lo "
		       "> /dev/null 2>&1");

	run("ip link del x");
	return r == 0;
}

#define needs_redirect()             \
	do {                         \
		if (!can_redirect()) \
			skip();      \
	} while (0)

/* ---- tests ---- */

static void test_nothing(void **state)
{
	(void)state;
	begin();
	assert_int_equal(nsettled, 1);
	assert_int_equal(settled.code, 0);
	story_is("");
}

static void test_order(void **state)
{
	needs_redirect();
	(void)state;
	make("eth0", "10.1.0.2/24");
	begin();
	story_is("add0 set(eth0:1) ");
	assert_int_equal(nsettled, 1);
	assert_true(says("tc filter show dev eth0 ingress", "Redirect to device caisson"));
	assert_true(says("ip link", "alias caisson c1"));
	/* a second one; then the first goes: the agent before the vmm, the vmm before the tap */
	make("eth1", "10.2.0.2/24");
	story_is("add0 set(eth0:1) add1 set(eth0:1,eth1:1) ");
	story[0] = 0;
	run("ip link del eth0");
	story_is("set(eth1:1) remove0 ");
	assert_int_equal(shim.network.slots[0].state, NET_SLOT_FREE);
	/* its slot is used again */
	story[0] = 0;
	make("eth5", "10.3.0.2/24");
	story_is("add0 set(eth1:1,eth5:1) ");
	/* an address, a name, an MTU */
	story[0] = 0;
	run("ip addr add 10.2.0.3/24 dev eth1");
	story_is("set(eth1:2,eth5:1) ");
	run("ip link set eth1 name net1 && ip link set net1 mtu 1300");
	story_is("set(eth1:2,eth5:1) set(net1:2,eth5:1) ");
	assert_true(says("ip link show type tun", "mtu 1300"));
	network_release(&shim);
	assert_false(says("ip link; tc qdisc", "caisson"));
	assert_false(says("tc qdisc", "clsact"));
}

static void test_meanwhile(void **state)
{
	needs_redirect();
	(void)state;
	vmm_is_slow = true;
	make("eth0", "10.1.0.2/24");
	begin();
	story_is("add0 ");
	assert_int_equal(nsettled, 0);
	/* while the vmm is at it: gone again, another one, and somebody who waits already */
	run("ip link del eth0");
	make("eth1", "10.2.0.2/24");
	story_is("add0 ");
	assert_int_equal(network_settle(&shim, on_settled, NULL), -EBUSY);
	vmm_is_slow = false;
	/* one round with what was there, one with what is */
	story_is("add0 set(eth0:1) add1 set(eth1:1) remove0 ");
	assert_int_equal(nsettled, 1);
	assert_int_equal(settled.code, 0);
}

/* Taken out of the namespace and put back between two looks: same number, no filters */
static void test_back_again(void **state)
{
	cleanup_close int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	needs_redirect();
	(void)state;
	make("eth0", "10.1.0.2/24");
	begin();
	story_is("add0 set(eth0:1) ");
	run("tc qdisc del dev eth0 clsact && ip link set eth0 down && ip link set eth0 up && ip "
	    "addr "
	    "add 10.1.0.3/24 dev eth0");
	story_is("add0 set(eth0:1) set(eth0:2) ");
	assert_true(says("tc filter show dev eth0 ingress", "Redirect to device caisson"));
}

static void test_failures(void **state)
{
	needs_redirect();
	(void)state;
	vmm_fails = true;
	make("eth0", "10.1.0.2/24");
	begin();
	story_is("add0 ");
	assert_int_equal(nsettled, 1);
	assert_non_null(strstr(settled.msg, "interface 'eth0': the guest's device: it? burns"));
	assert_false(says("tc qdisc", "clsact"));
	/* not tried at each event, but for the next start */
	run("ip addr add 10.1.0.3/24 dev eth0");
	story_is("add0 ");
	vmm_fails = false;
	agent_fails = true;
	assert_int_equal(network_settle(&shim, on_settled, NULL), 0);
	wait_settled(2);
	assert_memory_equal(story, "add0 add0 set(eth0:2) ", 22);
	assert_non_null(strstr(settled.msg, "the network: the agent: no"));
	/* the agent is told all of it again */
	agent_fails = false;
	story[0] = 0;
	assert_int_equal(network_settle(&shim, on_settled, NULL), 0);
	wait_settled(3);
	assert_int_equal(settled.code, 0);
	story_is("set(eth0:2) ");
}

static void test_in_use(void **state)
{
	struct err err = {0};

	(void)state;
	make("eth0", "10.1.0.2/24");
	shim.network.user = 4711;
	(void)snprintf(shim.network.user_name, sizeof(shim.network.user_name), "dhclient");
	assert_int_equal(network_open(&shim, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "in use by process 4711 (dhclient)"));
	assert_false(says("tc qdisc", "clsact"));
	network_release(&shim);
	/* without interfaces nobody is robbed */
	run("ip link del eth0");
	shim.network.events.fd = shim.network.sock = -1;
	begin();
	assert_int_equal(settled.code, 0);
}

static void test_hosts_own(void **state)
{
	(void)state;
	make("eth0", "10.1.0.2/24");
	shim.network.followed = false;
	assert_int_equal(network_open(&shim, NULL), 0);
	assert_int_equal(network_attach(&shim, NULL), 0);
	assert_int_equal(network_settle(&shim, on_settled, NULL), 0);
	assert_int_equal(nsettled, 1);
	assert_int_equal(settled.code, 0);
	story_is("");
	assert_false(says("tc qdisc", "clsact"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_meanwhile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_back_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_failures, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_in_use, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hosts_own, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
