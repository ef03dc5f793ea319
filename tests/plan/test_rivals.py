"""Other models to measure against: how they are named, their keys, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from plugin.errors import OptionError, UserError
from plugin.plan.params import Params
from plugin.plan.resolve import Address, Sources
from plugin.plan.rival_lineup import with_rivals
from plugin.plan.rivals import RivalModel, find_rivals, rival_prompt
from plugin.plan.variants import Lineup, Load
from plugin.records import Variant
from tests.inference_server import InferenceServer, inference_server

URL = "http://localhost:8000/v1"


def rivals(
    *given: str, keys: Mapping[str, str] = {}, server: tuple[str, str] | None = None
) -> tuple[RivalModel, ...]:
    return find_rivals(given, keys.get, server)


def refusal(*given: str, **more: Any) -> str:
    with pytest.raises(OptionError) as caught:
        rivals(*given, **more)
    return str(caught.value)


def test_a_rival_has_a_name_an_address_and_a_model() -> None:
    (one,) = rivals(f"70b={URL}#meta/Llama=70B#q4")
    assert (one.name, one.url, one.model, one.key) == ("70b", URL, "meta/Llama=70B#q4", "")


@pytest.mark.parametrize(
    "text", ["70b", f"70b={URL}", f"={URL}#m", "70b=#m", f"a b={URL}#m", f"70b={URL}#", f"{URL}#m"]
)
def test_what_is_missing_is_shown_by_an_example(text: str) -> None:
    said = refusal(text)
    assert said.startswith(f"--rival {text!r}: write NAME=ADDRESS#MODEL, such as --rival 70b=")


def test_an_address_with_a_secret_is_refused_and_not_repeated() -> None:
    for text in (
        "a=http://user:pass-word-1@host/v1#m",
        "a=http://host/v1?key=pass-word-1#m",
        "a b=http://user:pass-word-1@host/v1#m",
    ):
        said = refusal(text)
        assert "pass-word-1" not in said
    assert "has a password or a query" in refusal("a=http://user:pass-word-1@host/v1#m")
    assert "is not an http or https address" in refusal("a=host:8000/v1#m")


def test_names_and_models_differ() -> None:
    assert "--rival a: given twice" in refusal(f"a={URL}#m", f"a={URL}#n")
    same = refusal(f"a={URL}#m", f"b={URL}/#m")
    assert same == "--rival b: the same model as --rival a; leave one out"


def test_no_server_gets_the_key_of_another_one() -> None:
    other = "https://other.example/v1"
    (one,) = rivals(f"a={URL}#m", keys={"RIVAL_API_KEY": "sk-1"})
    assert (one.key, one.key_name) == ("sk-1", "RIVAL_API_KEY")
    assert "sk-1" not in repr(one)
    both = f"a-1={URL}#m", f"b={other}#m"
    said = refusal(*both, keys={"RIVAL_API_KEY": "sk-1"})
    assert "set RIVAL_API_KEY_A_1 and the like instead" in said and "sk-1" not in said
    keys = {"RIVAL_API_KEY_A_1": "sk-1", "RIVAL_API_KEY_B": "sk-2"}
    assert [one.key for one in rivals(*both, keys=keys)] == ["sk-1", "sk-2"]
    same, elsewhere = rivals(*both, server=(f"{URL}/", "sk-3"))
    assert (same.key, elsewhere.key) == ("sk-3", "")
    assert "cannot be a key" in refusal(f"a={URL}#m", keys={"RIVAL_API_KEY": "a key"})


def test_options_that_do_not_fit_each_other() -> None:
    with pytest.raises(OptionError, match="--rival_prompt is for --rival, which is not given"):
        rival_prompt(Params.parse({"rival_prompt": "Be brief."}))
    with pytest.raises(OptionError, match="but --variants is 'adapter only'"):
        rival_prompt(Params.parse({"rival": [f"a={URL}#m"], "variants": "adapter only"}))
    own = {"rival": [f"a={URL}#m"], "system_prompt": "All."}
    assert rival_prompt(Params.parse(own)) == "All."
    assert rival_prompt(Params.parse({**own, "rival_prompt": "Mine."})) == "Mine."


# As variants.


@pytest.fixture(name="server")
def _server() -> Iterator[InferenceServer]:
    with inference_server(None) as running:  # nothing is generated here
        yield running


def lineup(*names: str) -> Lineup:
    variants = tuple(Variant(name, name, "base") for name in names)
    return Lineup((Load(variants, lambda: None),), {"engine": "mlx"}, {}, "mlx")  # type: ignore[arg-type, return-value]


def sources(*rivals: RivalModel, **more: Any) -> Sources:
    return Sources("base", (), "d", "", (), None, rivals=rivals, **more)


def with_one(server: InferenceServer, one: RivalModel, *names: str, **more: Any) -> Lineup:
    return with_rivals(lineup(*names), Params.parse({"max_tokens": 9}), sources(one, **more))


def refused(server: InferenceServer, one: RivalModel, *names: str, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        with_one(server, one, *names, **more)
    return str(caught.value)


def test_a_rival_is_a_variant_with_a_load_of_its_own(server: InferenceServer) -> None:
    one = RivalModel("big", server.url, "demo-base")
    found = with_one(server, one, "vanilla", "tuned", rival_prompt="Be good.")
    assert [variant.name for variant in found.variants] == ["vanilla", "tuned", "rival big"]
    rival = found.variants[-1]
    assert (rival.model, rival.system_prompt, rival.adapter_path) == ("demo-base", "Be good.", None)
    assert not found.loads[-1].shared and not found.loads[-1].recorded
    assert found.identity["rivals as served"] == {
        "big": {"id": "demo-base", "root": "/models/demo", "server's version": "0.11.0"}
    }
    assert found.versions["rival big"] == f"demo-base on {server.url} 0.11.0"
    assert [(each.variant, each.kind) for each in found.certificates] == [("rival big", "none")]
    alone = lineup("vanilla")
    assert with_rivals(alone, Params(), sources()) is alone


def test_a_model_that_the_server_lacks_is_named_with_those_it_has(server: InferenceServer) -> None:
    said = refused(server, RivalModel("big", server.url, "none"), "vanilla", "tuned")
    assert "does not serve 'none' (--rival big); it has demo-base, demo-tuned" in said


def test_a_server_that_is_not_there(server: InferenceServer) -> None:
    gone = RivalModel("big", "http://127.0.0.1:9/v1", "m")
    said = refused(server, gone, "vanilla", "tuned")
    assert "cannot read the list of models of the inference server http://127.0.0.1:9/v1" in said
    assert said.endswith("Check that it is running, and check the address of --rival big")


@pytest.mark.parametrize("key", ["", "sk-wrong-key"])
def test_a_key_that_is_wrong_or_missing_names_its_secret(server: InferenceServer, key: str) -> None:
    server.key = "sk-right-key"
    one = RivalModel("big", server.url, "demo-base", key, "RIVAL_API_KEY_BIG")
    said = refused(server, one, "vanilla", "tuned")
    how = "rejects the key in" if key else "needs a key: set"
    assert f"{how} RIVAL_API_KEY_BIG (HTTP 401)" in said
    assert "sk-" not in said


def test_a_rival_needs_something_to_be_measured_against(server: InferenceServer) -> None:
    one = RivalModel("big", server.url, "demo-base")
    assert "there is none: name an adapter with --model_adapter" in refused(server, one, "vanilla")
    assert with_one(server, one, "vanilla", "prompted").variants[-1].name == "rival big"


@pytest.mark.parametrize("name", ["tuned", "vanilla", "all"])
def test_the_name_of_another_variant(server: InferenceServer, name: str) -> None:
    one = RivalModel(name, server.url, "demo-base")
    said = refused(server, one, "vanilla", "tuned")
    assert said == (f"--rival {name}: also the name of another variant here; choose another name")


def test_the_base_itself_is_no_rival(server: InferenceServer) -> None:
    variants = (Variant("vanilla", "1", "demo-base"), Variant("t", "2", "demo-base", "demo-tuned"))
    own = replace(lineup("vanilla"), loads=(Load(variants, lambda: None),))  # type: ignore[arg-type, return-value]
    at = Address(server.url, "", "")
    for model, name in (("demo-base", "vanilla"), ("demo-tuned", "t")):
        given = sources(RivalModel("big", f"{server.url}/", model), server=at)
        with pytest.raises(OptionError) as caught:
            with_rivals(own, Params.parse({"max_tokens": 9}), given)
        assert f"is {name} itself, so there is nothing to compare" in str(caught.value)


def test_a_judge_that_is_a_rival_is_said(server: InferenceServer) -> None:
    class Judge:
        label, identity, caveat, structured = "custom:demo-base", "", "", False

    given = sources(RivalModel("big", server.url, "demo-base"))
    judged = replace(given, judges=(Judge(),))  # type: ignore[arg-type]
    found = with_rivals(lineup("vanilla", "tuned"), Params.parse({"max_tokens": 9}), judged)
    assert found.notes == (
        "the judge custom:demo-base is also rival big: a judge may prefer its own answers, so read "
        "that comparison with care, or choose another judge",
    )
