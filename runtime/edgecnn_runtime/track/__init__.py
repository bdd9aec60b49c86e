"""Tracking: detections that get an identity.

A new tracker is one file here, with its ``KIND``, and one line in TRACKERS.
"""

from collections.abc import Mapping

from edgecnn_runtime.track import two_pass
from edgecnn_runtime.track.tracker import Tracker, TrackerKind
from edgecnn_runtime.track.two_pass import TwoPass, TwoPassTracker

__all__ = ["TRACKERS", "Tracker", "TrackerKind", "TwoPass", "TwoPassTracker"]

TRACKERS: Mapping[str, TrackerKind] = {
    "two-pass": two_pass.KIND,
}
"""Every tracker by its name in recipes; the first is used where a recipe names none."""
