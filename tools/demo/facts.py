"""What the walk-through counted. Invariant: a fact holds only numbers that were counted in this run."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["Fact", "Facts"]


@dataclass(frozen=True, slots=True)
class Fact:
    """``what`` was promised, what was ``counted``, and whether that is ``ok``."""

    act: str
    what: str
    counted: str
    ok: bool


class Facts:
    """Prints every fact as it becomes known, and all of them at the end."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.all: list[Fact] = []
        self._act = ""

    def act(self, title: str, about: str) -> None:
        """A new act begins."""
        self._act = title
        self.console.print()
        self.console.rule(f"[bold]{escape(title)}", align="left")
        self.console.print(f"[dim]{escape(about)}")

    def say(self, text: str) -> None:
        """What happens now."""
        self.console.print(f"  {escape(text)}")

    def add(self, what: str, counted: str, ok: bool) -> None:
        """One more fact."""
        self.all.append(Fact(self._act, what, counted, ok))
        self.console.print(f"  {_mark(ok)} {escape(what)}: [bold]{escape(counted)}[/bold]")

    @property
    def failed(self) -> list[Fact]:
        """Those that are not as promised."""
        return [fact for fact in self.all if not fact.ok]

    def summary(self) -> Table:
        """All facts."""
        table = Table(title="What was counted", title_justify="left", title_style="bold", expand=False)
        for column in ("", "fact", "counted", ""):
            table.add_column(column, overflow="fold")
        act = ""
        for fact in self.all:
            if act and fact.act != act:
                table.add_section()
            table.add_row(
                escape(fact.act if fact.act != act else ""),
                escape(fact.what),
                escape(fact.counted),
                _mark(fact.ok),
            )
            act = fact.act
        return table


def _mark(ok: bool) -> str:
    return "[green]ok[/green]" if ok else "[bold red]FAILED[/bold red]"
