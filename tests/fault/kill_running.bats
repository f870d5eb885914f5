#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the command, the monitor or the vmm at random moments of exec and delete; kill.bash has the theory.

load kill

@test "fault: kill -9 during exec leaves nothing" { rounds exec; }

@test "fault: kill -9 during delete leaves nothing" { rounds delete; }
