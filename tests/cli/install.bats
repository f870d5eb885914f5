#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `caisson install`: what it writes into engines' configuration, and that it takes out exactly that.

bats_require_minimum_version 1.5.0
load helpers

CONFIG=$BATS_TEST_DIRNAME/../../config
P=(--program /usr/local/bin/caisson)

setup() {
	D=$BATS_TEST_TMPDIR/etc
	mkdir -p "$D"
	FILE=$D/file
}

install() { "$CAISSON" install "$@"; }

refused() { # SENTENCE ARGUMENT...: exit code 1, and the file as it was
	local before want=$1
	shift
	before=$(stat -c '%i %Y %s' "$FILE" 2> /dev/null || echo none)
	run -1 --separate-stderr install "$@"
	echo "$stderr"
	[[ $stderr == *"$want"* ]]
	[[ $(stat -c '%i %Y %s' "$FILE" 2> /dev/null || echo none) == "$before" ]]
}

@test "install: the snippets in config/ are what is written" {
	diff "$CONFIG/docker-daemon.json" <(install --docker --print "${P[@]}")
	diff "$CONFIG/podman-caisson.conf" <(install --podman --print "${P[@]}")
	diff "$CONFIG/crio-caisson.conf" <(install --crio --print "${P[@]}")
	diff "$CONFIG/containerd-caisson.toml" <(install --containerd --print "${P[@]}" --file "$D/config.toml")
	echo 'version = 2' > "$D/config.toml"
	diff "$CONFIG/containerd-1.toml" <(install --containerd --print "${P[@]}" --file "$D/config.toml")
	[[ $(ls "$D") == config.toml ]]
	# Without --program it is this very program
	[[ $(install --docker --print | jq -r .runtimes.caisson.path) == "$CAISSON" ]]
	# What can be parsed here is parsed
	python3 -c 'import tomllib, sys
for f in sys.argv[1:]: tomllib.load(open(f, "rb"))' "$CONFIG"/*caisson.toml "$CONFIG/containerd-1.toml" "$CONFIG/podman-caisson.conf" "$CONFIG/crio-caisson.conf"
}

@test "install: what is asked for has to be clear" {
	run -1 install
	[[ $output == *'give one of --docker, --containerd, --podman and --crio'* ]]
	run -1 install --docker --podman
	[[ $output == *'give one of'* ]]
	run -1 install --docker --print --undo
	[[ $output == *'--print and --undo exclude each other'* ]]
	run -1 install --docker x
	refused "--program: 'caisson' is not absolute" --docker --file "$FILE" --program caisson
	refused "has characters that engines' files cannot name" --podman --file "$FILE" --program '/a"b'
}

@test "install: docker: other members stay, with their order, owner, mode and indentation" {
	cat > "$FILE" <<-'END'
	{
	  "log-level": "warn", "z": [1, 2.50, {"é\u00e9": null}],
	  "runtimes": {"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--a"]}},
	  "a": {"b": [], "c": {}, "big": 123456789012345678901234567890}
	}
	END
	cp "$FILE" "$D/before"
	chown 12:34 "$FILE"
	chmod 640 "$FILE"
	run -0 install --docker --file "$FILE" "${P[@]}"
	[[ $output == *"The runtime 'caisson' is /usr/local/bin/caisson in $FILE"*'systemctl reload docker'*"Undo:  caisson install --docker --undo --file $FILE"* ]]
	[[ $(stat -c '%u:%g %a' "$FILE") == '12:34 640' ]]
	[[ $(jq -c 'keys_unsorted' "$FILE") == '["log-level","z","runtimes","a"]' ]]
	[[ $(jq -c '.runtimes' "$FILE") == '{"runsc":{"path":"/usr/bin/runsc","runtimeArgs":["--a"]},"caisson":{"path":"/usr/local/bin/caisson"}}' ]]
	grep -q '^  "log-level": "warn",$' "$FILE"
	grep -q '"big": 123456789012345678901234567890$' "$FILE"
	grep -q '^    2\.50,$' "$FILE"
	diff <(jq -S . "$D/before") <(jq -S 'del(.runtimes.caisson)' "$FILE")
	# Again: nothing to do, and nothing is written
	before=$(stat -c '%i %Y' "$FILE")
	run -0 install --docker --file "$FILE" "${P[@]}"
	[[ $output == "$FILE has it already: nothing to do" ]]
	[[ $(stat -c '%i %Y' "$FILE") == "$before" ]]
	run -0 install --docker --undo --file "$FILE" "${P[@]}"
	[[ $output == *'Took runtime'* && $(stat -c '%u:%g %a' "$FILE") == '12:34 640' ]]
	diff <(jq . "$D/before") <(jq . "$FILE")
	run -0 install --docker --undo --file "$FILE" "${P[@]}"
	[[ $output == "$FILE does not have it: nothing to do" ]]
	[[ $(ls -A "$D") == $'before\nfile' ]]
}

