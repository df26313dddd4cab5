"""Director tasks: they queue, process for as many polls as asked, then end one way or another.

Knows no HTTP. A plan (from the spec or set later) shapes the next tasks that match it:
{"match": regex on the description, "queued": polls, "processing": polls, "outcome": "done|error|
cancelled|timeout", "code": 450002, "message": "...", "work": true|false, "skip": k, "times": n}.
`work` says whether the task does its work although it fails.
"""

import json
import re
import threading
import time

SETTLE_SECONDS = 0.15  # the first look at a task with no planned polls waits this long for its work


class Task:
    def __init__(self, number, description, deployment, plan, work):
        self.number, self.description, self.deployment = number, description, deployment
        self.queued, self.processing = plan.get("queued", 0), plan.get("processing", 0)
        self.outcome = plan.get("outcome", "done")
        self.message = plan.get("message", "Timed out sending 'get_state' to instance: 'x', "
                                "agent-id: 'y' after 45 seconds")
        self.code = plan.get("code", 450002)
        self.started = int(time.time())
        self.event, self.output, self.debug = None, "", f"D, task {number}: {description}\n"
        self.summary = None
        self.finished = threading.Event()
        if self.outcome != "done" and not plan.get("work", False):
            self._fail()
            self.finished.set()
        else:
            threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work):
        try:
            self.output = work()
            if self.outcome != "done":
                self._fail()
        except Exception as error:  # noqa: BLE001 - a task that fails is a result
            self.outcome, self.code, self.message = "error", 100, str(error)
            self._fail()
        self.finished.set()

    def _fail(self):
        self.output = ""
        if self.outcome == "cancelled":
            self.code, self.message = 10001, f"Task {self.number} cancelled"
        self.summary = self.message
        if self.outcome != "timeout":  # a task that timed out wrote nothing any more
            entry = {"time": int(time.time()), "error": {"code": self.code, "message": self.message}}
            self.event = json.dumps(entry) + "\n"
        self.debug += f"E, {self.message}\n"

    def poll(self):
        """The state as one look at the task shows it."""
        if self.queued > 0:
            self.queued -= 1
            return "queued"
        if self.processing > 0:
            self.processing -= 1
            return "processing"
        if not self.finished.wait(SETTLE_SECONDS):
            return "processing"
        return self.outcome

    def to_json(self, user):
        state = self.poll()
        over = state not in ("queued", "processing")
        return {"id": self.number, "state": state, "description": self.description, "timestamp": int(time.time()),
                "started_at": None if state == "queued" else self.started,
                "result": self.summary if over else None, "user": user, "deployment": self.deployment,
                "context_id": ""}

    def text(self, kind):
        """None when there is nothing of that kind (204)."""
        if kind == "result":
            return self.output if self.finished.is_set() else ""
        return {"event": self.event, "debug": self.debug}.get(kind)


class Tasks:
    def __init__(self, plans=()):
        self.lock = threading.Lock()
        self.all = {}
        self.plans = []
        self.next_number = 100
        for plan in plans:
            self.plan(plan)

    def plan(self, plan):
        with self.lock:
            self.plans.append({"match": "", "skip": 0, "times": -1, **plan})

    def clear_plans(self):
        with self.lock:
            self.plans.clear()

    def start(self, description, deployment, work):
        with self.lock:
            plan = self._take(description)
            self.next_number += 1
            number = self.next_number
        task = Task(number, description, deployment, plan, work)
        with self.lock:
            self.all[number] = task
        return number

    def _take(self, description):
        for plan in self.plans:
            if not re.search(plan["match"], description):
                continue
            if plan["skip"] > 0:
                plan["skip"] -= 1
                continue
            if plan["times"] == 0:
                continue
            if plan["times"] > 0:
                plan["times"] -= 1
            return plan
        return {}
