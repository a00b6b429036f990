"""How many iterations a plan has, and at which noise levels: by number, and by time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sgp_core.config import PlannerConfig

# Iterations done, the time [s], how many at most: levels of the next ones.
Turns = Callable[[int, float, int], list[int]]


class Budget:
    """How far a plan has got, by iterations or by time, whichever is ahead: annealing keeps pace with both."""

    def __init__(self, config: PlannerConfig, levels: int, started_s: float, spent_s: float) -> None:
        self._iterations, self._limited = config.iterations, config.budget_ms > 0.0
        self._levels, self._level = levels, 0
        self._budget_s = config.budget_ms * 1e-3 - spent_s
        self._started_s = started_s

    def turn(self, done: int, now_s: float, count: int) -> list[int]:
        """Noise levels of the next iterations, at most `count`, 0 is the highest; none when the plan has to end."""
        by_time, each = 0.0, 0.0
        if self._limited and done == 0:
            count = 1  # nobody knows yet how long one takes
        elif self._limited:
            passed_s = now_s - self._started_s
            # What it takes to conclude has to stay in the budget, and is about as long as two iterations.
            left_s = self._budget_s - 2.0 * passed_s / done
            by_time, each = (passed_s / left_s, passed_s / done / left_s) if left_s > 0.0 else (1.0, 0.0)
        shares = [max((done + k) / self._iterations, by_time + k * each) for k in range(count)]
        levels = [int(share * self._levels + 1e-9) for share in shares if share < 1.0 - 1e-6]  # not a sum's last digit
        # An iteration faster than those before does not lead back to a higher level.
        levels = [max(level, self._level) for level in levels]
        self._level = max([self._level, *levels])
        return levels


def again(schedule: Sequence[int]) -> Turns:
    """The same iterations as an earlier plan."""
    levels = [level for level, count in enumerate(schedule) for _ in range(count)]
    return lambda done, _now_s, count: levels[done : done + count]
