/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying between memory and a list of buffers, which are a guest's: each byte is touched once.
 */
#ifndef KVM_IOV_H
#define KVM_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/* The one walk: from byte @offset of the buffers on, into @in or, if that is NULL, from @out */
static inline size_t iov_copy(const struct iovec *iov, size_t n, size_t offset, void *in,
			      const void *out, size_t len)
{
	size_t done = 0;

	for (size_t i = 0; i < n && done < len; i++) {
		uint8_t *base = iov[i].iov_base;
		size_t part;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - offset;
		if (part > len - done)
			part = len - done;
		if (in)
			memcpy((uint8_t *)in + done, base + offset, part);
		else
			memcpy(base + offset, (const uint8_t *)out + done, part);
		done += part;
		offset = 0;
	}
	return done;
}

/** iov_copy_in() - Copy what begins at byte @offset of the buffers to @data; Return: bytes copied */
static inline size_t iov_copy_in(const struct iovec *iov, size_t n, size_t offset, void *data,
				 size_t len)
{
	return iov_copy(iov, n, offset, data, NULL, len);
}

/** iov_copy_out() - Copy @data to byte @offset of the buffers; Return: bytes copied */
static inline size_t iov_copy_out(const struct iovec *iov, size_t n, size_t offset,
				  const void *data, size_t len)
{
	return iov_copy(iov, n, offset, NULL, data, len);
}

#endif
