"""SET, RESET and SHOW: settings of the session, of the transaction, and of the proxy itself."""

from __future__ import annotations

from collections.abc import Sequence

from shardproxy.dialects.flags import FOREVER, PRIMARY, PROBE, PROXY_SET, PROXY_SHOW, UNPIN

from .shape import Shape, word
from .tokens import LITERAL, OPERATOR, QUOTED, WORD, Token

__all__ = ["RESET", "SET", "SHOW", "modes", "setting_at", "unquote"]

_PROXY = "shardproxy."


def modes(tokens: Sequence[Token]) -> tuple[bool, int]:
    """Of transaction modes: whether READ ONLY is asked for, and PRIMARY if no replica can do it."""
    texts = [token.text for token in tokens]
    read_only = "only" in texts and "write" not in texts
    return read_only, PRIMARY if "serializable" in texts or "snapshot" in texts else 0


def setting_at(tokens: Sequence[Token], i: int) -> tuple[str, int]:
    """The setting named at ``i``, in lower case with its dots, and the index behind it."""
    parts: list[str] = []
    while i < len(tokens) and tokens[i].kind in (WORD, QUOTED):
        parts.append(tokens[i].text.lower())
        i += 1
        if i >= len(tokens) or tokens[i] != (OPERATOR, "."):
            break
        i += 1
    return ".".join(parts), i


def unquote(text: str) -> str:
    """The value of a string literal as written."""
    if text.startswith("$"):
        tag = text[:text.index("$", 1) + 1]
        return text[len(tag):-len(tag)]
    if text[:1] in "eE" and text[1:2] == "'":
        return text[2:-1].replace("''", "'").replace("\\'", "'").replace("\\\\", "\\")
    return text[1:-1].replace("''", "'") if text.startswith("'") else text


def value_of(tokens: Sequence[Token]) -> str:
    """What a setting is set to, as one text: strings without quotes, lists with commas."""
    return "".join(unquote(text) if kind == LITERAL else text for kind, text in tokens)


def SET(tokens: Sequence[Token]) -> Shape:  # noqa: N802  (named as the command)
    """SET in all its forms."""
    i = 1
    local = word(tokens, 1) == "local"
    if word(tokens, 1) in ("local", "session") and word(tokens, 2) not in ("", "to"):
        i = 2
    what = word(tokens, i)
    if what == "transaction":
        return Shape("SET", modes(tokens)[1])
    if what == "constraints":
        return Shape("SET")
    name, end = setting_at(tokens, i)
    if name.startswith(_PROXY):
        names = (name.removeprefix(_PROXY), value_of(tokens[end + 1:]))
        if local:
            return Shape("SET", PROXY_SET, (*names, "local"))
        return Shape("SET", PROXY_SET, names, settings=(name,))
    if what == "seed":
        return Shape("SET", PROBE | FOREVER)
    return Shape("SET", 0 if local else PROBE, settings=(name,) if "." in name and not local else ())


def RESET(tokens: Sequence[Token]) -> Shape:  # noqa: N802
    """RESET one setting, the role, or all."""
    name, _ = setting_at(tokens, 1)
    if name.startswith(_PROXY):
        return Shape("RESET", PROXY_SET, (name.removeprefix(_PROXY), "default"), settings=(name,))
    return Shape("RESET", PROBE | UNPIN, settings=(name,) if "." in name else ())


def SHOW(tokens: Sequence[Token]) -> Shape:  # noqa: N802
    """SHOW; what it answers belongs to the session, so it is no read."""
    name, _ = setting_at(tokens, 1)
    if name.startswith(_PROXY):
        return Shape("SHOW", PROXY_SHOW, (name.removeprefix(_PROXY),))
    return Shape("SHOW")
