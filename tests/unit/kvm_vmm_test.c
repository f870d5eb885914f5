/* SPDX-License-Identifier: Apache-2.0 */
/* The messages between monitor and vmm: what is believed and what is not; the configuration; the kernel's command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm/machine.h"
#include "kvm/vmm_wire.h"

static int theirs;
static struct vmm vmm;

static int setup(void **state)
{
	int pair[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -1;
	vmm = (struct vmm){.pid = 0, .pidfd = -1, .control_fd = pair[0]};
	theirs = pair[1];
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vmm_release(&vmm);
	close(theirs);
	return 0;
}

static int receive(const void *msg, size_t len, bool with_fd, struct vmm_msg *out, int *fd)
{
	int r;

	*fd = -1;
	r = io_send_fds(theirs, msg, len, &theirs, with_fd ? 1 : 0);
	assert_int_equal(r, 0);
	r = vmm_recv(&vmm, out, fd);
	assert_true(r == 1 || *fd == -1);
	return r;
}

static void test_recv(void **state)
{
	struct vmm_msg m = {.type = VMM_MSG_ENDED,
			    .value = VMM_END_PANIC,
			    .text = "bad\033[31m\nnews\x7f"},
		       out;
	int fd;

	(void)state;
	assert_int_equal(vmm_recv(&vmm, &out, &fd), -EAGAIN);
	assert_int_equal(receive(&m, sizeof(m), false, &out, &fd), 1);
	assert_int_equal(out.value, VMM_END_PANIC);
	assert_string_equal(out.text, "bad?[31m?news?");
	assert_int_equal(fd, -1);
	m = (struct vmm_msg){.type = VMM_MSG_ACCEPT, .value = 1025};
	assert_int_equal(receive(&m, sizeof(m), true, &out, &fd), 1);
	assert_true(fd >= 0 && fd != theirs);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	m = (struct vmm_msg){.type = VMM_MSG_READY};
	assert_int_equal(receive(&m, sizeof(m), false, &out, &fd), 1);
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_recv_bad(void **state)
{
	static const struct {
		struct vmm_msg msg;
		bool with_fd;
	} bad[] = {
		{{.type = 0}, false},
		{{.type = 77}, false},
		{{.type = VMM_MSG_CONFIG}, false},
		{{.type = VMM_MSG_STOP}, false}, /* the other direction's */
		{{.type = VMM_MSG_CONNECT, .value = 1}, true},
		{{.type = VMM_MSG_ACCEPT, .value = 1}, false},
		{{.type = VMM_MSG_ACCEPT, .value = UINT32_MAX}, true},
		{{.type = VMM_MSG_READY}, true},
		{{.type = VMM_MSG_READY, .reserved = 1}, false},
		{{.type = VMM_MSG_STARTED, .flags = 1}, false},
		{{.type = VMM_MSG_STARTED, .value = 1}, false},
		{{.type = VMM_MSG_ENDED, .value = VMM_END_NONE}, false},
		{{.type = VMM_MSG_ENDED, .value = VMM_END_FAILED + 1}, false},
	};
	int fd, before = count_fds();
	struct vmm_msg m, out;
	char big[2048] = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
			receive(&bad[i].msg, sizeof(bad[i].msg), bad[i].with_fd, &out, &fd),
			-EPROTO);
	m = (struct vmm_msg){.type = VMM_MSG_ENDED, .value = VMM_END_PANIC};
	memset(m.text, 'x', sizeof(m.text));
	assert_int_equal(receive(&m, sizeof(m), false, &out, &fd), -EPROTO);
	assert_int_equal(receive(&m, sizeof(m) - 1, false, &out, &fd), -EPROTO);
	assert_int_equal(receive(&m, 1, true, &out, &fd), -EPROTO);
	assert_int_equal(receive(big, sizeof(big), true, &out, &fd), -EPROTO);
	assert_int_equal(count_fds(), before);
}

/* What was sent before the end arrives, although our own unread message makes the end a reset */
static void test_recv_end(void **state)
{
	const struct vmm_msg stop = {.type = VMM_MSG_STOP},
			     ended = {.type = VMM_MSG_ENDED, .value = VMM_END_POWER_OFF};
	struct vmm_msg out;
	int fd;

	(void)state;
	assert_int_equal(vmm_send(&vmm, &stop, -1), 0);
	assert_int_equal(io_send_fds(theirs, &ended, sizeof(ended), NULL, 0), 0);
	close(theirs);
	assert_int_equal(vmm_recv(&vmm, &out, &fd), 1);
	assert_int_equal(out.value, VMM_END_POWER_OFF);
	assert_int_equal(vmm_recv(&vmm, &out, &fd), 0);
	theirs = -1;
}

