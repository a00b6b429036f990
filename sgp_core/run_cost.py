"""How a closed loop is judged, in the demo and in the evaluation: ground truth, a second after the last step."""

from __future__ import annotations

from jaxtyping import Float
from numpy import ndarray

from sgp_core.types import Goal

MAX_STEPS = 25  # a run ends here when the controller has not arrived
SETTLE_S = 1.0  # from the last step to the measurement of the final cost
SUCCESS_COST_CM2 = 5.0  # a run is a success when the controller has arrived and the cost is at most this


def cost_cm2(markers_m: Float[ndarray, "N 2"], goal: Goal) -> float:
    """Sum over the marker coordinates of the squared error [cm^2], the size of the paper's Table 3."""
    return float((((markers_m - goal.markers_m) * 100.0) ** 2).sum())