@test "install: docker: no file, an empty one, no runtimes; a symbolic link stays one" {
	run -0 install --docker --file "$D/new/docker/daemon.json" "${P[@]}"
	diff "$CONFIG/docker-daemon.json" "$D/new/docker/daemon.json"
	[[ $(stat -c %a "$D/new/docker/daemon.json") == 644 ]]
	run -0 install --docker --undo --file "$D/new/docker/daemon.json" "${P[@]}"
	[[ ! -e $D/new/docker/daemon.json ]]
	printf '\n' > "$D/real"
	ln -s real "$FILE"
	run -0 install --docker --file "$FILE" "${P[@]}"
	[[ -L $FILE ]]
	diff "$CONFIG/docker-daemon.json" "$D/real"
	printf '{"debug": true, "runtimes": null}' > "$D/real"
	run -0 install --docker --file "$FILE" "${P[@]}"
	[[ $(jq -c . "$FILE") == '{"debug":true,"runtimes":{"caisson":{"path":"/usr/local/bin/caisson"}}}' ]]
	run -0 install --docker --undo --file "$FILE" "${P[@]}"
	[[ $(jq -c . "$FILE") == '{"debug":true}' ]]
}

@test "install: docker: what is not ours is left alone" {
	echo '{"runtimes": {"caisson": {"path": "/opt/caisson"}}}' > "$FILE"
	refused "runtimes has a 'caisson' already, with another path" --docker --file "$FILE" "${P[@]}"
	refused 'is not what was installed' --docker --undo --file "$FILE" "${P[@]}"
	echo '{"runtimes": {"caisson": {"path": "/usr/local/bin/caisson", "runtimeArgs": ["--debug"]}}}' > "$FILE"
	run -0 install --docker --file "$FILE" "${P[@]}"
	[[ $output == *'nothing to do' ]]
	refused 'is not what was installed' --docker --undo --file "$FILE" "${P[@]}"
	echo '{"default-runtime": "caisson", "runtimes": {"caisson": {"path": "/usr/local/bin/caisson"}}}' > "$FILE"
	refused "default-runtime is 'caisson'" --docker --undo --file "$FILE" "${P[@]}"
	echo '{"runtimes": {}, "runtimes": {}}' > "$FILE"
	refused "'runtimes' is given twice" --docker --file "$FILE" "${P[@]}"
	echo '{"runtimes": []}' > "$FILE"
	refused 'an array, not an object' --docker --file "$FILE" "${P[@]}"
	echo '{"runtimes": {},}' > "$FILE"
	refused "$FILE: line 1, column" --docker --file "$FILE" "${P[@]}"
	rm "$FILE"
	mkfifo "$FILE"
	refused 'is not a regular file' --docker --file "$FILE" "${P[@]}"
}

drop_in() { # ENGINE SNIPPET FILE
	run -0 install "--$1" --file "$3" "${P[@]}"
	diff "$CONFIG/$2" "$3"
	[[ $(stat -c %a "$3") == 644 ]]
	run -0 install "--$1" --file "$3" "${P[@]}"
	[[ $output == "$3 has it already: nothing to do" ]]
	# Another program: it is ours, so it is written anew
	run -0 install "--$1" --file "$3" --program /opt/caisson
	grep -q '"/opt/caisson"' "$3"
	run -0 install "--$1" --undo --file "$3"
	[[ ! -e $3 ]]
	run -0 install "--$1" --undo --file "$3"
	[[ $output == *'nothing to do' ]]
	# Somebody else's
	echo '[engine]' > "$3"
	FILE=$3
	refused 'was not written by' "--$1" --file "$3" "${P[@]}"
	refused 'was not written by' "--$1" --undo --file "$3" "${P[@]}"
}

