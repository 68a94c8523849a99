"""The settings reference says everything, and is current."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from shardproxy.config import describe
from shardproxy.config.values import Settings

REFERENCE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_reference_is_current() -> None:
    assert REFERENCE.read_text() == describe.render(), "python -m shardproxy.config.describe > docs/configuration.md"


def _models(model: type[BaseModel]) -> set[type[BaseModel]]:
    return {model}.union(*(_models(subclass) for subclass in model.__subclasses__()))


def test_every_setting_has_a_description() -> None:
    for model in _models(Settings):
        for name, info in model.model_fields.items():
            assert info.description, f"{model.__name__}.{name} has no description"
            assert info.description.endswith((".", ")")), f"{model.__name__}.{name}: a sentence ends with a full stop"


def test_explain() -> None:
    assert describe.explain("pool.size").splitlines() == [
        "pool.size: Server connections of one pool.", "type: whole number", "default: `20`", "applied by RELOAD"]
    assert "restart" not in describe.explain("databases.shop.max_lag")
    assert "cannot apply" in describe.explain("listen.workers")


@pytest.mark.parametrize("key", ["", "pool.siz", "databases.shop", "pool.size.x", "nothing"])
def test_explain_an_unknown_key(key: str) -> None:
    with pytest.raises(KeyError):
        describe.explain(key)
