"""What is known to hold about columns where a relation is read: equalities and constants.

Invariant: a fact that a context shows holds for every row of its relations that can matter to the result. Facts of an
enclosing context hold within; facts of an inner one hold outside only if it was exported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .plan import Bound, KeyValue

__all__ = ["Constant", "Context", "Term"]

Term = tuple[int, str]
"""Number of a relation and the name of its column."""


@dataclass(frozen=True, slots=True)
class Constant:
    """``terms`` have one of ``rows``. ``strict``: no NULL among them, so that a row without the relation fails it."""

    terms: tuple[Term, ...]
    rows: tuple[tuple[KeyValue, ...], ...]
    strict: bool = True


@dataclass(slots=True, eq=False)
class Context:
    """``equal``: pairs of terms, with the context (or None) that must not use them for its own relations."""

    parent: Context | None = None
    equal: list[tuple[Term, Term, Context | None]] = field(default_factory=list)
    constants: list[Constant] = field(default_factory=list)
    bounds: list[tuple[Term, Bound]] = field(default_factory=list)
    exports: list[Context] = field(default_factory=list)
    _classes: dict[Term, Term] | None = None

    def chain(self) -> list[Context]:
        """This one and those around it."""
        found: list[Context] = []
        here: Context | None = self
        while here is not None:
            found.append(here)
            here = here.parent
        return found

    def classes(self) -> dict[Term, Term]:
        """Union-find over all terms that are known to be equal here."""
        if self._classes is None:
            self._classes = {}
            inside = set(map(id, self.chain()))
            for context in self._visible():
                for left, right, owner in context.equal:
                    if owner is None or id(owner) not in inside:
                        a, b = find(self._classes, left), find(self._classes, right)
                        self._classes[a] = b
        return self._classes

    def root(self, term: Term) -> Term:
        """What stands for all terms equal to this one."""
        return find(self.classes(), term)

    def same(self, left: Term, right: Term) -> bool:
        """Whether two terms are equal here."""
        return self.root(left) == self.root(right)

    def known(self) -> Iterator[Constant]:
        """The constants that hold here."""
        for context in self._visible():
            for constant in context.constants:
                if constant.strict or context is self:
                    yield constant

    def bounded(self, term: Term) -> tuple[Bound, ...]:
        """The bounds of a column that hold here."""
        root = self.root(term)
        return tuple(dict.fromkeys(bound for context in self._visible() for one, bound in context.bounds
                                   if self.root(one) == root))

    def _visible(self) -> Iterator[Context]:
        chain = self.chain()
        inside = set(map(id, chain))
        for context in chain:
            yield context
            yield from _exported(context, inside)


def _exported(context: Context, inside: set[int]) -> Iterator[Context]:
    for one in context.exports:
        if id(one) not in inside:
            yield one
            yield from _exported(one, inside)


def find(classes: dict[Term, Term], term: Term) -> Term:
    """The representative of a term."""
    while (above := classes.get(term, term)) != term:
        term = above
    return term
