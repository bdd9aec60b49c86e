"""What a long command shows while it runs, and what it leaves on the screen."""

import io

from rich.console import Console

from edgecnn.cli.progress import ProgressPrinter, time_left


def test_a_step_that_knows_how_far_it_has_come_draws_a_bar() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with ProgressPrinter(console) as steps:
        with steps.step("sensitivity"):
            steps.update(3, 12)
            steps._live.refresh()
        with steps.step("measure"):
            steps._live.refresh()
    shown = screen.getvalue()
    assert "3 of 12" in shown
    assert "3 of 12" not in shown[shown.index("measure") :], "each step has its own"


def test_a_log_file_gets_a_line_a_step_and_no_bar() -> None:
    screen = io.StringIO()
    with ProgressPrinter(Console(file=screen)) as steps, steps.step("sensitivity"):
        steps.update(3, 12)
    assert screen.getvalue().split()[:2] == ["✓", "sensitivity"]
    assert "12" not in screen.getvalue()


def test_what_is_left_is_estimated_from_what_is_done() -> None:
    assert time_left(25, 100, 20.0) == ", about 1:00 left"
    assert time_left(10, 20, 5.0) == ", about 0:05 left"
    assert time_left(0, 100, 20.0) == "", "nothing is known yet"
    assert time_left(1, 100, 0.1) == "", "too early to tell"
    assert time_left(100, 100, 20.0) == ""