/* What the vmm's side gets of one request, and what it thinks of it with @nfds descriptors */
static void get_request(struct vmm_msg *msg, int *fds, size_t *nfds)
{
	assert_int_equal(io_recv_fds(theirs, msg, sizeof(*msg), fds, VMM_MSG_FDS_MAX, nfds),
			 sizeof(*msg));
}

static void test_net_requests(void **state)
{
	struct vmm_net net = {.slot = 7, .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1400, .npairs = 2};
	int fds[VMM_MSG_FDS_MAX], before = count_fds();
	struct vmm_msg m;
	struct err err;
	size_t nfds;

	(void)state;
	for (int i = 0; i < 2; i++)
		net.tap_fds[i] = net.vhost_fds[i] = theirs;
	assert_int_equal(vmm_add_net(&vmm, &net, &err), 0);
	get_request(&m, fds, &nfds);
	assert_int_equal(nfds, 2);
	assert_true(vmm_msg_valid(&m, 2, false));
	assert_false(vmm_msg_valid(&m, 2, true));
	assert_false(vmm_msg_valid(&m, 1, false));
	assert_false(vmm_msg_valid(&m, 4, false));
	assert_int_equal(m.type, VMM_MSG_ADD_NET);
	assert_int_equal(m.value, 7);
	assert_memory_equal(m.net.mac, net.mac, 6);
	assert_int_equal(m.net.mtu, 1400);
	for (size_t i = 0; i < nfds; i++)
		close(fds[i]);
	net.vhost = true;
	assert_int_equal(vmm_add_net(&vmm, &net, &err), 0);
	get_request(&m, fds, &nfds);
	assert_int_equal(nfds, 4);
	assert_true(vmm_msg_valid(&m, 4, false));
	m.net.npairs = 0;
	assert_false(vmm_msg_valid(&m, 0, false));
	m.net.npairs = VMM_NET_QUEUES_MAX + 1;
	assert_false(vmm_msg_valid(&m, 2 * (VMM_NET_QUEUES_MAX + 1), false));
	m.net.npairs = 2, m.net.mac[0] = 1;
	assert_false(vmm_msg_valid(&m, 4, false));
	for (size_t i = 0; i < nfds; i++)
		close(fds[i]);
	assert_int_equal(vmm_remove_net(&vmm, 7, &err), 0);
	get_request(&m, fds, &nfds);
	assert_true(vmm_msg_valid(&m, nfds, false));
	m.net.mtu = 1; /* not a part of this message */
	assert_false(vmm_msg_valid(&m, nfds, false));
	assert_int_equal(vmm_remove_net(&vmm, VMM_NET_SLOTS, &err), -EINVAL);
	assert_int_equal(count_fds(), before);
}

static void test_memory_requests(void **state)
{
	struct vmm_msg m;
	struct err err;
	size_t nfds;
	int fds[VMM_MSG_FDS_MAX];

	(void)state;
	assert_int_equal(vmm_grow_memory(&vmm, 3 * MACHINE_MEMORY_STEP, &err), 0);
	get_request(&m, fds, &nfds);
	assert_int_equal(m.type, VMM_MSG_GROW_MEMORY);
	assert_int_equal(m.bytes, 3 * MACHINE_MEMORY_STEP);
	assert_true(vmm_msg_valid(&m, nfds, false));
	assert_false(vmm_msg_valid(&m, nfds, true));
	assert_false(vmm_msg_valid(&m, 1, false));
	m.type = VMM_MSG_STOP; /* not a part of this message */
	assert_false(vmm_msg_valid(&m, nfds, false));
	assert_int_equal(vmm_grow_memory(&vmm, 0, &err), -EINVAL);
	assert_int_equal(vmm_grow_memory(&vmm, MACHINE_MEMORY_STEP + 4096, &err), -EINVAL);
	assert_int_equal(vmm_grow_memory(&vmm, -MACHINE_MEMORY_STEP, &err), -EINVAL);
	m = (struct vmm_msg){.type = VMM_MSG_MEMORY_GROWN, .flags = ENOMEM};
	assert_true(vmm_msg_valid(&m, 0, true));
	assert_false(vmm_msg_valid(&m, 0, false));
	m.flags = 4096;
	assert_false(vmm_msg_valid(&m, 0, true));
}

