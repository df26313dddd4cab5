"""Medians as tables, and what they are next to the budgets. Nothing here measures."""

import os
import statistics
import time

from workloads import spoken

STEPS = (("first", "first backup"), ("second", "second backup, 1 % changed"), ("restore", "restore"),
         ("stage", "staged on a standby"), ("failover", "restore into it, 1 % changed since"), ("daily", "ten daily backups"))
# Column, key, how it is shown.
COLUMNS = (
    ("wall", "wall", lambda value: f"{value:.1f} s"),
    ("of it upload", "transfer", lambda value: f"{value:.2f} s"),
    ("CPU", "cpu", lambda value: f"{value:.1f} s"),
    ("API unavailable", "window", lambda value: f"{value:.2f} s"),
    ("beyond scripts", "beyond", lambda value: f"{value:.2f} s"),
    ("over SSH", "wire", spoken),
    ("stored", "stored", spoken),
    ("requests", "requests", lambda value: f"{value:,.0f}"),
    ("memory", "memory", spoken),
    ("worker disk", "disk", spoken),
)


def medians(rows, workload, step, contender):
    """Of each number over the runs; None without a run."""
    found = [row for row in rows if (row["workload"], row["step"], row["contender"]) == (workload, step, contender) and "failed" not in row]
    if not found:
        return None
    values = {}
    for _, key, _ in COLUMNS:
        present = [row[key] for row in found if row.get(key) is not None]
        values[key] = statistics.median(present) if present else None
    values["runs"] = len(found)
    return values


def failures(rows):
    return [row for row in rows if "failed" in row]


def table(rows, workload, contenders):
    lines = ["| step | contender | runs | " + " | ".join(title for title, _, _ in COLUMNS) + " |",
             "|---|---|---:|" + "---:|" * len(COLUMNS)]
    for step, title in STEPS:
        for contender in contenders:
            values = medians(rows, workload.name, step, contender.name)
            failed = [row for row in failures(rows)
                      if (row["workload"], row["step"], row["contender"]) == (workload.name, step, contender.name)]
            if values:
                cells = [show(values[key]) if values[key] is not None else "" for _, key, show in COLUMNS]
                lines.append(f"| {title} | {contender.title} | {values['runs']} | " + " | ".join(cells) + " |")
            if failed:
                lines.append(f"| {title} | {contender.title} | {len(failed)} failed |" + " |" * len(COLUMNS))
    return lines


class Budget:
    """At most `most` times what `against` needed of `key` in `other` (the same step unless given)."""

    def __init__(self, workloads, step, key, most, against, text, other=None):
        self.workloads, self.step, self.key, self.most, self.against, self.text = workloads, step, key, most, against, text
        self.other = other or step

    def judge(self, rows, workload):
        ours = medians(rows, workload, self.step, "lifeboat")
        theirs = medians(rows, workload, self.other, self.against)
        if not ours or not theirs or ours[self.key] is None or not theirs[self.key]:
            return None
        return ours[self.key] / theirs[self.key]


WITH_CONTENT = ("blobs", "dumps", "small")
BUDGETS = (
    Budget(WITH_CONTENT, "first", "wall", 1 / 3, "bbr", "first backup: wall time"),
    Budget(WITH_CONTENT, "second", "wall", 1 / 10, "bbr", "second backup: wall time"),
    Budget(WITH_CONTENT, "second", "wire", 0.03, "bbr", "second backup: bytes over SSH"),
    Budget(WITH_CONTENT, "restore", "wall", 1 / 2, "bbr", "restore: wall time"),
    Budget(WITH_CONTENT, "failover", "wire", 0.03, "lifeboat", "failover into a staged standby: bytes over SSH of a restore", "restore"),
    Budget(WITH_CONTENT, "failover", "transfer", 1 / 5, "lifeboat", "failover into a staged standby: upload time of a restore", "restore"),
    Budget(("lock",), "first", "beyond", 1 / 5, "bbr", "API unavailable beyond the scripts' own time"),
    Budget(("daily-blobs", "daily-dumps"), "daily", "stored", 1.1, "restic", "ten daily backups: stored bytes"),
)


def verdicts(rows, workloads):
    lines = ["| what | workload | at most | measured | |", "|---|---|---:|---:|---|"]
    for budget in BUDGETS:
        for workload in workloads:
            if workload.name in budget.workloads:
                ratio = budget.judge(rows, workload.name)
                found = ("not measured", "") if ratio is None else (f"{ratio:.3f}", "met" if ratio <= budget.most else "**missed**")
                lines.append(f"| {budget.text}, against {budget.against} | {workload.name} | {budget.most:.3g} | {found[0]} | {found[1]} |")
    for workload in workloads:
        disks = [row["disk"] for row in rows if row["contender"] == "lifeboat" and row["workload"] == workload.name and "failed" not in row]
        if disks:
            lines.append(f"| bytes on the worker's disk | {workload.name} | 0 | {max(disks)} | {'met' if max(disks) == 0 else '**missed**'} |")
    return lines


def conditions(rows, workload):
    """When the workload was measured, and what else the machine did."""
    of = [row for row in rows if row["workload"] == workload.name]
    if not of:
        return []
    loads = [row["load"] for row in of]
    return [f"Measured {min(row['when'] for row in of)} to {max(row['when'] for row in of)}; load of the machine meanwhile, the bench itself included: "
            f"{min(loads):.1f} to {max(loads):.1f} (5 min)."]


def machine():
    def first(path, start):
        with open(path) as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(start)), "?")

    memory = int(first("/proc/meminfo", "MemTotal").split()[0]) << 10
    with open("/etc/os-release") as file:
        system = next(line.split("=", 1)[1].strip().strip('"') for line in file if line.startswith("PRETTY_NAME="))
    return f"{first('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores, {spoken(memory)} of memory, {system}, Linux {os.uname().release.partition('-')[0]}"


def document(options, command, rows, workloads, contenders, absent, stages):
    lines = [
        "# Benchmarks", "",
        "Written by `ci/bench`; do not edit. Instance, worker and S3 server share the machine's cores and its loopback, so that every",
        "contender pays for all three. What each figure is: `benches/compare/measure.py`.", "",
        f"- Machine: {machine()}", f"- Date: {time.strftime('%Y-%m-%d', time.gmtime())}", f"- Command: `{command}`; medians, the column *runs* says of how many",
        f"- Load of the machine before: {options.load}",
        *(f"- {contender.title}: {contender.version}; " + ", ".join(f"`{each}`" for each in contender.commands) for contender in contenders),
        *(f"- {contender.title} took no part: {contender.missing}" for contender in absent), "",
        "## Against the budgets", "", *verdicts(rows, workloads), "",
    ]
    for workload in workloads:
        lines += [f"## {workload.name}: {workload.title}", "", *table(rows, workload, contenders), "", *conditions(rows, workload), ""]
    broken = failures(rows)
    if broken:
        lines += ["## What failed", "", *(f"- {row['workload']}, {row['step']}, {row['contender']}, run {row['run']}: {row['failed']}" for row in broken), ""]
    if stages:
        with open(os.path.join(os.path.dirname(__file__), "tried.md")) as file:
            tried = file.read().splitlines()
        lines += ["## Where the time goes", "", *stages, "", "## What was tried", "", *tried, ""]
    return "\n".join(lines)
