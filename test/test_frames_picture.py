"""The picture of the frames in docs/ can be drawn, and names what the documents name."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_picture_of_the_frames():
    figure = runpy.run_path(str(DOCS / "frames.py"))["draw"]()
    words = {text.get_text() for text in figure.axes[0].texts}
    assert {"mocap", "base", "table", "tool", "box", "table_from_mocap", "table_from_base"} <= words
    assert (DOCS / "frames.png").read_bytes().startswith(b"\x89PNG")
