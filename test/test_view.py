"""What `sgp view` shows, in a real browser: a bag, a live graph, and a graph with nothing in it."""

from __future__ import annotations

import io
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")
pytest.importorskip("rerun", reason="no rerun: install the extra `view`")
pytest.importorskip("selenium", reason="no selenium: install the extra `dev`")

from geometry_msgs.msg import PoseArray
from PIL import Image
from ros_graph import Graph
from selenium import webdriver
from test_play import LAYOUT, command
from typer.testing import CliRunner

from sgp_core.errors import InputError
from sgp_core.plots import BOX, GOAL, PUSHER
from sgp_core.types import State
from sgp_ros import messages
from sgp_ros.cli import app
from sgp_ros.running import SENSOR_QOS

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.ros,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no browser: install Debian's chromium and chromium-driver"),
]
DRAWN_S = 90.0  # the page is drawn without a graphics card here
SWITCHES = (
    "--headless=new --no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync --window-size=1200,800"
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for switch in (*SWITCHES.split(), f"--user-data-dir={tmp_path / 'browser'}"):
        options.add_argument(switch)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER))) as made:
        yield made


def pixels(browser: Any, *colours: str) -> list[int]:
    """How many pixels of a screenshot have each colour, nearly."""
    shot = np.asarray(Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")).astype(int)
    wanted = [np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) for colour in colours]
    return [int((np.abs(shot - colour).max(axis=-1) < 12).sum()) for colour in wanted]


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DRAWN_S
    while not condition():
        assert time.monotonic() < deadline_s, f"no {what} within {DRAWN_S} s"
        time.sleep(0.5)


def opened(graph: Graph, browser: Any, label: str, *words: object) -> None:
    """Start `sgp view` and open its page."""
    graph.run(label, *command("view", *words, "--no-open", "--port", "0"))
    found = graph.wait("address", lambda: re.search(r"http://localhost\S+", graph.output(label)))
    browser.get(found[0])


class TestView:
    """Of what runs, and of what ran."""

    def test_a_run_is_drawn_from_its_bag(self, graph: Graph, browser: Any, finished_demo: Path, tmp_path: Path) -> None:
        opened(graph, browser, "bag", finished_demo / "bag", "--save", tmp_path / "kept.rrd")
        # The outline of the box and the curve of the markers' distance; the pusher and J; the distance to the data.
        wait_for("picture", lambda: all(n > 100 for n in pixels(browser, BOX, PUSHER, GOAL)))
        assert (tmp_path / "kept.rrd").stat().st_size > 50_000
        # The viewer would like to ask other hosts for news; the page does not let it.
        with urlopen(browser.current_url) as answer:
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'self' ")
            assert b"https://" not in re.sub(rb"<script.*?</script>|<!--.*?-->", b"", answer.read(), flags=re.DOTALL)
        code, took_s = graph.stop("bag", signal.SIGINT)
        assert code == 0
        assert took_s < 5.0

    def test_a_live_graph_is_waited_for_and_followed(self, graph: Graph, browser: Any) -> None:
        opened(graph, browser, "live")
        graph.wait("words", lambda: "waiting for /sgp/state: no mocap_node is there" in graph.output("live"))
        wait_for("page", lambda: pixels(browser, "#ffffff")[0] > 100_000)
        assert pixels(browser, BOX)[0] < 100
        publisher = graph.probe.create_publisher(PoseArray, "state", SENSOR_QOS)
        x = LAYOUT.pack(LAYOUT.markers_at(0.6, 0.0, 0.3), np.array([0.45, 0.0]))
        publishing = graph.probe.create_timer(
            0.05, lambda: publisher.publish(messages.state_to_msg(State(stamp_s=time.time(), x=x)))
        )
        wait_for("box", lambda: all(n > 100 for n in pixels(browser, BOX, PUSHER)))
        graph.probe.destroy_timer(publishing)
        graph.wait("words", lambda: "mocap_node is silent" in graph.output("live"))
        assert graph.stop("live", signal.SIGTERM)[0] == 0


def test_what_cannot_be_shown_is_told(tmp_path: Path) -> None:
    (tmp_path / "kept.rrd").write_text("precious")
    for words, told in (
        ([tmp_path / "none"], "none"),
        (["--save", tmp_path / "kept.rrd"], "exists and is not overwritten; give another name"),
    ):
        with pytest.raises(InputError, match=re.escape(told)):
            CliRunner().invoke(app, ["view", *map(str, words), "--no-open", "--port", "0"], catch_exceptions=False)
    assert (tmp_path / "kept.rrd").read_text() == "precious"
