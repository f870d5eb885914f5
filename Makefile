# SPDX-License-Identifier: Apache-2.0
#
# The one Makefile. `make help` lists the targets.
#
# Sources are found by wildcard, one archive per folder, everything made lies below build/:
#
#   build/gen/               C from the .proto files (protoc-c)
#   build/VARIANT/           objects, FOLDER.a, unit/, fuzz/, fuse/ and the programs: caisson, with guest/ beside it, where it
#                            looks for its kernel and initramfs, and caisson-systemd. Variants: release, address (ASan, UBSan,
#                            leaks), thread, cover.
#   build/agent/             the agent's objects: it runs in the guest, is static, and is never sanitised
#   build/release/tests/     static programs that run in a guest: tests/tools/*.c, tests/vm/*.c, tests/bench/*.c
#   build/guest/initramfs    the agent, packed;  build/kernel/vmlinux: the guest's kernel
#
# Variables: SAN=address|thread   a sanitised variant        CC=clang-14      another compiler
#            WERROR=1             warnings are errors         V=1              show the commands
#            KERNEL=FILE          a ready guest kernel        KVM=direct|lab   where tests run guests
#            DESTDIR, PREFIX, SYSCONFDIR  for install         FUZZ_SECONDS     per fuzz target
#            CASES="NAME…"        check-table's cases (all)    COVER            "oci=90": least coverage by folder
#            T=PATTERN            which unit tests to run     STRICT=1         a skipped test is a failure

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

VERSION := 0.1.0
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
FUZZ_SECONDS ?= 60
COVER ?= oci=90
export KERNEL KVM STRICT

ifeq ($(origin CC),default)
CC := gcc
endif
AR := ar
PROTOC_C ?= protoc-c
SHELL := /bin/bash
Q := $(if $(V),,@)
say = $(if $(V),@:,@printf '  %-7s %s\n' '$(1)' '$(2)')

# ---- variants --------------------------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes -Wformat=2 -Wundef \
	-Wwrite-strings $(if $(WERROR),-Werror)
CPPFLAGS := -D_GNU_SOURCE= -I. -Ibuild/gen -DCAISSON_VERSION='"$(VERSION)"' -DCAISSON_LIBDIR='"$(PREFIX)/lib/caisson"' \
	-DCAISSON_SYSCONFDIR='"$(SYSCONFDIR)"' -DCAISSON_DATADIR='"$(PREFIX)/share"'
CFLAGS_COMMON := -std=gnu17 -g -pthread

static_library = $(filter /%,$(shell $(CC) -print-file-name=$(1) 2> /dev/null))
STATIC_LIBS := $(foreach l,yajl_s protobuf-c seccomp cap,$(call static_library,lib$(l).a))
ifeq ($(words $(STATIC_LIBS)),4)
RELEASE_LINK := -static-pie
RELEASE_LIBS := -lyajl_s -lprotobuf-c -lseccomp -lcap -lm
else
RELEASE_LINK := -pie
RELEASE_LIBS := -lyajl -lprotobuf-c -lseccomp -lcap -lm
endif

VARIANT := $(or $(SAN),release)
ifeq ($(VARIANT),release)
CFLAGS ?= -O2
CFLAGS_VARIANT := -fPIE -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
LDFLAGS_VARIANT := $(RELEASE_LINK) -Wl,-z,relro,-z,now
LIBS := $(RELEASE_LIBS)
else ifeq ($(VARIANT),address)
CFLAGS ?= -O1
CFLAGS_VARIANT := -fPIE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS_VARIANT := -pie -fsanitize=address,undefined
else ifeq ($(VARIANT),thread)
CFLAGS ?= -O1
CFLAGS_VARIANT := -fPIE -fsanitize=thread -fno-omit-frame-pointer
LDFLAGS_VARIANT := -pie -fsanitize=thread
else ifeq ($(VARIANT),cover)
CFLAGS ?= -O0
# gcc makes execve() a call of libgcov that writes the counters first: not what runs behind a seccomp filter or in a changed root
CFLAGS_VARIANT := -fPIE --coverage -fprofile-update=atomic -fno-builtin-execve
LDFLAGS_VARIANT := -pie --coverage
else
$(error SAN is '$(SAN)': it can be address or thread)
endif
LIBS ?= -lyajl -lprotobuf-c -lseccomp -lcap -lm
LDFLAGS_ALL = -pthread -Wl,--as-needed $(LDFLAGS_VARIANT) $(LDFLAGS)
CFLAGS_ALL = $(CPPFLAGS) $(CFLAGS_COMMON) $(WARNINGS) $(CFLAGS_VARIANT) $(CFLAGS)
B := build/$(VARIANT)

