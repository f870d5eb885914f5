#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A person at a terminal: terminal.py ACTION... -- COMMAND...

expect=TEXT     wait until TEXT was printed
type=TEXT       type it (\\r, \\x03 as in Python)
until=Q:TEXT    type Q until TEXT was printed, and tell the command again that the size has changed: a client may not have listened yet
resize=RxC      the terminal's new size

What was printed goes to standard output in the end; the exit status is the command's.
"""
import os
import select
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vm"))
from terminal import DEADLINE_S, Terminal  # noqa: E402 (its place is known only now)


class Recorder(Terminal):
    """Keeps all that was seen."""

    def __init__(self, command):
        super().__init__(command)
        self.all = ""

    def expect(self, text):
        before = super().expect(text)
        self.all += before + text
        return before

    def until(self, question, text):
        end = time.monotonic() + DEADLINE_S
        while text.encode() not in self.seen:
            if time.monotonic() > end:
                raise SystemExit(f"not seen: {text!r} in {self.seen!r}")
            os.kill(self.pid, signal.SIGWINCH)
            self.type(question)
            if select.select([self.fd], [], [], 2)[0]:
                self.seen += os.read(self.fd, 65536)
        self.expect(text)


def unescape(text):
    return text.encode().decode("unicode_escape")


def main(words):
    cut = words.index("--")
    term = Recorder(words[cut + 1:])
    term.resize(24, 80)
    for action in words[:cut]:
        name, _, value = action.partition("=")
        if name == "expect":
            term.expect(unescape(value))
        elif name == "type":
            term.type(unescape(value))
        elif name == "until":
            term.until(*(unescape(part) for part in value.split(":", 1)))
        elif name == "resize":
            term.resize(*(int(n) for n in value.split("x")))
        else:
            raise SystemExit(f"no action {name!r}")
    status = term.wait()
    sys.stdout.write((term.all + term.seen.decode(errors="replace")).replace("\r\n", "\n"))
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
