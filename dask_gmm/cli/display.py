"""How passes are shown: one line per pass and a bar on a terminal, JSON lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from dask_gmm.cli.log import Log
from dask_gmm.cli.progress import PassDone

# What passes were for that advanced no restart.
_WITHOUT_BOUND = {
    "start": "drew the rows to start from",
    "check": "the rows are still the same",
    "evaluation": "evaluated the candidates",
    "pass": "every restart collapsed",
}


class Display:
    """Context in which passes are shown.

    Parameters
    ----------
    log : Log
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._bar = _bar() if log.human else None
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("reading", total=1.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.remove_task(self._task)
            self._bar.stop()

    def share_done(self, share: float) -> None:
        """Show how much of the running pass is done."""
        self._log.check_stop()
        if self._bar is not None:
            # Nobody knows for how long a start computes on its sample: a bar that pulses claims nothing.
            reading = share < 1
            self._bar.update(self._task, description="reading" if reading else "computing")
            self._bar.tasks[0].total = 1.0 if reading else None
            self._bar.update(self._task, completed=share if reading else 0.0)

    def pass_done(self, done: PassDone) -> None:
        """Show a pass."""
        self._log.check_stop()
        if self._bar is not None:
            self._bar.console.print(pass_line(done), highlight=False, soft_wrap=True)
            return
        speed = done.bytes_per_second
        self._log.event(
            done.name,
            pass_line(done),
            number=done.number,
            seconds=round(done.seconds, 3),
            rows=done.n_rows,
            bytes=done.n_bytes,
            bytes_per_second=None if speed is None else round(speed),
            lower_bound=done.lower_bound,
            gain=done.gain,
            gap=done.gap,
            undone=done.undone,
            seconds_left=None if done.seconds_left is None else round(done.seconds_left, 1),
        )


def pass_line(done: PassDone) -> str:
    """Return the line for a pass, in less than 80 columns; the gain stands behind the bound.

    Examples
    --------
    >>> pass_line(PassDone(12, "pass", 2.0, 40_000_000, 1_600_000_000, -14.23, 3.2e-4, 1e-3, 32.0))
    ' 12  40.0M rows   800MB/s  bound -14.23000 +3e-04  gap 1e-03  0:32 left'
    """
    if done.lower_bound is None:
        parts = [_rows(done), _speed(done), _WITHOUT_BOUND[done.name]]
    else:
        parts = [
            _rows(done),
            _speed(done),
            f"bound {done.lower_bound:.5f}{_gain(done)}",
            "" if done.gap is None else f"gap {done.gap:.0e}",
            "" if done.seconds_left is None else f"{clock(done.seconds_left)} left",
        ]
    return f"{done.number:3d}  " + "  ".join(part for part in parts if part)


def _gain(done: PassDone) -> str:
    if done.undone:
        return " undone"
    return "" if done.gain is None else f" {done.gain:+.0e}"


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss or m:ss.

    Examples
    --------
    >>> clock(32.4), clock(3725)
    ('0:32', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def short(number: float) -> str:
    """Return a number with three digits and a unit prefix.

    Examples
    --------
    >>> short(950), short(40_000_000), short(1.25e9)
    ('950', '40.0M', '1.2G')
    """
    for prefix in ("", "k", "M", "G", "T"):
        if number < 1000 or prefix == "T":
            break
        number /= 1000
    return f"{number:.0f}{prefix}" if number >= 100 or not prefix else f"{number:.1f}{prefix}"


def _rows(done: PassDone) -> str:
    return "" if done.n_rows is None else f"{short(done.n_rows):>5} rows"


def _speed(done: PassDone) -> str:
    return "" if done.bytes_per_second is None else f"{short(done.bytes_per_second):>5}B/s"


def _bar() -> Any:
    """Return a rich progress bar, None where rich is not installed."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
    except ImportError:
        return None

    return Progress(
        TextColumn("{task.description:9}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(text_format_no_percentage="    "),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        expand=True,
    )
