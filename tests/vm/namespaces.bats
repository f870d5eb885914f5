#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Namespaces: each type in the guest, and the ids of a user namespace on the host. One guest answers many questions.

load helpers

setup() { common_setup; }
teardown() { common_teardown; }

has() {
	local line failed=0
	for line; do
		grep -qxF -- "$line" <<< "$output" || { echo "missing: '$line'"; failed=1; }
	done
	((failed == 0)) || { echo "--- output:"; echo "$output"; return 1; }
}

@test "namespaces: a user namespace end to end: the container's ids are the mapped ones on the host" {
	bundle '.linux.namespaces += [{type: "user"}] |
		.linux.uidMappings = [{containerID: 0, hostID: 70000, size: 1000}, {containerID: 5000, hostID: 90000, size: 1}] |
		.linux.gidMappings = [{containerID: 0, hostID: 80000, size: 1000}] |
		.process.capabilities[] |= (. + ["CAP_SYS_ADMIN", "CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_FOWNER", "CAP_MKNOD"] | unique) |
		.linux.devices = [{path: "/opt/zero", type: "c", major: 1, minor: 5, fileMode: 420, uid: 5000, gid: 2}] |
		.linux.sysctl = {"kernel.shmmni": "1234", "vm.overcommit_memory": "1", "net.ipv4.ip_default_ttl": "99", "user.max_mnt_namespaces": "77"} |
		.process.scheduler = {policy: "SCHED_FIFO", priority: 5} | .process.oomScoreAdj = -200 |
		.process.rlimits = [{type: "RLIMIT_MSGQUEUE", soft: 5, hard: 99999999}] | .linux.maskedPaths += ["/etc/secret"]'
	mkdir -p "$WORK/vol" "$BUNDLE/rootfs/etc/secret" "$BUNDLE/rootfs/opt"
	echo 3 > "$WORK/vol/users"
	echo foreign > "$WORK/vol/foreign"
	chown -R 70000:80000 "$BUNDLE/rootfs" "$WORK/vol"
	chown 70003:80004 "$WORK/vol/users"
	chown 0:0 "$WORK/vol/foreign"
	chmod 600 "$WORK/vol/foreign"
	edit '.mounts += [{destination: "/vol", type: "bind", source: $v, options: ["rbind", "rw"]}]' --arg v "$WORK/vol"
	sh_args 'echo "id $(id -u):$(id -g) pid $$"; tr -s " " < /proc/self/uid_map; tr -s " " < /proc/self/gid_map
		stat -c "%n %u:%g" / /vol/users /vol/foreign /dev/null; stat -c "%n %t:%T %u:%g %a" /opt/zero; echo "zero $(head -c 2 /opt/zero | wc -c)"
		cat /vol/foreign 2> /dev/null || echo "foreign refused"
		echo root > /vol/root; mkdir /root/made; echo user > /vol/user; chown 5000:7 /vol/user; chown 1000:0 /vol/root 2> /dev/null || echo "unmapped refused"
		mount -t tmpfs t /var && echo mounted; hostname inside && hostname; busybox ip link set lo mtu 1400 && echo "lo $(cat /sys/class/net/lo/mtu)"
		busybox mknod /tmp/n c 1 3 2> /dev/null || echo "mknod refused"; busybox dmesg -n 1 2> /dev/null || echo "dmesg refused"
		for k in kernel/shmmni vm/overcommit_memory net/ipv4/ip_default_ttl user/max_mnt_namespaces; do echo "$k $(cat /proc/sys/$k)"; done
		busybox awk "{ print \"rt \" \$40 \" policy \" \$41 }" /proc/self/stat; echo "oom $(cat /proc/self/oom_score_adj)"
		busybox grep msgqueue /proc/self/limits | tr -s " "; echo "secret [$(ls /etc/secret)]"; (: > /etc/secret/x) 2> /dev/null || echo "secret refused"
		echo again > /dev/stdout; for n in proc sys dev/pts dev/mqueue sys/fs/cgroup; do busybox grep -c " /$n " /proc/self/mountinfo; done | sort -u | busybox sed "s/^/mounts /"
		echo ready > /vol/ready; exec sleep 100000'
	runtime run --detach c1 > "$WORK/out" 2>&1 < /dev/null
	within 120 test -s "$WORK/vol/ready"
	output=$(< "$WORK/out")
	has 'id 0:0 pid 1' ' 0 70000 1000' ' 5000 90000 1' ' 0 80000 1000' '/ 0:0' '/vol/users 3:4' '/vol/foreign 65534:65534' '/dev/null 0:0' \
		'/opt/zero 1:5 5000:2 644' 'zero 2' 'foreign refused' 'unmapped refused' 'mounted' 'inside' 'lo 1400' 'mknod refused' 'dmesg refused' \
		'kernel/shmmni 1234' 'vm/overcommit_memory 1' 'net/ipv4/ip_default_ttl 99' 'user/max_mnt_namespaces 77' 'rt 5 policy 1' 'oom -200' \
		'Max msgqueue size 5 99999999 bytes ' 'secret []' 'secret refused' 'again' 'mounts 1'
	# the host
	[[ $(stat -c %u:%g "$WORK/vol/root") == 70000:80000 && $(stat -c %u:%g "$WORK/vol/user") == 90000:80007 ]]
	[[ $(stat -c %u:%g "$BUNDLE/rootfs/root/made") == 70000:80000 ]]
	# another process
	run -0 runtime exec --user 3:4 c1 sh -c 'echo "id $(id -u):$(id -g)"; echo more >> /vol/users; echo new > /tmp/exec; echo again > /dev/stdout; hostname'
	has 'id 3:4' 'again' 'inside'
	[[ $(stat -c %u:%g "$BUNDLE/rootfs/tmp/exec") == 70003:80004 && $(< "$WORK/vol/users") == $'3\nmore' ]]
	run -0 runtime exec c1 sh -c 'for n in user mnt pid net ipc uts cgroup; do [ "$(readlink /proc/1/ns/$n)" = "$(readlink /proc/self/ns/$n)" ] && echo "same $n"; done; true'
	has 'same mnt' 'same user' 'same pid' 'same net' 'same ipc' 'same uts' 'same cgroup'
	run -255 runtime exec --user 1000:0 c1 true
	[[ $output == *'the user 1000:0 is not mapped in the user namespace'* ]]
	runtime kill c1 KILL
	within 120 status_is c1 stopped
}

