"""Settings: every field has a description and a range, and bad values are refused in words."""

import dataclasses

import pytest

from sgp_core.config import (
    EstimatorConfig,
    FramesConfig,
    MpcConfig,
    PlannerConfig,
    PusherConfig,
    SimConfig,
)
from sgp_core.errors import InputError
from sgp_core.sim.collect import CollectConfig
from sgp_core.train_config import TrainConfig

ALL = (PlannerConfig, MpcConfig, EstimatorConfig, FramesConfig, PusherConfig, SimConfig, TrainConfig, CollectConfig)


@pytest.mark.parametrize("config", ALL)
def test_every_field_is_described_and_in_range_by_default(config):
    config()
    for field in dataclasses.fields(config):
        assert len(field.metadata["doc"]) > 10, field.name
        assert field.metadata["low"] < field.metadata["high"], field.name
        if field.name.endswith(("_s", "_m", "_rad", "_hz", "_kg", "_mps")):
            assert field.metadata["unit"], field.name


@pytest.mark.parametrize(
    ("config", "changes", "words"),
    [
        (PlannerConfig, {"beta": -0.1}, r"beta = -0.1 must lie between 0 and 10000"),
        (PlannerConfig, {"beta": float("nan")}, r"beta = nan must lie"),
        (PlannerConfig, {"beta": True}, r"beta = True must be of type float"),
        (PlannerConfig, {"horizon": 4.5}, r"horizon = 4.5 must be of type int"),
        (PlannerConfig, {"horizon": "many"}, r"horizon = 'many' is not a int"),
        (PlannerConfig, {"sigmas": [0.1, 0.2]}, r"sigmas = \(0.1, 0.2\) must fall from high to low"),
        (PlannerConfig, {"workspace_m": [0.9, 0.3, -0.2, 0.2]}, r"workspace_m .* must be x_min < x_max"),
        (PlannerConfig, {"workspace_m": [0.3, 0.9]}, r"workspace_m"),
        (PlannerConfig, {"betta": 1.0}, r"unknown setting \['betta'\]; known are .*'beta'"),
        (PusherConfig, {"step_limit_m": 0.2}, r"lower the step or raise the speed"),
        (TrainConfig, {"sigma_high": 0.01, "sigma_low": 0.1}, r"sigma_low = 0.1 must not exceed"),
    ],
)
def test_bad_values_are_refused_in_words(config, changes, words):
    with pytest.raises(InputError, match=words):
        config().replaced(**changes)


def test_text_lists_and_whole_numbers_are_read():
    found = PlannerConfig().replaced(beta="1", sigmas="[0.2, 0.1]", horizon="6", workspace_m=[0.3, 0.9, -0.2, 0.2])
    assert (found.beta, found.sigmas, found.horizon) == (1.0, (0.2, 0.1), 6)
    assert PlannerConfig().replaced(**found.to_dict()) == found
