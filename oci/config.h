/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json (runtime-spec 1.3): parsed once into these structs, by the same code on the host and in the guest.
 *
 * Strings are owned by the config, never NULL where the spec requires them, NULL where optional and absent. Arrays come with
 * their count. Unknown fields are ignored, wrong types and out-of-range values are errors that name the field.
 */
#ifndef OCI_CONFIG_H
#define OCI_CONFIG_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/cleanup.h"
#include "lib/err.h"

#define OCI_CONFIG_MAX (1u << 20)      /* bytes of config.json */
#define OCI_PROCESS_MAX (256u << 10)   /* bytes of a process document */
#define OCI_DEPTH_MAX 32	       /* nesting */
#define OCI_ITEMS_MAX 8192	       /* elements of one array or object */
#define OCI_RESOURCES_MAX (256u << 10) /* bytes of a resources document */
#define OCI_LIST_MAX 8192	       /* numbers in a list of CPUs or nodes: 0 to 8191 */
#define OCI_VERSION "1.3.0"	       /* what `spec` writes and `features` states as its newest */

struct oci_strings {
	char **items; /* ended by NULL too, so that it serves as argv or envp */
	size_t n;
};

struct oci_rlimit {
	int resource; /* RLIMIT_* */
	uint64_t soft, hard;
};

#define OCI_CAP_SETS 5
enum oci_cap_set {
	OCI_CAP_BOUNDING,
	OCI_CAP_EFFECTIVE,
	OCI_CAP_INHERITABLE,
	OCI_CAP_PERMITTED,
	OCI_CAP_AMBIENT
};

struct oci_scheduler {
	bool present;
	uint32_t policy; /* SCHED_* of sched_setattr(2) */
	int32_t nice, priority;
	uint64_t flags;				     /* SCHED_FLAG_* */
	uint64_t runtime_ns, deadline_ns, period_ns; /* SCHED_DEADLINE */
};
struct oci_io_priority {
	bool present;
	uint32_t class_; /* IOPRIO_CLASS_*: 1 RT, 2 BE, 3 IDLE */
	uint32_t level;	 /* 0 to 7 */
};
/* Of exec'd processes; lists like "0-3,7", NULL or "" when absent */
struct oci_cpu_affinity {
	char *initial, *final;
};

struct oci_process {
	bool terminal;
	struct {
		uint32_t height, width;
	} console_size; /* 0: not given */
	struct {
		uint32_t uid, gid;
		uint32_t umask;
		bool has_umask;
		uint32_t *additional_gids;
		size_t nadditional_gids;
	} user;
	struct oci_strings args; /* may be empty in config.json until `create` refuses it */
	struct oci_strings env;
	char *cwd; /* absolute */
	bool has_capabilities;
	/* bit n = capability n; unknown names are left out, as runc does */
	uint64_t caps[OCI_CAP_SETS];
	char *unknown_caps; /* the first of those, for a warning; NULL: none */
	struct oci_rlimit *rlimits;
	size_t nrlimits;
	bool no_new_privileges;
	bool has_oom_score_adj;
	int32_t oom_score_adj;
	char *apparmor_profile, *selinux_label; /* NULL or "" when absent */
	struct oci_scheduler scheduler;
	struct oci_io_priority io_priority;
	struct oci_cpu_affinity exec_cpu_affinity;
};

/* One range of ids: as many, from host_id on outside, are container_id and up inside */
struct oci_idmap {
	uint32_t container_id, host_id, size;
};
struct oci_idmaps {
	struct oci_idmap *items;
	size_t n;
};

struct oci_mount {
	char *destination; /* absolute */
	bool was_relative; /* the destination, in the document */
	char *type;	   /* NULL, "bind", "proc", … */
	char *source;	   /* NULL when absent; for binds relative to the bundle or absolute */
	struct oci_strings options;
	bool is_bind;			   /* type "bind", or "bind"/"rbind" among the options */
	bool is_idmapped, idmap_recursive; /* only with is_bind */
	/* both or none; of an id-mapped mount without them the container's own are meant */
	struct oci_idmaps uid_mappings, gid_mappings;
};

enum oci_ns {
	OCI_NS_PID,
	OCI_NS_NETWORK,
	OCI_NS_MOUNT,
	OCI_NS_IPC,
	OCI_NS_UTS,
	OCI_NS_USER,
	OCI_NS_CGROUP,
	OCI_NS_TIME,
	OCI_NS_COUNT
};
struct oci_namespace {
	bool present;
	char *path; /* NULL: a new one */
};

struct oci_device {
	char *path;
	char type; /* 'c', 'b', 'p' or 'u' */
	int64_t major, minor;
	bool has_mode, has_uid, has_gid;
	uint32_t mode, uid, gid;
};

struct oci_pair {
	char *key, *value;
};
struct oci_pairs {
	struct oci_pair *items;
	size_t n;
};

/* ---- linux.resources, also a document of its own (`update -r FILE`) ---- */

