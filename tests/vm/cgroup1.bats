#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A host with cgroup v1: the lab's hierarchies are taken apart and mounted as an old distribution has them, all controllers apart, with
# cgroup2 beside them. Linux 6.12 may be built without version 1 of memory and cpuset: what is asked of them is asked where they are.

load helpers

TOP=/sys/fs/cgroup

setup_file() {
	local c
	[[ -n ${LAB:-} ]] || skip "host: its cgroup hierarchies are not the test's to take apart"
	for c in $(< $TOP/cgroup.subtree_control); do echo "-$c" > $TOP/cgroup.subtree_control; done
	umount $TOP
	mount -t tmpfs cgroup $TOP
	mkdir $TOP/unified $TOP/systemd
	mount -t cgroup2 cgroup2 $TOP/unified
	mount -t cgroup -o none,name=systemd cgroup $TOP/systemd
	for c in memory cpu,cpuacct cpuset pids blkio freezer; do
		mkdir "$TOP/$c"
		mount -t cgroup -o "$c" cgroup "$TOP/$c" || rmdir "$TOP/$c"
	done
}

setup() { common_setup; }
teardown() { common_teardown; }

cgroups_of() { # PID
	cut -d : -f 3- "/proc/$1/cgroup" | sort | uniq -c | sed 's/^ *//'
}

value() { # CONTROLLER FILE
	echo "$(< "$TOP/$1/caisson-test/c1/$2")"
}

hierarchies() {
	grep -c . /proc/self/cgroup
}

@test "cgroup v1: monitor and vmm are in all hierarchies, limited; delete takes all of them away" {
	bundle '.linux.cgroupsPath = "/caisson-test/c1" | .linux.resources = {pids: {limit: 20}, memory: {limit: 134217728, swap: 268435456},
		cpu: {shares: 512, quota: 25000, period: 50000, cpus: "0"}}'
	args sleep 1000
	detach c1
	[[ $(cgroups_of "$(pid_of c1)") == "$(hierarchies) /caisson-test/c1" ]]
	[[ $(cgroups_of "$(vmm_of c1)") == "$(hierarchies) /caisson-test/c1" ]]
	[[ $(value pids pids.max) == 85 ]]
	[[ $(value cpu,cpuacct cpu.shares) == 512 ]]
	[[ $(value cpu,cpuacct cpu.cfs_quota_us) == 25000 && $(value cpu,cpuacct cpu.cfs_period_us) == 50000 ]]
	if [[ -d $TOP/memory ]]; then
		host=$(value memory memory.limit_in_bytes)
		[[ $host -gt $((194 << 20)) && $host -lt $((300 << 20)) ]]
		[[ $(value memory memory.memsw.limit_in_bytes) == $((host + 134217728)) ]]
		[[ $(value memory memory.usage_in_bytes) -gt $((4 << 20)) ]]
	fi
	[[ ! -d $TOP/cpuset || $(value cpuset cpuset.cpus) == 0 ]]
	# the guest's own is cgroup v2 all the same
	[[ $(runtime exec c1 cat /sys/fs/cgroup/pids.max) == 20 ]]
	[[ $(runtime exec c1 cat /sys/fs/cgroup/cpu.max) == '25000 50000' ]]
	[[ $(runtime events --stats c1 | jq .data.pids.limit) == 20 ]]
	runtime delete --force c1
	run ! ls -d $TOP/*/caisson-test
}

@test "cgroup v1: update writes the same files, and takes them back when the guest refuses" {
	bundle '.linux.cgroupsPath = "/caisson-test/c1" | .linux.resources.pids.limit = 20'
	args sleep 1000
	detach c1
	runtime update --pids-limit 30 --cpu-share 300 --cpu-period 20000 --cpu-quota 10000 c1
	[[ $(value pids pids.max) == 95 && $(runtime exec c1 cat /sys/fs/cgroup/pids.max) == 30 ]]
	[[ $(value cpu,cpuacct cpu.shares) == 300 && $(value cpu,cpuacct cpu.cfs_quota_us) == 10000 ]]
	runtime update --cpu-quota -1 c1
	[[ $(value cpu,cpuacct cpu.cfs_quota_us) == -1 && $(value cpu,cpuacct cpu.cfs_period_us) == 20000 ]]
	# a burst above the quota: no kernel takes it
	run ! runtime update --pids-limit 40 --cpu-quota 5000 --cpu-burst 6000 c1
	[[ $(value pids pids.max) == 95 && $(value cpu,cpuacct cpu.cfs_quota_us) == -1 ]]
	runtime pause c1
	status_is c1 paused
	runtime resume c1
	runtime delete --force c1
	run ! ls -d $TOP/*/caisson-test
}

@test "cgroup v1: rates of a block device, and what no controller is there for" {
	dev=$(awk '$3 ~ /^(loop0|vda)$/ { print $1, $2; exit }' /proc/diskstats)
	[[ -n $dev ]] || { modprobe loop; dev='7 0'; }
	read -r major minor <<< "$dev"
	bundle ".linux.cgroupsPath = \"/caisson-test/c1\" | .linux.resources = {unified: {\"memory.high\": \"100000000\"},
		blockIO: {throttleReadBpsDevice: [{major: $major, minor: $minor, rate: 1048576}]}}"
	args cat /sys/fs/cgroup/memory.high
	run -0 runtime --log "$WORK/log" run c1
	[[ $output == 99999744 ]]
	grep -q 'unified.*holds in the guest only' "$WORK/log"
	args sleep 1000
	detach c1
	[[ $(value blkio blkio.throttle.read_bps_device) == "$major:$minor 1048576" ]]
	runtime delete --force c1
	umount $TOP/blkio
	rmdir $TOP/blkio
	run ! runtime run c2
	[[ $output == *blkio*"not available"* ]]
	[[ ! -e $WORK/root/c2 ]]
}

@test "cgroup v1: a relative path begins at the caller's cgroup, and what kills the monitor leaves nothing that delete does not find" {
	bundle '.linux.cgroupsPath = "sub/c1"'
	args sleep 1000
	mkdir $TOP/pids/caisson-caller
	(echo $BASHPID > $TOP/pids/caisson-caller/cgroup.procs; detach c1)
	grep -q ':pids:/caisson-caller/sub/c1$' "/proc/$(pid_of c1)/cgroup"
	grep -q ':freezer:/sub/c1$' "/proc/$(pid_of c1)/cgroup"
	kill -9 "$(pid_of c1)"
	within 30 status_is c1 stopped
	runtime delete --force c1
	[[ ! -d $TOP/pids/caisson-caller/sub && ! -d $TOP/freezer/sub ]]
	rmdir $TOP/pids/caisson-caller
}
