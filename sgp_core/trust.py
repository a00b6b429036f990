"""Which bundles may run here: those that came with the package, those trained here, and those a person vouched for.

The models of a bundle are TorchScript, and TorchScript is a program: it can write files, and does so while it is being
loaded if its author wants that. The hashes in bundle.json find damage; they prove nothing about the author, who wrote
bundle.json, too. So what counts is the hash of bundle.json itself, and who has said that it is good: it stands in a
list that only this user can write, one line per bundle.
"""

from __future__ import annotations

import os
from pathlib import Path

from sgp_core.errors import BundleError, InputError
from sgp_core.reading import INDEX_AT_MOST, read_text, sha256_of
from sgp_core.share import share_path


def list_path() -> Path:
    """The user's list: $XDG_CONFIG_HOME/sgp_ros/trusted_bundles, or ~/.config/sgp_ros/trusted_bundles.

    Raises:
        InputError: the user has no home.
    """
    try:
        home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    except RuntimeError as error:
        raise InputError(f"there is no home folder for the list of trusted bundles ({error}); set HOME") from error
    return Path(home) / "sgp_ros" / "trusted_bundles"


def is_trusted(sha256: str) -> bool:
    """Whether a bundle may run.

    Args:
        sha256: of its bundle.json.

    Raises:
        InputError: the list can be written by others, or cannot be read.
    """
    # Whoever can write into the package's own folder can write its code, too.
    shipped = share_path("models").glob("*/bundle.json")
    return sha256 in _listed() or any(sha256 == sha256_of(file.read_bytes()) for file in shipped)


def trust(sha256: str, path: Path) -> Path:
    """Note that a bundle may run; returns the list.

    Args:
        sha256: of its bundle.json.
        path: where it is, for people who read the list.

    Raises:
        InputError: the list cannot be written, or others can write it.
    """
    file = list_path()
    if sha256 in _listed():
        return file
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One write of one line, added at the end: two trainings that end at once do not lose each other's.
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(descriptor, "ab") as stream:
            stream.write(f"{sha256}  {str(path.resolve()).encode('unicode_escape').decode()}\n".encode())
    except OSError as error:
        raise InputError(f"the list of trusted bundles {file} cannot be written: {error.strerror}") from error
    return file


def require_trust(sha256: str, path: Path) -> None:
    """Raises BundleError, with what to do, unless the bundle may run."""
    if not is_trusted(sha256):
        raise BundleError(
            f"bundle {path} was not trained by this user on this machine, and nobody has vouched for it. Its models are"
            " TorchScript: programs that run with your rights. If you trust who made it, and they tell you the same"
            f" sha256 {sha256[:12]}..., call `sgp trust {path}` once"
        )


def _listed() -> set[str]:
    file = list_path()
    try:
        about = file.stat()
        if about.st_uid not in (0, os.geteuid()) or about.st_mode & 0o022:
            raise InputError(
                f"the list of trusted bundles {file} can be written by others, and so vouches for nothing;"
                f" look into it, then `chmod 600 {file}`"
            )
        lines = read_text(file, "list of trusted bundles", INDEX_AT_MOST).splitlines()
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise InputError(f"the list of trusted bundles {file} cannot be read: {error.strerror}") from error
    return {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}
