#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Files over virtio-fs: the same program's checks on a root that is ext4 and one that is overlayfs, compared on the host.

load helpers

setup() { common_setup; }
teardown() {
	runtime delete --force c1 2> /dev/null || true
	while read -r m; do umount "$m"; done < <(grep -o " $BATS_TEST_TMPDIR/[^ ]*" /proc/self/mountinfo | sort -r)
	common_teardown
}

ext4() { # DIR SIZE
	truncate -s "$2" "$1.img"
	mkfs.ext4 -q -F "$1.img"
	mkdir -p "$1"
	mount -o loop "$1.img" "$1"
}

# The container's root is $1; filetree runs in it with volumes and reports in TAP
filetree_in() { # ROOT [OPTION…]
	local root=$1
	bundle '.process.capabilities[] |= (. + ["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FOWNER","CAP_FSETID","CAP_MKNOD","CAP_SETUID","CAP_SETGID","CAP_SETFCAP","CAP_SYS_ADMIN","CAP_SETPCAP","CAP_NET_BIND_SERVICE","CAP_DAC_READ_SEARCH","CAP_SYS_CHROOT","CAP_NET_RAW"] | unique) |
		.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 4096, hard: 4096}]'
	rootfs "$root"
	mkdir -p "$root/ft"
	cp "$TOOLS/filetree" "$root/bin/filetree"
	edit '.root.path = $r' --arg r "$root"
	shift
	args /bin/filetree -n "${FILETREE_ENTRIES:-300}" -k "$@" /ft
	run runtime run c1
	echo "$output"
	echo "$output" | grep -qE '^1\.\.[0-9]+$'
	! echo "$output" | grep -E '^not ok'
	[[ $status == 0 ]]
	"$TOOLS/filetree" --host "$root/ft"
}

@test "files: the tree test with its root on ext4" {
	ext4 "$WORK/disk" 3G
	filetree_in "$WORK/disk/root"
}

@test "files: the tree test with its root on overlayfs" {
	ext4 "$WORK/disk" 3G
	mkdir -p "$WORK"/disk/{lower,upper,work} "$WORK/merged"
	rootfs "$WORK/disk/lower"
	mount -t overlay -o "lowerdir=$WORK/disk/lower,upperdir=$WORK/disk/upper,workdir=$WORK/disk/work" overlay "$WORK/merged"
	# two processes that map a file of the lower layer: the first one's open copies it up, the second finds the copy
	truncate -s 4096 "$WORK/disk/lower/mapped"
	filetree_in "$WORK/merged" -m /mapped
	[[ $(tr -s '\0' . < "$WORK/disk/upper/mapped") == 12. ]]
}

@test "files: a directory of 100,000 entries is listed whole, looked up and emptied" {
	bundle
	truncate -s 1G "$WORK/disk.img"
	mkfs.ext4 -q -F -N 120000 "$WORK/disk.img"
	mkdir "$WORK/disk"
	mount -o loop "$WORK/disk.img" "$WORK/disk"
	mkdir "$WORK/disk/big"
	(cd "$WORK/disk/big" && seq -f 'entry-%06.0f' 100000 | xargs -n 10000 touch)
	edit '.mounts += [{destination: "/big", type: "bind", source: $d, options: ["rbind", "rw"]}]' --arg d "$WORK/disk/big"
	cp "$TOOLS/filetree" "$BUNDLE/rootfs/bin/filetree"
	# busybox's ls asks for each file's attributes, which on a volume is a request each: minutes in the lab
	sh_args 'filetree --list /big > /names && stat -c %n /big/entry-050000 && cd /big && for n in $(seq -w 99901 100000); do echo entry-$n; done | xargs rm && filetree --list /big | wc -l'
	ln -s busybox "$BUNDLE/rootfs/bin/xargs"
	run -0 runtime run c1
	[[ ${lines[0]} == /big/entry-050000 && ${lines[1]} == 99900 ]]
	[[ $(sort "$BUNDLE/rootfs/names" | sha256sum) == "$(seq -f 'entry-%06.0f' 100000 | sha256sum)" ]]
	[[ $(find "$WORK/disk/big" -type f | wc -l) == 99900 ]]
}

