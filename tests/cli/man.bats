#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The manual pages say what the program does: its commands, its options, the keys of its configuration.

bats_require_minimum_version 1.5.0
load helpers

MAN=$BATS_TEST_DIRNAME/../../man

commands() { "$CAISSON" --help | sed -n '/^COMMANDS/,/^GLOBAL/s/^   \([a-z]*\) .*/\1/p'; }

# Options of a help text, one a line: "--name", "--name value", "-n"
options() {
	sed -n '/OPTIONS:/,$p' | grep -oE '^   --[a-z0-9-]+( value)?(, -[a-z]( value)?)?' | sed 's/, /\n/; s/^ *//' | sed 's/^ *//' | sort -u
}

# The same of a page's lists of options
documented() { # FILE
	grep '^\.It Fl ' "$1" | sed 's/ , Fl /\n.It Fl /g' | sed -nE 's/^\.It Fl ([a-z0-9-]+)( .*)?$/-\1\2/p' | sed -E 's/ (Op )?Ar .*/ value/' | sort -u
}

help_of() { # COMMAND, or "caisson" for the program itself
	if [[ $1 == caisson ]]; then "$CAISSON" --help; else "$CAISSON" "$1" --help || true; fi
}

page() { # COMMAND
	if [[ $1 == caisson ]]; then echo "$MAN/caisson.8"; else echo "$MAN/caisson-$1.8"; fi
}

@test "man: every command has a page, every page a command" {
	diff <(commands | sort) <(cd "$MAN" && printf '%s\n' caisson-*.8 | sed 's/^caisson-//; s/\.8$//' | sort)
	[[ $(commands | wc -l) -gt 15 && -f $MAN/caisson.8 && -f $MAN/caisson.json.5 ]]
	for c in $(commands); do
		grep -q "^\.It Cm $c\$" "$MAN/caisson.8"
		grep -q "^\.Xr caisson-$c 8" "$MAN/caisson.8"
		grep -q "^\.Dt CAISSON-${c^^} 8" "$MAN/caisson-$c.8"
		grep -qE "^\.Cm $c\$" "$MAN/caisson-$c.8"
	done
}

@test "man: each option is documented, with its value, and no other" {
	local n=0
	for c in caisson $(commands); do
		echo "$c"
		diff <(help_of "$c" | options) <(documented "$(page "$c")")
		n=$((n + $(help_of "$c" | options | wc -l)))
	done
	echo "$n options"
	((n > 80))
}

@test "man: no text names an option that does not exist" {
	local global
	global=$("$CAISSON" --help | options | sed 's/ value//')
	for c in caisson $(commands); do
		echo "$c"
		[[ -z $(comm -13 <(printf '%s\n%s\n' "$global" "$(help_of "$c" | options | sed 's/ value//')" | sort -u) \
			<(grep -oE '\bFl [a-z0-9-]+' "$(page "$c")" | sed 's/^Fl /-/' | sort -u)) ]]
	done
	[[ -z $(comm -13 <(sort <<< "$global") <(grep -oE '\bFl [a-z0-9-]+' "$MAN/caisson.json.5" | sed 's/^Fl /-/' | sort -u)) ]]
}

@test "man: the keys of the configuration, with their defaults" {
	local json
	json=$(sed -E 's,^[[:space:]]*//.*,,' "$BATS_TEST_DIRNAME/../../config/caisson.json")
	diff <(jq -r 'keys_unsorted[]' <<< "$json") <(sed -nE 's/^\.It Va ([a-z-]+) .*/\1/p' "$MAN/caisson.json.5")
	diff <(jq -r 'to_entries[] | select(.value | type == "number" or type == "boolean") | "\(.key) \(.value)"' <<< "$json") \
		<(awk '/^\.It Va/ { key = $3 } /^Default: [0-9a-z]+\.$/ { sub(/\.$/, ""); if ($2 != "none") print key, $2 }' "$MAN/caisson.json.5")
	for key in $(jq -r '.annotations[]' <<< "$json"); do
		sed -n '/^\.It Va annotations/,/^\.El/p' "$MAN/caisson.json.5" | grep -q -- "$key"
	done
}

@test "man: references are to pages that there are" {
	local name section
	while read -r name section; do
		[[ $name != caisson* || -f $MAN/$name.$section ]] || { echo "$name($section)"; false; }
	done < <(sed -nE 's/^\.Xr ([^ ]+) ([0-9]).*/\1 \2/p' "$MAN"/*)
}

@test "man: the pages are well-formed" {
	command -v mandoc > /dev/null || skip "host: mandoc is not installed"
	run -0 mandoc -T lint -W warning "$MAN"/*
	if command -v man > /dev/null; then
		for f in "$MAN"/*; do
			run -0 --separate-stderr env LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -l "$f"
			[[ -z $stderr ]]
			[[ $output == *NAME*caisson*DESCRIPTION* ]]
		done
	fi
}

@test "man: install puts them where man looks" {
	run -0 make -s -C "$MAN/.." install-man DESTDIR="$BATS_TEST_TMPDIR/to" PREFIX=/usr
	diff <(cd "$MAN" && printf 'man5/%s\n' *.5 && printf 'man8/%s\n' *.8) <(cd "$BATS_TEST_TMPDIR/to/usr/share/man" && printf '%s\n' */*)
}
