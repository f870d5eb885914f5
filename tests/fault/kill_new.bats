#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the command, the monitor or the vmm at random moments of create and start; kill.bash has the theory.

load kill

@test "fault: kill -9 during create leaves nothing" { rounds create; }

@test "fault: kill -9 during start leaves nothing" { rounds start; }
