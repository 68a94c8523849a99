"""Building blocks of the settings: the frozen base model and the value types with their units.

Invariant: a setting has exactly one unit, which the documentation prints; a value without a unit is in that
unit, a text such as ``"150ms"`` or ``"10MB"`` is converted. Nothing is coerced silently: ``"1"`` is not a
number, ``1`` is not a text.
"""

from __future__ import annotations

import ipaddress
import math
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

__all__ = ["Bytes", "Cidr", "Count", "FilePath", "Flag", "Milliseconds", "Name", "Seconds", "SettingError",
           "Settings", "Unit", "parse_bytes", "parse_cidr", "parse_seconds", "setting"]

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "b": 1, "kb": 2**10, "kib": 2**10, "mb": 2**20, "mib": 2**20, "gb": 2**30, "gib": 2**30}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?(?:e[-+]?\d+)?)\s*([a-zA-Z]*)\s*")


class SettingError(ValueError):
    """A value is wrong: what is wrong with it, and what would be right."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


class Unit(str):
    """Metadata of an annotated type: the unit that the documentation prints."""

    __slots__ = ()


class Settings(BaseModel):
    """Base of every table of the file: frozen, and unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def setting(
        default: Any, description: str, *, restart: bool = False, example: Any = None, **options: Any) -> Any:
    """A documented setting. ``restart``: RELOAD cannot apply a change of it."""
    extra = {"restart": restart, "example": example}
    if isinstance(default, (dict, list)):
        kind = type(default)
        return Field(default_factory=kind, description=description, json_schema_extra=extra, **options)
    return Field(default, description=description, json_schema_extra=extra, **options)


def parse_seconds(value: object) -> float:
    """Seconds from a number or from a text with a unit: ``0.5``, ``"500ms"``, ``"2min"``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise SettingError("not a time", 'write seconds as a number, or a text: "500ms", "30s", "5min"')
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value)
        if match is None or match[2].lower() not in _SECONDS:
            raise SettingError(f'"{value}" is not a time',
                               'write a number and us, ms, s, min, h or d: "500ms", "5min"')
        value = float(match[1]) * _SECONDS[match[2].lower()]
    if not math.isfinite(value) or value < 0:
        raise SettingError("a time cannot be negative or infinite", "0 means: no limit")
    return float(value)


def parse_bytes(value: object) -> int:
    """Bytes from an integer or from a text with a unit: ``8192``, ``"10MB"`` (1 MB = 1024 * 1024)."""
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value)
        if match is None or match[2].lower() not in _BYTES:
            raise SettingError(f'"{value}" is not a size', 'write a number and B, kB, MB or GB: "10MB"')
        return int(float(match[1]) * _BYTES[match[2].lower()])
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SettingError("not a size", 'write bytes as a whole number, or a text such as "10MB"')
    return value


def _resolve(value: object, info: ValidationInfo) -> Path:
    """A path; a relative one is relative to the folder of the configuration file."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise SettingError("not a path", "write the path of a file in quotes")
    base = (info.context or {}).get("base")
    path = Path(value).expanduser()
    return base / path if base is not None else path


def parse_cidr(value: str) -> str:
    """A network in its normal form; host bits are cleared, as in pg_hba.conf."""
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise SettingError(f'"{value}" is not a network',
                           'write CIDR: "10.0.0.0/8", "192.168.1.7", "fd00::/8"') from None


def _name(value: str) -> str:
    if not value or "\0" in value:
        raise SettingError("an empty name", "write a name, or leave the key out")
    return value


Seconds = Annotated[float, BeforeValidator(parse_seconds), Unit("seconds")]
Milliseconds = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False), Unit("milliseconds")]
Bytes = Annotated[int, BeforeValidator(parse_bytes), Unit("bytes")]
Count = Annotated[int, Field(ge=0, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Name = Annotated[str, AfterValidator(_name)]
Cidr = Annotated[str, AfterValidator(parse_cidr), Unit("CIDR")]
FilePath = Annotated[Path, BeforeValidator(_resolve), Unit("path")]
