"""What a report warns of: prompts, completions, cases, the judge, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from plugin.engines import is_final
from plugin.journal import Journal
from plugin.records import PROMPTED, Case, Completion, Variant


def warnings(
    journal: Journal,
    variants: tuple[Variant, ...],
    completions: Mapping[tuple[str, str], Completion],
) -> tuple[str, ...]:
    """All of them, a sentence each."""
    found = list(journal.meta("prompt_notes") or ())
    cases = journal.cases()
    for variant in variants:
        found += _cut_off(variant, cases, completions)
    found += _other_prompts(journal, variants)
    found += _idle_prompt(variants[0].name, cases, completions)
    found += _repeated(cases)
    for judge in journal.meta("marks_its_own_work") or ():
        found.append(
            f"the judge {judge} is the model under test itself: it marks its own work. Choose "
            "another judge before you trust these scores"
        )
    found += journal.meta("notes") or ()
    if halted := journal.meta("halted"):
        found.append(f"judging ended early: {halted}. The same run with a higher limit goes on")
    versions = journal.judge_versions()
    if len(versions) > 1:
        found.append(
            f"the judge's provider reported {len(versions)} versions of its model during this run "
            f"({', '.join(versions)}): scores may not be comparable throughout"
        )
    failures = [failure for failure in journal.failures() if failure.stage != "data"]
    if failures:
        reasons = Counter(failure.reason for failure in failures)
        ((commonest, n_times),) = reasons.most_common(1)
        again = "" if all(map(is_final, failures)) else "; the same run tries them again"
        found.append(
            f"{len(failures)} scores or completions failed, {n_times} of them with: "
            f"{commonest[:200]}. All stand in 04_failures.csv{again}"
        )
    n_bad = sum(failure.stage == "data" for failure in journal.failures())
    if n_bad:
        found.append(f"{n_bad} of {journal.meta('n_source_rows')} rows could not be used")
    return tuple(found)


def _repeated(cases: tuple[Case, ...]) -> list[str]:
    """Cases that ask the same; those of one cluster count as one already."""
    asked = Counter((case.messages, case.cluster) for case in cases)
    n_alike = sum(n - 1 for (_, cluster), n in asked.items() if not cluster)
    if not n_alike:
        return []
    return [
        f"{n_alike} of {len(cases)} cases ask the very same as another one. They count as evidence "
        "of their own, which makes the interval too narrow: give them one value in the cluster "
        "column, or leave them out"
    ]


def _other_prompts(journal: Journal, variants: tuple[Variant, ...]) -> list[str]:
    """Models that read other token ids than the baseline, under the same system prompt."""
    base, own = variants[0], journal.meta("prompts")
    others = journal.meta("other_prompts") or {}
    return [
        f"the prompts of {variant.name} have other token ids than those of {base.name} "
        f"({others[variant.name]['n_tokens']} tokens over all cases, and {own['n_tokens']}): its "
        "tokenizer or chat template differs, so that what is compared is each model with its own"
        for variant in variants
        if variant.name in others
        and variant.system_prompt == base.system_prompt
        and others[variant.name]["digest"] != own["digest"]
    ]


def _idle_prompt(
    base_name: str, cases: tuple[Case, ...], completions: Mapping[tuple[str, str], Completion]
) -> list[str]:
    if base_name == PROMPTED:
        return []
    pairs = [(completions.get((c.id, base_name)), completions.get((c.id, PROMPTED))) for c in cases]
    both = [(base, own) for base, own in pairs if base and own]
    if not both or any(base.text != own.text for base, own in both):
        return []
    return [
        f"the baseline prompt changed no output: all {len(both)} completions of {PROMPTED} equal "
        f"{base_name}'s. A prompt that does nothing is no hurdle: choose another"
    ]


def _cut_off(
    variant: Variant,
    cases: tuple[Case, ...],
    completions: Mapping[tuple[str, str], Completion],
) -> list[str]:
    own = [completions[c.id, variant.name] for c in cases if (c.id, variant.name) in completions]
    n_cut = sum(completion.finish_reason == "length" for completion in own)
    if not n_cut:
        return []
    if n_cut == len(own):
        return [
            f"not one of {len(own)} completions of {variant.name} ended by itself: all were cut "
            "off at --max_tokens, so that their scores say little. Check that the model knows how "
            "to end a text (eos_token_id in generation_config.json, eos_token in "
            "tokenizer_config.json, the end of a turn in the chat template), or raise --max_tokens"
        ]
    return [
        f"{n_cut} of {len(own)} completions of {variant.name} were cut off at --max_tokens; "
        "a cut-off answer may score lower than it deserves"
    ]
