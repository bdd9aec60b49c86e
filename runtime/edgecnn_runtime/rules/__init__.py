"""Rules: where, when and about whom an event is one.

``happenings`` makes of a camera's tracks what happens in front of it; ``Rules`` decides which of
the events pass; ``privacy`` takes out of them what may not be stored. A new condition is a function
in ``conditions``, one line in RULES and one field of RuleConfig.
"""

from edgecnn_runtime.rules.base import Rule
from edgecnn_runtime.rules.happenings import Happening, Happenings
from edgecnn_runtime.rules.rule import RULES, RuleConfig, Rules
from edgecnn_runtime.rules.thresholds import Thresholds

__all__ = ["RULES", "Happening", "Happenings", "Rule", "RuleConfig", "Rules", "Thresholds"]