/* A number that may be absent: then it is not touched, which is not the same as 0 */
struct oci_int {
	int64_t value;
	bool given;
};
struct oci_uint {
	uint64_t value;
	bool given;
};
struct oci_flag {
	bool value, given;
};

/* An entry of the list of allowed devices; they count in the order of the document */
enum { OCI_ACCESS_MKNOD = 1, OCI_ACCESS_READ = 2, OCI_ACCESS_WRITE = 4 }; /* as BPF_DEVCG_ACC_* */
struct oci_device_rule {
	bool allow;
	char type;	      /* 'a', 'b' or 'c' */
	int64_t major, minor; /* -1: all */
	unsigned int access;  /* OCI_ACCESS_*, at least one */
};

struct oci_io_weight {
	uint32_t major, minor;
	struct oci_uint weight, leaf_weight; /* at least one is given; 10 to 1000, or 0 */
};
enum oci_throttle { OCI_READ_BPS, OCI_WRITE_BPS, OCI_READ_IOPS, OCI_WRITE_IOPS, OCI_THROTTLES };
struct oci_io_rate {
	uint32_t major, minor;
	uint64_t rate; /* per second */
};
struct oci_io_rates {
	struct oci_io_rate *items;
	size_t n;
};

struct oci_hugepage_limit {
	char *page_size;     /* as in the control file's name: "2MB", "1GB" */
	uint64_t page_bytes; /* the same in bytes */
	uint64_t limit;	     /* bytes */
};
struct oci_net_priority {
	char *name; /* of an interface */
	uint32_t priority;
};
struct oci_rdma {
	char *device;
	struct oci_uint handles, objects; /* at least one is given */
};

struct oci_resources {
	struct {
		/* bytes, -1: unlimited; 0 means "not set", as with runc */
		struct oci_int limit, reservation, kernel, kernel_tcp;
		struct oci_int swap;	    /* memory and swap together */
		struct oci_uint swappiness; /* 0 to 100 */
		struct oci_flag disable_oom_killer, use_hierarchy, check_before_update;
	} memory;
	struct {
		struct oci_uint shares;
		struct oci_int quota; /* us per period; 0 or less: unlimited */
		struct oci_uint burst, period;
		struct oci_int realtime_runtime;
		struct oci_uint realtime_period;
		char *cpus, *mems;   /* lists like "0-3,7"; NULL or "": not set */
		struct oci_int idle; /* 0 or 1 */
	} cpu;
	struct oci_int pids_limit; /* -1: unlimited */
	struct {
		struct oci_uint weight, leaf_weight; /* 10 to 1000, 0: not set */
		struct oci_io_weight *devices;
		size_t ndevices;
		struct oci_io_rates rates[OCI_THROTTLES];
	} io;
	struct oci_hugepage_limit *hugepages;
	size_t nhugepages;
	struct oci_device_rule *devices;
	size_t ndevices;
	struct oci_pairs unified; /* cgroup v2 file name, and what is written to it */
	struct {
		struct oci_uint class_id;
		struct oci_net_priority *priorities;
		size_t npriorities;
	} network;
	struct oci_rdma *rdma;
	size_t nrdma;
};

enum oci_clock { OCI_CLOCK_MONOTONIC, OCI_CLOCK_BOOTTIME, OCI_CLOCK_COUNT };
struct oci_time_offset {
	bool present;
	int64_t secs;
	uint32_t nanosecs;
};

struct oci_hook {
	char *path;
	struct oci_strings args, env;
	int32_t timeout_s; /* 0: none */
};
enum oci_hook_kind {
	OCI_HOOK_PRESTART,
	OCI_HOOK_CREATE_RUNTIME,
	OCI_HOOK_CREATE_CONTAINER,
	OCI_HOOK_START_CONTAINER,
	OCI_HOOK_POSTSTART,
	OCI_HOOK_POSTSTOP,
	OCI_HOOK_COUNT
};
struct oci_hooks {
	struct oci_hook *items;
	size_t n;
};

struct oci_seccomp;

struct oci_config {
	char *oci_version;
	bool has_process;
	struct oci_process process;
	struct {
		char *path;
		bool readonly;
	} root;
	char *hostname, *domainname; /* NULL when absent */
	struct oci_mount *mounts;
	size_t nmounts;
	struct oci_hooks hooks[OCI_HOOK_COUNT];
	struct oci_pairs annotations;
	struct {
		struct oci_namespace namespaces[OCI_NS_COUNT];
		struct oci_device *devices;
		size_t ndevices;
		struct oci_pairs sysctl; /* with dots: "net.ipv4.conf.eth0/1.mtu" */
		struct oci_strings masked_paths, readonly_paths;
		char *cgroups_path, *rootfs_propagation, *mount_label;
		bool has_personality;
		uint32_t personality;	     /* PER_* of personality(2) */
		struct oci_seccomp *seccomp; /* oci/seccomp.h; NULL: none */
		bool has_resources;
		struct oci_resources resources; /* nothing given unless has_resources */
		struct oci_idmaps uid_mappings, gid_mappings;
		struct oci_time_offset time_offsets[OCI_CLOCK_COUNT];
		struct {
			bool present, enable_monitoring;
			char *clos_id, *l3_cache_schema, *mem_bw_schema; /* NULL when absent */
			struct oci_strings schemata;
		} intel_rdt;
		struct {
			bool present;
			int mode;	    /* MPOL_BIND … of set_mempolicy(2) */
			unsigned int flags; /* MPOL_F_* */
			char *nodes;	    /* a list like "0-3"; NULL or "": none */
		} memory_policy;
		struct oci_pairs net_devices; /* name on the host, name inside (maybe the same) */
	} linux_;
	struct {
		char *kernel_path, *initrd_path; /* NULL: the installed ones */
		struct oci_strings kernel_parameters;
		uint64_t memory_bytes; /* vm.hwConfig.memory in bytes, 0: default */
		uint32_t vcpus;	       /* vm.hwConfig.vcpus, 0: default */
	} vm;
};

