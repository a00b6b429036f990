"""The loop in real time: `python benchmarks/real_time.py [--rate 20] [--duration 600] [--markers cloud]`.

All four nodes run as in the demo, the box is pushed to one goal after the other, and every status of the controller is
kept. A cycle is missed when the last plan still runs, no state has come or the node slept through it, or when its step
is dropped because it comes too late. Beside the nodes a process wakes up at the same rate and does nothing: a miss that
coincides with a late wake-up of its own may be the machine's doing, or that of all nodes together.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, Vector3Stamped
from rclpy.qos import QoSProfile

from sgp_core.goals import load_goals
from sgp_core.share import share_path
from sgp_ros import messages
from sgp_ros.processes import NodeProcesses, ros_environment
from sgp_ros.rig_files import NODES
from sgp_ros.running import LATCHED_QOS

NEAR_S = 0.15  # a miss this close to a late wake-up of the idle process coincides with it
KINDS = ("missed_planning", "missed_state", "missed_asleep", "late_steps")
QOS = QoSProfile(depth=1000)
IDLE = """
import sys, time
period_s = 1.0 / float(sys.argv[1])
due_s = time.time() + period_s
while True:
    time.sleep(max(0.0, due_s - time.time()))
    print(time.time(), time.time() - due_s, flush=True)
    due_s += period_s
    if time.time() > due_s + period_s:
        due_s = time.time() + period_s
