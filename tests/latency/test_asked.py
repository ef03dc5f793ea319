"""What users write about a load, and what is refused."""

from __future__ import annotations

import pytest

from plugin.errors import OptionError
from plugin.latency.asked import LoadGuard, read_guard, read_levels
from plugin.plan.params import Params


def refusal(**given: object) -> str:
    with pytest.raises(OptionError) as caught:
        params = Params.parse(given)
        params.require_load(on_server=True, recorded=False)
    return str(caught.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("0", "--load 0 at once: choose 1 to 1,000; write whole numbers with commas"),
        ("8,8", "--load 8 stands there twice; name each level once"),
        ("x", "--load 'x' is no number; write whole numbers with commas, such as --load 1,8,32"),
        ("100000", "--load 100000 at once: choose 1 to 1,000"),
        ("-1", "--load '-1' is no number"),
        ("1.5", "--load '1.5' is no number"),
        ("1,²", "--load '²' is no number"),
        ("9" * 5000, "is no number"),
        (",".join(map(str, range(1, 12))), "--load 11 levels; name at most 10"),
        ("8, 0, x", "--load 0 at once"),
    ],
)
def test_levels_that_cannot_be(words: str, told: str) -> None:
    assert told in refusal(load=words)


def test_every_wrong_level_is_named_at_once() -> None:
    assert len(refusal(load="0,x,8,8").splitlines()) == 3


def test_levels_are_read_from_texts_lists_and_forms() -> None:
    for given in ("32, 1,8", ["32", "1", "8"], "[32, 1, 8]", [32, 1, 8]):
        assert Params.parse({"load": given}).load_levels == (1, 8, 32)
    assert Params.parse({"load": 8}).load_levels == (8,)
    assert Params.parse({}).load_levels == () and read_levels(("1000",)) == (1000,)
    for given in (True, {"a": 1}, [1.5], [[1]]):
        with pytest.raises(OptionError, match="--load"):
            Params.parse({"load": given}).load_levels  # noqa: B018


def test_a_guard_is_a_ratio_perhaps_of_a_quantile() -> None:
    assert read_guard("1.5") == LoadGuard(0.5, 1.5)
    assert read_guard(" P95 = 2".strip()) == LoadGuard(0.95, 2.0)
    assert read_guard("") is None
    for text in ("x", "0", "-1", "p90=2", "p95=", "inf", "nan", "20%"):
        told = refusal(load="1", load_guard=text)
        assert told.startswith(f"--load_guard {text!r}: write how many times as long")


def test_what_would_do_nothing_is_refused() -> None:
    assert refusal(load_guard="2", load_requests=5).startswith(
        "--load_requests and --load_guard would do nothing without --load"
    )
    told = refusal(load="1", load_guard="2", variants="adapter only")
    assert told.startswith("--load_guard compares with the base, but --variants is 'adapter only'")


def test_without_a_server_it_is_refused_with_a_way_out() -> None:
    params = Params.parse({"load": "1"})
    with pytest.raises(OptionError, match="start one with the models .* and add --engine server"):
        params.require_load(on_server=False, recorded=False)
    with pytest.raises(OptionError, match="recorded completions have no server"):
        params.require_load(on_server=False, recorded=True)


def test_a_load_is_no_setting_of_the_run() -> None:
    plain = Params.parse({}).settings()
    assert Params.parse({"load": "1,8", "load_guard": "2", "load_requests": 9}).settings() == plain
