#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Drive a program under a pty as a user would: type, resize, press Ctrl-C, or hang up.

terminal.py COMMAND...                  the dialogue of tests/vm/stdio.bats, "run -t"
terminal.py --hang-up FILE COMMAND...   wait for "ready", close the terminal, wait until FILE exists
"""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

DEADLINE_S = 120


class Terminal:
    def __init__(self, command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        self.seen = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, text):
        end = time.monotonic() + DEADLINE_S
        while text.encode() not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise SystemExit(f"not seen: {text!r} in {self.seen!r}")
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            if not data:
                raise SystemExit(f"ended before {text!r}: {self.seen!r}")
            self.seen += data
        before, self.seen = self.seen.split(text.encode(), 1)
        return before.decode(errors="replace")

    def wait(self):
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536)
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        raise SystemExit("the command did not end")


def dialogue(command):
    term = Terminal(command)
    term.resize(24, 80)
    term.expect("/dev/pts/")
    term.expect("24 80")
    term.type("hello\r")
    term.expect("hello\r\n")        # the echo of the guest's line discipline
    term.expect("got hello\r\n")
    term.resize(50, 132)
    for _ in range(100):            # SIGWINCH travels beside the bytes: ask until it has arrived
        term.type("size\r")
        term.expect("size\r\n")
        if term.expect("\r\n") == "50 132":
            break
    else:
        raise SystemExit("the new size never arrived")
    term.type("\x03")
    term.expect("caught")
    term.type("\rbye\r")
    status = term.wait()
    if status != 5:
        raise SystemExit(f"exit status {status}, 5 expected: {term.seen!r}")


def hang_up(path, command):
    term = Terminal(command)
    term.expect("ready")
    os.close(term.fd)
    end = time.monotonic() + DEADLINE_S
    done = False
    while time.monotonic() < end and not (done and os.path.exists(path)):
        if not done:
            done = os.waitpid(term.pid, os.WNOHANG)[0] != 0
        time.sleep(0.1)
    if not os.path.exists(path):
        raise SystemExit("the container saw no hang-up")
    if not done:
        raise SystemExit("the command did not end")


if __name__ == "__main__":
    if sys.argv[1] == "--hang-up":
        hang_up(sys.argv[2], sys.argv[3:])
    else:
        dialogue(sys.argv[1:])
