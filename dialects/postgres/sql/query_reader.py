"""Reads tokens one after the other, and the names of types.

Invariant: what is not there when it must be raises ``Unreadable``; a place in the tokens only moves forward, but where
a caller puts it back.
"""

from __future__ import annotations

from shardproxy.planner.nodes import Token

from .query_scan import Unreadable
from .query_words import INTERVAL_FIELDS, RESERVED, TYPE_WORDS

__all__ = ["TokenReader"]


class TokenReader:
    """Reads from ``tokens`` at ``at``."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    # -- tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    @property
    def last_end(self) -> int:
        return self.tokens[self.at - 1].end

    def peek(self, ahead: int = 1) -> Token:
        """A token further on."""
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def is_word(self, *words: str) -> bool:
        """Whether an unquoted word is next."""
        return self.token.kind == "word" and self.token.text in words

    def is_op(self, *ops: str) -> bool:
        """Whether an operator or a punctuation mark is next."""
        return self.token.kind == "op" and self.token.text in ops

    def word(self, *words: str) -> bool:
        """Take words if they all are next."""
        token = self.tokens[self.at]
        if token.text != words[0] or token.kind != "word":
            return False                # nearly always
        if all(self.peek(i).kind == "word" and self.peek(i).text == word for i, word in enumerate(words)):
            self.at += len(words)
            return True
        return False

    def op(self, *ops: str) -> bool:
        """Take one of the operators if it is next."""
        if self.is_op(*ops):
            self.at += 1
            return True
        return False

    def need(self, text: str) -> int:
        """Take a word or an operator that must be next; its end."""
        if not (self.token.text == text and self.token.kind in ("word", "op")):
            raise Unreadable(f"{text} expected at {self.token.start}")
        self.at += 1
        return self.last_end

    def name(self, label: bool = False) -> str:
        """Take a name. ``label``: where keywords are names."""
        token = self.token
        if token.kind == "quoted" or (token.kind == "word" and (label or token.text not in RESERVED)):
            self.at += 1
            return token.text
        raise Unreadable(f"name expected at {token.start}")

    # -- names of types

    def _any_name(self) -> list[str]:
        names = [self.name(label=True)]
        while self.op("."):
            names.append(self.name(label=True))
        return names

    def type_name(self) -> str:
        """The name of a type, in lower case, words of it joined by one blank."""
        names = self._type_words()
        if self.is_op("("):
            names += self._modifier()
        if names.split("(")[0].rpartition(".")[2] in ("timestamp", "time"):
            for words in (("with", "time", "zone"), ("without", "time", "zone")):
                if self.word(*words):
                    names += " " + " ".join(words)
        while self.is_op("[") or self.is_word("array"):
            self.at += 1
            if self.tokens[self.at - 1].text == "[" or self.op("["):
                if self.token.kind == "number":
                    self.at += 1
                self.need("]")
            names += "[]"
        return names

    def _type_words(self) -> str:
        parts = [self.name()]
        while self.op("."):
            parts.append(self.name(label=True))
        name = ".".join(parts)
        if name == "national" and self.is_word("character", "char"):
            self.at += 1
            name = "character"
        if name in TYPE_WORDS and self.word(TYPE_WORDS[name]):
            name += " " + TYPE_WORDS[name]
        if name == "interval":
            self.interval_fields()
        return name

    def _modifier(self) -> str:
        start = self.at
        self.need("(")
        while not self.is_op(")"):
            if self.token.kind not in ("number", "string", "word") and not self.is_op(",", "-"):
                raise Unreadable("type")
            self.at += 1
        self.need(")")
        return "".join(token.text for token in self.tokens[start:self.at])

    def interval_fields(self) -> None:
        """Take what may stand behind INTERVAL and its literal."""
        while self.is_word(*INTERVAL_FIELDS) or (self.is_word("to") and self.peek().text in INTERVAL_FIELDS):
            self.at += 1
            if self.is_op("(") and self.peek().kind == "number" and self.peek(2).text == ")":
                self.at += 3