@test "files: host changes are seen by the guest's next open, stat and read on a bind mount" {
	bundle
	mkdir "$WORK/vol"
	echo one > "$WORK/vol/f"
	edit '.mounts += [{destination: "/vol", type: "bind", source: $v, options: ["rbind", "rw"]}]' --arg v "$WORK/vol"
	sh_args 'sleep 100000'
	detach c1
	[[ $(runtime exec c1 cat /vol/f) == one ]]
	echo two-longer > "$WORK/vol/f"
	[[ $(runtime exec c1 cat /vol/f) == two-longer ]]
	chmod 600 "$WORK/vol/f"
	[[ $(runtime exec c1 stat -c %a /vol/f) == 600 ]]
	mv "$WORK/vol/f" "$WORK/vol/g"
	[[ $(runtime exec c1 ls /vol) == g ]]
	run -1 runtime exec c1 stat /vol/f
	echo new > "$WORK/vol/f"	# a name that was just looked up in vain
	[[ $(runtime exec c1 cat /vol/f) == new ]]
	# the same size and second: only the nanoseconds differ
	printf 'aaaa' > "$WORK/vol/same"; [[ $(runtime exec c1 cat /vol/same) == aaaa ]]
	printf 'bbbb' > "$WORK/vol/same"; [[ $(runtime exec c1 cat /vol/same) == bbbb ]]
	# and the other way
	runtime exec c1 sh -c 'echo guest > /vol/back; mkdir /vol/d; chmod 2775 /vol/d'
	[[ $(< "$WORK/vol/back") == guest && $(stat -c %a "$WORK/vol/d") == 2775 ]]
	# a reader that keeps its file open sees what is appended on the host (with read; cat would use sendfile, see docs/files.md)
	runtime exec c1 sh -c 'exec 3< /vol/g; head -n 9 <&3; echo ready > /vol/ready; while [ ! -e /vol/go ]; do :; done; head -n 9 <&3' > "$WORK/out" & reader=$!
	within 60 test -s "$WORK/vol/ready"
	echo appended >> "$WORK/vol/g"
	: > "$WORK/vol/go"
	wait "$reader"
	[[ $(< "$WORK/out") == $'two-longer\nappended' ]]
}

@test "files: a volume mounted twice, once read-only, two file systems with equal inode numbers, the guest's own /proc" {
	bundle
	ext4 "$WORK/d1" 32M
	ext4 "$WORK/d2" 32M
	echo first > "$WORK/d1/f"
	echo second > "$WORK/d2/f"
	[[ $(stat -c %i "$WORK/d1/f") == $(stat -c %i "$WORK/d2/f") ]]
	edit '.mounts += [
		{destination: "/a", type: "bind", source: $d1, options: ["rbind", "rw"]},
		{destination: "/b", type: "bind", source: $d1, options: ["rbind", "rw"]},
		{destination: "/r", type: "bind", source: $d1, options: ["rbind", "ro"]},
		{destination: "/c", type: "bind", source: $d2, options: ["rbind", "rw"]},
		{destination: "/p", type: "bind", source: "/proc", options: ["rbind", "rw"]}]' --arg d1 "$WORK/d1" --arg d2 "$WORK/d2"
	sh_args 'echo x >> /a/f; cat /b/f; cat /c/f; touch /r/new; echo "ro $?"
		[ "$(stat -c %d:%i /a/f)" != "$(stat -c %d:%i /c/f)" ] && echo distinct
		[ "$(stat -c %d:%i /a/f)" = "$(stat -c %d:%i /b/f)" ] && echo same; cat /r/f
		[ "$(cat /p/cmdline)" = "$(cat /proc/cmdline)" ] && echo "of the guest"'
	run -0 --separate-stderr runtime run c1
	[[ $output == $'first\nx\nsecond\nro 1\ndistinct\nsame\nfirst\nx\nof the guest' ]]
	[[ $(< "$WORK/d1/f") == $'first\nx' && ! -e $WORK/d1/new ]]
}

@test "files: a bind mount of a single file exposes only that file" {
	bundle
	mkdir "$WORK/conf"
	echo wanted > "$WORK/conf/one"
	echo secret > "$WORK/conf/two"
	edit '.mounts += [{destination: "/etc/one", type: "bind", source: $f, options: ["bind", "rw"]}]' --arg f "$WORK/conf/one"
	sh_args 'cat /etc/one; echo back >> /etc/one; ls /etc | grep -c two'
	run -1 runtime run c1
	[[ ${lines[0]} == wanted && ${lines[1]} == 0 ]]
	[[ $(< "$WORK/conf/one") == $'wanted\nback' ]]
}

@test "files: nothing reaches the host outside of the exports" {
	bundle
	sh_args 'cd /; ls ../../../../..; ls -d /proc/1/root/../../..'
	ln -s ../../../../../../../../etc/shadow "$BUNDLE/rootfs/root/escape"
	ln -s /etc/shadow "$BUNDLE/rootfs/root/escape2"
	run -0 runtime run c1
	[[ $output != *lost+found* && $output != *boot* ]]
	args cat /root/escape /root/escape2
	run -1 runtime run c1
}
