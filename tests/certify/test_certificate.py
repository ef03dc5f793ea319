"""Certificates in the verdict: what is not certified leads it, what is stands at its end."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from plugin.certify.certificate import (
    Certificate,
    certificate_warnings,
    certificates_of_run,
    lead_with_certificates,
    not_applicable,
)
from plugin.journal import Journal
from plugin.records import VANILLA, Variant
from plugin.results import Verdict
from plugin.run_facts import RunState
from tests.certify.test_measure import WHOLE
from tests.samples import case, completion

VERDICT = Verdict("better", "tuned is better.", ("one.",), "Correctness")


def headed(*found: Certificate) -> Verdict:
    return lead_with_certificates(VERDICT, found)


def test_a_certified_adapter_is_proved_in_the_last_line() -> None:
    assert headed(WHOLE).text.splitlines() == [
        "tuned is better.",
        "one.",
        "Adapter tuned: certified; all 24 tensors in place, on 8 probes 0.5 nats from the base "
        "(1e-09 between two batches of the base), 58 of 60 completions changed, base undisturbed "
        "(bit-equal answers to a probe).",
    ]


def test_what_is_not_certified_is_the_first_line() -> None:
    first = "The adapter tuned is not certified ({}): {}. tuned is better."
    partial = replace(WHOLE, n_tensors=224, unused=tuple(f"t{i}" for i in range(12)))
    assert headed(partial).sentence == first.format(
        "partial: 12 of 224 tensors unused",
        "what follows is about the part of it that could be applied",
    )
    assert headed(replace(WHOLE, weight_norm=0.0)).sentence == first.format(
        "no effect", "it does not change what the base answers, so there is nothing to compare"
    )
    assert headed(replace(WHOLE, base_proof="")).sentence == first.format(
        "base disturbed", "the base was no longer itself afterwards, so nothing that follows counts"
    )
    assert certificate_warnings([partial]) == [
        "12 of 224 tensors of tuned found no place in the base model and are not applied (t0, t1, "
        "t2, t3, ...). Check that the adapter was trained on this model, and saved by a library "
        "that names modules alike"
    ]


def test_of_several_each_bad_one_is_named() -> None:
    other = replace(WHOLE, variant="other", n_changed=0)
    assert headed(WHOLE, other).sentence.startswith("The adapter other is not certified (no eff")


def test_where_no_certificate_applies_nothing_is_said() -> None:
    assert headed(not_applicable("tuned", "recorded elsewhere")) == VERDICT


def test_completions_are_compared_with_an_adapters_base_or_else_with_the_baseline(
    tmp_path: Path,
) -> None:
    found = {"tuned": WHOLE, "other": not_applicable("other", "a model of its own")}
    told = {"first": ("a", "b"), VANILLA: ("a", "x"), "tuned": ("y", "x"), "other": ("a", "b")}
    texts = {
        (id, name): completion(text, id, name)
        for name, own in told.items()
        for id, text in zip("12", own, strict=True)
    }
    variants = [Variant(name, f"id-{name}", "m") for name in ("first", "tuned", "other")]
    with closing(Journal(tmp_path)) as journal:
        journal.save_state(RunState(certificates={k: asdict(one) for k, one in found.items()}))
        tuned, other = certificates_of_run(journal, variants, [case("1"), case("2")], texts)
    assert (tuned.n_completions, tuned.n_changed) == (2, 1)
    assert (other.n_completions, other.n_changed) == (2, 0)
    assert len(certificate_warnings([other])) == 1
