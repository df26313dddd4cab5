"""Faults on HTTP requests: which request they hit, how often, and what is done instead.

Shared by the director, UAA and the proxies in front of stores; what each action means on the wire is
theirs. A fault: {"method": regex, "path": regex, "action": ..., "skip": k, "times": n, ...}. `skip`
matching requests are left alone, the next `times` are hit (-1: all); then the fault is spent.
"""

import re
import threading

ACTIONS = ("status", "close", "stall", "delay", "garbage", "redirect", "cut", "date", "after")


class Faults:
    def __init__(self, without=()):
        self.actions = [action for action in ACTIONS if action not in without]
        self.lock = threading.Lock()
        self.entries = {}
        self.next_number = 1

    def add(self, fault):
        if fault.get("action") not in self.actions:
            raise ValueError(f"action is one of {', '.join(self.actions)}, not {fault.get('action')}")
        with self.lock:
            number = str(self.next_number)
            self.next_number += 1
            self.entries[number] = {"method": ".*", "path": ".*", "skip": 0, "times": -1, **fault, "hits": 0}
            return number

    def clear(self, number=None):
        with self.lock:
            if number is None:
                self.entries.clear()
            else:
                self.entries.pop(str(number), None)

    def take(self, method, path):
        """The first fault for this request, counted; or None."""
        with self.lock:
            for fault in self.entries.values():
                if not re.fullmatch(fault["method"], method) or not re.search(fault["path"], path):
                    continue
                if fault["skip"] > 0:
                    fault["skip"] -= 1
                    continue
                if fault["times"] == 0:
                    continue
                if fault["times"] > 0:
                    fault["times"] -= 1
                fault["hits"] += 1
                return dict(fault)
        return None

    def hits(self):
        with self.lock:
            return {number: fault["hits"] for number, fault in self.entries.items()}
