#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Bundles that cannot become a container: one sentence each, nothing left.

bats_require_minimum_version 1.5.0
load helpers

setup() { common_setup; }

refused() { # SENTENCE
	fails 1 "caisson create failed: $1" create --bundle "$BUNDLE" c1
	fails 1 "caisson run failed: $1" run --bundle "$BUNDLE" c1
}

write() { printf '%b' "$1" > "$BUNDLE/config.json"; }

@test "config: missing bundle, missing file" {
	rm "$BUNDLE/config.json"
	refused 'JSON specification file config.json not found'
	fails 1 "caisson create failed: bundle '/no/bundle': missing" create --bundle /no/bundle c1
}

@test "config: a bundle whose path cannot be kept in state.json" {
	bad=$BATS_TEST_TMPDIR/$(printf '\377')
	mv "$BUNDLE" "$bad"
	run -1 runtime create --bundle "$bad" c1
	[[ $output == *'the path is not valid UTF-8'* ]]
	[[ ! -d $ROOT ]]
}

@test "config: the default bundle is the current folder" {
	cd "$BUNDLE/rootfs"
	fails 1 'caisson create failed: JSON specification file config.json not found' create c1
}

@test "config: malformed JSON is named with its place" {
	write '{"ociVersion": "1.0.0",\n  "root": }'
	refused 'config.json: line 2, column 11: unallowed token at this point in JSON text'
	write ''
	refused 'config.json: line 1, column 1: premature EOF'
	write '{"a\0b": 1}'
	refused 'config.json: line 1, column 4: a NUL byte'
	write '{"a": "\\u0000"}'
	refused 'config.json: line 1, column 8: a NUL character in a string'
	write '{"a": "\xff"}'
	refused 'config.json: line 1, column 8: not valid UTF-8'
	write "$(printf '[%.0s' {1..33})"
	refused 'config.json: line 1, column 33: nested too deeply'
}

@test "config: larger than 1 MiB" {
	head -c $((1024 * 1024 + 1)) /dev/zero | tr '\0' ' ' >> "$BUNDLE/config.json"
	run -1 runtime create --bundle "$BUNDLE" c1
	[[ $output == *config.json*arge* ]]
}

@test "config: wrong types, missing and impossible values are named by their path" {
	good=$(< "$BUNDLE/config.json")
	while IFS='|' read -r filter sentence; do
		echo "$good" > "$BUNDLE/config.json"
		edit "$filter"
		refused "$sentence"
	done <<-'END'
		.mounts[2].destination = ""|config.json: mounts[2].destination: is empty
		.process.args = []|config.json: process.args: is empty
		del(.process)|config.json: process: is missing
		.process.args = "sh"|config.json: process.args: a string, not an array
		.process.env += ["X"]|config.json: process.env[2]: not of the form NAME=VALUE
		.process.user.uid = -1|config.json: process.user.uid: -1 is out of range
		.root = null|config.json: root: is missing
		.root.path = "nothing"|invalid rootfs: 'nothing': missing
		.root.path = "config.json"|invalid rootfs: 'config.json' is no folder
		.ociVersion = "2.0.0"|config.json: ociVersion: '2.0.0' is not a version that is supported (1.x)
		.linux.namespaces += [{type: "pid"}]|config.json: linux.namespaces[6].type: 'pid' is given twice
		.hooks = {prestart: [{path: "true"}]}|config.json: hooks.prestart[0].path: 'true' is not absolute
		.hooks = {poststop: [{path: "/bin/true"}, {path: "/x", timeout: 0}]}|config.json: hooks.poststop[1].timeout: 0 is out of range
		.process.terminal = "yes"|config.json: process.terminal: a string, not a boolean
		.ociVersion = "1.0"|config.json: ociVersion: '1.0' is not a version like 1.2.0
		.linux.namespaces -= [{type: "uts"}]|config.json: hostname: unable to set hostname without a private UTS namespace
		.linux.uidMappings = [{containerID: 0, hostID: 0, size: 1}]|config.json: linux: user namespace mappings specified, but user namespace isn't enabled in the config
		.linux.timeOffsets = {boottime: {secs: 1}}|config.json: linux.timeOffsets: time namespace offsets specified, but time namespace isn't enabled in the config
		.linux.resources.cpu.period = 999|config.json: linux.resources.cpu.period: not between 1000 and 1000000 us
		.linux.resources.devices[0].access = ""|config.json: linux.resources.devices[0].access: device access cannot be empty
		.linux.rootfsPropagation = "wide"|config.json: linux.rootfsPropagation: 'wide' is unknown
		.linux.sysctl = {"net..x": "1"}|config.json: linux.sysctl.net..x: not the name of a sysctl
		.linux.intelRdt = {closID: "g"}|config.json: linux.intelRdt: not supported yet
		.linux.memoryPolicy = {mode: "MPOL_LOCAL"}|config.json: linux.memoryPolicy: not supported: a guest has one memory node
		.linux.netDevices = {eth0: {}}|config.json: linux.netDevices: not supported yet
		.vm.image = {path: "/i", format: "raw"}|config.json: vm.image: not supported: the guest boots from vm.kernel.initrd
		.vm.hypervisor = {path: "/h"}|config.json: vm.hypervisor: not supported: the guest is run by this program itself
	END
}

