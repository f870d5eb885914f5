#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# linux.resources, twice: what the container's processes are held to in the guest, and what the host's cgroup of monitor and vmm says.

load helpers

setup() { common_setup; }
teardown() { common_teardown; }

MIB=$((1 << 20))

# limited JQ-OBJECT [JQ FILTER]: a bundle with these linux.resources
limited() {
	bundle ".linux.resources = $1 | ${2:-.}"
}

# show FILE...: what the container prints of its own cgroup, in the way host_files does
show() {
	local f script='cd /sys/fs/cgroup;'
	for f; do script+=" echo \"$f=\$(cat $f)\";"; done
	echo "$script"
}

host_files() { # ID FILE...
	local dir f
	dir=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(pid_of "$1")/cgroup")
	shift
	for f; do echo "$f=$(< "$dir/$f")"; done
}

# both SCRIPT: run it in a container of the bundle that then waits, with what it prints in $output
both() {
	sh_args "{ $1 } > /out 2>&1; mv /out /done; sleep 1000"
	detach c1
	within 60 test -e "$BUNDLE/rootfs/done"
	output=$(< "$BUNDLE/rootfs/done")
	echo "$output"
}

@test "limits: a fork bomb ends at pids.limit, the vmm has threads to spare" {
	limited '{pids: {limit: 20}}'
	both '(while :; do sleep 1000 & done); read max < /sys/fs/cgroup/pids.max; read n < /sys/fs/cgroup/pids.current
		echo "max=$max"; [ $n -ge 19 ] && [ $n -le 20 ] && echo full; while read -r k v; do [ $k = max ] && [ $v -gt 0 ] && echo refused; done < /sys/fs/cgroup/pids.events; kill -9 -1;'
	[[ $output == *max=20* && $output == *full* && $output == *refused* ]]
	[[ $(host_files c1 pids.max) == pids.max=$((20 + 64 + 1)) ]]
}

@test "limits: memory.limit kills the process and not the guest" {
	limited "{memory: {limit: $((64 * MIB))}}"
	sh_args 'dd if=/dev/zero of=/dev/null bs=100M count=1; echo "dd $?"; cat /sys/fs/cgroup/memory.max; grep "oom_kill " /sys/fs/cgroup/memory.events'
	run -0 runtime run c1
	[[ $output == *'dd 137'*"$((64 * MIB))"*'oom_kill 1'* ]]
	args dd if=/dev/zero of=/dev/null bs=100M count=1
	run -137 runtime run c2
}

@test "limits: a container that may write to its cgroup shapes what is below, and does not raise its limits" {
	limited '{pids: {limit: 50}}' '(.mounts[] | select(.destination == "/sys/fs/cgroup") | .options) -= ["ro"]'
	sh_args 'cd /sys/fs/cgroup; for f in pids.max=max memory.max=max cpu.weight=10000; do (echo ${f#*=} > ${f%=*}) 2> /dev/null || echo "${f%=*} refused"; done
		mkdir a && echo 0 > a/cgroup.procs && echo +pids > cgroup.subtree_control && echo 7 > a/pids.max && echo "a $(cat a/pids.max)"; cat pids.max'
	run -0 runtime run c1
	[[ $output == $'pids.max refused\nmemory.max refused\ncpu.weight refused\na 7\n50' ]]
	# the whole hierarchy in one container does not change it for others
	edit '.linux.namespaces |= map(select(.type != "cgroup"))'
	sh_args 'grep -c "^cgroup /sys/fs/cgroup cgroup2 rw,.*nsdelegate" /proc/self/mounts; cd /sys/fs/cgroup; ls -d c1; mkdir c1/a && echo made'
	run -0 runtime run c1
	[[ $output == $'1\nc1\nmade' ]]
	# as another user
	edit '.linux.namespaces += [{type: "cgroup"}] | .process.user = {uid: 1000, gid: 1000}'
	sh_args 'cd /sys/fs/cgroup; stat -c "%n %u" . cgroup.procs pids.max; mkdir a && echo 0 > a/cgroup.procs && echo +pids > cgroup.subtree_control && echo 7 > a/pids.max && cat a/pids.max'
	run -0 runtime run c1
	[[ $output == $'. 1000\ncgroup.procs 1000\npids.max 0\n7' ]]
}