static void test_net_bad(void **state)
{
	const struct vmm_net good = {.mac = {2}, .npairs = 1};
	struct vmm_net net;
	struct err err;

	(void)state;
	assert_int_equal(vmm_net_valid(&good, &err), 0);
	net = good, net.slot = VMM_NET_SLOTS;
	assert_int_equal(vmm_add_net(&vmm, &net, &err), -EINVAL);
	net = good, net.npairs = 0;
	assert_int_equal(vmm_add_net(&vmm, &net, &err), -EINVAL);
	net = good, net.npairs = VMM_NET_QUEUES_MAX + 1;
	assert_int_equal(vmm_add_net(&vmm, &net, &err), -EINVAL);
	net = good, net.mac[0] = 3;
	assert_int_equal(vmm_add_net(&vmm, &net, &err), -EINVAL);
	net = good, net.mtu = VMM_NET_MTU_MIN - 1;
	assert_int_equal(vmm_add_net(&vmm, &net, &err), -EINVAL);
}

static void test_net_answers(void **state)
{
	struct vmm_msg m = {.type = VMM_MSG_NET_ADDED, .value = 3, .flags = EBUSY}, out;
	int fd;

	(void)state;
	assert_int_equal(receive(&m, sizeof(m), false, &out, &fd), 1);
	assert_int_equal(out.value, 3);
	assert_int_equal(out.flags, EBUSY);
	m.flags = 4096;
	assert_int_equal(receive(&m, sizeof(m), false, &out, &fd), -EPROTO);
	m.flags = 0, m.value = VMM_NET_SLOTS;
	assert_int_equal(receive(&m, sizeof(m), false, &out, &fd), -EPROTO);
	m.value = 0, m.net.mtu = 1500;
	assert_int_equal(receive(&m, sizeof(m), false, &out, &fd), -EPROTO);
}

static void test_release(void **state)
{
	struct vmm none = {0, -1, -1};

	(void)state;
	vmm_release(&none);
	vmm_release(&none);
	assert_int_equal(none.control_fd, -1);
}

static struct vmm_config good_config(void)
{
	return (struct vmm_config){.memory_bytes = VMM_MEMORY_MIN,
				   .nvcpus = 1,
				   .max_vcpus = 2,
				   .name = "x",
				   .initramfs_fd = -1,
				   .console_fd = -1,
				   .log_fd = -1};
}

static void test_config(void **state)
{
	static struct vmm_export exports[MACHINE_EXPORTS_MAX + 1];
	struct vmm_config c = good_config();
	char words[VMM_CMDLINE_MAX + 1];
	struct vmm out;
	struct err err;

	(void)state;
	assert_int_equal(vmm_config_valid(&c, &err), 0);
	c.memory_bytes = VMM_MEMORY_MIN - 4096;
	assert_int_equal(vmm_start(&c, &out, &err), -EINVAL);
	c = good_config(), c.memory_bytes++;
	assert_int_equal(vmm_start(&c, &out, &err), -EINVAL);
	c = good_config(), c.nvcpus = 3;
	assert_int_equal(vmm_start(&c, &out, &err), -EINVAL);
	c = good_config(), c.nvcpus = 0;
	assert_int_equal(vmm_start(&c, &out, &err), -EINVAL);
	c = good_config(), c.max_vcpus = VMM_VCPUS_MAX + 1;
	assert_int_equal(vmm_start(&c, &out, &err), -EINVAL);
	c = good_config(), c.kernel_fd = -1;
	assert_int_equal(vmm_start(&c, &out, &err), -EINVAL);
	memset(words, 'x', sizeof(words));
	words[VMM_CMDLINE_MAX] = '\0';
	c = good_config(), c.cmdline_extra = words;
	assert_int_equal(vmm_start(&c, &out, &err), -E2BIG);
	c = good_config(), c.exports = exports, c.nexports = MACHINE_EXPORTS_MAX + 1;
	assert_int_equal(vmm_start(&c, &out, &err), -EINVAL);
	c.nexports = 2; /* both have id 0 */
	assert_int_equal(vmm_start(&c, &out, &err), -EINVAL);
	exports[1].id = MACHINE_EXPORTS_MAX;
	assert_int_equal(vmm_start(&c, &out, &err), -EINVAL);
	exports[1].id = 1, exports[1].flags = 1u << 7;
	assert_int_equal(vmm_start(&c, &out, &err), -EINVAL);
	exports[1].flags = VMM_EXPORT_READ_ONLY;
	assert_int_equal(vmm_config_valid(&c, &err), 0);
}

