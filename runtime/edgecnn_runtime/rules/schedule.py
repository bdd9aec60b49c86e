"""When an event counts: days and times of a time zone."""

from datetime import datetime, timezone, tzinfo
from typing import Annotated, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec
from msgspec import Meta

from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.requirements import install_command
from edgecnn_runtime.schema_errors import suggestion

Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
TimeOfDay: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^(([01]?[0-9]|2[0-3]):[0-5][0-9]|24:00)$",
        description="hours and minutes in quotes, such as '22:00'",
    ),
]


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days and times, as the clock on the wall shows them.

    Attributes:
        days: Days of the week; all of them where none is given. A time after midnight belongs to
            the day on which the span begins.
        start: When it begins.
        end: When it ends. Not later than ``start``, it is the next day's; the same as ``start``,
            24 hours later.
        zone: IANA name such as ``Europe/Berlin``; the machine's own zone where it is empty.
    """

    days: tuple[Day, ...] = ()
    start: TimeOfDay = msgspec.field(name="from", default="00:00")
    end: TimeOfDay = msgspec.field(name="to", default="24:00")
    zone: str = msgspec.field(name="timezone", default="")


class Clock:
    """Tells whether a moment is within a schedule."""

    def __init__(self, schedule: Schedule) -> None:
        """Prepare a schedule.

        Raises:
            ConfigError: There is no such time zone.
        """
        self._zone = find_zone(schedule.zone) if schedule.zone else None
        self._days = [DAYS.index(day) for day in schedule.days or DAYS]
        self._start, self._end = _minutes(schedule.start), _minutes(schedule.end)

    def covers(self, moment: float) -> bool:
        """Whether the schedule covers a moment.

        The clock on the wall decides: an hour that daylight saving time skips is never covered,
        one that it repeats is covered twice.

        Args:
            moment: Seconds since 1970, UTC.
        """
        local = datetime.fromtimestamp(moment, timezone.utc).astimezone(self._zone)
        now, day = local.hour * 60 + local.minute, local.weekday()
        if self._start < self._end:
            return day in self._days and self._start <= now < self._end
        started = now >= self._start and day in self._days
        return started or (now < self._end and (day - 1) % 7 in self._days)


def find_zone(name: str) -> tzinfo:
    """The time zone of an IANA name.

    Raises:
        ConfigError: There is none; the message names a similar one, or how to install them.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zones = available_timezones()
    if not zones:
        raise ConfigError(
            f"timezone: {name!r} is unknown because no time zones are installed here: "
            f"sudo apt install tzdata, or {install_command('serve')}"
        )
    hint = suggestion(name, zones) or "; it is an IANA name, such as Europe/Berlin"
    raise ConfigError(f"timezone: there is no {name!r}{hint}")


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)
