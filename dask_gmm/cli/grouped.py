"""Help texts whose options stand in groups, with an example."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

#: Options that belong to no group of their own.
_OTHERS = "Options"


class GroupedOption(click.Option):
    """An option that knows under which title help lists it.

    Parameters
    ----------
    group : str, optional
    """

    def __init__(self, *arguments: Any, group: str = _OTHERS, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help lists options by group, after an example.

    Parameters
    ----------
    example : str, optional
        Lines as they are typed.
    """

    def __init__(self, *arguments: Any, example: str = "", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.example = example

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example, and one section for each group of options."""
        if self.example:
            with formatter.section("Example"):
                for line in self.example.splitlines():
                    formatter.write_text(line)
        groups: dict[str, list[tuple[str, str]]] = {}
        for title, record in self._records(ctx):
            groups.setdefault(title, []).append(record)
        for title in sorted(groups, key=lambda title: title != _OTHERS):
            with formatter.section(title):
                formatter.write_dl(groups[title])

    def _records(self, ctx: click.Context) -> Iterator[tuple[str, tuple[str, str]]]:
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Argument):
                continue  # the text above the options tells of these
            record = parameter.get_help_record(ctx)
            if record is not None:
                yield getattr(parameter, "group", _OTHERS), record
