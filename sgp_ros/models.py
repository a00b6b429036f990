"""The bundle that plans, the thread it plans in, and another one that gets ready to take its place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sgp_core.bundle import ModelBundle, load_bundle, open_bundle
from sgp_core.bundle_files import BundleFiles, read_bundle_files
from sgp_core.config import MpcConfig, PlannerConfig
from sgp_core.errors import BundleError, InputError
from sgp_core.mpc import Controller, initial_carry
from sgp_core.share import share_path
from sgp_core.trust import require_trust
from sgp_core.types import Goal, State
from sgp_ros.planning import Job, PlanWorker
from sgp_ros.priority import leave_priority

WARM_UP = -1  # the generation of a plan that nobody sends


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Models that have planned once: TorchScript compiles in its first calls, in the thread that runs it."""

    bundle: ModelBundle
    worker: PlanWorker
    controller: Controller
    settings: tuple[PlannerConfig, MpcConfig]
    wall_s: float  # of the first plan


class Models:
    """Loads a bundle at the start, and another one while this one plans.

    The new one is verified, loaded and warmed up beside the old one, in a thread of its own, and only then replaces it,
    between two plans. Whatever goes wrong before that leaves the old one planning.

    Args:
        threads: torch threads for one plan.
        wake: called from the planner's thread when a plan waits, and when a new bundle is ready or refused.
        realtime: whether this process asks for real-time scheduling, which is not for loading.
    """

    def __init__(self, threads: int, wake: Callable[[], object], *, realtime: bool = False) -> None:
        self._threads, self._wake, self._realtime = threads, wake, realtime
        self._checked: BundleFiles | None = None
        self._thread: threading.Thread | None = None
        self._result: Ready | InputError | None = None

    def first(self, path: str, settings: tuple[PlannerConfig, MpcConfig]) -> Ready:
        """The bundle to begin with. Raises InputError."""
        return self._made(load_bundle(folder_of(path)), settings)

    def check(self, path: str, old: ModelBundle) -> None:
        """Verify the files of a new bundle, without running anything of it.

        Raises:
            InputError: damaged, not trusted, or of another box or step duration than the one that plans.
        """
        if self._thread is not None:
            raise InputError(f"bundle = {path}: another one is being loaded; set it again in a few seconds")
        files = read_bundle_files(folder_of(path))
        require_trust(files.sha256, files.path)
        if files.layout != old.layout:
            raise InputError(f"bundle = {path} is of another box (its marker layout differs); restart the node for it")
        if files.step_duration_s != old.step_duration_s:
            raise InputError(
                f"bundle = {path} has step_duration_s = {files.step_duration_s:g} instead of {old.step_duration_s:g};"
                " restart mpc_node and pusher_node for it"
            )
        self._checked = files

    def begin(self, settings: tuple[PlannerConfig, MpcConfig]) -> None:
        """Load what was checked last, and let it plan once."""
        files, self._checked = self._checked, None
        if files is not None and self._thread is None:
            self._thread = threading.Thread(target=self._prepare, args=(files, settings), name="bundle", daemon=True)
            self._thread.start()

    @property
    def loading(self) -> bool:
        """Whether a thread is at work, and must not be taken down with the interpreter."""
        return self._thread is not None and self._thread.is_alive()

    def take(self, settings: tuple[PlannerConfig, MpcConfig]) -> Ready | InputError | None:
        """The new models once they are ready, or why there are none; None while there is nothing new.

        Args:
            settings: of now; they may have changed since `begin`.
        """
        result, self._result = self._result, None
        if result is not None:
            self._thread = None
        if not isinstance(result, Ready) or result.settings == settings:
            return result
        try:
            return replace(result, settings=settings, controller=Controller(result.bundle, *settings))
        except InputError as error:
            result.worker.stop(0.0)
            return error

    def _prepare(self, files: BundleFiles, settings: tuple[PlannerConfig, MpcConfig]) -> None:
        try:
            if self._realtime:
                leave_priority()  # seconds of work must not keep the rest of the machine waiting
            self._result = self._made(open_bundle(files), settings)
        except InputError as error:
            self._result = error
        except Exception as error:  # whatever a model does, the old one goes on and somebody is told
            self._result = BundleError(f"the bundle {files.path} cannot be loaded: {error!r}")
        self._wake()

    def _made(self, bundle: ModelBundle, settings: tuple[PlannerConfig, MpcConfig]) -> Ready:
        controller, worker = Controller(bundle, *settings), PlanWorker(self._threads, self._wake)
        layout, x = bundle.layout, bundle.reference_x[0]
        worker.submit(
            Job(
                controller=controller,
                state=State(stamp_s=0.0, x=x),
                goal=Goal(markers_m=layout.markers(x) + 0.1),
                carry=replace(
                    initial_carry(), u=np.zeros((settings[0].horizon, 2))
                ),  # not carried out: all is searched
                executed=False,
                outlook=None,
                generation=WARM_UP,
            )
        )
        outcome = worker.wait()
        if outcome.error is not None:
            worker.stop(0.0)
            raise InputError(f"the bundle {bundle.path} cannot plan: {outcome.error}") from outcome.error
        return Ready(bundle=bundle, worker=worker, controller=controller, settings=settings, wall_s=outcome.wall_s)


def folder_of(path: str) -> Path:
    """The folder that the parameter `bundle` means."""
    return Path(path).expanduser() if path else share_path("models", "default")
