"""What the service manager is told: sd_notify, as systemd documents it, over its socket."""

import os
import socket
import time


def notify(**fields: str | int) -> bool:
    """Tell systemd something, such as ``notify(READY=1, STATUS="6 cameras")``.

    Args:
        fields: The variables of sd_notify(3). ``RELOADING`` gets the ``MONOTONIC_USEC`` beside it
            that ``Type=notify-reload`` wants.

    Returns:
        Whether it was sent: False where no service manager waits for it.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if "RELOADING" in fields:
        fields["MONOTONIC_USEC"] = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    lines = "\n".join(f"{name}={str(value).splitlines()[0]}" for name, value in fields.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            channel.sendto(lines.encode(), address.replace("@", "\0", 1))
    except OSError:  # the manager is gone or busy: the next watchdog message comes soon
        return False
    return True


def watchdog_interval() -> float | None:
    """Seconds between two ``WATCHDOG=1`` messages: half of what systemd allows; None without."""
    limit, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not limit.isdigit() or process not in {"", str(os.getpid())}:
        return None
    return int(limit) / 2e6
