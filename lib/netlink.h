/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtnetlink(7) for both sides of the hardware boundary: requests that are answered one at a time, dumps, and a checked reader
 * of attributes. Here and not libnl, whose static library brings the C library's name resolution with it.
 *
 * A message grows in a buffer of fixed size; what does not fit marks it, and netlink_send() refuses it, so that only there
 * an error has to be looked for.
 */
#ifndef LIB_NETLINK_H
#define LIB_NETLINK_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NETLINK_MESSAGE_MAX 2048

struct netlink_message {
	union {
		struct nlmsghdr header;
		uint8_t bytes[NETLINK_MESSAGE_MAX];
	};
	size_t len;
	bool overflow;
};

/** netlink_open() - A socket in the caller's network namespace; Return: descriptor or -errno */
int netlink_open(void);

/* ---- writing ---- */

/** netlink_begin() - A request of this type and flags (NLM_F_REQUEST and ACK are added), with its family's fixed header */
void netlink_begin(struct netlink_message *m, uint16_t type, uint16_t flags, const void *fixed,
		   size_t fixed_len);
void netlink_put(struct netlink_message *m, uint16_t type, const void *data, size_t len);
void netlink_put_u32(struct netlink_message *m, uint16_t type, uint32_t value);
/** netlink_put_string() - With its NUL */
void netlink_put_string(struct netlink_message *m, uint16_t type, const char *text);
/** netlink_nest() - Begin an attribute of attributes; Return: what netlink_nest_end() wants */
size_t netlink_nest(struct netlink_message *m, uint16_t type);
void netlink_nest_end(struct netlink_message *m, size_t start);
/** netlink_put_raw() - Bytes without an attribute's header, padded (struct rtnexthop); Return: where they begin */
size_t netlink_put_raw(struct netlink_message *m, const void *data, size_t len);

/** netlink_send() - Send it, wait for the kernel's answer; Return: 0, -EMSGSIZE for one that did not fit, or the kernel's -errno */
int netlink_send(int fd, struct netlink_message *m);

/* ---- reading ---- */

/* A message of a dump: its type, its fixed header (as many bytes as asked for), the attributes behind it */
struct netlink_entry {
	uint16_t type;
	const void *fixed;
	const void *attributes;
	size_t attributes_len;
};
/**
 * netlink_dump() - Ask for a list, call @on_entry for each of its messages
 * @fixed:	The request's fixed header; the messages' has @fixed_len bytes too, shorter ones are left out
 * Return: 0, -EINTR when the kernel says that the list changed meanwhile (ask again), -errno
 */
int netlink_dump(int fd, uint16_t type, const void *fixed, size_t fixed_len,
		 void (*on_entry)(const struct netlink_entry *entry, void *arg), void *arg);

struct netlink_attribute {
	const void *data; /* borrowed; NULL: not there */
	size_t len;
};
/**
 * netlink_attributes() - Find attributes by type; of several of one type the last
 * @out:	@max + 1 of them; types above are left out. What comes behind a broken one is not looked at
 */
void netlink_attributes(const void *bytes, size_t len, struct netlink_attribute *out,
			unsigned int max);
/** netlink_nested() - The same for those inside of one; all absent if that is */
void netlink_nested(const struct netlink_attribute *attribute, struct netlink_attribute *out,
		    unsigned int max);
/** netlink_u32() - Its value; @fallback if it is not there or has another size */
uint32_t netlink_u32(const struct netlink_attribute *attribute, uint32_t fallback);

/** netlink_each() - One datagram of a dump's answer, for netlink_dump() and tests; Return: 1 it goes on, 0 the end, -errno */
int netlink_each(const void *bytes, size_t len, size_t fixed_len, uint32_t seq,
		 void (*on_entry)(const struct netlink_entry *entry, void *arg), void *arg,
		 bool *interrupted);

#endif
