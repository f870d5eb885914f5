/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device (virtio 1.2 §5.2): one queue of requests, served from one descriptor, a block device of the host or a file.
 *
 *   readable: header (type, sector) │ data to write      writable: data that is read │ one byte of status
 *
 * What is in a request is the driver's word: type, sector and lengths are checked against the device, whose size is taken once,
 * when it is made. A request that is well-formed and cannot be served gets a status (IOERR, UNSUPP); one without a header or without room
 * for the status is a broken driver. How the buffers are cut does not matter, as §2.7.4 wants it.
 *
 * Writes go to the host's page cache, and FLUSH, which is offered, makes them last (the driver takes that for a cache that
 * writes back). Discarding and zeroing are fallocate(2), which block devices know too; one segment per request.
 *
 * A read-only device is opened read-only by whoever made the descriptor; that it says so to the driver is politeness.
 *
 * Threads: one of the device's own, which waits for the disk: the guest's other devices have theirs. Stopping waits for the
 * request in hand.
 */
#define _GNU_SOURCE
#include "kvm/virtio/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm/iov.h"
#include "lib/cleanup.h"

#define BLK_QUEUE_MAX 128
#define BLK_SECTOR 512u
/* So that a whole chain of data stays below VIRTQ_CHAIN_BYTES_MAX */
#define BLK_SEGMENT_BYTES (128u << 10)
#define BLK_SEGMENTS (BLK_QUEUE_MAX - 2)
#define BLK_RANGE_SECTORS (1u << 21) /* of one DISCARD or WRITE_ZEROES: 1 GiB */

_Static_assert((uint64_t)BLK_SEGMENTS *BLK_SEGMENT_BYTES < VIRTQ_CHAIN_BYTES_MAX,
	       "a chain holds it");

/* The parts of a request's buffers that are data, in chain.iov */
struct blk_data {
	struct iovec *iov;
	int niov;
	uint64_t len;
};

/* ---- buffers ---- */

/* Take @n bytes off the front; there are as many */
static void skip(struct blk_data *data, uint64_t n)
{
	data->len -= n;
	while (data->niov > 0 && n >= data->iov->iov_len) {
		n -= data->iov->iov_len;
		data->iov++;
		data->niov--;
	}
	if (n) {
		data->iov->iov_base = (uint8_t *)data->iov->iov_base + n;
		data->iov->iov_len -= n;
	}
}

/* Take the last byte off; there is one. Return: where it is */
static uint8_t *take_status(struct blk_data *data)
{
	struct iovec *last = &data->iov[data->niov - 1];

	data->len--;
	last->iov_len--;
	if (!last->iov_len)
		data->niov--;
	return (uint8_t *)last->iov_base + last->iov_len;
}

/* ---- requests ---- */

static uint8_t status_of(int code)
{
	return code == 0	    ? VIRTIO_BLK_S_OK
	       : code == EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP
				    : VIRTIO_BLK_S_IOERR;
}

static bool is_inside(const struct blk *blk, uint64_t sector, uint64_t nsectors)
{
	return sector <= blk->nsectors && nsectors <= blk->nsectors - sector;
}

