"""A child without torch that speaks the lines of the real one; what it does is in the question.

count 5     says "1 2 3 4 5"
hold        says one token after the other until it is stopped
die         says a token and is killed
environ     says what it can see
counters    says how many tokens it has said since it was started, and its process id

Any other question is answered by what it is: a toy.
"""

import argparse
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path

from neftune_core.generation_lines import Answer, Began, Done, Failed, Piece, Stop, encode, to_child

TOKEN_SECONDS = 0.01


class Toy:
    def __init__(self, report_fd, device):
        self.out, self.device, self.tokens = report_fd, device, 0
        self.asked, self.stopped = queue.SimpleQueue(), {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in sys.stdin.buffer:
            said = to_child(line)
            if isinstance(said, Stop):
                self.stopped.setdefault(said.id, threading.Event()).set()
            else:
                self.asked.put(said)
        os._exit(0)

    def tell(self, line):
        os.write(self.out, encode(line))

    def say(self, asked, text):
        self.tokens += 1
        self.tell(Piece(asked.id, text))

    def answer(self, asked):
        text = asked.asked if isinstance(asked.asked, str) else asked.asked[-1].content
        word, _, rest = text.partition(" ")
        before = self.tokens
        if word == "refuse":
            self.tell(Failed(asked.id, "prompt_too_long", "The prompt has too many tokens."))
            return
        self.tell(Began(asked.id, asked.template, len(text.split())))
        finish = getattr(self, f"do_{word}", self.do_anything)(asked, rest) or "stop"
        self.tell(Done(asked.id, finish, len(text.split()), self.tokens - before))

    def do_anything(self, asked, _):
        for piece in ("I ", "am ", "a ", "toy."):
            self.say(asked, piece)

    def do_count(self, asked, rest):
        for number in range(int(rest)):
            self.say(asked, f"{' ' if number else ''}{number + 1}")

    def do_hold(self, asked, _):
        stopped = self.stopped.setdefault(asked.id, threading.Event())
        while not stopped.wait(TOKEN_SECONDS):
            self.say(asked, ".")
        return "cancelled"

    def do_die(self, asked, _):
        self.say(asked, "I ")
        os.kill(os.getpid(), signal.SIGKILL)

    def do_environ(self, asked, _):
        self.say(asked, json.dumps(dict(os.environ)))

    def do_counters(self, asked, _):
        self.say(asked, json.dumps({"tokens": self.tokens, "pid": os.getpid(), "device": self.device}))

    def do_tuned(self, asked: Answer, _):
        tuned = asked.tuned
        files = sorted(one.name for one in Path(tuned.folder).iterdir()) if tuned else []
        self.say(asked, json.dumps({"kind": tuned and tuned.kind, "files": files, "base": asked.base}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--device")
    parser.add_argument("--report-fd", type=int)
    given = parser.parse_args()
    toy = Toy(given.report_fd, given.device)
    while True:
        toy.answer(toy.asked.get())
