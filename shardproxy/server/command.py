"""The grammar of the admin console: one command, a few words, case-insensitive.

    COMMAND [word | "quoted name" | 'text' | number | = ...]* [;]

Invariant: keywords are upper case in a `Command`, names and values are as they were written (quotes removed).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from shardproxy.errors import ClientError

__all__ = ["Command", "Word", "parse", "suggest"]

LENGTH_MAX = 10_000

_TOKEN = re.compile(r"""
    \s+ | --[^\n]* | /\*.*?\*/                       # not a token
  | (?P<quoted>"(?:[^"]|"")+")
  | (?P<text>'(?:[^']|'')*')
  | (?P<end>;)
  | (?P<sign>=)
  | (?P<word>[^\s'"=;]+)
""", re.VERBOSE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Word:
    """One word after the command. `plain`: written without quotes."""

    value: str
    plain: bool = True

    @property
    def keyword(self) -> str:
        """Upper case if it can be a keyword, else ""."""
        return self.value.upper() if self.plain else ""


@dataclass(frozen=True, slots=True)
class Command:
    """`verb` is empty for an empty command."""

    verb: str
    words: tuple[Word, ...] = ()

    def argument(self, what: str) -> str | None:
        """The only word, or None; more words are an error that says what was expected."""
        if len(self.words) > 1:
            raise ClientError("42601", f"{self.verb} takes one {what} at most")
        return self.words[0].value if self.words else None

    def required(self, what: str) -> str:
        """The only word."""
        value = self.argument(what)
        if value is None:
            raise ClientError("42601", f"{self.verb} needs a {what}", hint=f"{self.verb} {what.upper()}")
        return value


def parse(sql: str) -> Command:
    """Parse one command. ClientError 42601 if it is none, or several."""
    if len(sql) > LENGTH_MAX:
        raise ClientError("42601", f"a console command has at most {LENGTH_MAX} characters")
    words: list[Word] = []
    ended = False
    position = 0
    while position < len(sql):
        found = _TOKEN.match(sql, position)
        if found is None:
            raise ClientError("42601", f"syntax error at {sql[position:position + 20]!r}",
                              hint="quotes must be closed; SHOW HELP lists the commands")
        position = found.end()
        if found.lastgroup == "end":
            ended = True
        elif found.lastgroup is not None:
            if ended:
                raise ClientError("42601", "one command at a time, please", hint="send them one by one")
            words.append(_word(found.lastgroup, found.group()))
    if not words:
        return Command("")
    if not words[0].plain:
        raise ClientError("42601", "a command begins with a word", hint="SHOW HELP lists the commands")
    return Command(words[0].keyword, tuple(words[1:]))


def _word(kind: str, text: str) -> Word:
    if kind == "quoted":
        return Word(text[1:-1].replace('""', '"'), plain=False)
    if kind == "text":
        return Word(text[1:-1].replace("''", "'"), plain=False)
    return Word(text)


def suggest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint for a name that is not known: the one that was probably meant."""
    by_lower = {entry.lower(): entry for entry in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[close[0]]}?" if close else otherwise