"""


class Watch:
    """Keeps every status and every step, and sends the next goal when one is reached or takes too long."""

    def __init__(self, namespace: str) -> None:
        self.node = rclpy.create_node("watch", namespace=namespace)
        self.rows: list[dict[str, float]] = []
        self.reasons: dict[str, int] = {}
        self.first_step_s = 0.0
        self._goals = itertools.cycle(goal.pose for _, goal in sorted(load_goals().items()))
        self._goal = self.node.create_publisher(PoseStamped, "goal_pose", LATCHED_QOS)
        self._sent_s = 0.0
        self.goals = 0
        self.node.create_subscription(DiagnosticStatus, "status", self._on_status, QOS)
        self.node.create_subscription(Vector3Stamped, "step", self._on_step, QOS)

    def _on_step(self, _message: Vector3Stamped) -> None:
        self.first_step_s = self.first_step_s or time.time()

    def _on_status(self, message: DiagnosticStatus) -> None:
        values = {pair.key: pair.value for pair in message.values}
        reason, now_s = values["reason"], time.time()
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        names = ("plan_ms", "plan_waited_ms", "latency_ms", "steps", "iterations", *KINDS)
        self.rows.append({"time_s": now_s, **{name: float(values[name]) for name in names}})
        if reason in ("GOAL_REACHED", "NO_GOAL") and now_s - self._sent_s > 2.0:
            self.goals += reason == "GOAL_REACHED"
            self._next(now_s)
        elif now_s - self._sent_s > 40.0:
            self._next(now_s)

    def _next(self, now_s: float) -> None:
        self._sent_s = now_s
        self._goal.publish(messages.pose_to_msg(now_s, *next(self._goals)))


def spread(values: np.ndarray) -> dict[str, float]:
    p50, p95, p99 = np.percentile(values, [50.0, 95.0, 99.0])
    return {"p50": p50, "p95": p95, "p99": p99, "max": values.max(), "count": len(values)}


def per_plan(rows: list[dict[str, float]], key: str, counter: str) -> np.ndarray:
    """Values of a key, one for each time that the counter went up."""
    pairs = itertools.pairwise(rows)
    return np.array([b[key] for a, b in pairs if b[counter] > a[counter] and np.isfinite(b[key])])


def misses(rows: list[dict[str, float]], late_s: np.ndarray) -> dict[str, Any]:
    """How many cycles were missed and why, and how many of them when the idle process woke up late, too.

    `each`: time [s], why, how many, and of the plan that was told with it: how long it took, and how much of that the
    planner's thread waited for a processor [ms].
    """
    found: dict[str, Any] = {**dict.fromkeys(KINDS, 0), "coincide": 0, "each": []}
    for before, after in itertools.pairwise(rows):
        for name in KINDS:
            count = int(after[name] - before[name])
            if count > 0:
                found[name] += count
                near = len(late_s) and np.abs(late_s - after["time_s"]).min() < NEAR_S + after["plan_ms"] * 1e-3
                found["coincide"] += count if near else 0
                at_s = round(after["time_s"] - rows[0]["time_s"], 2)
                found["each"].append([at_s, name, count, round(after["plan_ms"], 1), round(after["plan_waited_ms"], 1)])
    return found


def memory(samples: list[tuple[float, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Resident memory of each process [MB] and its slope over the second half [MB per hour]."""
    half = samples[len(samples) // 2 :]
    times_h = np.array([t for t, _ in half]) / 3600.0
    return {
        name: {
            "start_mb": samples[0][1][name],
            "end_mb": samples[-1][1][name],
            "slope_mb_per_h": float(np.polyfit(times_h, [row[name] for _, row in half], 1)[0]),
        }
        for name in samples[0][1]
    }


def cpu_s(pid: int) -> float:
    """User and system time of a process [s]."""
    fields = FilePath(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    pages = int(FilePath(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run(options: argparse.Namespace, folder: FilePath) -> dict[str, Any]:
    environment = ros_environment(folder)
    os.environ.update(environment)
    rclpy.init()
    parameters: dict[str, dict[str, object]] = {
        "rig_sim_node": {"marker_rate_hz": options.marker_rate, "marker_output": options.markers},
        "mpc_node": {"rate_hz": options.rate, **dict(pair.split("=", 1) for pair in options.set)},
    }
    if options.markers == "cloud":
        parameters["mocap_node"] = {"input": "point_cloud", "marker_topic": "pointCloud"}
    idle_log = folder / "idle.txt"
    with NodeProcesses(folder, environment, "sgp") as nodes, idle_log.open("w") as log, ExitStack() as ending:
        started_s = time.time()
        for node in NODES:
            nodes.start(node, share_path("config", "fast.yaml"), parameters.get(node, {}))
        pids = nodes.pids()
        idle = subprocess.Popen([sys.executable, "-c", IDLE, str(options.rate)], stdout=log)
        ending.callback(idle.kill)
        watch = Watch("sgp")
        samples: list[tuple[float, dict[str, float]]] = []
        while not watch.first_step_s:
            assert time.time() - started_s < 60.0, f"no step: {watch.reasons} {nodes.tail('mpc_node')}"
            rclpy.spin_once(watch.node, timeout_sec=0.1)
        warm_s = time.time() + options.warm_up
        while time.time() < warm_s:
            rclpy.spin_once(watch.node, timeout_sec=0.1)
        first, began_s = len(watch.rows), time.time()
        busy = {node: cpu_s(pid) for node, pid in pids.items()}
        while time.time() - began_s < options.duration:
            rclpy.spin_once(watch.node, timeout_sec=0.1)
            if not samples or time.time() - samples[-1][0] > 5.0:
                samples.append((time.time(), {n: rss_mb(pid) for n, pid in pids.items()}))
                assert not nodes.ended(), nodes.ended()
        took_s = time.time() - began_s
        used = {node: (cpu_s(pid) - busy[node]) / took_s for node, pid in pids.items()}
    rows = watch.rows[first:]
    wake = np.array([[float(v) for v in line.split()] for line in idle_log.read_text().splitlines() if line.count(" ")])
    wake = wake[wake[:, 0] >= began_s]
    missed = misses(rows, wake[wake[:, 1] > 0.25 / options.rate, 0])
    cycles = options.rate * took_s
    return {
        "rate_hz": options.rate,
        "markers": f"{options.markers} at {options.marker_rate:g} Hz",
        "minutes": took_s / 60.0,
        "cycles": cycles,
        "steps": rows[-1]["steps"] - rows[0]["steps"],
        "goals_reached": watch.goals,
        "reasons": watch.reasons,
        "plan_ms": spread(per_plan(rows, "plan_ms", "steps")),
        "plan_waited_ms": spread(per_plan(rows, "plan_waited_ms", "steps")),
        "latency_ms": spread(per_plan(rows, "latency_ms", "steps")),
        "iterations_mean": float(np.mean(per_plan(rows, "iterations", "steps"))),
        "missed": missed,
        "missed_share": sum(missed[kind] for kind in KINDS) / cycles,
        "idle_late_ms": spread(wake[:, 1] * 1e3),
        # How much of the time any miss would coincide by chance.
        "idle_late_share_of_time": float(min(1.0, 2.0 * NEAR_S * (wake[:, 1] > 0.25 / options.rate).sum() / took_s)),
        "cycles_without_step": cycles - (rows[-1]["steps"] - rows[0]["steps"]),
        "idle_missed_share": float((wake[:, 1] > 0.5 / options.rate).mean()),
        "first_step_s": watch.first_step_s - started_s,
        "cpu_cores": used,
        "memory": memory(samples),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=20.0, help="rate_hz of the controller")
    parser.add_argument("--duration", type=float, default=600.0, help="how long to measure [s]")
    parser.add_argument("--warm-up", type=float, default=5.0, help="after the first step, not counted [s]")
    parser.add_argument("--markers", choices=("poses", "cloud"), default="poses", help="what the camera publishes")
    parser.add_argument("--marker-rate", type=float, default=100.0, help="frames per second")
    parser.add_argument("--set", action="append", default=[], help="name=value of mpc_node, repeatable")
    parser.add_argument("--json", type=FilePath, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(options, FilePath(folder))
    text = json.dumps(result, indent=1, default=float)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
