"""Where the files that come with the package are: config/, launch/ and models/."""

from __future__ import annotations

from pathlib import Path

from sgp_core.errors import InputError


def share_path(*parts: str) -> Path:
    """Path of a file or folder that comes with the package, such as `share_path("models", "default")`.

    The files belong to the code that asks for them. In a checkout (an editable install, colcon's --symlink-install, or
    PYTHONPATH) they stand beside it; otherwise in share/sgp_ros of the prefix that the code was installed into, be it
    a virtual environment, a colcon workspace or /usr/local. No environment variable takes part, so a second
    installation on the same machine cannot mix its models with this code.

    Raises:
        InputError: the package was installed without them.
    """
    module = Path(__file__).resolve()
    checkout = module.parents[1]
    roots = [checkout, *(parent / "share" / "sgp_ros" for parent in module.parents)]
    for root in roots:
        if (root / "package.xml").is_file() and (root / "config").is_dir():
            return root.joinpath(*parts)
    raise InputError(
        f"sgp_ros was installed without its share folder (no share/sgp_ros/package.xml in a parent of {module});"
        " install it again with `pip install .` or colcon"
    )