# ---- sources ---------------------------------------------------------------------------------------------------------

FOLDERS := lib oci kvm kvm/virtio kvm/fuse guest shim runtime
MAINS := runtime/main.c guest/main.c
sources = $(filter-out $(MAINS),$(sort $(wildcard $(1)/*.c)))
PROTOS := lib/ttrpc guest/agent
GEN_HEADERS := $(PROTOS:%=build/gen/%.pb-c.h)
GEN_OBJECTS := $(PROTOS:%=$(B)/gen/%.pb-c.o)
ARCHIVES := $(FOLDERS:%=$(B)/%.a) $(B)/gen.a

# What a file of each folder may need: the layers of docs/architecture.md
NEEDS_lib := lib
NEEDS_oci := oci lib
NEEDS_kvm := kvm kvm/virtio kvm/fuse lib
NEEDS_virtio := $(NEEDS_kvm)
NEEDS_fuse := $(NEEDS_kvm)
NEEDS_guest := guest oci lib
NEEDS_shim := shim oci kvm kvm/virtio kvm/fuse lib
NEEDS_runtime := runtime $(NEEDS_shim)
archives_for = $(patsubst %,$(B)/%.a,$(or $(NEEDS_$(firstword $(subst _, ,$(1)))),$(NEEDS_runtime)) gen)

UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(sort $(wildcard tests/unit/$(or $(T),*)_test.c)))
FUZZERS := $(patsubst tests/fuzz/%_fuzz.c,%,$(sort $(wildcard tests/fuzz/*_fuzz.c)))
TOOL_FOLDERS := tests/tools tests/vm tests/bench
GUEST_TESTS := $(patsubst %.c,build/release/tests/%,$(notdir $(sort $(wildcard $(TOOL_FOLDERS:%=%/*.c)))))

# A folder that has no sources yet stops nobody
PROGRAMS := $(if $(wildcard runtime/main.c),$(B)/caisson $(B)/caisson-systemd) \
	$(if $(wildcard guest/main.c),build/release/guest/agent build/guest/initramfs)

# ---- targets ---------------------------------------------------------------------------------------------------------

.PHONY: all programs archives unit-tests kernel deps deps-engines lab demo check check-unit check-vm check-san check-fuzz check-fuse check-table \
	check-engines lint \
	format fuzz fault bench cover install install-config install-man clean help FORCE

all: programs kernel		## everything: the program, the agent, its initramfs and the guest kernel (default)

programs: $(PROGRAMS) $(GUEST_TESTS) | $(B)/guest/vmlinux $(B)/guest/initramfs	## everything but the guest kernel

archives: $(ARCHIVES)		## compile every folder, link nothing

unit-tests: $(UNIT_TESTS)	## build the unit tests

kernel: build/kernel/vmlinux	## the guest kernel (minutes, once; KERNEL=FILE takes a ready one)

deps:				## install the Debian packages that are missing (as root)
	$(Q)scripts/deps.sh

deps-engines:			## install the engines that check-engines runs, too (as root; on a host with systemd they are started)
	$(Q)scripts/deps.sh packages-engines

lab:				## a shell in the lab: a machine with a working /dev/kvm
	$(Q)tests/lab/lab -w "$(CURDIR)" shell

demo:				## install what is missing, build, run a command in a guest
	$(Q)scripts/deps.sh
	+$(Q)$(MAKE) --no-print-directory all
	$(Q)tests/demo.sh

check:				## install what is missing, build, run all suites
	$(Q)scripts/deps.sh
	+$(Q)MAKE="$(MAKE)" tests/check.sh all

check-unit: $(UNIT_TESTS)	## unit tests of one variant (SAN=…, T='lib_*')
	$(Q)tests/check.sh run $(UNIT_TESTS)

check-fuzz: $(FUZZERS:%=$(B)/fuzz/%)	## replay the fuzz targets' corpus
	$(Q)tests/check.sh run $^

check-fuse: build/address/fuse/fuse_mount build/release/tests/filetree	## the file server on the host's own FUSE client (as root)
	$(Q)tests/fuse/run.sh

check-vm: all			## bats suites in real guests
	$(Q)VARIANT=release tests/run-vm.sh

check-san:			## the same with the sanitised program
	+$(Q)$(MAKE) --no-print-directory all SAN=address
	$(Q)VARIANT=address tests/run-vm.sh

check-table: all		## the same bundles with runc and caisson, side by side (runc has to be installed)
	$(Q)VARIANT=release tests/conformance/table.sh $(CASES)

check-engines:			## Docker, Podman and containerd, with caisson and with runc (RUNTIME, ENGINES_ROOT, ENGINES_TAGS: tests/engines/run.sh)
	$(Q)MAKE="$(MAKE)" tests/check.sh engines

fault: all			## kill -9 at ROUNDS (200) random moments; counts what is left
	$(Q)VARIANT=release SUITE_LIMIT_S=7200 tests/run-vm.sh tests/fault/*.bats

lint:				## layers, sizes, format, static analysis, spelling
	$(Q)tests/lint/run.sh

format:				## let clang-format rewrite the C files
	$(Q)git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format-14 -i

fuzz: $(FUZZERS:%=build/fuzz/%)	## fuzz each target for FUZZ_SECONDS (60)
	$(Q)tests/fuzz/run.sh $(FUZZ_SECONDS) $^

bench: all			## time to start a container, and the network, against QEMU's microvm
	$(Q)tests/bench/start.sh
	$(Q)tests/bench/net.sh

# What an earlier run counted does not
cover:				## line coverage of the unit tests; fails below COVER
	$(Q)mkdir -p build/cover && find build/cover -name '*.gcda' -delete
	+$(Q)$(MAKE) --no-print-directory check-unit SAN=cover
	$(Q)tests/cover.sh build/cover $(COVER)

install: all			## copy to DESTDIR and PREFIX (/usr/local); SYSCONFDIR (/etc) keeps an edited caisson.json
	install -D -m 755 $(B)/caisson "$(DESTDIR)$(PREFIX)/bin/caisson"
	install -D -m 755 $(B)/caisson-systemd "$(DESTDIR)$(PREFIX)/lib/caisson/caisson-systemd"
	install -D -m 644 build/kernel/vmlinux "$(DESTDIR)$(PREFIX)/lib/caisson/vmlinux"
	install -D -m 644 build/guest/initramfs "$(DESTDIR)$(PREFIX)/lib/caisson/initramfs"
	$(MAKE) --no-print-directory install-config install-man

install-man:
	install -d "$(DESTDIR)$(PREFIX)/share/man/man5" "$(DESTDIR)$(PREFIX)/share/man/man8"
	install -m 644 man/*.5 "$(DESTDIR)$(PREFIX)/share/man/man5"
	install -m 644 man/*.8 "$(DESTDIR)$(PREFIX)/share/man/man8"

install-config:
	install -D -m 644 config/caisson.json "$(DESTDIR)$(PREFIX)/share/caisson/caisson.json"
	$(Q)if [ -e "$(DESTDIR)$(SYSCONFDIR)/caisson/caisson.json" ]; then \
		echo "$(DESTDIR)$(SYSCONFDIR)/caisson/caisson.json is kept as it is"; \
	else \
		install -D -m 644 config/caisson.json "$(DESTDIR)$(SYSCONFDIR)/caisson/caisson.json"; \
	fi

clean:				## remove build/ (the kernel's cache stays)
	rm -rf build

help:				## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20
	@sed -nE '/^# Variables/,/^#  +T=/s/^# //p' $(firstword $(MAKEFILE_LIST))

# ---- rules -----------------------------------------------------------------------------------------------------------

# Tools and headers without which nothing compiles: one clear sentence instead of a compiler's
build/.tools:
	$(Q)mkdir -p build
	$(Q)for t in $(firstword $(CC)) $(PROTOC_C) $(AR); do command -v "$$t" > /dev/null || \
		{ echo "$$t is not installed; run 'make deps' as root" >&2; exit 1; }; done
	$(Q)for h in protobuf-c/protobuf-c.h yajl/yajl_parse.h seccomp.h sys/capability.h systemd/sd-bus.h; do \
		echo "#include <$$h>" | $(CC) -E - > /dev/null 2>&1 || \
		{ echo "The header <$$h> is not installed; run 'make deps' as root" >&2; exit 1; }; done
	$(Q)touch $@

# Rebuild when the compiler or its flags change
$(B)/flags: FORCE | build/.tools
	$(Q)mkdir -p $(@D)
	$(Q)printf '%s\n' '$(subst ','\'',$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(LIBS))' | cmp -s - $@ || \
		printf '%s\n' '$(subst ','\'',$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(LIBS))' > $@

build/gen/%.pb-c.c build/gen/%.pb-c.h: %.proto | build/.tools
	$(call say,PROTO,$<)
	$(Q)mkdir -p build/gen
	$(Q)$(PROTOC_C) --c_out=build/gen $<

$(B)/%.o: %.c $(B)/flags | $(GEN_HEADERS)
	$(call say,CC,$< $(if $(SAN),[$(VARIANT)]))
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# Generated code is not ours: no strict warnings
$(B)/gen/%.o: build/gen/%.c $(B)/flags
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_COMMON) -w $(filter-out -fsanitize=%,$(CFLAGS_VARIANT)) $(CFLAGS) -MMD -MP -c -o $@ $<

# In one step, so that two makes at a time do not see half an archive
archive = rm -f $(1).$$$$ && $(AR) rcsD $(1).$$$$ $(2) && mv -f $(1).$$$$ $(1)

$(B)/gen.a: $(GEN_OBJECTS)
	$(Q)$(call archive,$@,$^)

# The list of members is a prerequisite too, so that a removed source leaves the archive
define archive_rules
$(B)/$(1).a: $(patsubst %.c,$(B)/%.o,$(call sources,$(1))) $(B)/$(1).list
	$$(call say,AR,$$@)
	$$(Q)$$(call archive,$$@,$$(filter %.o,$$^))
$(B)/$(1).list: FORCE | build/.tools
	$$(Q)mkdir -p $$(@D) && echo '$(call sources,$(1))' | cmp -s - $$@ || echo '$(call sources,$(1))' > $$@
endef
$(foreach f,$(FOLDERS),$(eval $(call archive_rules,$(f))))

$(B)/caisson: $(B)/runtime/main.o $(call archives_for,runtime)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

# Always dynamic: sd-bus has no static library
$(B)/caisson-systemd: $(B)/systemd/caisson-systemd.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(patsubst -static-pie,-pie,$(LDFLAGS_ALL)) -o $@ $^ -lsystemd

# A test may name further linker flags in its opening comment, e.g. " * LDFLAGS: -Wl,--wrap=malloc"
link_test = $(Q)$(CC) $(LDFLAGS_ALL) $$(sed -n 's/^ \* LDFLAGS: //p' $(filter %.c,$^)) -o $@ $(filter %.o,$^) \
	-Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(1) $(LIBS)

define unit_rules
$(B)/unit/$(1): tests/unit/$(1).c $(B)/tests/unit/$(1).o $(call archives_for,$(1))
	$$(call say,LINK,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(call link_test,-lcmocka)
endef
$(foreach t,$(notdir $(UNIT_TESTS)),$(eval $(call unit_rules,$(t))))
# Debian has no static libcmocka
$(B)/unit/%: LDFLAGS_VARIANT := $(subst -static-pie,-pie,$(LDFLAGS_VARIANT))

# Makes our own allocations fail, not those of libraries, which therefore are not linked into it
$(B)/unit/oci_memory_test: LIBS := -lyajl -lprotobuf-c -lseccomp -lcap -lm
$(B)/unit/oci_memory_test: LDFLAGS += $(foreach f,malloc calloc realloc strdup asprintf vasprintf,-Wl,--wrap=$(f))

# The layer of a fuzz target is the highest one that it includes, by itself or with a file of tests/unit/
fuzz_helpers = $(basename $(shell sed -n 's/^.include "\(tests\/.*\)"/\1/p' tests/fuzz/$(1)_fuzz.c))
fuzz_files = tests/fuzz/$(1)_fuzz.c $(foreach h,$(call fuzz_helpers,$(1)),$(wildcard $(h).c $(h).h))
fuzz_needs = $(NEEDS_$(firstword $(foreach l,runtime shim guest kvm oci,\
	$(if $(shell grep -l '^.include "$(l)/' $(call fuzz_files,$(1))),$(l))) lib))

define fuzz_rules
$(B)/fuzz/$(1): $(B)/tests/fuzz/$(1)_fuzz.o $(B)/tests/fuzz/main.o $(patsubst %,$(B)/%.a,$(call fuzz_needs,$(1)) gen)
	$$(call say,LINK,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$(CC) $$(LDFLAGS_ALL) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBS)
# libFuzzer instruments everything, so a fuzz target is compiled in one go
build/fuzz/$(1): tests/fuzz/$(1)_fuzz.c $(foreach f,$(call fuzz_needs,$(1)),$(call sources,$(f))) | $(GEN_HEADERS)
	$$(call say,FUZZ,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)clang-14 $(CPPFLAGS) -std=gnu17 -g -O1 -pthread -w -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=undefined -ffunction-sections -Wl,--gc-sections -o $$@ \
		tests/fuzz/$(1)_fuzz.c $(foreach f,$(call fuzz_needs,$(1)),$(call sources,$(f))) \
		$(PROTOS:%=build/gen/%.pb-c.c) -lyajl -lprotobuf-c -lseccomp -lcap -lm
endef
$(foreach f,$(FUZZERS),$(eval $(call fuzz_rules,$(f))))

# The file server and the agent's lock thread on the host's own FUSE client, sanitised whatever is being built
ifeq ($(VARIANT),address)
build/address/fuse/fuse_mount: $(B)/tests/fuse/fuse_mount.o $(patsubst %,$(B)/%.a,$(NEEDS_kvm) guest gen)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)
else
build/address/fuse/fuse_mount: FORCE
	+$(Q)$(MAKE) --no-print-directory SAN=address $@
endif

# ---- the guest: agent, initramfs, kernel, test programs --------------------------------------------------------------

A := build/agent
AGENT_CFLAGS := $(CPPFLAGS) $(CFLAGS_COMMON) -Os -fno-pie -ffunction-sections -fdata-sections -fstack-protector-strong \
	-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
AGENT_MAIN := $(patsubst %.c,$(A)/%.o,$(sort $(wildcard guest/*.c)))
AGENT_LIBRARY := $(patsubst %.c,$(A)/%.o,$(sort $(wildcard lib/*.c oci/*.c))) $(PROTOS:%=$(A)/gen/%.pb-c.o)

$(A)/%.o: %.c | $(GEN_HEADERS)
	$(call say,CC,$< [agent])
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(AGENT_CFLAGS) $(WARNINGS) -MMD -MP -c -o $@ $<

$(A)/gen/%.o: build/gen/%.c
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(AGENT_CFLAGS) -w -MMD -MP -c -o $@ $<

$(A)/library.a: $(AGENT_LIBRARY)
	$(Q)$(call archive,$@,$^)

build/release/guest/agent: $(AGENT_MAIN) $(A)/library.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -static -no-pie -pthread -Wl,--gc-sections -Wl,-z,relro,-z,now -s -o $@ $(AGENT_MAIN) $(A)/library.a \
		-lyajl_s -lprotobuf-c -lm

build/guest/initramfs: build/release/guest/agent guest/initramfs.sh
	$(call say,CPIO,$@)
	$(Q)mkdir -p $(@D)
	$(Q)guest/initramfs.sh build/release/guest/agent $@

# build.sh has its own cache; this only decides when to ask it
build/kernel/source: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)echo '$(KERNEL)' | cmp -s - $@ || echo '$(KERNEL)' > $@

build/kernel/vmlinux: guest/kernel/config guest/kernel/build.sh build/kernel/source $(KERNEL)
	$(Q)guest/kernel/build.sh $@

$(B)/guest/vmlinux:
	$(Q)mkdir -p $(@D)
	$(Q)ln -sfn ../../kernel/vmlinux $@

$(B)/guest/initramfs:
	$(Q)mkdir -p $(@D)
	$(Q)ln -sfn ../../guest/initramfs $@

# A tool that includes kvm/ is linked with the release variant's archives, whichever variant is being built
TOOL_ARCHIVES := $(patsubst %,build/release/%.a,$(NEEDS_kvm) gen)
define tool_rules
build/release/tests/%: $(1)/%.c | build/.tools
	$$(call say,CC,$$< [guest])
	$$(Q)mkdir -p $$(@D)
	+$$(Q)if grep -q '^.include "kvm/' $$<; then $$(MAKE) --no-print-directory SAN= $$(TOOL_ARCHIVES); fi
	$$(Q)$(CC) -D_GNU_SOURCE= -I. -std=gnu17 -O1 -g $(WARNINGS) -static -pthread -MMD -MP -MF $$@.d -o $$@ $$< \
		$$$$(sed -n 's/^ \* LDFLAGS: //p' $$<) -Wl,--start-group \
		$$$$(if grep -q '^.include "kvm/' $$<; then echo $$(TOOL_ARCHIVES); fi) -lprotobuf-c -lseccomp -lcap -lm -Wl,--end-group
endef
$(foreach f,$(TOOL_FOLDERS),$(eval $(call tool_rules,$(f))))

-include $(shell find build -path build/kernel -prune -o -name '*.d' -print 2> /dev/null)
