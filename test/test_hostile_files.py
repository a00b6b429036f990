"""Files made to do harm: each is refused in words or read harmlessly, and nothing of it runs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from hostile_files import CASES, made  # noqa: E402
from hostile_makers import LAUGHS, bundle, sealed, writing_model  # noqa: E402

from sgp_core.archives import read_arrays  # noqa: E402
from sgp_core.bundle import load_bundle  # noqa: E402
from sgp_core.bundle_files import read_bundle_files  # noqa: E402
from sgp_core.errors import BundleError, InputError  # noqa: E402
from sgp_core.trust import is_trusted, list_path, trust  # noqa: E402
from sgp_ros.cli import app  # noqa: E402


@pytest.fixture(autouse=True)
def nobody_vouches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_is_refused_in_words_and_nothing_runs(name: str, tmp_path: Path) -> None:
    path, reader = made(name, tmp_path)
    words = CASES[name].words
    if words:
        with pytest.raises(InputError) as refused:
            reader(path)
        assert words in str(refused.value)
    else:
        assert reader(path)
    assert not (tmp_path / "harm").exists()


def test_what_the_refusal_protects_from(tmp_path: Path) -> None:
    """A trusted model that writes a file does write it: hence the list, and hence `sgp trust` names what it calls."""
    writing_model(tmp_path / "bundle")
    told = CliRunner().invoke(app, ["trust", str(tmp_path / "bundle")], input="n\n")
    assert told.exit_code == 1
    assert "torch.save" in told.output
    assert not (tmp_path / "harm").exists()
    trust(read_bundle_files(tmp_path / "bundle").sha256, tmp_path / "bundle")
    load_bundle(tmp_path / "bundle")
    assert (tmp_path / "harm").exists()


class TestTrust:
    def test_a_bundle_from_elsewhere_runs_once_somebody_vouched_for_it(self, tmp_path: Path) -> None:
        path = bundle(tmp_path / "bundle")
        load_bundle(path)  # the default bundle, wherever it lies
        sealed(path)
        with pytest.raises(BundleError, match=r"sgp trust"):
            load_bundle(path)
        sha256 = read_bundle_files(path).sha256
        wrong = CliRunner().invoke(app, ["trust", str(path), "--sha256", "0" * 64])
        assert isinstance(wrong.exception, InputError)
        assert not is_trusted(sha256)
        told = CliRunner().invoke(app, ["trust", str(path), "--sha256", sha256])
        assert told.exit_code == 0
        assert "only what the models of `sgp train` do" in told.output
        assert load_bundle(path).sha256 == sha256
        assert list_path().stat().st_mode & 0o077 == 0
        list_path().write_text("")  # taken back
        with pytest.raises(BundleError, match=r"sgp trust"):
            load_bundle(path)

    def test_a_list_that_others_can_write_vouches_for_nothing(self, tmp_path: Path) -> None:
        path = bundle(tmp_path / "bundle")
        sealed(path, vouched=True)
        list_path().chmod(0o666)
        with pytest.raises(InputError, match=r"can be written by others.*chmod 600"):
            load_bundle(path)

    def test_no_path_can_add_a_second_line(self, tmp_path: Path) -> None:
        trust("a" * 64, tmp_path / f"x\n{'b' * 64}")
        assert is_trusted("a" * 64)
        assert not is_trusted("b" * 64)


def test_an_array_is_what_numpy_reads(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.eye(3)), "c": np.array("text")}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    found = read_arrays(tmp_path / "x.npz", arrays, 10_000)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_torch_compresses_no_weights() -> None:
    """What `load_weights` and the check of a model rely on."""
    out = io.BytesIO()
    torch.save({"w": torch.zeros(1000)}, out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(100, 100)), model := io.BytesIO())
    for raw, part in ((out, "/"), (model, "/data/")):
        with zipfile.ZipFile(raw) as archive:
            kinds = {member.compress_type for member in archive.infolist() if part in member.filename}
        assert kinds == {zipfile.ZIP_STORED}


@pytest.mark.ros
class TestNodes:
    """Real processes; three at once, because starting one takes seconds."""

    def test_a_node_that_ros_refuses_says_why_and_does_not_run(self, tmp_path: Path) -> None:
        pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")
        (tmp_path / "laughs.yaml").write_text(LAUGHS)
        (tmp_path / "keys").mkdir()
        enforced = {"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce"}
        # The second is about wheels and keys that do not exist: it fails closed on any installation.
        cases: list[tuple[dict[str, str], list[str], str]] = [
            (enforced, [], "ROS_SECURITY_KEYSTORE is not set"),
            (enforced | {"ROS_SECURITY_KEYSTORE": str(tmp_path / "keys")}, [], f"KEYSTORE is {tmp_path / 'keys'}"),
            ({}, ["--params-file", str(tmp_path / "laughs.yaml")], "params file"),
        ]
        command = [sys.executable, "-P", "-m", "sgp_ros.pusher_node", "--ros-args"]
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        started = [
            subprocess.Popen(
                [*command, *words],
                env={**os.environ, "PYTHONPATH": paths, "ROS_LOG_DIR": str(tmp_path), **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for environment, words, _ in cases
        ]
        for process, (environment, _, words) in zip(started, cases, strict=True):
            output, _ = process.communicate(timeout=100)
            assert process.returncode == 2, output
            assert words in output
            assert "Traceback" not in output
            assert ("ROS 2 security is switched on" in output) == bool(environment)
