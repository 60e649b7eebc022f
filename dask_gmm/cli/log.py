"""The log on standard error: text for people, JSON lines for programs."""

from __future__ import annotations

import datetime
import json
import shutil
import sys
import textwrap
from typing import Any


class Log:
    """Writes events.

    Parameters
    ----------
    form : {'human', 'json'} or None
        None for text on a terminal and JSON lines elsewhere.
    """

    def __init__(self, form: str | None = None) -> None:
        self.human = sys.stderr.isatty() if form is None else form == "human"
        #: Whether people have read the result already, as text.
        self.has_shown_result = False
        #: What asked the command to stop.
        self.stop: BaseException | None = None

    def check_stop(self) -> None:
        """Raise what asked the command to stop, where it was lost.

        Python raises what a signal's handler raises wherever it is: in a finalizer, or in a callback from
        compiled code, it is printed and forgotten.
        """
        if self.stop is not None:
            raise self.stop

    def event(self, name: str, text: str, /, **values: Any) -> None:
        """Write an event: its text, or its values with name and time."""
        if self.human:
            self._write(_wrapped(text))
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        self._write(json.dumps({"event": name, "time": now, **values}, allow_nan=False))

    def warning(self, kind: str, message: str) -> None:
        """Write a warning."""
        self.event("warning", f"{kind}: {message}", kind=kind, message=message)

    def error(self, kind: str, message: str, exit_code: int) -> None:
        """Write the error that ends the command."""
        self.event("error", f"{kind}: {message}", kind=kind, message=message, exit_code=exit_code)

    def _write(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def _wrapped(text: str) -> str:
    """Return the text broken between words at the width of a terminal, which would break it anywhere."""
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size().columns
    # Words such as paths stay whole, to be copied.
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(line if len(line) <= width else wrapper.fill(line) for line in text.splitlines())
