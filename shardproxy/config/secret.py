"""A secret that cannot be shown by accident.

Invariant: no ``repr``, ``str``, log line, error or plain dump contains the text. Only ``reveal()`` gives
it, and only a dump made with the context ``REVEAL`` (what is sent to a worker over its private socket)
carries it.
"""

from __future__ import annotations

import hmac
from typing import Any, NoReturn

from pydantic import GetCoreSchemaHandler, SerializationInfo
from pydantic_core import CoreSchema, core_schema

from .values import SettingError

__all__ = ["HIDDEN", "REVEAL", "Secret"]

HIDDEN = "********"
REVEAL = {"shardproxy_reveal_secrets": True}


class Secret:
    """Text that is shown as asterisks everywhere."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Never pass the result to a log or an error message."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret('{HIDDEN}')"

    def __str__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")

    def __bool__(self) -> bool:
        return bool(self._text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                _serialize, info_arg=True, when_used="json"))

    @classmethod
    def _validate(cls, value: object) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str):
            raise SettingError("a text is expected", "put it in quotes")  # the value must not be repeated
        if "\0" in value:
            raise SettingError("a password cannot contain a zero byte", "choose another password")
        return cls(value)


def _serialize(value: Secret, info: SerializationInfo) -> str:
    context = info.context
    return value.reveal() if isinstance(context, dict) and context.get(next(iter(REVEAL))) is True else HIDDEN
