/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FUSE wire protocol: <linux/fuse.h>, and what a Debian 12 header does not have yet.
 *
 * We speak 7.36 to 7.41. Everything is little-endian and of fixed size on x86-64, so the kernel's structures are used as they
 * are. Names added here are our own (wire_*, WIRE_*), because a newer system header may define the kernel's.
 */
#ifndef KVM_FUSE_WIRE_H
#define KVM_FUSE_WIRE_H

#include <linux/fuse.h>
#include <stdint.h>

#define WIRE_MINOR_MIN 36u
#define WIRE_MINOR_MAX 41u

/* INIT flags above bit 31, in flags2 */
#define WIRE_INIT_NO_EXPORT_SUPPORT (1ull << 38)

#define WIRE_OP_STATX 52u

/* FUSE_STATX (7.39) */
struct wire_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t reserved;
};
struct wire_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0;
	uint64_t ino, size, blocks, attributes_mask;
	struct wire_sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};
struct wire_statx_in {
	uint32_t getattr_flags, reserved;
	uint64_t fh;
	uint32_t sx_flags, sx_mask;
};
struct wire_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec, flags;
	uint64_t spare[2];
	struct wire_statx stat;
};
_Static_assert(sizeof(struct wire_statx) == 256, "fuse_statx");
_Static_assert(sizeof(struct wire_statx_out) == 288, "fuse_statx_out");

/* FUSE_OPEN_OUT flag (7.42 and older): reads are a stream, the kernel takes no position lock */
#define WIRE_NAME_MAX 255u
#define WIRE_PAGE 4096u
#define WIRE_PAGES_MAX 256u			 /* pages of one READ or WRITE */
#define WIRE_IO_MAX (WIRE_PAGES_MAX * WIRE_PAGE) /* bytes of one READ or WRITE */
#define WIRE_XATTR_MAX 65536u			 /* XATTR_SIZE_MAX, XATTR_LIST_MAX */

#endif
