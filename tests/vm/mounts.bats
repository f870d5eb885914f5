#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# mounts, devices, masks and sysctl: what a container finds, and what the host keeps. One guest answers many questions.

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

# mount DESTINATION TYPE SOURCE OPTION...: one more in the bundle's list
mount_in() {
	local d=$1 t=$2 s=$3
	shift 3
	edit '.mounts += [{destination: $d, type: $t, source: $s, options: $ARGS.positional}]' --arg d "$d" --arg t "$t" --arg s "$s" --args "$@"
}

edit() { # as in helpers, with --args after the filter
	local filter=$1
	shift
	jq "$filter" "$@" < "$BUNDLE/config.json" > "$BUNDLE/config.new"
	mv "$BUNDLE/config.new" "$BUNDLE/config.json"
}

@test "mounts: options of bind mounts, alone and for all below; propagation; a file; destinations stay inside" {
	bundle '.linux.rootfsPropagation = "shared"'
	mkdir -p "$WORK/vol/sub" "$WORK/conf"
	echo data > "$WORK/vol/data"
	mount -t tmpfs below "$WORK/vol/sub"
	echo below > "$WORK/vol/sub/f"
	echo one > "$WORK/conf/one"; echo two > "$WORK/conf/two"
	ln -s /etc/outside "$BUNDLE/rootfs/root/link"
	ln -s ../../../../../../../../../../tmp/up "$BUNDLE/rootfs/root/up"
	mount_in /b1 none "$WORK/vol" bind dev # else nodev: docs/threat-model.md
	mount_in /b2 none "$WORK/vol" rbind ro nosuid nodev noexec noatime nodiratime nosymfollow
	mount_in /b3 none "$WORK/vol" rbind rro rnosuid rnodev rnoexec rstrictatime
	mount_in /b4 none "$WORK/vol" rbind rw rshared
	mount_in /b5 none "$WORK/vol" rbind runbindable sync dirsync lazytime silent
	mount_in /root/link none "$WORK/vol" bind
	mount_in /root/up/deep none "$WORK/vol" bind ro
	mount_in /a/../../../b7 none "$WORK/vol" bind
	mount_in /etc/one bind "$WORK/conf/one" bind ro
	mount_in /new/file bind "$WORK/conf/one" bind
	# a file system below a volume is mounted in the guest when somebody comes by
	sh_args 'ls /b2/sub /b3/sub /b4/sub /b5/sub > /dev/null
		m() { busybox awk -v p="$1" "\$5 == p { sub(/,?relatime/, \"\", \$6); print p, \$6, \$7 }" /proc/self/mountinfo | busybox sed "s/shared:[0-9]*/shared/; s/ -\$//"; }
		for d in /b1 /b2 /b2/sub /b3 /b3/sub /b4 /b4/sub /b5 /b5/sub /etc/outside /tmp/up/deep /b7 /; do m $d; done
		echo "b1 $(cat /b1/data) [$(ls /b1/sub)]"; echo "b2 $(cat /b2/sub/f)"
		for f in /b1/w /b2/w /b2/sub/w /b3/w /b3/sub/w /b4/sub/w /tmp/up/deep/w /etc/one; do (: >> $f) 2> /dev/null && echo "$f written" || echo "$f refused"; done
		echo "file $(cat /etc/one) $(ls /etc | grep -c two)"; echo more >> /new/file; stat -c "%n %F" /new'
	run -0 runtime run c1
	umount "$WORK/vol/sub"
	has '/b1 rw' '/b2 ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow' '/b3 ro,nosuid,nodev,noexec' \
		'/b3/sub ro,nosuid,nodev,noexec' '/b4 rw,nodev shared' '/b4/sub rw,nodev shared' '/b2/sub ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow' '/b5 rw,nodev unbindable' '/b5/sub rw,nodev unbindable' \
		'/etc/outside rw,nodev' '/tmp/up/deep ro,nodev' '/b7 rw,nodev' '/ rw shared' 'b1 data []' 'b2 below' \
		'/b1/w written' '/b2/w refused' '/b2/sub/w refused' '/b3/w refused' '/b3/sub/w refused' '/b4/sub/w written' \
		'/tmp/up/deep/w refused' '/etc/one refused' 'file one 0' '/new directory'
	# the host: what was written, and nothing outside of the bundle
	[[ -e $WORK/vol/w && $(< "$WORK/conf/one") == $'one\nmore' && -d $BUNDLE/rootfs/b7 && -f $BUNDLE/rootfs/new/file ]]
	[[ ! -e /etc/outside && ! -e /tmp/up && ! -e /b7 ]]
	# what a bind mount ignores is said
	edit '.mounts = .mounts[:7] + [{destination: "/v", type: "bind", source: $v, options: ["bind", "size=1m"]}]' --arg v "$WORK/vol"
	run -0 runtime run c1
	[[ $output == *"mount at '/v': 'size=1m' has no effect on a bind mount, ignoring"* ]]
	# a directory over a file
	edit '.mounts[7].destination = "/etc/passwd" | .mounts[7].options = ["bind"]'
	: > "$BUNDLE/rootfs/etc/passwd"
	run -1 runtime run c1
	[[ $output == *"mounts[7] at '/etc/passwd': mounting a directory at a file: not a directory"* ]]
}

