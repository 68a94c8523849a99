"""A secret shows itself only where it is asked to."""

from __future__ import annotations

import json
import logging
import pickle

import pytest
from pydantic import BaseModel, ValidationError

from shardproxy.config.secret import HIDDEN, REVEAL, Secret


class Holder(BaseModel):
    password: Secret | None = None


def test_no_form_of_text_shows_it(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("hush")
    holder = Holder(password=secret)
    with caplog.at_level(logging.INFO):
        logging.info("%s %r %s", secret, secret, holder)
    shown = [str(secret), repr(secret), f"{secret}", repr(holder), str(holder), repr(holder.model_dump()),
             holder.model_dump_json(), caplog.text]
    assert not any("hush" in text for text in shown)
    assert json.loads(holder.model_dump_json())["password"] == HIDDEN


def test_an_error_does_not_repeat_the_value() -> None:
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate({"password": ["hush"]})
    assert "hush" not in caught.value.errors()[0]["msg"]


def test_it_is_revealed_on_request_only() -> None:
    holder = Holder(password=Secret("hush"))
    assert holder.password is not None
    assert holder.password.reveal() == "hush"
    text = holder.model_dump_json(context=REVEAL)
    assert Holder.model_validate_json(text) == holder


def test_comparison() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")


def test_zero_byte_is_refused() -> None:
    with pytest.raises(ValidationError):
        Holder.model_validate({"password": "a\0b"})


def test_a_pickle_is_refused() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("hush"))
