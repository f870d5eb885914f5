/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers to those who ask from the host's side of the namespace.
 *
 * An engine's resolver asks servers outside from sockets in the container's network namespace. What comes in at an interface there is
 * the guest's, before the host's stack sees it, and so would be their answers. So, while there is such a resolver, a filter in BPF
 * stands before the redirection:
 *
 *   in at X ─▶ for a connected socket of the host's side? ─yes─▶ the host's stack
 *                │ no
 *                ▼
 *              ARP reply or neighbour advertisement? ─yes─▶ both: a copy to the guest, and the host's stack
 *                │ no
 *                ▼
 *              the redirection: the guest
 *
 * "For a socket" is the kernel's own look-up with the addresses and ports of the packet. A socket must be connected to just this
 * sender (UDP), or have a connection with it (TCP): those that only listen, or take from anybody, stay unreachable from outside.
 * The guest has the same addresses, so a port that both use towards one server at one time would be the host's; sockets of the
 * host's side are few, and short-lived. Fragments, IPv6 extension headers and ICMP errors are the guest's.
 *
 * The program is written by hand, one instruction a line, and so small that it needs no compiler and no library. Making it takes
 * CAP_BPF in the host's user namespace, which a rootless monitor has not.
 */
#include "shim/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define L3 14 /* where an Ethernet frame's content begins */
#define ARP_OPERATION 6
#define ARP_REPLY 2
#define ICMP6_NEIGHBOR_ADVERTISEMENT 136
#define STATE_NEW_SYN_RECV 12 /* the kernel's TCP_NEW_SYN_RECV */

/* Below the frame pointer: the tuple that is looked up, and the header as it came */
#define TUPLE (-40)
#define HEADER (-80)
_Static_assert(sizeof(struct bpf_sock_tuple) <= 40, "the tuple has its place");

/* ---- instructions ---- */

enum label { NEXT, V4, V6, PORTS, UDP, UDP_V6, BOTH, LABELS };

struct program {
	struct bpf_insn all[NET_ANSWERS_MAX];
	size_t n;
	size_t labels[LABELS]; /* where each is */
};

static void emit(struct program *p, uint8_t code, int dst, int src, int off, int32_t imm)
{
	if (p->n < NET_ANSWERS_MAX)
		p->all[p->n] = (struct bpf_insn){.code = code,
						 .dst_reg = (uint8_t)dst & 15,
						 .src_reg = (uint8_t)src & 15,
						 .off = (int16_t)off,
						 .imm = imm};
	p->n++;
}

static void set(struct program *p, int dst, int32_t value)
{
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value);
}

