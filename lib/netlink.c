/* SPDX-License-Identifier: Apache-2.0 */
/* See lib/netlink.h. The kernel answers in the sender's context: no wait here is for anybody else. */
#include "lib/netlink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define ANSWERS_MAX 16 /* messages that are not the answer, before we give up */
#define DATAGRAM_MAX (64u << 10)
#define DATAGRAMS_MAX 4096 /* of one dump */

int netlink_open(void)
{
	cleanup_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	const struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	const int one = 1;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0)
		return -errno;
	/* The answer need not bring back the request */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	return take_fd(&fd);
}

size_t netlink_put_raw(struct netlink_message *m, const void *data, size_t len)
{
	size_t start = m->len, padded = NLMSG_ALIGN(len);

	if (len > sizeof(m->bytes) || padded > sizeof(m->bytes) - start) {
		m->overflow = true;
		return start;
	}
	memset(m->bytes + start, 0, padded);
	if (len)
		memcpy(m->bytes + start, data, len);
	m->len = start + padded;
	return start;
}

void netlink_begin(struct netlink_message *m, uint16_t type, uint16_t flags, const void *fixed,
		   size_t fixed_len)
{
	const struct nlmsghdr header = {.nlmsg_type = type,
					.nlmsg_flags = flags | NLM_F_REQUEST | NLM_F_ACK};

	m->len = 0;
	m->overflow = false;
	(void)netlink_put_raw(m, &header, sizeof(header));
	(void)netlink_put_raw(m, fixed, fixed_len);
}

void netlink_put(struct netlink_message *m, uint16_t type, const void *data, size_t len)
{
	const struct nlattr header = {.nla_type = type, .nla_len = (uint16_t)(NLA_HDRLEN + len)};

	if (len > sizeof(m->bytes)) {
		m->overflow = true;
		return;
	}
	(void)netlink_put_raw(m, &header, sizeof(header));
	(void)netlink_put_raw(m, data, len);
}

void netlink_put_u32(struct netlink_message *m, uint16_t type, uint32_t value)
{
	netlink_put(m, type, &value, sizeof(value));
}

size_t netlink_nest(struct netlink_message *m, uint16_t type)
{
	const struct nlattr header = {.nla_type = type};

	return netlink_put_raw(m, &header, sizeof(header));
}

void netlink_nest_end(struct netlink_message *m, size_t start)
{
	struct nlattr header;

	if (m->overflow)
		return;
	memcpy(&header, m->bytes + start, sizeof(header));
	header.nla_len = (uint16_t)(m->len - start);
	memcpy(m->bytes + start, &header, sizeof(header));
}

void netlink_put_string(struct netlink_message *m, uint16_t type, const char *text)
{
	netlink_put(m, type, text, strlen(text) + 1);
}

/* ---- sending ---- */

static uint32_t next_seq(void)
{
	static uint32_t last;

	return ++last;
}

