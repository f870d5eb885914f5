#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# --device as engines write it: block devices of the host come as disks, character devices if the guest's kernel has them, others not;
# --privileged lists all of the host's, of which none is passed.

load helpers

setup() {
	common_setup
	LOOPS=()
	bundle
}
teardown() {
	for id in $(runtime list -q); do runtime delete --force "$id" || true; done
	for l in "${LOOPS[@]}"; do losetup -d "$l"; done
	common_teardown
}

# disk NAME: a loop device of 4 MiB in $loop, its number in $major and $minor
disk() {
	head -c $((4 << 20)) /dev/zero | tr '\0' "${1:0:1}" > "$WORK/$1.img"
	loop=$(losetup -f --show "$WORK/$1.img")
	LOOPS+=("$loop")
	major=$((0x$(stat -c %t "$loop"))) minor=$((0x$(stat -c %T "$loop")))
}

# device PATH ACCESS [MODE]: what `--device $loop:PATH:ACCESS` makes of the last disk
device() {
	edit '.linux.devices += [{path: $p, type: "b", major: $major, minor: $minor, fileMode: ($mode | tonumber), uid: 0, gid: 0}] |
		.linux.resources.devices += [{allow: true, type: "b", major: $major, minor: $minor, access: $a}]' \
		--arg p "$1" --arg a "$2" --arg mode "${3:-432}" --argjson major "$major" --argjson minor "$minor"
}

@test "devices: a block device is read and written through, a read-only one is not written" {
	disk writable
	device /dev/xvdc rwm 416
	disk readable
	device /dev/xvdd r
	# the guest's numbers are its own; so are sizes, and what the rules say
	sh_args 'stat -c "%F %a" /dev/xvdc; wc -c < /dev/xvdc; head -c 3 /dev/xvdc; echo; head -c 3 /dev/xvdd; echo
		echo hello | dd of=/dev/xvdc bs=6 seek=512 conv=notrunc,fsync 2> /dev/null && echo written
		(echo x > /dev/xvdd) 2> /dev/null || echo "not written"
		dd if=/dev/zero of=/dev/xvdc bs=64k seek=16 count=16 conv=notrunc,fsync 2> /dev/null
		dd if=/dev/xvdc bs=1M 2> /dev/null | sha256sum'
	run -0 runtime run c1
	echo "$output"
	[[ ${lines[0]} == 'block special file 640' && ${lines[1]} == $((4 << 20)) ]]
	[[ ${lines[2]} == www && ${lines[3]} == rrr && ${lines[4]} == written && ${lines[5]} == 'not written' ]]
	[[ $(dd if="$loop" bs=1 count=3 2> /dev/null) == rrr ]]
	[[ $(dd if="${LOOPS[0]}" bs=6 skip=512 count=1 2> /dev/null) == hello ]]
	# what the guest read is what is on the host now
	[[ ${lines[6]} == "$(sha256sum < "${LOOPS[0]}")" ]]
	[[ $(dd if="${LOOPS[0]}" bs=64k skip=16 count=16 2> /dev/null | tr -d '\0' | wc -c) == 0 ]]
	[[ $(sha256sum < "$loop") == "$(head -c $((4 << 20)) /dev/zero | tr '\0' r | sha256sum)" ]]
}

@test "devices: exec may use it, and nobody may use a disk that no rule allows" {
	disk one
	device /dev/one rwm
	disk two
	device /dev/two rw
	sh_args 'sleep 100000'
	detach c1
	[[ $(runtime exec c1 head -c 3 /dev/one) == ooo ]]
	# a rule taken back
	echo '{"devices": [{"allow": true, "type": "b", "major": '$major', "minor": '$minor', "access": "r"}]}' | runtime update --resources=- c1
	run -1 runtime exec c1 head -c 3 /dev/one
	[[ $(runtime exec c1 head -c 3 /dev/two) == ttt ]]
	run -1 runtime exec c1 sh -c 'echo x > /dev/two'
	# the vmm has it open, the monitor has not
	vmm=$(vmm_of c1) pid=$(pid_of c1)
	[[ $(find /proc/"$vmm"/fd -lname '*loop*' | wc -l) == 2 && $(find /proc/"$pid"/fd -lname '*loop*' | wc -l) == 0 ]]
	runtime delete --force c1
}