@test "limits: the host's memory.max has room for the guest and what it costs" {
	limited "{memory: {limit: $((128 * MIB)), reservation: $((32 * MIB)), swap: $((192 * MIB))}}"
	both "$(show memory.max memory.low) grep MemTotal /proc/meminfo; ls /sys/fs/cgroup | grep -c memory.swap;"
	[[ $output == *memory.max=$((128 * MIB))* && $output == *memory.low=$((32 * MIB))* && $output == *$'\n0' ]]
	# 128 MiB and a 64th, in steps of 2 MiB, and 64 MiB for the guest's kernel
	guest=$((130 + 64))
	kib=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' <<< "$output")
	((kib < guest * 1024 && kib > (guest - 40) * 1024))
	run -0 host_files c1 memory.max memory.low
	[[ ${lines[0]} == memory.max=$((guest * MIB + 32 * MIB + MIB + guest * MIB / 256 + 16384 * 2048)) ]]
	[[ ${lines[1]} == memory.low=$((32 * MIB)) ]]
	[[ ! -e /sys/fs/cgroup/memory.swap.max ]] || [[ $(host_files c1 memory.swap.max) == memory.swap.max=$((64 * MIB)) ]]
}

@test "limits: cpu shares, quota, period and burst on both sides" {
	limited '{cpu: {shares: 512, quota: 50000, period: 200000, burst: 10000}}'
	both "$(show cpu.weight cpu.max cpu.max.burst)"
	[[ $output == $'cpu.weight=59\ncpu.max=50000 200000\ncpu.max.burst=10000' ]]
	[[ $(host_files c1 cpu.weight cpu.max cpu.max.burst) == "$output" ]]
}

@test "limits: cpu.idle on both sides" {
	limited '{cpu: {idle: 1}}'
	both "$(show cpu.idle cpu.max)"
	[[ $output == $'cpu.idle=1\ncpu.max=max 100000' ]]
	[[ $(host_files c1 cpu.idle cpu.max) == "$output" ]]
}

@test "limits: a cpuset is the host's CPUs outside and as many vCPUs inside" {
	limited '{cpu: {cpus: "0", mems: "0"}}' '.vm.hwConfig.vcpus = 2'
	both "$(show cpuset.cpus cpuset.mems) grep -c ^processor /proc/cpuinfo; nproc;"
	[[ $output == $'cpuset.cpus=0\ncpuset.mems=0\n2\n1' ]]
	[[ $(host_files c1 cpuset.cpus cpuset.mems) == $'cpuset.cpus=0\ncpuset.mems=0' ]]
}

@test "limits: a cpuset that the host does not have is refused" {
	limited '{cpu: {cpus: "4000"}}'
	args true
	run -1 runtime run c1
	[[ $output == *cpuset.cpus*4000* ]]
}

@test "limits: devices are denied but for the defaults" {
	limited '{}' '.process.capabilities[] |= (. + ["CAP_MKNOD"])'
	sh_args 'busybox mknod /dev/k c 1 11 && echo made; (: < /dev/k) || echo closed
		for i in null zero full random urandom; do head -c 0 /dev/$i && echo $i; done; (: < /dev/ptmx) && echo ptmx'
	run -0 runtime run c1
	[[ $output == *made*'not permitted'*closed*$'null\nzero\nfull\nrandom\nurandom\nptmx' ]]
}

@test "limits: device rules allow and deny in their order, by access" {
	limited '{devices: [{allow: false, access: "rwm"}, {allow: true, type: "c", major: 1, access: "rw"},
		{allow: false, type: "c", major: 1, minor: 11, access: "w"}, {allow: false, type: "c", major: 1, minor: 3, access: "rwm"}]}' \
		'.process.capabilities[] |= (. + ["CAP_MKNOD"])'
	sh_args 'busybox mknod /dev/k c 1 11; (: < /dev/k) && echo read; (: > /dev/k) || echo no write; (: > /dev/null) && echo default'
	run -0 runtime run c1
	[[ $output == *read*'no write'*default ]]
	edit '.linux.resources.devices = [{allow: true, access: "rwm"}]'
	sh_args 'busybox mknod /dev/k c 1 11; (: > /dev/k) && echo written'
	run -0 runtime run c2
	[[ $output == written ]]
}