@test "install: podman and CRI-O: drop-ins of our own" {
	drop_in podman podman-caisson.conf "$D/containers/containers.conf.d/caisson.conf"
	drop_in crio crio-caisson.conf "$D/crio/crio.conf.d/caisson.conf"
}

@test "install: others than root have Podman's and Docker's files of their own" {
	chmod 711 "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test"
	mkdir -m 777 "$D/home"
	cp "$CAISSON" "$D/caisson"
	as() { setpriv --reuid 1234 --regid 1234 --clear-groups env -u XDG_CONFIG_HOME HOME="$D/home" "$D/caisson" "$@"; }
	run -0 as install --podman "${P[@]}"
	diff "$CONFIG/podman-caisson.conf" "$D/home/.config/containers/containers.conf.d/caisson.conf"
	run -0 as install --docker "${P[@]}"
	[[ $output == *"$D/home/.config/docker/daemon.json"* ]]
	run -0 as install --docker --undo "${P[@]}"
	[[ ! -e $D/home/.config/docker/daemon.json ]]
}

@test "install: containerd: a drop-in where it is read, and merged" {
	FILE=$D/config.toml
	printf "version = 3\nroot = '/var/lib/containerd'\n# imports = []\nimports = [ # more\n  \"/other\",\n  '%s/conf.d/*.toml' ]\n\n[plugins]\n" "$D" > "$FILE"
	run -0 install --containerd --file "$FILE" "${P[@]}"
	diff "$CONFIG/containerd-caisson.toml" "$D/conf.d/caisson.toml"
	[[ $output == *"in $D/conf.d/caisson.toml"* ]]
	run -0 install --containerd --undo --file "$FILE" "${P[@]}"
	[[ ! -e $D/conf.d/caisson.toml ]]
	# Relative to the file, also when the file's own path is relative
	printf 'version = 3\nimports = ["conf.d/*.toml"]\n' > "$FILE"
	cd "$D"
	run -0 install --containerd --file config.toml "${P[@]}"
	[[ -e conf.d/caisson.toml ]]
	rm conf.d/caisson.toml
}

@test "install: containerd: elsewhere it shows the lines and refuses" {
	FILE=$D/config.toml
	for text in 'version = 3' $'version = 3\nimports = ["/etc/other/*.toml"]' $'version = 3\n[plugins]\nimports = ["conf.d/*.toml"]' \
		$'version = 3\nimports = []' $'version = 3\nimports = ["conf.d/*.toml'; do
		printf '%s\n' "$text" > "$FILE"
		refused "does not import '$D/conf.d/caisson.toml'" --containerd --file "$FILE" "${P[@]}"
		diff "$CONFIG/containerd-caisson.toml" <(printf '%s\n' "$output")
	done
	printf 'version = 2\nimports = ["conf.d/*.toml"]\n' > "$FILE"
	refused 'is of version 2, where a drop-in would replace all settings of the plugin' --containerd --file "$FILE" "${P[@]}"
	diff "$CONFIG/containerd-1.toml" <(printf '%s\n' "$output")
	rm "$FILE"
	refused "containerd config default" --containerd --file "$FILE" "${P[@]}"
	[[ ! -e $D/conf.d ]]
}

@test "install: a full disk leaves the file as it was" {
	mkdir "$D/small"
	unshare -m bash -c 'mount -t tmpfs -o size=16k tmpfs "$1" && cd "$1" && echo "{\"a\": 1}" > daemon.json &&
		{ dd if=/dev/zero of=fill bs=4k 2> /dev/null || true; } && ! "$2" install --docker --file "$1/daemon.json" &&
		[[ $(cat daemon.json) == "{\"a\": 1}" && $(ls -A) == $'"'daemon.json\nfill'"' ]]' - "$D/small" "$CAISSON"
}