@test "config: ids" {
	for id in a/b .. . 'a b' 'é' "$(printf 'x%.0s' {1..1025})"; do
		fails 1 'caisson create failed: invalid container ID format' create --bundle "$BUNDLE" "$id"
		fails 1 'invalid container ID format' state "$id"
		fails 1 'invalid container ID format' delete --force "$id"
	done
	fails 1 'caisson create failed: container id cannot be empty' create --bundle "$BUNDLE" ''
	fails 1 'container id cannot be empty' state ''
}

@test "config: an id that exists" {
	mkdir -p "$ROOT/c1"
	run -1 runtime create --bundle "$BUNDLE" c1
	[[ $output == *'container with given ID already exists'* ]]
	[[ -d $ROOT/c1 ]]
}

@test "config: terminal and console socket must fit" {
	edit '.process.terminal = true'
	fails 1 'caisson create failed: cannot allocate tty if caisson will detach without setting console socket' create --bundle "$BUNDLE" c1
	fails 1 'caisson run failed: cannot use console socket if caisson will not detach or allocate tty' \
		run --bundle "$BUNDLE" --console-socket /x c1
	edit '.process.terminal = false'
	fails 1 'caisson create failed: cannot use console socket if caisson will not detach or allocate tty' \
		create --bundle "$BUNDLE" --console-socket /x c1
}

@test "config: descriptors cannot be passed on" {
	fails 1 'caisson create failed: --preserve-fds 2: descriptors cannot be passed into a guest' \
		create --bundle "$BUNDLE" --preserve-fds 2 c1
}

@test "config: a seccomp profile that cannot be compiled is an error of create" {
	edit '.linux.seccomp = {defaultAction: "SCMP_ACT_DENY"}'
	refused "config.json: linux.seccomp.defaultAction: 'SCMP_ACT_DENY' is unknown"
	edit '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mount"], action: "SCMP_ACT_NOTIFY"}], listenerPath: "/run/l"}'
	refused 'config.json: linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY is for a listener, and one on the host cannot serve the processes of a guest'
	edit '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}'
	refused 'config.json: linux.seccomp.flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is for a listener, and one on the host cannot serve the processes of a guest'
	edit '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["file_setattr"], action: "SCMP_ACT_ERRNO",
		args: [{index: 0, value: 1, op: "SCMP_CMP_EQ"}]}]}'
	run -1 runtime create --bundle "$BUNDLE" c1
	[[ $output == *"config.json: linux.seccomp: syscalls[0]: 'file_setattr' is newer than libseccomp "* ]]
	edit '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["read"], action: "SCMP_ACT_ERRNO",
		args: [range(4000) | {index: 0, value: (. * 4294967297), op: "SCMP_CMP_EQ"}]}]}'
	refused 'config.json: linux.seccomp: syscalls[0]: more than 2048 conditions in all rules'
}