static void test_wire(void **state)
{
	static struct vmm_wire_config good, w;
	struct err err;

	(void)state;
	good.type = VMM_MSG_CONFIG;
	good.memory_bytes = VMM_MEMORY_MIN;
	good.nvcpus = good.max_vcpus = 1;
	good.flags = VMM_WIRE_INITRAMFS;
	good.nexports = 1;
	assert_int_equal(vmm_wire_valid(&good, 4, &err), 0);
	assert_int_equal(vmm_wire_valid(&good, 3, &err), -EPROTO);
	assert_int_equal(vmm_wire_valid(&good, 5, &err), -EPROTO);
	w = good, w.type = VMM_MSG_STOP;
	assert_int_equal(vmm_wire_valid(&w, 4, &err), -EPROTO);
	w = good, w.flags |= 8;
	assert_int_equal(vmm_wire_valid(&w, 5, &err), -EPROTO);
	w = good, w.nexports = VMM_WIRE_EXPORTS_MAX + 1;
	assert_int_equal(vmm_wire_valid(&w, 3 + w.nexports, &err), -EPROTO);
	w = good, memset(w.cmdline_extra, 'x', sizeof(w.cmdline_extra));
	assert_int_equal(vmm_wire_valid(&w, 4, &err), -EPROTO);
	w = good, w.log_level = 100;
	assert_int_equal(vmm_wire_valid(&w, 4, &err), -EPROTO);
	w = good, w.max_vcpus = 0;
	assert_int_equal(vmm_wire_valid(&w, 4, &err), -EINVAL);
	/* A disk is one descriptor more */
	w = good, w.ndisks = MACHINE_DISKS_MAX, w.disks[0].flags = VMM_DISK_READ_ONLY;
	assert_int_equal(vmm_wire_valid(&w, 4, &err), -EPROTO);
	assert_int_equal(vmm_wire_valid(&w, 4 + MACHINE_DISKS_MAX, &err), 0);
	w.disks[MACHINE_DISKS_MAX - 1].flags = 2;
	assert_int_equal(vmm_wire_valid(&w, 4 + MACHINE_DISKS_MAX, &err), -EINVAL);
	w = good, w.ndisks = MACHINE_DISKS_MAX + 1;
	assert_int_equal(vmm_wire_valid(&w, 5 + MACHINE_DISKS_MAX, &err), -EPROTO);
}

static void test_cmdline(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));
	char out[VMM_CMDLINE_MAX], extra[VMM_CMDLINE_MAX];
	struct err err;
	size_t base;

	(void)state;
	assert_non_null(m);
	m->config.nvcpus = 2;
	m->config.max_vcpus = 4;
	m->config.cmdline_extra = "a=b c";
	m->slots[0].gpa = 0xd0000000;
	m->slots[0].gsi = 5;
	m->slots[MACHINE_BOOT_SLOTS].gpa = 0xd0009000;
	m->slots[MACHINE_BOOT_SLOTS].gsi = 16;
	assert_int_equal(machine_cmdline(m, out, &err), 0);
	assert_non_null(strstr(out, " reboot=k,panic_warm panic=-1 "));
	assert_non_null(strstr(
		out, " swiotlb=noforce rcupdate.rcu_expedited=1 nr_cpus=4 maxcpus=2 virtio"));
	assert_non_null(strstr(out, " virtio_mmio.device=512@0xd0000000:5:0 "
				    "virtio_mmio.device=512@0xd0009000:16:9 a=b c"));
	assert_null(strstr(out, "hvc0"));
	m->config.console = true;
	m->config.nvcpus = 4;
	m->config.cmdline_extra = NULL;
	assert_int_equal(machine_cmdline(m, out, &err), 0);
	assert_non_null(strstr(out, "console=hvc0"));
	assert_null(strstr(out, "maxcpus"));
	/* As long as possible, and one byte longer */
	base = strlen(out);
	memset(extra, 'x', sizeof(extra));
	extra[VMM_CMDLINE_MAX - 1 - base - 1] = '\0';
	m->config.cmdline_extra = extra;
	assert_int_equal(machine_cmdline(m, out, &err), 0);
	assert_int_equal(strlen(out), VMM_CMDLINE_MAX - 1);
	memset(extra, 'x', sizeof(extra));
	extra[VMM_CMDLINE_MAX - 1 - base] = '\0';
	assert_int_equal(machine_cmdline(m, out, &err), -E2BIG);
	free(m);
}

static void test_names(void **state)
{
	(void)state;
	for (int i = VMM_END_NONE; i <= VMM_END_FAILED; i++)
		assert_string_not_equal(vmm_end_name((enum vmm_end)i), "unknown");
	assert_string_equal(vmm_end_name((enum vmm_end)1000), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_recv, setup, teardown),
		cmocka_unit_test_setup_teardown(test_recv_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(test_recv_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_net_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_net_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(test_net_answers, setup, teardown),
		cmocka_unit_test(test_release),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_wire),
		cmocka_unit_test(test_cmdline),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