@test "devices: what the guest has not is refused by name, and the words are no engine's" {
	refused() {
		run -1 runtime run c1
		echo "$output"
		[[ $output == *"'$1'"*"$2"* ]]
		[[ ${output,,} != *'permission denied'* && ${output,,} != *'no such file'* && ${output,,} != *'not permitted'* && ${output,,} != *'a directory'* ]]
	}
	edit '.linux.devices = [{path: "/dev/ttyUSB0", type: "c", major: 188, minor: 0, fileMode: 432}]'
	refused /dev/ttyUSB0 'has no character device 188:0, and of the host'
	edit '.linux.devices = [{path: "/dev/dri/renderD128", type: "c", major: 226, minor: 128}]'
	refused /dev/dri/renderD128 'has no character device 226:128'
	# a number that this kernel may have given to something else
	edit '.linux.devices = [{path: "/dev/uhid", type: "c", major: 10, minor: 63}]'
	refused /dev/uhid 'has no character device 10:63'
	edit '.linux.devices = [{path: "/dev/gone", type: "b", major: 240, minor: 77}] | .linux.resources.devices = [{allow: true, type: "b", major: 240, minor: 77, access: "r"}]'
	refused /dev/gone 'the host has no block device 240:77'
	disk one
	edit '.linux.devices = [] | .linux.resources.devices = []'
	device /dev/one m
	refused /dev/one 'no rule of linux.resources.devices allows'
	edit '.linux.devices = [] | .linux.resources.devices = []'
	for n in a b c d e; do disk $n; device /dev/$n r; done
	refused /dev/e 'at most 4 block devices'
}

@test "devices: character devices that the guest's kernel has, and --privileged" {
	edit '.linux.devices = [{path: "/dev/net/tun", type: "c", major: 10, minor: 200, fileMode: 438}, {path: "/dev/fuse", type: "c", major: 10, minor: 229, fileMode: 438}, {path: "/dev/pipe", type: "p"}] |
		.linux.resources.devices = [{allow: false, access: "rwm"}, {allow: true, type: "c", major: 10, minor: 229, access: "rwm"}]'
	sh_args 'stat -c "%n %t:%T %a" /dev/net/tun /dev/fuse; (: < /dev/fuse) && echo open; test -p /dev/pipe && echo pipe'
	run -0 runtime run c1
	[[ $output == $'/dev/net/tun a:c8 666\n/dev/fuse a:e5 666\nopen\npipe' ]]
	# as docker writes --privileged: every device of the host's, and one rule
	disk one
	edit '.linux.devices += [{path: "/dev/loop0", type: "b", major: $major, minor: $minor}, {path: "/dev/ttyUSB0", type: "c", major: 188, minor: 0}, {path: "/dev/null", type: "c", major: 1, minor: 3, fileMode: 438}] |
		.linux.resources.devices = [{allow: true, access: "rwm"}]' --argjson major "$major" --argjson minor "$minor"
	sh_args 'ls /dev/loop0 /dev/ttyUSB0 2> /dev/null; ls /sys/block | grep -c vd; : < /dev/fuse && echo open; echo x > /dev/null && echo null'
	run -0 runtime --debug --log "$WORK/log" run c1
	[[ $output == $'0\nopen\nnull' ]]
	[[ $(grep -c 'linux.devices: all devices are allowed' "$WORK/log") == 1 ]]
	grep -q '1 block devices are left out' "$WORK/log"
	grep -q '2 devices of the host that the guest has not are left out' "$WORK/log"
}

@test "devices: in a user namespace a disk has the owner and mode that were asked for" {
	disk one
	device /opt/one rw 400
	edit '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] | .linux.gidMappings = .linux.uidMappings'
	chown -R 100000:100000 "$BUNDLE/rootfs"
	sh_args 'stat -c "%a %u" /opt/one; head -c 3 /opt/one'
	run -0 runtime run c1
	[[ $output == $'620 0\nooo' ]]
}

@test "devices: as many as a guest gets, with the kernel's log beside them; a file system made in the guest's is the host's" {
	for n in a b c d; do disk $n; device /dev/$n rwm; done
	edit '.process.capabilities |= with_entries(.value += ["CAP_SYS_ADMIN"])'
	truncate -s 16M "$WORK/fs.img"
	mkfs.ext4 -q "$WORK/fs.img"
	losetup -d "$loop"
	loop=$(losetup --show "$loop" "$WORK/fs.img")
	mkdir "$BUNDLE/rootfs/mnt" "$WORK/mnt"
	sh_args 'for d in a b c; do head -c 1 /dev/$d; done; echo; mount -t ext4 /dev/d /mnt && echo from the guest > /mnt/file && busybox umount /mnt && echo unmounted'
	run -0 runtime --debug --log "$WORK/log" run c1
	[[ $output == $'abc\nunmounted' ]]
	mount "$loop" "$WORK/mnt"
	content=$(< "$WORK/mnt/file")
	umount "$WORK/mnt"
	[[ $content == 'from the guest' ]]
}