@test "limits: unified keys count last, widened on the host; what is none is refused in runc's words" {
	limited "{pids: {limit: 30}, unified: {\"pids.max\": \"25\", \"memory.high\": \"$((100 * MIB))\", \"memory.oom.group\": \"1\", \"cpu.weight\": \"77\"}}"
	both "$(show pids.max memory.high memory.oom.group cpu.weight)"
	[[ $output == $'pids.max=25\nmemory.high='$((100 * MIB))$'\nmemory.oom.group=1\ncpu.weight=77' ]]
	run -0 host_files c1 pids.max memory.oom.group cpu.weight memory.high
	[[ ${lines[0]} == pids.max=$((25 + 65)) && ${lines[1]} == memory.oom.group=0 && ${lines[2]} == cpu.weight=77 ]]
	((${lines[3]#*=} > 512 * MIB))
	args true
	edit '.linux.resources.unified = {"tea.pot": "1"}'
	run -1 runtime run c2
	echo "$output"
	[[ $output == *'controller \"tea\" not available'* ]]
	edit '.linux.resources.unified = {"memory.nope": "1"}'
	run -1 runtime run c2
	echo "$output"
	[[ $output == *'unable to set unified resource \"memory.nope\"'* ]]
	edit '.linux.resources.unified = {"a/b.c": "1"}'
	run -1 runtime run c2
	echo "$output"
	[[ $output == *'must be a file name (no slashes)'* ]]
}

@test "limits: hugetlb and the io weight in the guest" {
	limited '{hugepageLimits: [{pageSize: "2MB", limit: 4194304}, {pageSize: "64MB", limit: 0}]}'
	both "$(show hugetlb.2MB.max hugetlb.2MB.rsvd.max)"
	[[ $output == $'hugetlb.2MB.max=4194304\nhugetlb.2MB.rsvd.max=4194304' ]]
}

@test "limits: a rate for a block device is the host's, and a device that is not there is refused" {
	limited '{blockIO: {throttleReadBpsDevice: [{major: 259, minor: 4000, rate: 1048576}]}}'
	args true
	run -1 runtime run c1
	[[ $output == *io.max*259:4000* ]]
}

@test "limits: what cgroup v2 has nothing for is said and ignored" {
	limited '{memory: {swappiness: 10, kernel: 1048576}, network: {classID: 5}}'
	args true
	run -0 --separate-stderr runtime run c1
	[[ $stderr == *memory.swappiness*ignoring* && $stderr == *memory.kernel*ignoring* && $stderr == *network.classID*ignoring* ]]
}

@test "limits: the monitor is the last victim, the vmm has the container's score" {
	bundle '.process.oomScoreAdj = 321'
	both 'cat /proc/self/oom_score_adj;'
	[[ $output == 321 ]]
	[[ $(< "/proc/$(pid_of c1)/oom_score_adj") == -999 ]]
	[[ $(< "/proc/$(vmm_of c1)/oom_score_adj") == 321 ]]
}

@test "limits: monitor and vmm sit in cgroupsPath itself, without limits there are none" {
	bundle '.linux.cgroupsPath = "/caisson-limits/deep/c1" | del(.linux.resources)'
	both "$(show pids.max memory.max cpu.max)"
	[[ $output == $'pids.max=max\nmemory.max=max\ncpu.max=max 100000' ]]
	dir=/sys/fs/cgroup/caisson-limits/deep/c1
	[[ $(sort < $dir/cgroup.procs) == $(printf '%s\n' "$(pid_of c1)" "$(vmm_of c1)" | sort) ]]
	[[ $(host_files c1 pids.max memory.max cpu.max) == "$output" ]]
	[[ -z $(find $dir -mindepth 1 -type d) ]]
}

@test "limits: the default size is an annotation's" {
	bundle '.annotations += {"org.caisson.default-memory-bytes": "209715200", "org.caisson.default-vcpus": "1"}'
	sh_args 'grep MemTotal /proc/meminfo'
	run -0 runtime run c1
	[[ $output =~ ([0-9]+)' kB' ]]
	((BASH_REMATCH[1] < 200 * 1024 && BASH_REMATCH[1] > 160 * 1024))
	edit '.annotations["org.caisson.default-vcpus"] = "many"'
	run -1 runtime run c1
	[[ $output == *'org.caisson.default-vcpus'*"'many'"* ]]
}
