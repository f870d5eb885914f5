#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# layers.sh - who may include what: the table of docs/architecture.md, checked
#
# Prints each offence as FILE: WHAT; exit status 1 when there is one. Comments are not looked at where words are searched.

set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 2
BAD=0

offence() { printf '%s\n' "$*"; BAD=1; }

sources() { git ls-files -co --exclude-standard --deduplicate -- "$@" | grep -E '\.[ch]$'; }

# What files of each folder may include of ours, as a regular expression
allowed() { # FILE
	case $1 in
	lib/*) echo '^lib/' ;;
	oci/*) echo '^(lib|oci)/' ;;
	kvm/*) echo '^(lib|kvm)/' ;;
	guest/*) echo '^(lib|oci|guest)/' ;;
	shim/*) echo '^(lib|oci|shim)/|^kvm/vmm\.h$|^guest/agent\.pb-c\.h$' ;;
	runtime/main.c) echo '^(lib|oci|runtime)/|^shim/control\.h$|^kvm/(probe|vmm)\.h$' ;;
	runtime/*) echo '^(lib|oci|runtime)/|^shim/control\.h$|^kvm/probe\.h$' ;;
	esac
}

# A library's header, and the files that may include it
library() { # HEADER-REGEX FILES-REGEX
	local f
	for f in $(sources lib oci kvm guest shim runtime | xargs grep -lE "^#include <($1)" 2> /dev/null); do
		[[ $f =~ ^($2)$ ]] || offence "$f: includes <$1>, which only $2 may"
	done
}

# The file without comments and strings
code() {
	gcc -fpreprocessed -dD -E -P -x c "$1" 2> /dev/null | sed -E 's/"([^"\\]|\\.)*"/""/g'
}

for f in $(sources lib oci kvm guest shim runtime); do
	pattern=$(allowed "$f")
	while read -r header; do
		[[ $header =~ $pattern ]] || offence "$f: includes \"$header\""
	done < <(sed -nE 's/^#[ \t]*include[ \t]+"([^"]+)".*/\1/p' "$f")
done

library 'yajl/' 'oci/json\.c'
library 'netlink/' 'none: lib/netlink\.c'
library 'systemd/' 'systemd/.*'
library 'seccomp\.h' 'lib/seccomp\.c'
library 'sys/capability\.h' 'lib/caps\.c'
library 'linux/kvm\.h' 'kvm/.*'

for f in $(sources lib oci guest shim runtime); do
	word=$(code "$f" | grep -owE 'KVM_(CREATE|SET|GET|RUN|IRQFD|IOEVENTFD|CHECK|ENABLE|CAP|EXIT)[A-Z0-9_]*' | head -n 1)
	[[ -z $word ]] || offence "$f: uses $word: KVM is the business of kvm/ alone"
done
for f in $(sources kvm); do
	word=$(code "$f" | sed 's/\bcontainer_of\b//g' | grep -oiwE 'containers?|bundles?|oci' | head -n 1)
	[[ -z $word ]] || offence "$f: says '$word': kvm/ knows nothing of containers"
done
for f in $(sources lib oci kvm guest shim runtime | grep '\.h$'); do
	guard=$(tr 'a-z/.-' 'A-Z___' <<< "$f")
	grep -q "^#ifndef $guard\$" "$f" || offence "$f: its guard is not $guard"
done
exit "$BAD"
