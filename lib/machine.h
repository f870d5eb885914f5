/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both sides of the hardware boundary know about Caisson's machine: the vmm (kvm/), the agent (guest/) and the monitor
 * (shim/). Changing a value here changes all three; there is no compatibility to keep, since all are built together.
 */
#ifndef LIB_MACHINE_H
#define LIB_MACHINE_H

/*
 * The agent's port: a 32-bit write (outl) tells the vmm something; a read returns all ones. The low 16 bits are an argument,
 * the high 16 bits one of:
 */
#define MACHINE_PORT_AGENT 0x05e0
#define MACHINE_AGENT_READY 1u /* the agent listens on its vsock ports */
#define MACHINE_AGENT_POWER_OFF \
	2u /* end the guest; argument: 0 = as asked, else the agent's own failure */
#define MACHINE_AGENT_FAILED 3u /* the agent could not start: argument = errno; the guest ends */

/* Port of the keyboard controller: writing 0xfe is a reset; a panic has 0x1234 (warm boot) at physical address 0x472 */
#define MACHINE_PORT_RESET 0x64
#define MACHINE_RESET_MAGIC_GPA 0x472
#define MACHINE_RESET_MAGIC_WARM 0x1234

/*
 * Device slots: virtio-mmio windows of 512 bytes, one page apart. Those that have their device from boot on come first; the
 * MACHINE_LATE_SLOTS behind them exist from boot too, but are empty (device id 0), so that the guest's kernel knows the platform
 * device and leaves it unbound. The vmm fills one, then the agent writes the platform device's name to
 * /sys/bus/platform/drivers/virtio-mmio/bind (guest/slots.h). Each slot has an interrupt line of its own; the command line
 * gives each its number in the bus, so that Linux' name of late slot n is "virtio-mmio.<MACHINE_BOOT_SLOTS + n>".
 */
#define MACHINE_SLOTS_GPA 0xd0000000ull
#define MACHINE_SLOT_STRIDE 0x1000ull
#define MACHINE_BOOT_SLOTS 9
#define MACHINE_MEMORY_SLOT \
	(MACHINE_BOOT_SLOTS - 1) /* empty at boot, too: where memory is added (kvm/virtio/mem.c) */
#define MACHINE_MEMORY_STEP (128ull << 20) /* what Linux takes memory in, and at which addresses */
#define MACHINE_LATE_SLOTS 8
#define MACHINE_SLOT_NAME \
	"virtio-mmio.%u" /* argument: MACHINE_BOOT_SLOTS + the late slot's number, or MACHINE_MEMORY_SLOT */

/*
 * Block devices of the host, in boot slots. The driver's serial number of each is its number on the host, by which the agent
 * finds the guest's number for it.
 */
#define MACHINE_DISKS_MAX 4
#define MACHINE_DISK_ID "%u:%u" /* arguments: major, minor */
#define MACHINE_DISK_ID_MAX 20

/* The most that one description of the guest's network may have (SetNetwork of guest/agent.proto) */
#define MACHINE_NET_INTERFACES_MAX (MACHINE_LATE_SLOTS + 1) /* with the loopback interface */
#define MACHINE_NET_ADDRESSES_MAX 256			    /* of one interface */
#define MACHINE_NET_NEIGHBOURS_MAX 1024			    /* of one interface */
#define MACHINE_NET_ROUTES_MAX 1024
#define MACHINE_NET_HOPS_MAX 16 /* of one route */
#define MACHINE_NET_REQUEST_MAX (1u << 20)

#define MACHINE_GUEST_CID 3 /* always */
#define MACHINE_HOST_CID 2
#define MACHINE_VSOCK_PORT_AGENT 1024  /* the agent's ttrpc service listens here */
#define MACHINE_VSOCK_PORT_STREAM 1025 /* stdio streams: see struct machine_stream_hello */
#define MACHINE_VSOCK_PORT_RELAY \
	1026 /* on the host, the monitor's: see struct machine_relay_hello */

/* In the file server's top directory and in the root of each bind-mounted directory: where the agent binds (kvm/fuse/sockets.c) */
#define MACHINE_SOCKETS_NAME ".caisson-sockets"
#define MACHINE_SOCKETS_BIND "bind-" /* then the socket's id, decimal */

#define MACHINE_FS_TAG \
	"caisson" /* the virtio-fs device: its root lists one entry per export, "0", "1", … */
#define MACHINE_EXPORTS_MAX 256

/*
 * First bytes on each connection to MACHINE_VSOCK_PORT_STREAM, little-endian: which stream this is. The token was chosen by the
 * monitor and is named in the Create or Exec request that uses the stream. Nothing is answered.
 */
#define MACHINE_STREAM_MAGIC 0x43534e31u /* "CSN1" */
struct machine_stream_hello {
	unsigned int magic;
	unsigned int reserved;	  /* 0 */
	unsigned long long token; /* never 0 */
};

/*
 * First bytes on each connection of the agent's to MACHINE_VSOCK_PORT_RELAY of the host: what it wants to be relayed to. The
 * token is the one of Hello; any program of the guest can connect to that port, but only the agent knows it. Nothing is answered:
 * what cannot be reached is closed.
 */
#define MACHINE_RELAY_MAGIC 0x43534e32u /* "CSN2" */
enum machine_relay_kind {
	MACHINE_RELAY_DNS_UDP =
		1, /* datagrams (lib/frames.h) to and from the resolver of the container's network namespace */
	MACHINE_RELAY_DNS_TCP, /* a connection to it */
	MACHINE_RELAY_UNIX, /* to a Unix socket of the host's: bytes, or datagrams as lib/frames.h has them */
};
struct machine_relay_hello {
	unsigned int magic;
	unsigned int kind; /* enum machine_relay_kind */
	unsigned long long token;
	unsigned int socket, reserved; /* UNIX: which (RelaySocket), else 0; 0 */
	unsigned int uid, gid;	       /* UNIX: whose connection it is; else 0 */
};

/* The resolver of container engines, in the network namespace of their container */
#define MACHINE_RESOLVER_ADDRESS 0x7f00000bu /* 127.0.0.11 */
#define MACHINE_RESOLVER_PORT 53

#endif
