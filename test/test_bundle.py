"""Bundles: what was written is what is read, and nothing else is."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from analytic import LAYOUT, SIGMAS, data

from sgp_core.bundle import load_bundle, save_bundle, script
from sgp_core.bundle_index import INDEX
from sgp_core.errors import BundleError
from sgp_core.export import coreset
from sgp_core.networks import DynamicsInMetres, DynamicsMLP, ScoreInMetres, ScoreMLP
from sgp_core.normalizer import Normalizer
from sgp_core.reading import sha256_of
from sgp_core.trust import trust


@pytest.fixture
def parts():
    x, u = data()
    normalizer = Normalizer(x_centre=tuple(map(float, x.mean(axis=0))), x_scale=0.5, u_scale=0.1)
    torch.manual_seed(0)
    return {
        "dynamics": DynamicsInMetres(DynamicsMLP(LAYOUT.count, 8, 2), normalizer),
        "score": ScoreInMetres(ScoreMLP(LAYOUT.state_size + 2, len(SIGMAS), 8, 2), normalizer, SIGMAS),
        "reference_x": x,
        "reference_u": u,
        "index": {
            "layout": LAYOUT.to_dict(),
            "normalizer": normalizer.to_dict(),
            "sigmas": list(SIGMAS),
            "step_duration_s": 1.0,
            "limits": {"step_limit_m": 0.05},
            "metrics": {},
        },
    }


@pytest.fixture
def write(parts, tmp_path):
    def save(**changes):
        all_parts = {**parts, **changes}
        models = {name: script(all_parts.pop(name)) for name in ("dynamics", "score")}
        save_bundle(tmp_path, **models, **all_parts)
        trust(sha256_of((tmp_path / INDEX).read_bytes()), tmp_path)
        return tmp_path

    return save


def test_round_trip(write, parts):
    bundle = load_bundle(write())
    x, u = (torch.from_numpy(a).float() for a in data())
    torch.testing.assert_close(bundle.dynamics(x, u), parts["dynamics"](x, u))
    level = torch.full((len(x),), 2)
    torch.testing.assert_close(bundle.score(x, u, level), parts["score"](x, u, level), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(bundle.reference_x, parts["reference_x"])
    assert bundle.layout == LAYOUT
    assert bundle.sigmas == SIGMAS
    assert len(bundle.sha256) == 64


def test_models_hold_no_weight_that_wants_a_gradient(write):
    bundle = load_bundle(write())
    assert not [p for m in (bundle.dynamics, bundle.score) for p in m.parameters() if p.requires_grad]


@pytest.mark.parametrize("name", ["dynamics.pt", "score.pt", "reference.npz"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "missing", "swap"])
def test_a_tampered_file_is_refused_by_name(write, name, damage):
    path = write()
    file = path / name
    raw = bytearray(file.read_bytes())
    if damage == "flip":
        raw[len(raw) // 2] ^= 1
        file.write_bytes(raw)
    elif damage == "truncate":
        file.write_bytes(raw[:-100])
    elif damage == "missing":
        file.unlink()
    else:
        file.write_bytes((path / ("score.pt" if name == "dynamics.pt" else "dynamics.pt")).read_bytes())
    with pytest.raises(BundleError, match=rf"{name}.*(sha256|cannot be read).*sgp train"):
        load_bundle(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda i: i.update(schema=99), "schema 99, this version reads 1"),
        (lambda i: i.pop("layout"), "'layout'.* is missing"),
        (lambda i: i["sha256"].pop("score.pt"), "'score.pt'.* is missing"),
        (lambda i: i.update(sigmas=[0.01, 0.2]), "must be positive and fall"),
        (lambda i: i.update(step_duration_s="soon"), "malformed"),
        (lambda i: i["normalizer"].update(x_scale=0.0), "x_scale = 0.0"),
        (lambda i: i["normalizer"].update(x_centre=[0.0]), "x_centre has 1 numbers"),
        (lambda i: i.update(step_duration_s=0), "step_duration_s and step_limit_m"),
        (lambda i: i["limits"].update(step_limit_m=float("nan")), "step_duration_s and step_limit_m"),
        (lambda i: i["layout"].update(names=["a", "b"], places_m=[[0, 0], [0.1, 0]]), "the layout needs 6"),
    ],
)
def test_a_changed_index_is_refused(write, change, words):
    path = write()
    index = json.loads((path / INDEX).read_text())
    change(index)
    (path / INDEX).write_text(json.dumps(index))
    with pytest.raises(BundleError, match=words):
        load_bundle(path)


def test_an_index_that_is_no_json_or_not_there(write, tmp_path):
    path = write()
    (path / INDEX).write_text('{"schema": 1,')
    with pytest.raises(BundleError, match="is not JSON"):
        load_bundle(path)
    with pytest.raises(BundleError, match=r"holds no bundle\.json"):
        load_bundle(tmp_path / "elsewhere")


def test_models_that_give_nan_are_refused(write, parts):
    with torch.no_grad():
        parts["dynamics"].net.net[0].weight[0, 0] = torch.nan
    with pytest.raises(BundleError, match=r"dynamics\.pt gives values that are not finite"):
        load_bundle(write(dynamics=parts["dynamics"]))


def test_models_of_another_size_are_refused(write):
    small = dataclasses.replace(LAYOUT, names=("a", "b"), places_m=LAYOUT.places_m[:2])
    normalizer = Normalizer(x_centre=(0.0,) * small.state_size, x_scale=0.5, u_scale=0.1)
    with pytest.raises(BundleError, match="the models refuse states of 8 numbers"):
        load_bundle(write(dynamics=DynamicsInMetres(DynamicsMLP(small.count, 8, 2), normalizer)))


def test_dynamics_that_move_the_pusher_otherwise_are_refused(write, parts):
    class Slips(DynamicsInMetres):
        def forward(self, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
            return x + torch.cat([x[:, :-2] * 0.0, 0.9 * u], dim=-1)

    slips = Slips(parts["dynamics"].net, Normalizer.from_dict(parts["index"]["normalizer"]))
    with pytest.raises(BundleError, match="does not move the pusher by exactly u"):
        load_bundle(write(dynamics=slips))


def test_a_coreset_covers_the_data():
    z = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    kept = coreset(z, 60)
    assert len(set(kept)) == 60
    cover = torch.cdist(z, z[kept]).min(dim=1).values.max()
    random = torch.cdist(z, z[:60]).min(dim=1).values.max()
    assert cover < random
    np.testing.assert_array_equal(coreset(z, 500), np.arange(500))