static uint8_t transfer(struct blk *blk, struct blk_data *data, uint64_t sector, bool write)
{
	off_t offset = (off_t)(sector * BLK_SECTOR);

	if (data->len % BLK_SECTOR || !is_inside(blk, sector, data->len / BLK_SECTOR))
		return VIRTIO_BLK_S_IOERR;
	while (data->len) {
		ssize_t n = write ? pwritev(blk->fd, data->iov, data->niov, offset)
				  : preadv(blk->fd, data->iov, data->niov, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return VIRTIO_BLK_S_IOERR; /* the end: the device has shrunk */
		skip(data, (uint64_t)n);
		offset += n;
	}
	return VIRTIO_BLK_S_OK;
}

/* DISCARD and WRITE_ZEROES */
static uint8_t clear(struct blk *blk, const struct blk_data *data, bool zero)
{
	struct virtio_blk_discard_write_zeroes range;
	uint64_t sector, nsectors;
	uint32_t flags;
	int mode = FALLOC_FL_KEEP_SIZE;

	if (data->len != sizeof(range) ||
	    iov_copy_in(data->iov, (size_t)data->niov, 0, &range, sizeof(range)) != sizeof(range))
		return VIRTIO_BLK_S_UNSUPP;
	sector = range.sector;
	nsectors = range.num_sectors;
	flags = range.flags;
	if (flags & ~(zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u))
		return VIRTIO_BLK_S_UNSUPP;
	if (nsectors > BLK_RANGE_SECTORS || !is_inside(blk, sector, nsectors))
		return VIRTIO_BLK_S_IOERR;
	if (!nsectors)
		return VIRTIO_BLK_S_OK;
	mode |= zero && !flags ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;
	return status_of(fallocate(blk->fd, mode, (off_t)(sector * BLK_SECTOR),
				   (off_t)(nsectors * BLK_SECTOR)) < 0
				 ? errno
				 : 0);
}

static uint8_t give_id(const struct blk *blk, struct blk_data *data)
{
	size_t n = iov_copy_out(data->iov, (size_t)data->niov, 0, blk->id, sizeof(blk->id));

	data->len -= n;
	return VIRTIO_BLK_S_OK;
}

static uint8_t serve_request(struct blk *blk, const struct virtio_blk_outhdr *header,
			     struct blk_data *in, struct blk_data *out)
{
	switch (header->type) {
	case VIRTIO_BLK_T_IN:
		return transfer(blk, in, header->sector, false);
	case VIRTIO_BLK_T_OUT:
		return blk->read_only ? VIRTIO_BLK_S_IOERR
				      : transfer(blk, out, header->sector, true);
	case VIRTIO_BLK_T_FLUSH:
		return status_of(!blk->read_only && fdatasync(blk->fd) < 0 ? errno : 0);
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return blk->read_only ? VIRTIO_BLK_S_IOERR
				      : clear(blk, out, header->type == VIRTIO_BLK_T_WRITE_ZEROES);
	case VIRTIO_BLK_T_GET_ID:
		return give_id(blk, in);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* Return: bytes written into the chain, or -EPROTO */
static int64_t handle(struct blk *blk)
{
	struct virtq_chain *chain = &blk->chain;
	struct blk_data out = {chain->iov, chain->nread, chain->read_bytes};
	struct blk_data in = {chain->iov + chain->nread, chain->nwrite, chain->write_bytes};
	struct virtio_blk_outhdr header;
	uint64_t room;
	uint8_t *status;

	if (out.len < sizeof(header) || !in.len)
		return -EPROTO;
	(void)virtq_copy_in(chain, 0, &header, sizeof(header));
	skip(&out, sizeof(header));
	status = take_status(&in);
	room = in.len;
	*status = serve_request(blk, &header, &in, &out);
	return (int64_t)(room - in.len + 1);
}

/* ---- the thread ---- */

static void serve(struct blk *blk)
{
	struct virtq *q = &blk->dev.queues[0];
	int64_t written;
	int r;

	do {
		(void)virtq_want_kicks(q, false);
		while (!virtio_thread_is_stopping(&blk->thread)) {
			r = virtq_pop(q, &blk->chain);
			if (!r)
				break;
			written = r < 0 ? r : handle(blk);
			if (written < 0) {
				blk->stuck = true;
				virtio_dev_broken(&blk->dev, r < 0 ? "invalid descriptor chain"
								   : "invalid block request");
				return;
			}
			virtq_push(q, blk->chain.head, (uint32_t)written);
			virtio_dev_interrupt(&blk->dev, q);
		}
	} while (!virtio_thread_is_stopping(&blk->thread) && virtq_want_kicks(q, true));
}

static void blk_on_event(void *arg, uint64_t tag, uint32_t events)
{
	/* The queue is looked at in each round anyway */
	(void)arg;
	(void)tag;
	(void)events;
}

static int blk_on_round(void *arg)
{
	struct blk *blk = arg;

	if (!blk->stuck)
		serve(blk);
	return -1;
}

const struct virtio_thread_ops blk_thread_ops = {
	.on_event = blk_on_event,
	.on_round = blk_on_round,
};

/* ---- ops ---- */

static int blk_activate(struct virtio_dev *dev, struct err *err)
{
	struct blk *blk = container_of(dev, struct blk, dev);
	int r;

	blk->stuck = false;
	r = virtio_thread_start(&blk->thread, "virtio-blk", &blk_thread_ops, blk, err);
	if (r < 0)
		return r;
	r = virtio_thread_watch_kicks(&blk->thread, &dev->queues[0], 0);
	if (r < 0) {
		virtio_thread_stop(&blk->thread);
		return err_sys(err, -r, "virtio-blk: cannot watch its queue");
	}
	return 0;
}

static void blk_reset(struct virtio_dev *dev)
{
	virtio_thread_stop(&container_of(dev, struct blk, dev)->thread);
}

static void blk_free(struct virtio_dev *dev)
{
	struct blk *blk = container_of(dev, struct blk, dev);

	close_fd(&blk->fd);
	free(blk);
}

static void blk_config_read(struct virtio_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	const struct blk *blk = container_of(dev, struct blk, dev);
	struct virtio_blk_config config;

	memset(&config, 0, sizeof(config));
	config.capacity = blk->nsectors;
	config.size_max = BLK_SEGMENT_BYTES;
	config.seg_max = BLK_SEGMENTS;
	config.blk_size = blk->block_bytes;
	config.max_discard_sectors = BLK_RANGE_SECTORS;
	config.max_discard_seg = 1;
	config.discard_sector_alignment = blk->block_bytes / BLK_SECTOR;
	config.max_write_zeroes_sectors = BLK_RANGE_SECTORS;
	config.max_write_zeroes_seg = 1;
	config.write_zeroes_may_unmap = 1;
	memcpy(buf, (const char *)&config + off, len);
}

static const struct virtio_ops blk_ops = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.nqueues = 1,
	.queue_max = BLK_QUEUE_MAX,
	.features = VIRTIO_F_BIT(VIRTIO_BLK_F_SIZE_MAX) | VIRTIO_F_BIT(VIRTIO_BLK_F_SEG_MAX) |
		    VIRTIO_F_BIT(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_F_BIT(VIRTIO_BLK_F_FLUSH),
	.config_len = sizeof(struct virtio_blk_config),
	.config_read = blk_config_read,
	.activate = blk_activate,
	.reset = blk_reset,
	.free = blk_free,
};

/* Size and block size of what @blk->fd is */
static int measure(struct blk *blk, struct err *err)
{
	struct stat st;
	off_t end;
	int block = 0;

	if (fstat(blk->fd, &st) < 0 || (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode)))
		return err_set(err, EINVAL, "virtio-blk: it is not a block device or a file");
	end = lseek(blk->fd, 0, SEEK_END);
	if (end < 0)
		return err_sys(err, errno, "virtio-blk: its size");
	blk->nsectors = (uint64_t)end / BLK_SECTOR;
	if (!S_ISBLK(st.st_mode) || ioctl(blk->fd, BLKSSZGET, &block) < 0 ||
	    block < (int)BLK_SECTOR || block > 4096)
		block = BLK_SECTOR;
	blk->block_bytes = (uint32_t)block;
	return 0;
}

struct virtio_dev *virtio_blk_new(int fd, bool read_only, const char *id, struct err *err)
{
	struct blk *blk = calloc(1, sizeof(*blk));

	if (!blk) {
		(void)close(fd);
		(void)err_sys(err, ENOMEM, "virtio-blk");
		return NULL;
	}
	blk->fd = fd;
	blk->read_only = read_only;
	memcpy(blk->id, id, strnlen(id, sizeof(blk->id)));
	blk->ops = blk_ops;
	blk->ops.features |= read_only ? VIRTIO_F_BIT(VIRTIO_BLK_F_RO)
				       : VIRTIO_F_BIT(VIRTIO_BLK_F_DISCARD) |
						 VIRTIO_F_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	blk->dev.ops = &blk->ops;
	if (measure(blk, err) < 0) {
		blk_free(&blk->dev);
		return NULL;
	}
	return &blk->dev;
}
