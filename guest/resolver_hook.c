/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BPF programs of guest/resolver.h: all four are this, with the ports changed about for what a program of the container reads.
 *
 *   if address == 127.0.0.11 and port == FROM and the network namespace is ours: port = TO
 *   allow
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "lib/cleanup.h"
#include "lib/machine.h"

#include "guest/resolver.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define HELPER_NETNS_COOKIE 122 /* bpf_get_netns_cookie() */

static const struct {
	enum bpf_attach_type type;
	bool back; /* from the agent's port to 53 */
} programs[RESOLVER_PROGRAMS] = {
	{BPF_CGROUP_INET4_CONNECT, false},
	{BPF_CGROUP_UDP4_SENDMSG, false},
	{BPF_CGROUP_UDP4_RECVMSG, true},
	{BPF_CGROUP_INET4_GETPEERNAME, true},
};

static int bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	int r = (int)syscall(SYS_bpf, command, attr, sizeof(*attr));

	return r < 0 ? -errno : r;
}

static int load(enum bpf_attach_type type, uint16_t from, uint16_t to, uint64_t cookie)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 6, .src_reg = 1},
		{.code = BPF_LDX | BPF_MEM | BPF_W,
		 .dst_reg = 2,
		 .src_reg = 6,
		 .off = offsetof(struct bpf_sock_addr, user_ip4)},
		{.code = BPF_JMP32 | BPF_JNE | BPF_K,
		 .dst_reg = 2,
		 .off = 8,
		 .imm = (int32_t)htonl(MACHINE_RESOLVER_ADDRESS)},
		{.code = BPF_LDX | BPF_MEM | BPF_W,
		 .dst_reg = 2,
		 .src_reg = 6,
		 .off = offsetof(struct bpf_sock_addr, user_port)},
		{.code = BPF_JMP32 | BPF_JNE | BPF_K, .dst_reg = 2, .off = 6, .imm = htons(from)},
		/* the context is in r1 still */
		{.code = BPF_JMP | BPF_CALL, .imm = HELPER_NETNS_COOKIE},
		{.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 2, .imm = (int32_t)cookie},
		{.imm = (int32_t)(cookie >> 32)},
		{.code = BPF_JMP | BPF_JNE | BPF_X, .dst_reg = 0, .src_reg = 2, .off = 2},
		{.code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = 2, .imm = htons(to)},
		{.code = BPF_STX | BPF_MEM | BPF_W,
		 .dst_reg = 6,
		 .src_reg = 2,
		 .off = offsetof(struct bpf_sock_addr, user_port)},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr)); /* the kernel wants every unused byte zero */
	attr.prog_type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
	attr.expected_attach_type = type;
	attr.insns = (uint64_t)(uintptr_t)insns;
	attr.insn_cnt = ARRAY_SIZE(insns);
	attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
	memcpy(attr.prog_name, "resolver", 9);
	return bpf(BPF_PROG_LOAD, &attr);
}

/* A link ends with its descriptor */
static int link_program(int cgroup_fd, int program_fd, enum bpf_attach_type type)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = (uint32_t)program_fd;
	attr.link_create.target_fd = (uint32_t)cgroup_fd;
	attr.link_create.attach_type = type;
	return bpf(BPF_LINK_CREATE, &attr);
}

int resolver_hook(int cgroup_fd, int sock, uint16_t port, int links[RESOLVER_PROGRAMS],
		  struct err *err)
{
	socklen_t len = sizeof(uint64_t);
	uint64_t cookie;

	if (getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
		return err_sys(err, errno, "cannot tell the network namespace");
	for (size_t i = 0; i < RESOLVER_PROGRAMS; i++) {
		bool back = programs[i].back;
		cleanup_close int program = load(programs[i].type,
						 back ? port : MACHINE_RESOLVER_PORT,
						 back ? MACHINE_RESOLVER_PORT : port, cookie);

		if (program < 0)
			return err_sys(err, -program, "cannot load the resolver's program");
		links[i] = link_program(cgroup_fd, program, programs[i].type);
		if (links[i] < 0)
			return err_sys(err, -links[i], "cannot attach the resolver's program");
	}
	return 0;
}
