"""Director tasks: they queue, process for as many polls as asked, then end one way or another.

Knows no HTTP. A plan (from the spec or set later) shapes the next tasks that match it:
{"match": regex on the description, "queued": polls, "processing": polls, "outcome": "done|error|
cancelled|timeout", "code": 450002, "message": "...", "work": true|false, "skip": k, "times": n, "hold": name}.
`work` says whether the task does its work although it fails; `hold` keeps it processing until that name is released.
"""

import json
import re
import threading
import time

SETTLE_SECONDS = 0.15  # the first look at a task with no planned polls waits this long for its work
OVER = ("done", "error", "cancelled", "timeout")
# Kinds that are listed without being asked for all (`verbose` 1).
SHOWN = ("update_deployment", "delete_deployment", "run_errand", "update_stemcell", "delete_stemcell",
         "update_release", "delete_release")


class DirectorError(Exception):
    """What a task fails with: the director's code and text."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Task:
    def __init__(self, number, description, deployment, kind, plan, user):
        self.number, self.description, self.deployment, self.kind = number, description, deployment, kind
        self.user = user
        self.queued, self.processing = plan.get("queued", 0), plan.get("processing", 0)
        self.outcome = plan.get("outcome", "done")
        self.message = plan.get("message", "Timed out sending 'get_state' to instance: 'x', "
                                "agent-id: 'y' after 45 seconds")
        self.code = plan.get("code", 450002)
        self.plan, self.cancelled = plan, False
        self.started = int(time.time())
        self.ended = None
        self.event, self.output, self.debug = None, "", f"D, task {number}: {description}\n"
        self.summary = None
        self.finished = threading.Event()
        self.released = threading.Event()

    def begin(self, work, changed):
        if self.outcome != "done" and not self.plan.get("work", False):
            self._fail()
            self._end(changed)
        else:
            threading.Thread(target=self._run, args=(work, changed), daemon=True).start()

    def _run(self, work, changed):
        try:
            if "hold" in self.plan:
                self.released.wait()
            if not self.cancelled:
                self.output = work(self) or ""
            if self.cancelled:
                self.outcome = "cancelled"
            if self.outcome != "done":
                self._fail()
        except Exception as error:  # noqa: BLE001 - a task that fails is a result
            self.outcome, self.code, self.message = "error", getattr(error, "code", 100), str(error)
            self._fail()
        self._end(changed)

    def _end(self, changed):
        self.ended = int(time.time())
        self.finished.set()
        changed()

    def _fail(self):
        self.output = ""
        if self.outcome == "cancelled":
            self.code, self.message = 10001, f"Task {self.number} cancelled"
        self.summary = self.message
        if self.outcome != "timeout":  # a task that timed out wrote nothing any more
            entry = {"time": int(time.time()), "error": {"code": self.code, "message": self.message}}
            self.event = (self.event or "") + json.dumps(entry) + "\n"
        self.debug += f"E, {self.message}\n"

    def stage(self, stage, task, index=1, total=1):
        """One finished step in the event log."""
        now = int(time.time())
        for state, progress in (("started", 0), ("finished", 100)):
            self.event = (self.event or "") + json.dumps({
                "time": now, "stage": stage, "tags": [], "total": total, "task": task, "index": index,
                "state": state, "progress": progress}) + "\n"
        self.debug += f"I, {stage}: {task}\n"

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

    def peek(self):
        """The state, without counting as a look."""
        if self.queued > 0:
            return "queued"
        return "processing" if self.processing > 0 or not self.finished.is_set() else self.outcome

    def to_json(self, state=None):
        state = state or self.poll()
        return {"id": self.number, "state": state, "description": self.description,
                "timestamp": self.ended or int(time.time()),
                "started_at": None if state == "queued" else self.started,
                "result": self.summary if state in OVER else None, "user": self.user,
                "deployment": self.deployment, "context_id": ""}

    def row(self):
        """For the database. Its outputs are files on the director's disk, which no backup holds."""
        return {**self.to_json(self.peek()), "kind": self.kind}

    def text(self, kind):
        """None when there is nothing of that kind (204)."""
        if kind == "result":
            return self.output if self.finished.is_set() else ""
        return {"event": self.event, "debug": self.debug}.get(kind)


class PastTask:
    """A row of another time: the database was restored. One that was not over then is `processing` until the director
    notices that nobody works on it: its last sign of life is older than `patience` seconds."""

    def __init__(self, row, patience):
        self.kind, self.patience = row.get("kind", ""), patience
        self.about = {key: value for key, value in row.items() if key != "kind"}
        self.number, self.description, self.deployment = row["id"], row["description"], row["deployment"]
        self.outcome, self.summary = row["state"], row["result"]
        self.finished, self.released, self.cancelled = threading.Event(), threading.Event(), False
        self.finished.set()

    def peek(self):
        if self.about["state"] in ("processing", "cancelling") and \
                time.time() - self.about["timestamp"] > self.patience:
            self.about["state"] = self.outcome = "timeout"
        return self.about["state"]

    def to_json(self, _state=None):
        return {**self.about, "state": self.peek()}

    def row(self):
        return {**self.to_json(), "kind": self.kind}

    def text(self, _kind):
        return None


class Tasks:
    def __init__(self, plans=(), user="admin", changed=lambda: None, patience=180):
        self.lock = threading.Lock()
        self.all = {}
        self.plans = []
        self.next_number = 100
        self.user, self.changed, self.patience = user, changed, patience
        for plan in plans:
            self.plan(plan)

    def plan(self, plan):
        with self.lock:
            self.plans.append({"match": "", "skip": 0, "times": -1, **plan})

    def clear_plans(self):
        with self.lock:
            self.plans.clear()

    def start(self, description, deployment, work, kind=""):
        """`work(task)` returns the text of the result output; the task itself has the `summary`."""
        with self.lock:
            plan = self._take(description)
            self.next_number += 1
            number = self.next_number
            task = self.all[number] = Task(number, description, deployment, kind, plan, self.user)
        self.changed()
        task.begin(work, self.changed)
        return task

    def release(self, name):
        """Let go on what a plan's `hold` holds; how many did."""
        held = [task for task in list(self.all.values())
                if isinstance(task, Task) and task.plan.get("hold") == name and not task.released.is_set()]
        for task in held:
            task.released.set()
        return len(held)

    def cancel(self, number):
        task = self.all[number]
        task.cancelled = True
        task.released.set()

    def listed(self, states=(), all_kinds=True, deployment=None, limit=None):
        """As rows of JSON, newest first."""
        found = []
        for task in sorted(list(self.all.values()), key=lambda one: -one.number):
            state = task.peek()
            if states and state not in states or not all_kinds and task.kind not in SHOWN or \
                    deployment and task.deployment != deployment:
                continue
            found.append(task.to_json(state))
        return found[:limit]

    def rows(self):
        return [task.row() for _number, task in sorted(self.all.items())]

    def load(self, rows):
        """The rows of a database that was put back. What runs now goes on, unseen."""
        with self.lock:
            self.all = {row["id"]: PastTask(row, self.patience) for row in rows}
            self.next_number = max([100, *self.all])

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