static int send_all(int fd, const struct netlink_message *m)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	ssize_t n;

	do {
		n = sendto(fd, m->bytes, m->len, 0, (const struct sockaddr *)&kernel,
			   sizeof(kernel));
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Return: 1 with *@error filled, 0 when the datagram is not the answer to @seq, -errno */
static int receive_answer(int fd, uint32_t seq, int *error)
{
	struct {
		struct nlmsghdr header;
		int error;
		uint8_t rest[256]; /* the request's header, and what a kernel may add */
	} answer;
	struct sockaddr_nl from = {0};
	socklen_t from_len = sizeof(from);
	ssize_t n;

	n = recvfrom(fd, &answer, sizeof(answer), MSG_TRUNC, (struct sockaddr *)&from, &from_len);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (from.nl_pid != 0 || (size_t)n < sizeof(answer.header) + sizeof(answer.error) ||
	    answer.header.nlmsg_type != NLMSG_ERROR || answer.header.nlmsg_seq != seq)
		return 0;
	*error = answer.error;
	return 1;
}

int netlink_send(int fd, struct netlink_message *m)
{
	uint32_t seq = next_seq();
	int r, error;

	if (m->overflow)
		return -EMSGSIZE;
	m->header.nlmsg_len = (uint32_t)m->len;
	m->header.nlmsg_seq = seq;
	r = send_all(fd, m);
	for (int i = 0; r == 0 && i < ANSWERS_MAX; i++)
		r = receive_answer(fd, seq, &error);
	if (r < 0)
		return r;
	if (r == 0)
		return -EPROTO;
	return error <= 0 && error > -4096 ? error : -EPROTO;
}

/* ---- reading ---- */

void netlink_attributes(const void *bytes, size_t len, struct netlink_attribute *out,
			unsigned int max)
{
	const uint8_t *at = bytes;

	memset(out, 0, (max + 1) * sizeof(*out));
	while (len >= NLA_HDRLEN) {
		struct nlattr header;
		size_t step;

		memcpy(&header, at, sizeof(header));
		if (header.nla_len < NLA_HDRLEN || header.nla_len > len)
			return;
		header.nla_type &= NLA_TYPE_MASK;
		if (header.nla_type <= max)
			out[header.nla_type] = (struct netlink_attribute){
				at + NLA_HDRLEN, (size_t)header.nla_len - NLA_HDRLEN};
		step = NLA_ALIGN(header.nla_len);
		if (step >= len)
			return;
		at += step;
		len -= step;
	}
}

void netlink_nested(const struct netlink_attribute *attribute, struct netlink_attribute *out,
		    unsigned int max)
{
	netlink_attributes(attribute->data, attribute->data ? attribute->len : 0, out, max);
}

uint32_t netlink_u32(const struct netlink_attribute *attribute, uint32_t fallback)
{
	uint32_t value;

	if (!attribute->data || attribute->len != sizeof(value))
		return fallback;
	memcpy(&value, attribute->data, sizeof(value));
	return value;
}

static int entry_error(const uint8_t *at, size_t len)
{
	int error;

	if (len < sizeof(struct nlmsghdr) + sizeof(error))
		return -EPROTO;
	memcpy(&error, at + sizeof(struct nlmsghdr), sizeof(error));
	return error < 0 && error > -4096 ? error : -EPROTO;
}

int netlink_each(const void *bytes, size_t len, size_t fixed_len, uint32_t seq,
		 void (*on_entry)(const struct netlink_entry *entry, void *arg), void *arg,
		 bool *interrupted)
{
	const size_t behind = NLMSG_HDRLEN + NLMSG_ALIGN(fixed_len);
	const uint8_t *at = bytes;

	while (len >= NLMSG_HDRLEN) {
		struct nlmsghdr header;
		size_t step;

		memcpy(&header, at, sizeof(header));
		if (header.nlmsg_len < NLMSG_HDRLEN || header.nlmsg_len > len)
			return -EPROTO;
		if (header.nlmsg_seq == seq) {
			*interrupted |= (header.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
			if (header.nlmsg_type == NLMSG_DONE)
				return 0;
			if (header.nlmsg_type == NLMSG_ERROR)
				return entry_error(at, header.nlmsg_len);
			if (header.nlmsg_len >= behind)
				on_entry(&(struct netlink_entry){header.nlmsg_type,
								 at + NLMSG_HDRLEN, at + behind,
								 header.nlmsg_len - behind},
					 arg);
		}
		step = NLMSG_ALIGN(header.nlmsg_len);
		if (step >= len)
			break;
		at += step;
		len -= step;
	}
	return 1;
}

int netlink_dump(int fd, uint16_t type, const void *fixed, size_t fixed_len,
		 void (*on_entry)(const struct netlink_entry *entry, void *arg), void *arg)
{
	cleanup_free uint8_t *datagram = malloc(DATAGRAM_MAX);
	struct netlink_message m;
	bool interrupted = false;
	int r;

	if (!datagram)
		return -ENOMEM;
	netlink_begin(&m, type, NLM_F_DUMP, fixed, fixed_len);
	m.header.nlmsg_flags &= (uint16_t)~NLM_F_ACK;
	m.header.nlmsg_len = (uint32_t)m.len;
	m.header.nlmsg_seq = next_seq();
	r = send_all(fd, &m);
	if (r < 0)
		return r;
	for (int i = 0; i < DATAGRAMS_MAX; i++) {
		ssize_t n = recv(fd, datagram, DATAGRAM_MAX, MSG_TRUNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if ((size_t)n > DATAGRAM_MAX)
			return -EMSGSIZE;
		r = netlink_each(datagram, (size_t)n, fixed_len, m.header.nlmsg_seq, on_entry, arg,
				 &interrupted);
		if (r <= 0)
			return r < 0 ? r : interrupted ? -EINTR : 0;
	}
	return -E2BIG;
}
