"""The report of `sgp check`: one HTML file that needs nothing else, and the same figures as JSON."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from html import escape
from io import BytesIO
from string import Template
from typing import Any

from matplotlib.figure import Figure

from sgp_core.check_config import Check, Verdict
from sgp_core.model_check import Findings

WORDS = {
    Verdict.PASS: "Every check passed.",
    Verdict.WARN: "No check failed, but read the warnings before you push.",
    Verdict.FAIL: "Do not push with this model yet: see what failed, and what to do about it.",
}
CAPTIONS = {
    "descent": "Fig. 4B: held-out tuples disturbed at three noise levels, then the score descended: dots are markers,"
    " the outline is the box that fits them best, red is by how much they miss it.",
    "plans": "Figs. 4C and 4D: the plans that tear the box most, without the penalty above and with it below, pale to"
    " dark over four predicted steps; the goal is dashed, the pusher's way is orange.",
    "bound": "Prop. 2 on held-out demonstrations: real errors of one step against what the training data allow to say.",
    "coverage": "Where the training data are: each dot is a box, its line and colour its yaw; a red line leads from"
    " start and goals to the nearest of them.",
}
PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #1f2933; max-width: 66rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.35rem; margin: 0 0 .4rem; } h2 { font-size: 1.1rem; margin: 1.8rem 0 .4rem; }
.verdict { border-left: .5rem solid; padding: .6rem 1rem; margin: .8rem 0; background: #f5f7f9; font-size: 1.05rem; }
.pass { color: #2e7d4f; } .warn { color: #b26a00; } .fail { color: #b3261e; }
.verdict span { color: #1f2933; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; color: #66727f; font-weight: normal; }
td, th { border-bottom: 1px solid #e6eaee; padding: .4rem .6rem .4rem 0; vertical-align: top; }
td:nth-child(2), td:first-child { white-space: nowrap; } small { color: #66727f; }
.remedy { display: block; margin-top: .2rem; }
figure { margin: .6rem 0 1.4rem; } img { max-width: 100%; height: auto; } figcaption { color: #66727f; }
code { background: #f5f7f9; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>$title</h1>
<p class="verdict $verdict"><strong>$heading</strong> <span>$words</span></p>
<table>
<thead><tr><th>check</th><th></th><th>measured</th><th>threshold, and why</th></tr></thead>
<tbody>
$rows
</tbody>
</table>
$pictures
<h2>About this report</h2>
<p><small>$about</small></p>
</body>
</html>
""")


def summary(found: Findings) -> dict[str, Any]:
    """All figures as plain values."""
    return {
        "verdict": str(found.verdict),
        "bundle": str(found.bundle.path),
        "bundle_sha256": found.bundle.sha256,
        "data": found.jury.remark,
        "seed": found.seed,
        "thresholds": found.config.to_dict(),
        "checks": [{**asdict(check), "verdict": str(check.verdict)} for check in found.checks],
    }


def json_text(found: Findings) -> str:
    """`summary` as text."""
    return json.dumps(summary(found), indent=1) + "\n"


def html_text(found: Findings, figures: dict[str, Figure], data_name: str) -> str:
    """The page.

    Args:
        found: what was found out.
        figures: pictures, by the names of `CAPTIONS`.
        data_name: the data file, as people call it.
    """
    failed = [check.name for check in found.checks if check.verdict == Verdict.FAIL]
    warned = [check.name for check in found.checks if check.verdict == Verdict.WARN]
    heading = f"{str(found.verdict).upper()}: {', '.join(failed or warned) or 'all checks'}."
    thresholds = ", ".join(f"{name} {value:g}" for name, value in found.config.to_dict().items())
    about = (
        f"Bundle <code>{escape(str(found.bundle.path))}</code>, sha256 <code>{escape(found.bundle.sha256)}</code>. Data"
        f" <code>{escape(data_name)}</code>: {escape(found.jury.remark)}. Seed {found.seed}. Thresholds:"
        f" {escape(thresholds)}. Normalised space: positions divided by their range in the data"
        f" ({found.bundle.normalizer.x_scale:.3f} m), steps by theirs ({found.bundle.normalizer.u_scale:.3f} m)."
        " Made by <code>sgp check</code>; <code>check.json</code> holds the same figures."
    )
    return PAGE.substitute(
        title=escape(f"Check of {found.bundle.path.name}"),
        verdict=str(found.verdict),
        heading=escape(heading),
        words=escape(WORDS[found.verdict]),
        rows="\n".join(_row(check) for check in found.checks),
        pictures="\n".join(_picture(name, figure) for name, figure in figures.items()),
        about=about,
    )


def _row(check: Check) -> str:
    remedy = f'<span class="remedy {check.verdict}">{escape(check.remedy)}</span>' if check.remedy else ""
    return (
        f'<tr><td>{escape(check.name)}</td><td class="{check.verdict}"><strong>{check.verdict}</strong></td>'
        f"<td>{escape(check.measured)}{remedy}</td>"
        f"<td>{escape(check.threshold)}<br><small>{escape(check.why)}</small></td></tr>"
    )


def _picture(name: str, figure: Figure) -> str:
    raw = BytesIO()
    figure.savefig(raw, format="png")
    code = base64.b64encode(raw.getvalue()).decode("ascii")
    caption = escape(CAPTIONS[name])
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{code}"><figcaption>{caption}</figcaption></figure>'
    )