/**
 * oci_config_parse() - Parse and validate a config.json
 * @text, @len:	Hostile bytes, need not be NUL-terminated; at most OCI_CONFIG_MAX
 * @out:	Set on success only; free with oci_config_free()
 *
 * Return: 0; -EINVAL for anything malformed (JSON with line and column, bad UTF-8, NUL bytes, wrong type, out of range, missing
 * required field), -EFBIG, -ENOMEM; @err names the field, e.g. "config.json: mounts[2].destination: 'x' is not absolute".
 */
int oci_config_parse(const char *text, size_t len, struct oci_config **out, struct err *err);
void oci_config_free(struct oci_config *config);
DEFINE_CLEANUP(oci_config)

/**
 * oci_resources_parse() - The same for a resources document (`update -r FILE`); free with oci_resources_free()
 *
 * The document is what linux.resources is in config.json; errors name it "resources".
 */
int oci_resources_parse(const char *text, size_t len, struct oci_resources **out, struct err *err);
void oci_resources_free(struct oci_resources *resources);
DEFINE_CLEANUP(oci_resources)

/**
 * oci_resources_write() - Write resources as JSON that oci_resources_parse() reads back the same
 * @out:	New NUL-terminated string, the caller's; Return: its length or -errno
 */
ssize_t oci_resources_write(const struct oci_resources *resources, char **out, struct err *err);

/** oci_device_rule_matches() - Is @rule about the device of @type ('b' or 'c') with these numbers? */
bool oci_device_rule_matches(const struct oci_device_rule *rule, char type, int64_t major,
			     int64_t minor);
/** oci_device_access() - What the rules allow: OCI_ACCESS_*, without runc's defaults */
unsigned int oci_device_access(const struct oci_resources *resources, char type, int64_t major,
			       int64_t minor);
/** oci_devices_are_all_allowed() - Is the last rule about everything one that allows it? That is how engines write --privileged */
bool oci_devices_are_all_allowed(const struct oci_resources *resources);

/**
 * oci_list_count() - How many different CPUs or memory nodes a list like "0-3,7" names
 *
 * Return: 1 to OCI_LIST_MAX, or -EINVAL for anything but such a list (the empty one too)
 */
int oci_list_count(const char *list);

/** oci_process_parse() - The same for a process document (`exec --process FILE`); free with oci_process_free() */
int oci_process_parse(const char *text, size_t len, struct oci_process **out, struct err *err);
void oci_process_free(struct oci_process *process);
DEFINE_CLEANUP(oci_process)

/**
 * oci_process_write() - Write a process as JSON that oci_process_parse() reads back the same
 * @out:	New NUL-terminated string, the caller's; Return: its length or -errno
 */
ssize_t oci_process_write(const struct oci_process *process, char **out, struct err *err);

/**
 * oci_idmap_to_host() - Which id outside stands for @id of the container
 *
 * Return: false if @id is not mapped (@out is left alone)
 */
bool oci_idmap_to_host(const struct oci_idmaps *maps, uint32_t id, uint32_t *out);
/** oci_idmap_has_host() - Does @id outside stand for one of the container's? */
bool oci_idmap_has_host(const struct oci_idmaps *maps, uint32_t id);

/**
 * oci_check_guest() - What is valid but cannot be had by a process with a kernel of its own
 *
 * Namespaces of the host's kernel, id-mapped mounts. Return: 0, or -ENOTSUP with the reason in @err.
 */
int oci_check_guest(const struct oci_config *config, struct err *err);

/** oci_namespace_name() - As in config.json: "pid", "network", … */
const char *oci_namespace_name(enum oci_ns ns);

/**
 * oci_cpu_set() - The CPUs of a list like "0-3,7", for sched_setaffinity(2)
 * @out:	CPUs from 0 to 1023
 * Return: 0, or -EINVAL for anything but such a list (the empty one too)
 */
int oci_cpu_set(const char *list, cpu_set_t *out);

/** oci_annotation() - Value of an annotation, or NULL */
const char *oci_annotation(const struct oci_config *config, const char *key);

#endif