@test "mounts: tmpfs, proc, sysfs, cgroup, mqueue, devpts, overlay, remount; a read-only root" {
	bundle '.root.readonly = true'
	mkdir -p "$BUNDLE"/rootfs/{covered,o,rw,lower1,lower2,m/{proc,sys,cg,cg2,mq},t,copied/sub,fresh,ro}
	chmod 2751 "$BUNDLE/rootfs/covered"
	echo 1 > "$BUNDLE/rootfs/lower1/one"; echo 2 > "$BUNDLE/rootfs/lower2/two"; echo hidden > "$BUNDLE/rootfs/lower2/one"
	echo copy > "$BUNDLE/rootfs/copied/sub/f"; chmod 604 "$BUNDLE/rootfs/copied/sub/f"; chown 12:34 "$BUNDLE/rootfs/copied/sub/f"
	mount_in /covered tmpfs tmpfs nosuid size=1m
	mount_in /copied tmpfs tmpfs tmpcopyup ro
	mount_in /ro tmpfs tmpfs ro mode=700 nr_inodes=50
	mount_in /ro/in tmpfs tmpfs nodev
	mount_in /ro/in/x proc proc ro nosuid nodev noexec
	mount_in /m/sys sysfs sysfs ro
	mount_in /m/cg cgroup cgroup ro nosuid noexec nodev relatime
	mount_in /m/cg2 cgroup2 cgroup2 rw
	mount_in /m/mq mqueue mqueue nosuid
	mount_in /rw tmpfs tmpfs
	mount_in /rw/upper/x tmpfs tmpfs
	mount_in /rw/work/x tmpfs tmpfs
	mount_in /o overlay overlay lowerdir=/lower1:/lower2
	mount_in /t tmpfs tmpfs size=1m
	mount_in /t tmpfs tmpfs remount ro size=2m noexec
	sh_args 'm() { busybox awk -v p="$1" "\$5 == p { for (i = 7; \$i != \"-\"; i++); print p, \$6, \$(i + 1) }" /proc/self/mountinfo; }
		for d in / /ro /ro/in /ro/in/x /m/sys /m/cg /m/cg2 /m/mq /o /t /dev/pts /dev/shm /dev/mqueue /sys/fs/cgroup /proc /sys /dev; do m $d; done
		stat -c "%n %a" /covered /ro /ro/in /dev/shm; stat -c "%n %u:%g %a" /copied/sub/f; cat /copied/sub/f
		(: > /copied/x) 2> /dev/null || echo "copied refused"; (: > /ro/x) 2> /dev/null || echo "ro refused"; : > /ro/in/x2 && echo "in written"
		(: > /w) 2> /dev/null || echo "root refused"; : > /covered/w && echo "covered written"
		echo "o $(cat /o/one) $(cat /o/two)"; (: > /o/w) 2> /dev/null || echo "o refused"
		busybox df -k /t | busybox awk "END { print \"t\", \$2 }"; busybox df -k /covered | busybox awk "END { print \"covered\", \$2 }"
		echo "cg $(cat /m/cg/cgroup.controllers | grep -c pids)"; mkdir /m/cg2/mine && rm -d /m/cg2/mine 2> /dev/null; [ -d /m/cg2/mine ] && busybox rmdir /m/cg2/mine; echo "cg2 $?"; mkdir /m/cg/x 2> /dev/null || echo "cg refused"'
	run -0 runtime run c1
	has '/ ro,relatime virtiofs' '/ro ro,relatime tmpfs' '/ro/in rw,nodev,relatime tmpfs' '/ro/in/x ro,nosuid,nodev,noexec,relatime proc' \
		'/m/sys ro,relatime sysfs' '/m/cg ro,nosuid,nodev,noexec,relatime cgroup2' '/m/cg2 rw,relatime cgroup2' '/m/mq rw,nosuid,relatime mqueue' \
		'/o rw,relatime overlay' '/t ro,noexec,relatime tmpfs' '/dev/pts rw,nosuid,noexec,relatime devpts' \
		'/dev/shm rw,nosuid,nodev,noexec,relatime tmpfs' '/proc rw,relatime proc' '/sys ro,nosuid,nodev,noexec,relatime sysfs' \
		'/covered 2751' '/ro 700' '/ro/in 1777' '/dev/shm 1777' '/copied/sub/f 12:34 604' 'copy' 'copied refused' 'ro refused' 'in written' \
		'root refused' 'covered written' 'o 1 2' 'o refused' 't 2048' 'covered 1024' 'cg 1' 'cg2 0' 'cg refused'
	[[ ! -e $BUNDLE/rootfs/w && ! -e $BUNDLE/rootfs/covered/w && -z $(ls "$BUNDLE/rootfs/ro") ]]
}

