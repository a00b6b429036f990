"""What mocap_node costs: `python benchmarks/mocap_load.py [SECONDS]` prints a Markdown table.

For each kind of input and rate of the cameras: the share of one core that the node takes (/proc), and the time from the
stamp of the markers to the arrival of the state in another process. Both have the driver's own cost of publishing in
them as far as it delays the markers; run it on a machine that does nothing else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rclpy
from geometry_msgs.msg import Point, Pose, PoseArray, PoseStamped
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import PointCloud2

from sgp_ros import convert, messages
from sgp_ros.messages import cloud_to_msg
from sgp_ros.mocap_settings import load_layout
from sgp_ros.processes import ros_environment
from sgp_ros.running import SENSOR_QOS

RATES_HZ = (120, 240)
KINDS = {"marker_poses": "/m/{name}", "point_cloud": "/cloud", "body_pose": "/box"}
NOISE_M = 1e-4
WARM_S = 3.0
LAYOUT = load_layout("")


def publish(kind: str, rate_hz: float) -> None:
    """The driver: a box at rest, until it is told to end."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # SIGTERM ends it on the spot
    node = rclpy.create_node("driver")
    random = np.random.default_rng(0)
    names = list(LAYOUT.names) if kind == "marker_poses" else ["box"]
    topics = [KINDS[kind].replace("{name}", name) for name in names]
    sort = PointCloud2 if kind == "point_cloud" else PoseStamped
    publishers = [node.create_publisher(sort, topic, SENSOR_QOS) for topic in topics]
    pusher = node.create_publisher(PoseStamped, "/pusher", SENSOR_QOS)
    next_s = time.monotonic()
    while True:
        next_s = max(next_s + 1.0 / rate_hz, time.monotonic() - 0.1)
        time.sleep(max(0.0, next_s - time.monotonic()))
        header = messages.header(convert.clock_seconds(node.get_clock().now().nanoseconds), "world")
        markers = LAYOUT.markers_at(0.5, 0.0, 0.0) + random.normal(0.0, NOISE_M, (LAYOUT.count, 2))
        pusher.publish(PoseStamped(header=header, pose=at(0.4, 0.0)))
        if kind == "point_cloud":
            points = np.column_stack([random.permutation(markers), np.full(len(markers), 0.04)])
            publishers[0].publish(cloud_to_msg(convert.seconds(header.stamp), header.frame_id, points))
            continue
        places = markers if kind == "marker_poses" else np.array([[0.5, 0.0]]) + random.normal(0.0, NOISE_M, (1, 2))
        for publisher, (x, y) in zip(publishers, places, strict=True):
            publisher.publish(PoseStamped(header=header, pose=at(float(x), float(y))))


def at(x_m: float, y_m: float) -> Pose:
    return Pose(position=Point(x=x_m, y=y_m, z=0.04))


def measure(node: Node, kind: str, rate_hz: int, seconds: float) -> tuple[float, float, float, float]:
    """CPU share of the node [%], states per second, median and 99th percentile of the latency [ms]."""
    latencies_s: list[float] = []

    def on_state(message: PoseArray) -> None:
        now_s = convert.clock_seconds(node.get_clock().now().nanoseconds)
        latencies_s.append(now_s - convert.seconds(message.header.stamp))

    subscription = node.create_subscription(PoseArray, "state", on_state, SENSOR_QOS)
    settings = {"input": kind, "marker_topic": KINDS[kind], "pusher_topic": "/pusher"}
    words = [word for name, value in settings.items() for word in ("-p", f"{name}:={value}")]
    commands = (
        [sys.executable, "-m", "sgp_ros.mocap_node", "--ros-args", *words],
        [sys.executable, __file__, "--publish", kind, str(rate_hz)],
    )
    children = [subprocess.Popen(command) for command in commands]
    try:
        while not latencies_s:
            rclpy.spin_once(node, timeout_sec=0.1)
            assert children[0].poll() is None, "mocap_node ended"
        spin(node, WARM_S)
        latencies_s.clear()
        begin_s, used_s = time.monotonic(), cpu_s(children[0].pid)
        spin(node, seconds)
        took_s = time.monotonic() - begin_s
        share = 100.0 * (cpu_s(children[0].pid) - used_s) / took_s
        median_ms, late_ms = (1e3 * float(v) for v in np.percentile(latencies_s, [50, 99]))
        return share, len(latencies_s) / took_s, median_ms, late_ms
    finally:
        node.destroy_subscription(subscription)
        for child in children:
            child.send_signal(signal.SIGTERM)
            child.wait()


def spin(node: Node, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.1)


def cpu_s(pid: int) -> float:
    """User and system time of a process [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    if sys.argv[1:2] == ["--publish"]:
        publish(sys.argv[2], float(sys.argv[3]))
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(ros_environment(Path(folder)))
        rclpy.init()
        node = rclpy.create_node("watch")
        print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before\n")
        print("| input | cameras Hz | mocap_node, % of a core | states/s | latency median ms | p99 ms |")
        print("|---|---|---|---|---|---|")
        for kind in KINDS:
            for rate_hz in RATES_HZ:
                share, states_hz, median_ms, late_ms = measure(node, kind, rate_hz, seconds)
                print(f"| {kind} | {rate_hz} | {share:.0f} | {states_hz:.0f} | {median_ms:.1f} | {late_ms:.1f} |")
        rclpy.shutdown()


if __name__ == "__main__":
    main()
