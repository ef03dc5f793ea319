"""Certificates in the verdict: what is not certified leads it, what is stands at its end."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from plugin.certify.certificate import (
    BatchEffect,
    Certificate,
    certificate_block,
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

PROOF = "the same logits, bit for bit"
VERDICT = Verdict("better", "tuned is better.", ("one.",), "Correctness")


def headed(*found: Certificate) -> Verdict:
    return lead_with_certificates(VERDICT, found)


def test_a_certified_adapter_is_proved_in_the_last_line() -> None:
    first, second, proof = headed(WHOLE).text.splitlines()
    assert (first, second) == ("tuned is better.", "one.")
    assert proof.startswith("Adapter tuned: certified. 24 of 24 tensors loaded; 58 of 60 ")
    assert "0.5 nats (noise: 1e-09)" in proof and f"base unchanged afterwards ({PROOF})." in proof


def test_what_is_not_certified_is_the_first_line() -> None:
    first = "The adapter tuned is not certified ({}): "
    partial = replace(WHOLE, n_tensors=224, unused=tuple(f"t{i}" for i in range(12)))
    for bad, result in (
        (partial, "partial: 12 of 224 tensors unused"),
        (replace(WHOLE, weight_norm=0.0), "no effect"),
        (replace(WHOLE, base_proof=""), "base disturbed"),
    ):
        sentence = headed(bad).sentence
        assert sentence.startswith(first.format(result))
        assert sentence.endswith(". tuned is better.")
    (warning,) = certificate_warnings([partial])
    assert warning.startswith("12 of 224 tensors of tuned ")
    assert "not applied (t0, t1, t2, t3, ...). Check that the adapter was trained on " in warning


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


def test_what_the_batch_changes_is_told_and_a_resumed_run_warns() -> None:
    shaky = replace(WHOLE, batch=BatchEffect(16, 3, 512), path="in copies of 112 weights")
    told = "3 of 16 probe completions change between batches of 1 and 512"
    assert told in headed(shaky).text
    block = certificate_block(shaky)
    assert told in block and "applied" in block and "in copies of 112 weights" in block
    assert certificate_warnings([shaky]) == []
    (warning,) = certificate_warnings([shaky, WHOLE], n_before_resuming=40)
    assert warning.startswith(
        "the run was resumed after 40 completions, and on this device 3 of 16"
    )
    steady = replace(shaky, batch=BatchEffect(16, 0, 512))
    assert certificate_warnings([steady, WHOLE], n_before_resuming=40) == []


def test_a_certificate_with_a_batch_survives_the_journal(tmp_path: Path) -> None:
    shaky = replace(WHOLE, batch=BatchEffect(16, 3, 512), path="in copies of 112 weights")
    with closing(Journal(tmp_path)) as journal:
        journal.save_state(RunState(certificates={"tuned": asdict(shaky)}))
        (found,) = certificates_of_run(journal, [Variant("tuned", "t", "m")], [], {})
    assert found == shaky
