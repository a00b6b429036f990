"""What the environment asks of ROS 2 security, and words for when it cannot be had."""

from __future__ import annotations

import os

NOT_ENFORCED = (
    "ROS_SECURITY_ENABLE is true, but ROS_SECURITY_STRATEGY is not Enforce: without a keystore, or with a"
    " middleware that has no security, everything runs open; set ROS_SECURITY_STRATEGY=Enforce"
)


def security_wanted() -> bool:
    """Whether ROS 2 security is switched on; rcl takes no other word for it."""
    return os.environ.get("ROS_SECURITY_ENABLE", "") == "true"


def security_enforced() -> bool:
    """Whether a node must rather not start than run without it."""
    return os.environ.get("ROS_SECURITY_STRATEGY", "") == "Enforce"


def refused_words(error: Exception) -> str:
    """Why ROS did not start, with what to do."""
    reason = " ".join(str(error).split())
    if not security_wanted():
        return f"ROS does not start: {reason}"
    keystore = os.environ.get("ROS_SECURITY_KEYSTORE", "")
    where = f"ROS_SECURITY_KEYSTORE is {keystore}" if keystore else "ROS_SECURITY_KEYSTORE is not set"
    return (
        f"ROS 2 security is switched on (ROS_SECURITY_ENABLE=true) and cannot be had, so the node does not start:"
        f" {reason}. It takes a middleware built with security, which the ROS wheels of pip are not,"
        f" and a keystore ({where}); see docs/trust.md, or unset ROS_SECURITY_ENABLE to run open"
    )
