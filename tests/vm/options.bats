#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Options of `docker run` in the config.json that dockerd makes of them, several at a time as people use them. What each field does alone
# is in the suites of its area.

load helpers

setup() { common_setup; }
teardown() { common_teardown; }

# docker [JQ FILTER]: what dockerd 20.10 writes for `docker run IMAGE`, with what an option changes
docker() {
	bundle '.hostname = "9f2c1b7de001" | .process.noNewPrivileges = false | .process.env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=9f2c1b7de001"] |
		.process.capabilities = (["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP",
			"CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"] | {bounding: ., effective: ., permitted: ., inheritable: .}) |
		.process.rlimits = [] | .process.apparmorProfile = "docker-default" | .process.oomScoreAdj = 0 |
		.linux.sysctl = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"} |
		.linux.cgroupsPath = "/docker/9f2c1b7de001" |
		.linux.resources = {devices: [{allow: false, access: "rwm"}, {allow: true, type: "c", major: 1, minor: 5, access: "rwm"}, {allow: true, type: "c", major: 1, minor: 3, access: "rwm"},
			{allow: false, type: "c", major: 10, minor: 229, access: "rwm"}], cpu: {shares: 0}, blockIO: {weight: 0}} |
		.mounts = [
			{destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"]},
			{destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"]},
			{destination: "/dev/pts", type: "devpts", source: "devpts", options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
			{destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"]},
			{destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro", "nosuid", "noexec", "nodev"]},
			{destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"]},
			{destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]}] |
		.linux.namespaces += [{type: "cgroup"}] | .linux.namespaces |= unique_by(.type)'
	local f
	mkdir -p "$WORK/c"
	for f in resolv.conf hostname hosts; do
		echo "engine's $f" > "$WORK/c/$f"
		mount_file "$WORK/c/$f" "/etc/$f"
	done
	[[ $# == 0 ]] || edit "$@"
}

mount_file() { # SOURCE DESTINATION [OPTION...]: as -v writes it
	local source=$1 destination=$2
	shift 2
	edit '.mounts += [{destination: $d, type: "bind", source: $s, options: (["rbind", "rprivate"] + ($o | split(" ") | map(select(. != ""))))}]' \
		--arg s "$source" --arg d "$destination" --arg o "$*"
}

@test "options: -v of folders in folders and of single files, read-only and not, over each other; --shm-size; --tmpfs" {
	docker '(.mounts[] | select(.destination == "/dev/shm").options[-1]) = "size=8388608" |
		.mounts += [{destination: "/scratch", type: "tmpfs", source: "tmpfs", options: ["noexec", "nosuid", "nodev", "size=65536", "mode=0710", "uid=7"]}]'
	mkdir -p "$WORK/outer/inner" "$WORK/other"
	echo outer > "$WORK/outer/file"
	echo other > "$WORK/other/file"
	echo single > "$WORK/single"
	# dockerd sorts by depth: the outer ones come first
	mount_file "$WORK/outer" /data ro
	mount_file "$WORK/single" /srv/new/file
	mount_file "$WORK/other" /data/inner
	mount_file "$WORK/single" /data/inner/file ro
	sh_args 'cat /data/file /data/inner/file /srv/new/file; (echo x > /data/new) 2> /dev/null || echo "data ro"; echo x > /data/inner/new && echo "inner rw"
		(echo x > /data/inner/file) 2> /dev/null || echo "file ro"; echo more >> /srv/new/file && cat /data/inner/file; mv /srv/new/file /srv/new/moved 2> /dev/null || echo busy
		cat /etc/hosts; echo mine >> /etc/resolv.conf
		grep -c " /dev/shm tmpfs .*size=8192k" /proc/mounts; dd if=/dev/zero of=/dev/shm/f bs=1M count=9 2> /dev/null || wc -c < /dev/shm/f
		grep -c "/scratch tmpfs rw,nosuid,nodev,noexec.*size=64k,mode=710,uid=7" /proc/mounts'
	run -0 runtime run c1
	echo "$output"
	[[ $output == $'outer\nsingle\nsingle\ndata ro\ninner rw\nfile ro\nsingle\nmore\nbusy\nengine\'s hosts\n1\n8388608\n1' ]]
	[[ $(< "$WORK/single") == $'single\nmore' && $(< "$WORK/other/new") == x && $(< "$WORK/other/file") == other && ! -e $WORK/outer/new ]]
	[[ $(tail -n 1 "$WORK/c/resolv.conf") == mine && -f $BUNDLE/rootfs/srv/new/file && ! -s $BUNDLE/rootfs/srv/new/file ]]
}

@test "options: --init, --read-only, --user, --ulimit, --sysctl, --cap-drop, --cap-add, all in one" {
	docker '.root.readonly = true | .process.user = {uid: 1000, gid: 1000, additionalGids: [20, 44]} | .process.rlimits = [{type: "RLIMIT_NOFILE", soft: 333, hard: 444}] |
		.linux.sysctl += {"net.core.somaxconn": "77", "kernel.msgmax": "9000"} |
		.process.capabilities = (["CAP_NET_ADMIN", "CAP_CHOWN"] | {bounding: ., effective: [], permitted: [], inheritable: .}) |
		.mounts += [{destination: "/run", type: "tmpfs", source: "tmpfs", options: ["noexec", "nosuid", "nodev", "mode=1777"]}]'
	mkdir -p "$BUNDLE/rootfs/run"
	mount_file "$TOOLS/reaper" /sbin/docker-init ro
	args /sbin/docker-init -- /bin/sh -c 'trap "echo term; exit 42" TERM; id -u; id -g; id -G; ulimit -n; ulimit -Hn; cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax
		grep -E "Cap(Bnd|Eff|In.)" /proc/self/status; (echo x > /file) 2> /dev/null || echo "root ro"; echo x > /run/file && echo "run rw"
		cat /proc/1/comm; sh -c "sleep 0.2 & sleep 0.2 &"; echo x > /run/ready; while :; do sleep 0.1; done'
	runtime run c1 > "$WORK/out" 2>&1 < /dev/null &
	run=$!
	said() { runtime exec c1 test -e /run/ready; }
	within 60 said
	orphans() { [[ $(runtime exec c1 sh -c 'for s in /proc/[0-9]*/status; do while read -r k v rest; do [ "$k $v" = "State: Z" ] && echo z; done < $s; done' 2> /dev/null) == '' ]]; }
	within 60 orphans
	runtime kill c1 TERM
	status=0
	wait $run || status=$?
	cat "$WORK/out"
	((status == 42))
	[[ $(head -n 12 "$WORK/out") == $'1000\n1000\n1000 20 44\n333\n444\n77\n9000\nCapIn'"h:"$'\t0000000000001001\nCapEff:\t0000000000000000\nCapBnd:\t0000000000001001\nroot ro\nrun rw' ]]
	sed -n 13p "$WORK/out" | grep -x 'docker-init'
	[[ $(tail -n 2 "$WORK/out") =~ ^$'term\nreaped '[3-9]$ ]]
}

@test "options: --memory --cpus --pids-limit --cpuset-cpus --blkio-weight together, as the guest and as the host have them" {
	docker '.linux.resources += {memory: {limit: 134217728, swap: 134217728, reservation: 67108864}, cpu: {shares: 512, quota: 50000, period: 100000, cpus: "0"}, pids: {limit: 30}, blockIO: {weight: 300}}'
	sh_args 'cd /sys/fs/cgroup; echo $(cat memory.max memory.low pids.max cpu.max cpu.weight cpuset.cpus); nproc; sleep 100000'
	runtime run --detach c1 > "$WORK/out" 2>&1 < /dev/null
	lines() { (($(wc -l < "$WORK/out") == 2)); }
	within 60 lines
	cat "$WORK/out"
	[[ $(< "$WORK/out") == $'134217728 67108864 30 50000 100000 '*$' 0\n1' ]]
	x=/sys/fs/cgroup/docker/9f2c1b7de001
	[[ $(sed -n 's/^0:://p' "/proc/$(pid_of c1)/cgroup") == /docker/9f2c1b7de001 ]]
	[[ $(< $x/cpu.max) == '50000 100000' && $(< $x/cpuset.cpus) == 0 && $(< $x/memory.low) == 67108864 && $(< $x/memory.swap.max) == 0 ]]
	(($(< $x/memory.max) > 134217728 && $(< $x/pids.max) > 30))
	runtime delete --force c1
	[[ ! -e $x ]]
}

@test "options: --userns-remap with volumes: the container's root is the mapped id on the host, in binds too" {
	docker '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 200000, size: 65536}] | .linux.gidMappings = .linux.uidMappings |
		.linux.sysctl = {"net.ipv4.ip_unprivileged_port_start": "0"} | .linux.resources.cpu = {} | .linux.resources.blockIO = {} |
		(.mounts[] | select(.destination == "/dev/pts").options) |= map(select(startswith("gid") | not))'
	chown -R 200000:200000 "$BUNDLE/rootfs"
	mkdir "$WORK/theirs" "$WORK/ours"
	echo secret > "$WORK/ours/file"
	chmod 700 "$WORK/ours"
	chown 201000:200000 "$WORK/theirs"
	mount_file "$WORK/theirs" /theirs
	mount_file "$WORK/ours" /ours
	sh_args 'id -u; stat -c "%u %g" /theirs /ours; touch /theirs/new && stat -c %u /theirs/new; cat /ours/file 2> /dev/null || echo "ours closed"; mkdir /made'
	run -0 runtime run c1
	[[ $output == $'0\n1000 0\n65534 65534\n0\nours closed' ]]
	[[ $(stat -c %u "$WORK/theirs/new") == 200000 && $(stat -c %u "$BUNDLE/rootfs/made") == 200000 ]]
}