@test "mounts: /dev, linux.devices, masked and read-only paths, sysctl" {
	bundle '.linux.devices = [
			{path: "/dev/full", type: "c", major: 1, minor: 7, fileMode: 420, uid: 3, gid: 4},
			{path: "/opt/deep/zero", type: "u", major: 1, minor: 5, uid: 12, gid: 34},
			{path: "/opt/pipe", type: "p", fileMode: 438},
			{path: "/opt/there", type: "c", major: 1, minor: 7, fileMode: 432, gid: 9}] |
		.linux.maskedPaths = ["/proc/kallsyms", "/etc/secret", "/etc/passwd", "/not/there", "/etc/passwd/x"] |
		.linux.readonlyPaths = ["/proc/sys", "/var", "/not/there"] |
		.linux.sysctl = {"kernel.shmmni": "1234", "net.ipv4.ip_default_ttl": "77", "vm.overcommit_memory": "1", "net/ipv4/conf/lo/forwarding": "1",
			"kernel.domainname": "dom", "kernel.pid_max": "12345", "fs.mqueue.msg_max": "20"}'
	mkdir "$BUNDLE/rootfs/etc/secret"
	echo key > "$BUNDLE/rootfs/etc/secret/key"
	sh_args 'n() { [ -e $1 ] || [ -L $1 ] && stat -c "%n %F %t:%T %a %u:%g" $1 || echo "$1 missing"; }
		for d in /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /opt/deep/zero /opt/pipe /opt/there; do n $d; done
		for l in ptmx fd stdin stdout stderr; do echo "$l $(readlink /dev/$l)"; done; [ -L /dev/core ] || echo "no core"; [ -e /dev/console ] || echo "no console"
		echo "zero $(head -c 3 /opt/deep/zero | wc -c)"; echo x > /dev/null && echo "null"
		echo again > /dev/stdout
		stat -c "%n %t:%T" /proc/kallsyms /etc/passwd; echo "secret [$(ls /etc/secret)]"; (: > /etc/secret/x) 2> /dev/null || echo "secret refused"
		(: > /var/x) 2> /dev/null || echo "var refused"; (echo 1 > /proc/sys/kernel/shmmni) 2> /dev/null || echo "sys refused"; : > /tmp/x && echo "tmp written"
		cd /proc/sys; for k in kernel/shmmni net/ipv4/ip_default_ttl vm/overcommit_memory net/ipv4/conf/lo/forwarding kernel/domainname kernel/pid_max fs/mqueue/msg_max; do echo "$k $(cat $k)"; done'
	run -0 runtime run c1
	has '/dev/null character special file 1:3 666 0:0' '/dev/zero character special file 1:5 666 0:0' '/dev/full character special file 1:7 644 3:4' \
		'/dev/random character special file 1:8 666 0:0' '/dev/urandom character special file 1:9 666 0:0' '/dev/tty character special file 5:0 666 0:0' \
		'/opt/deep/zero character special file 1:5 666 12:34' '/opt/pipe fifo 0:0 666 0:0' \
		'/opt/there character special file 1:7 660 0:9' 'ptmx pts/ptmx' 'fd /proc/self/fd' 'stdin /proc/self/fd/0' 'stdout /proc/self/fd/1' \
		'stderr /proc/self/fd/2' 'no core' 'no console' 'zero 3' 'null' 'again' '/proc/kallsyms 1:3' '/etc/passwd 1:3' 'secret []' 'secret refused' \
		'var refused' 'sys refused' 'tmp written' 'kernel/shmmni 1234' 'net/ipv4/ip_default_ttl 77' 'vm/overcommit_memory 1' \
		'net/ipv4/conf/lo/forwarding 1' 'kernel/domainname dom' 'kernel/pid_max 12345' 'fs/mqueue/msg_max 20'
	# the host: a node is a file that says what it stands for; nothing of the guest's settings is the host's
	[[ -f $BUNDLE/rootfs/opt/there && ! -c $BUNDLE/rootfs/opt/there && -p $BUNDLE/rootfs/opt/pipe ]]
	[[ $(stat -c %u:%g:%a "$BUNDLE/rootfs/opt/deep/zero") == 12:34:666 && $(< "$BUNDLE/rootfs/etc/secret/key") == key ]]
	[[ $(< /proc/sys/kernel/shmmni) != 1234 && $(< /proc/sys/kernel/pid_max) != 12345 ]]
	# again on what is there: the same device with another mode is the same device, another one is an error
	edit '.linux.devices = [{path: "/opt/there", type: "c", major: 1, minor: 7, fileMode: 384}, {path: "/opt/pipe", type: "c", major: 1, minor: 3}] | .linux.sysctl = {}'
	run -1 runtime run c1
	[[ $output == *"'/opt/pipe' is there and is another thing than the device"* ]]
	[[ $(stat -c %a "$BUNDLE/rootfs/opt/there") == 600 ]]
	edit '.linux.devices = [] | .linux.sysctl = {"vm.no_such_key": "1"}'
	run -1 runtime run c1
	[[ $output == *"linux.sysctl: cannot set 'vm.no_such_key'"* ]]
}