static void copy(struct program *p, int dst, int src)
{
	emit(p, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static void alu(struct program *p, uint8_t operation, int dst, int32_t value)
{
	emit(p, BPF_ALU64 | operation | BPF_K, dst, 0, 0, value);
}

static void load(struct program *p, uint8_t size, int dst, int src, int off)
{
	emit(p, BPF_LDX | BPF_MEM | size, dst, src, off, 0);
}

/* A label stands where the distance comes in the end */
static void jump(struct program *p, uint8_t condition, int dst, int32_t value, enum label to)
{
	emit(p, BPF_JMP | condition | BPF_K, dst, 0, to, value);
}

static void call(struct program *p, int32_t helper)
{
	emit(p, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

static void end(struct program *p, int32_t verdict)
{
	set(p, 0, verdict);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void place(struct program *p, enum label label)
{
	p->labels[label] = p->n;
}

/* ---- the program; r6: the packet, r7: of IPv4, where its content begins, r8: its protocol, r9: the socket ---- */

/* @len bytes from @off of the packet to @to of the stack, on to the next filter if they are not there */
static void fetch(struct program *p, int32_t off, int32_t to, int32_t len)
{
	copy(p, 1, 6);
	set(p, 2, off);
	copy(p, 3, 10);
	alu(p, BPF_ADD, 3, to);
	set(p, 4, len);
	call(p, BPF_FUNC_skb_load_bytes);
	jump(p, BPF_JNE, 0, 0, NEXT);
}

/* Is there a socket for the tuple of @len bytes? Then the host's stack has it */
static void look_up(struct program *p, int32_t helper, int32_t len)
{
	copy(p, 1, 6);
	copy(p, 2, 10);
	alu(p, BPF_ADD, 2, TUPLE);
	set(p, 3, len);
	set(p, 4, BPF_F_CURRENT_NETNS);
	set(p, 5, 0);
	call(p, helper);
	jump(p, BPF_JEQ, 0, 0, NEXT);
	copy(p, 9, 0);
	if (helper == BPF_FUNC_sk_lookup_udp)
		load(p, BPF_H, 8, 9, offsetof(struct bpf_sock, dst_port));
	else
		load(p, BPF_W, 8, 9, offsetof(struct bpf_sock, state));
	copy(p, 1, 9);
	call(p, BPF_FUNC_sk_release);
	if (helper == BPF_FUNC_sk_lookup_udp) {
		jump(p, BPF_JEQ, 8, 0, NEXT); /* not connected */
	} else {
		jump(p, BPF_JEQ, 8, TCP_LISTEN, NEXT);
		jump(p, BPF_JEQ, 8, STATE_NEW_SYN_RECV, NEXT);
	}
	end(p, TC_ACT_OK);
}

static void put_v4(struct program *p)
{
	place(p, V4);
	fetch(p, L3, HEADER, 20);
	load(p, BPF_H, 1, 10, HEADER + 6);
	alu(p, BPF_AND, 1, htons(0x3fff)); /* more fragments, or a later one */
	jump(p, BPF_JNE, 1, 0, NEXT);
	load(p, BPF_B, 7, 10, HEADER);
	alu(p, BPF_AND, 7, 15);
	alu(p, BPF_LSH, 7, 2);
	jump(p, BPF_JLT, 7, 20, NEXT);
	load(p, BPF_B, 8, 10, HEADER + 9);
	fetch(p, L3 + 12, TUPLE, 8);
	copy(p, 1, 6);
	copy(p, 2, 7);
	alu(p, BPF_ADD, 2, L3);
	copy(p, 3, 10);
	alu(p, BPF_ADD, 3, TUPLE + 8);
	set(p, 4, 4);
	call(p, BPF_FUNC_skb_load_bytes);
	jump(p, BPF_JNE, 0, 0, NEXT);
	jump(p, BPF_JEQ, 8, IPPROTO_UDP, UDP);
	jump(p, BPF_JNE, 8, IPPROTO_TCP, NEXT);
	look_up(p, BPF_FUNC_skc_lookup_tcp, sizeof(((struct bpf_sock_tuple *)0)->ipv4));
	place(p, UDP);
	look_up(p, BPF_FUNC_sk_lookup_udp, sizeof(((struct bpf_sock_tuple *)0)->ipv4));
}

static void put_v6(struct program *p)
{
	place(p, V6);
	fetch(p, L3 + 6, HEADER, 1);
	load(p, BPF_B, 8, 10, HEADER);
	jump(p, BPF_JNE, 8, IPPROTO_ICMPV6, PORTS);
	fetch(p, L3 + 40, HEADER, 1);
	load(p, BPF_B, 8, 10, HEADER);
	jump(p, BPF_JEQ, 8, ICMP6_NEIGHBOR_ADVERTISEMENT, BOTH);
	jump(p, BPF_JA, 0, 0, NEXT);
	place(p, PORTS);
	fetch(p, L3 + 8, TUPLE, 32);
	fetch(p, L3 + 40, TUPLE + 32, 4);
	jump(p, BPF_JEQ, 8, IPPROTO_UDP, UDP_V6);
	jump(p, BPF_JNE, 8, IPPROTO_TCP, NEXT);
	look_up(p, BPF_FUNC_skc_lookup_tcp, sizeof(((struct bpf_sock_tuple *)0)->ipv6));
	place(p, UDP_V6);
	look_up(p, BPF_FUNC_sk_lookup_udp, sizeof(((struct bpf_sock_tuple *)0)->ipv6));
}

static void resolve_labels(struct program *p)
{
	for (size_t i = 0; i < p->n; i++) {
		struct bpf_insn *insn = &p->all[i];

		if (BPF_CLASS(insn->code) == BPF_JMP && BPF_OP(insn->code) != BPF_CALL &&
		    BPF_OP(insn->code) != BPF_EXIT)
			insn->off = (int16_t)(p->labels[insn->off] - i - 1);
	}
}

size_t net_answers_program(int tap, struct bpf_insn *out)
{
	struct program p = {.n = 0};

	copy(&p, 6, 1);
	load(&p, BPF_W, 1, 6, offsetof(struct __sk_buff, protocol));
	jump(&p, BPF_JEQ, 1, htons(ETH_P_IP), V4);
	jump(&p, BPF_JEQ, 1, htons(ETH_P_IPV6), V6);
	jump(&p, BPF_JNE, 1, htons(ETH_P_ARP), NEXT);
	fetch(&p, L3 + ARP_OPERATION, HEADER, 2);
	load(&p, BPF_H, 1, 10, HEADER);
	jump(&p, BPF_JEQ, 1, htons(ARP_REPLY), BOTH);
	jump(&p, BPF_JA, 0, 0, NEXT);
	put_v4(&p);
	put_v6(&p);
	place(&p, BOTH);
	copy(&p, 1, 6);
	set(&p, 2, tap);
	set(&p, 3, 0);
	call(&p, BPF_FUNC_clone_redirect);
	end(&p, TC_ACT_OK);
	place(&p, NEXT);
	end(&p, TC_ACT_UNSPEC);
	if (p.n > NET_ANSWERS_MAX)
		return 0;
	resolve_labels(&p);
	memcpy(out, p.all, p.n * sizeof(*out));
	return p.n;
}

int net_answers_load(int tap)
{
	struct bpf_insn program[NET_ANSWERS_MAX];
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SCHED_CLS};
	int fd;

	attr.insn_cnt = (uint32_t)net_answers_program(tap, program);
	attr.insns = (uintptr_t)program;
	attr.license = (uintptr_t) "Apache-2.0";
	fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	return fd < 0 ? -errno : fd;
}
