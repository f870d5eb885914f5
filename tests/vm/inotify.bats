#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the host changes in a bind mount is seen by inotify watchers in the guest.

load helpers

setup() { common_setup; }
teardown() {
	runtime delete --force c1 2> /dev/null || true
	common_teardown
}

# A container whose watcher looks at the paths given and writes to /log, in the rootfs
watching() { # PATH...
	cp "$TOOLS/watcher" "$BUNDLE/rootfs/bin/watcher"
	args /bin/watcher /log "$@"
	detach c1
	LOG=$BUNDLE/rootfs/log
	within 60 grep -q watching "$LOG"
	sleep_until_heard
}

# The host listens some time after the watch was made: change until it is heard, then start anew
sleep_until_heard() {
	within 60 poke
	truncate -s 0 "$LOG"
}
poke() {
	chmod 755 "$PROBE"
	sleep 0.5
	grep -q ATTRIB "$LOG"
}

heard() { # LINE
	within 30 grep -qxF "$1" "$LOG" || { echo "not heard: $1"; cat "$LOG"; return 1; }
}

@test "inotify: modify, create, delete, rename, attrib on the host; not the guest's own twice; nothing of the rootfs" {
	bundle
	mkdir -p "$WORK/vol/d" "$BUNDLE/rootfs/watched"
	echo one > "$WORK/vol/f"
	edit '.mounts += [{destination: "/vol", type: "bind", source: $v, options: ["rbind", "rw"]}]' --arg v "$WORK/vol"
	PROBE=$WORK/vol
	watching /vol /vol/d /watched
	echo two > "$WORK/vol/f"
	heard '1 MODIFY f'
	heard '1 CLOSE_WRITE f'
	chmod 600 "$WORK/vol/f"
	heard '1 ATTRIB f'
	echo x > "$WORK/vol/new"
	heard '1 CREATE new'
	mkdir "$WORK/vol/nd"
	heard '1 CREATE,ISDIR nd'
	mv "$WORK/vol/new" "$WORK/vol/d/moved"
	heard '1 MOVED_FROM new'
	heard '2 MOVED_TO moved'
	rm "$WORK/vol/d/moved"
	heard '2 DELETE moved'
	rmdir "$WORK/vol/nd"
	heard '1 DELETE,ISDIR nd'
	# as Kubernetes updates a config map
	ln -s v2 "$WORK/vol/..tmp"
	mv -T "$WORK/vol/..tmp" "$WORK/vol/..data"
	heard '1 MOVED_TO ..data'
	[[ $(readlink "$WORK/vol/..data") == v2 && $(< "$WORK/vol/f") == two ]]
	# the guest's own, once
	truncate -s 0 "$LOG"
	runtime exec c1 sh -c 'mkdir /vol/own; mv /vol/own /vol/own2; rm -r /vol/own2; echo > /vol/end'
	heard '1 CLOSE_WRITE end'
	touch "$WORK/vol/last"
	heard '1 CREATE last'
	for line in '1 CREATE,ISDIR own' '1 MOVED_FROM,ISDIR own' '1 MOVED_TO,ISDIR own2' '1 DELETE,ISDIR own2' '1 CREATE end' '1 CLOSE_WRITE end'; do
		[[ $(grep -cxF "$line" "$LOG") == 1 ]] || { echo "$line"; cat "$LOG"; false; }
	done
	# the rootfs is not watched
	touch "$BUNDLE/rootfs/watched/x" "$WORK/vol/after"
	heard '1 CREATE after'
	run ! grep '^3 ' "$LOG"
}

@test "inotify: a single file, read-only; a storm is told in few events, the content is the last" {
	bundle
	echo one > "$WORK/file"
	edit '.mounts += [{destination: "/file", type: "bind", source: $v, options: ["bind", "ro"]}]' --arg v "$WORK/file"
	: > "$BUNDLE/rootfs/file"
	PROBE=$WORK/file
	watching /file
	echo two > "$WORK/file"
	heard '1 MODIFY .'
	dd if=/dev/zero of="$WORK/file" bs=1 count=20000 conv=notrunc 2> "$WORK/dd"
	echo end > "$WORK/file"
	within 30 test "$(runtime exec c1 cat /file)" == end
	(($(wc -l < "$LOG") < 4000))
	run ! grep OVERFLOW "$LOG"
}