@test "namespaces: time offsets; new ones of each type are the container's own, absent ones the guest's" {
	bundle '.linux.namespaces += [{type: "time"}, {type: "cgroup"}] | .linux.namespaces |= unique |
		.linux.timeOffsets = {monotonic: {secs: 1000000, nanosecs: 7}, boottime: {secs: 86400000}} | .hostname = "own" | .domainname = "dom"'
	sh_args 'tr -s " " < /proc/self/timens_offsets; [ $(busybox cut -d. -f1 /proc/uptime) -ge 86400000 ] && echo "uptime moved"
		hostname; cat /proc/sys/kernel/domainname; cat /proc/self/cgroup; echo "pid $$"; ls -d /proc/[0-9]* | wc -l; exec sleep 100000'
	runtime run --detach c1 > "$WORK/out" 2>&1 < /dev/null
	within 120 grep -q '^pid 1' "$WORK/out"
	output=$(< "$WORK/out")
	has 'monotonic 1000000 7' 'boottime 86400000 0' 'uptime moved' 'own' 'dom' '0::/' 'pid 1'
	run -0 runtime exec c1 sh -c '[ $(busybox cut -d. -f1 /proc/uptime) -ge 86400000 ] && echo "uptime moved"; [ "$(readlink /proc/1/ns/time)" = "$(readlink /proc/self/ns/time)" ] && echo "same time"'
	has 'uptime moved' 'same time'
	[[ $(hostname) != own && $(cut -d. -f1 /proc/uptime) -lt 86400000 ]]
	runtime delete --force c1

	bundle '.linux.namespaces = [{type: "mount"}] | del(.hostname) | .mounts |= map(select(.type != "mqueue"))'
	sh_args 'echo "pid $$"; cat /proc/self/cgroup; echo "time [$(tr -s " " < /proc/self/timens_offsets)]"; [ $$ -gt 1 ] && cat /proc/1/comm'
	run -0 runtime run c2
	[[ $output != *'pid 1'$'\n'* ]]
	has '0::/c2'
}

@test "namespaces: of the host's kernel none can be joined, and the message says why" {
	local type
	bundle
	args true
	cp "$BUNDLE/config.json" "$WORK/good.json"
	for type in pid ipc uts mount cgroup time user; do
		cp "$WORK/good.json" "$BUNDLE/config.json"
		edit '.linux.namespaces |= (map(select(.type != $t)) + [{type: $t, path: "/proc/1/ns/\($t)"}])' --arg t "$type"
		run -1 runtime run c1
		[[ $output == *"cannot join the $type namespace '/proc/1/ns/$type': it is one of the host's kernel"* ]] || { echo "$type: $output"; return 1; }
	done
}
