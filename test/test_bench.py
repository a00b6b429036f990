"""What `sgp bench` compares is comparable, and what it writes can be read. No test looks at a time."""

from __future__ import annotations

import ast
import inspect
import json
import math
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_cli import sgp

from sgp_core.bench import Bench, Case
from sgp_core.bench_plot import bench_figure
from sgp_core.bundle import ModelBundle, load_bundle
from sgp_core.config import PlannerConfig
from sgp_core.iteration import Iteration
from sgp_core.resizing import resized
from sgp_core.share import share_path
from sgp_core.types import Goal

YARDSTICK = share_path("benchmarks", "yardstick.py")


@pytest.fixture(autouse=True, scope="module")
def _surroundings() -> Iterator[None]:
    """Bench sets the threads of the whole process."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def bundle(bundle_path: Path) -> ModelBundle:
    return load_bundle(bundle_path)


def points(bundle: ModelBundle, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    x, u = bundle.reference_x[:count], bundle.reference_u[:count]
    return torch.from_numpy(x).float(), torch.from_numpy(u).float()


@pytest.mark.parametrize("hidden", [384, 512])  # 384 copies some units more often than others
def test_wider_networks_compute_the_same(bundle: ModelBundle, hidden: int) -> None:
    networks, (x, u) = resized(bundle, hidden), points(bundle, 50)
    wanted = bundle.dynamics(x, u)
    for dynamics in (networks.dynamics, networks.bundle.dynamics):
        assert (dynamics(x, u) - wanted).norm() <= 1e-5 * (wanted - x).norm()
    for level in range(len(bundle.sigmas)):
        levels = torch.full((len(x),), level)
        wanted = bundle.score(x, u, levels)
        for score in (networks.score, networks.bundle.score):
            assert (score(x, u, levels) - wanted).norm() <= 1e-5 * wanted.norm()


@pytest.mark.parametrize("hidden", [16, 100])
def test_narrower_networks_have_the_asked_width(bundle: ModelBundle, hidden: int) -> None:
    networks, (x, u) = resized(bundle, hidden), points(bundle, 3)
    for module in networks.modules:
        linears = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
        assert {layer.out_features for layer in linears[:-1]} == {hidden}
        assert {layer.in_features for layer in linears[1:]} == {hidden}
    assert networks.bundle.dynamics(x, u).shape == x.shape
    assert networks.bundle.score(x, u, torch.zeros(3, dtype=torch.long)).shape == (3, x.shape[1] + 2)


def test_the_yardstick_is_short_and_knows_nothing_of_this_package() -> None:
    text = YARDSTICK.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    nodes = list(ast.walk(ast.parse(text)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} == {"collections", "torch"}


def test_the_yardstick_improves_plans_and_one_rollout_gives_the_same_as_two(bundle: ModelBundle) -> None:
    config = PlannerConfig(beta=0.1, iterations=20, restarts=2)
    plan: Callable[..., torch.Tensor] = runpy.run_path(str(YARDSTICK))["plan"]
    x0 = torch.from_numpy(bundle.reference_x[20]).float()
    target = torch.from_numpy(Goal.from_pose(bundle.layout, 0.7, 0.05, 0.1).markers_m).float().reshape(-1)
    start = torch.zeros(2, config.horizon, 2)
    start[1] = 0.02
    settings = {name: getattr(config, name) for name in inspect.signature(plan).parameters if hasattr(config, name)}
    settings |= {"sigmas": bundle.sigmas, "scale": bundle.normalizer.x_scale}
    twice, once = (
        plan(bundle.dynamics, bundle.score, x0, target, start, **settings, once=flag) for flag in (False, True)
    )
    torch.testing.assert_close(once, twice, atol=1e-5, rtol=0.0)
    assert once.shape == start.shape
    assert once.abs().max() <= config.step_limit_m + 1e-6
    iteration = Iteration(bundle, config)
    with torch.no_grad():
        found, before = (iteration.objective(iteration.rollout(x0, u, target)) for u in (once, start))
    assert (found < before[0]).all()


@pytest.fixture(scope="module")
def measured(bundle: ModelBundle) -> tuple[dict[str, Any], int]:
    """A small case, and how often it said that it goes on."""
    calls: list[None] = []
    case = Case(hidden=256, horizon=2, iterations=10, restarts=2, threads=1)
    return Bench(bundle, seed=0).measure(case, states=2, advance=lambda: calls.append(None)), len(calls)


def test_a_case_is_measured(measured: tuple[dict[str, Any], int]) -> None:
    found, calls = measured
    assert calls == 3  # one to warm up
    assert {"horizon", "restarts", "hidden", "iterations", "threads", "states"} <= set(found)
    assert all(math.isfinite(value) for value in found.values())
    gaps = {"objective_gap", "objective_worst"}  # of either sign
    assert all(value > 0 for name, value in found.items() if name not in gaps)
    for name in ("ratio", "ratio_frozen", "plan_ms", "yardstick_ms", "frozen_ms", "roofline_ms", "roofline_fraction"):
        assert name in found
    assert abs(found["objective_gap"]) < 0.05
    assert found["objective_worst"] >= found["objective_gap"] - 1e-9
    assert found["roofline_fraction"] == pytest.approx(found["roofline_ms"] / found["plan_ms"])
    json.dumps(found)


def test_the_picture_has_one_axes_per_sweep(measured: tuple[dict[str, Any], int], tmp_path: Path) -> None:
    found, _ = measured
    sweeps = {
        "horizon": [{**found, "horizon": value, "plan_ms": 3.0 * value} for value in (2, 4, 8)],
        "threads": [{**found, "threads": value} for value in (1, 2)],
    }
    alone, figure = bench_figure(found), bench_figure({**found, "sweeps": sweeps})
    assert (len(alone.axes), len(figure.axes)) == (1, 3)
    assert [axes.get_xlabel() for axes in figure.axes[1:]] == ["horizon T", "threads"]
    for axes, rows in zip(figure.axes[1:], sweeps.values(), strict=True):
        assert len(axes.lines) == 3
        (own,) = [line for line in axes.lines if np.array_equal(line.get_ydata(), [row["plan_ms"] for row in rows])]
        low, high = axes.get_ylim()
        assert low < min(own.get_ydata()) <= max(own.get_ydata()) < high
    figure.savefig(tmp_path / "bench.svg")
    assert "<svg" in (tmp_path / "bench.svg").read_text(encoding="utf-8")


def test_the_command_writes_figures_and_a_picture(bundle_path: Path, tmp_path: Path) -> None:
    figures, picture = tmp_path / "new" / "bench.json", tmp_path / "other" / "bench.png"
    arguments = ["--states", "1", "--hidden", "256", "--threads", "1", "--no-sweeps"]
    done = sgp("bench", str(bundle_path), *arguments, "--json", str(figures), "--plot", str(picture))
    assert done.returncode == 0, done.stderr
    written = json.loads(figures.read_text())
    assert (written["states"], written["hidden"], written["threads"]) == (1, 256, 1)
    assert written["ratio"] > 0.0
    assert "sweeps" not in written
    assert "yardstick" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 1000
