#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Listen at a --pidfd-socket, run a command, print what came: its text, and the pid that the descriptor stands for.

usage: pidfd.py SOCKET COMMAND...   exit status: the command's
"""
import array
import os
import re
import socket
import subprocess
import sys
import tempfile

listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(sys.argv[1])
listener.listen(1)
listener.settimeout(120)
# What a detached command leaves running must not hold our own output
said = tempfile.TemporaryFile()
command = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=said, stderr=said)
connection, _ = listener.accept()
connection.settimeout(120)
text, ancillary, _, _ = connection.recvmsg(64, socket.CMSG_SPACE(4))
descriptors = array.array("i")
descriptors.frombytes(ancillary[0][2])
with open(f"/proc/self/fdinfo/{descriptors[0]}", encoding="ascii") as info:
    print(text.decode(), re.search(r"^Pid:\s*(-?\d+)", info.read(), re.M).group(1), flush=True)
# Nothing but this message comes, and the command awaits nothing
assert connection.recv(1) == b"" and len(descriptors) == 1
status = command.wait()
said.seek(0)
sys.stdout.write(said.read().decode())
sys.exit(status)
