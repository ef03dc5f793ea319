"""Turn each rule that the user asked for into checks of a run: what is measured, and the limits.

A rule that the run has nothing for is refused, with what the run has: it must never pass in
silence. `CHECKS` has a function for each rule of `plugin.plan.gate_rules.RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from plugin.capability.stats import pair_results
from plugin.compare.numbers import format_count, format_number
from plugin.compare.pairs import clusters_of
from plugin.errors import OptionError, did_you_mean
from plugin.gate.checks import Check, Fact, Result
from plugin.gate.load_rules import answer_wait, first_token_wait, growth_under_load
from plugin.gate.quantities import AbilityGain, Growth, Mean, Sample
from plugin.gate.reading import GateRun, short_text
from plugin.metrics import METRICS, key_of
from plugin.plan.gate_rules import BETTER, AskedRule
from plugin.records import ALL, EVEN, Case, Completion, MetricSpec, is_rival
from plugin.trust.report import judge_faults

_NAME_CHARS = 60
"""Of the name of a group: it is data, and may be long."""


def make_checks(run: GateRun, asked: Sequence[AskedRule]) -> list[Check]:
    """Return the checks of all rules.

    Raises:
        OptionError: naming every rule that this run has nothing for.
    """
    found, problems = list[Check](), list[str]()
    for one in asked:
        try:
            found += CHECKS[one.rule](run, one)
        except OptionError as error:
            problems.append(f"--{one.name}: {error}")
    if problems:
        raise OptionError("\n".join(problems))
    return found


def _limit(asked: AskedRule) -> float:
    assert asked.number is not None
    return asked.number


def _on_gain(run: GateRun, asked: AskedRule, spec: MetricSpec, limit: float) -> Check:
    """Return a check that the gain on a metric is at least as large as the limit."""
    return Check(
        asked,
        f"gain on {spec.name}",
        limit=limit,
        fail_limit=limit,
        quantity=run.gain(spec),
        metric=spec.name,
        suffix=f" {spec.unit}" if spec.unit else "",
        margin=spec.margin,
        void=run.void_for(spec),
    )


def _require(run: GateRun, asked: AskedRule) -> list[Check]:
    """Demand what the verdict says: better, or not worse."""
    spec, row = run.primary, run.row
    told = row.outcome if row else "can't tell"
    bare = _on_gain(run, asked, spec, 0.0)
    if asked.word != BETTER:
        unproved = "the verdict is worse" if told == "worse" else ""
        return [replace(bare, limit=-spec.margin, unproved=unproved)]
    harms = [harm for harm in run.report.verdict.harms if harm.variant == run.variant]
    lost = [f"{harm.name} ({format_number(harm.gain, signed=True)})" for harm in harms]
    broken = f"it lost what must not get worse: {', '.join(lost)}" if lost else ""
    unproved = "" if told == "better" else f"the verdict is {told}"
    ability = run.header.params.get("capability_guard") is True
    has_guards = ability or any(row.role == "guard" for row in run.report.comparisons)
    return [
        replace(
            bare,
            is_strict=True,
            n_tests=1 + has_guards,
            unproved=unproved,
            broken=broken,
        )
    ]


def _min_gain(run: GateRun, asked: AskedRule) -> list[Check]:
    return [_on_gain(run, asked, run.primary, _limit(asked))]


def _max_loss(run: GateRun, asked: AskedRule) -> list[Check]:
    specs = {key_of(spec.name): spec for spec in run.compared}
    spec = specs.get(key_of(asked.word))
    if spec is None:
        names = [one.name for one in run.compared]
        known = key_of(asked.word) in METRICS
        hint = "" if known else did_you_mean(asked.word, names)
        way = "; add it with --predefined_tasks and run again" if known else ""
        raise OptionError(
            f"this run does not compare on {asked.word!r}{hint} (it has {', '.join(names)}){way}"
        )
    for name in ("seconds", "tokens"):
        if name in spec.needs_engine:
            _require_measured_alike(run, name)
    return [_on_gain(run, asked, spec, -_limit(asked))]


def _require_measured_alike(run: GateRun, what: str) -> None:
    """Refuse to compare what was measured apart.

    Raises:
        OptionError: when a rival is at the gate, whose server measures in its own way; for seconds
            when the folder compares several runs.
    """
    if what == "seconds" and "compared" in run.header.identity:
        raise OptionError(
            "this folder compares runs that were made apart, so their seconds cannot be compared: "
            "another hour or another machine would change them. Leave this rule out, or let one "
            "run measure both variants"
        )
    if is_rival(run.variant):
        raise OptionError(
            f"{run.variant} runs on a server of its own, so its {what} and those of {run.base} "
            "cannot be compared; leave this rule out"
        )


def _min_win_rate(run: GateRun, asked: AskedRule) -> list[Check]:
    specs = [spec for spec in run.compared if spec.is_relative]
    if not specs:
        raise OptionError(
            f"this run compares no answers with each other (it has "
            f"{', '.join(one.name for one in run.compared)}); add Preference with "
            "--predefined_tasks and run again"
        )
    spec, limit = specs[0], _limit(asked)
    quantity = run.gain(spec, shift=EVEN)
    return [
        replace(
            _on_gain(run, asked, spec, limit),
            measured=f"win rate ({spec.name}, ties count half)",
            quantity=quantity,
            unit="share",
        )
    ]


def _retention(run: GateRun, asked: AskedRule) -> list[Check]:
    groups = sorted({c.group for c in run.report.cases if c.retention and c.group})
    if not groups:
        raise OptionError(
            "no group of this run is marked for retention; mark some with --retention_group and "
            "run again"
        )
    return [_in_group(run, asked, group, _limit(asked)) for group in groups]


def _in_group(run: GateRun, asked: AskedRule, group: str, loss: float) -> Check:
    spec = run.primary
    return replace(
        _on_gain(run, asked, spec, -loss),
        measured=f"gain on {spec.name} in {short_text(group, _NAME_CHARS)}",
        quantity=run.gain(spec, group),
        group=group,
    )


def _require_guards(run: GateRun, asked: AskedRule) -> list[Check]:
    primary = run.primary
    guards = [spec for spec in run.compared if spec.is_guard and spec.name != primary.name]
    groups = sorted({c.group for c in run.report.cases if c.retention and c.group})
    if not guards and not groups:
        raise OptionError(
            "this run guards nothing: it has neither a guard metric (--guard_metric) nor a group "
            f"for retention (--retention_group). Its metrics: "
            f"{', '.join(spec.name for spec in run.compared)}"
        )
    checks = [_on_gain(run, asked, spec, -spec.margin) for spec in guards]
    return [*checks, *(_in_group(run, asked, group, primary.margin) for group in groups)]


def _max_ability_loss(run: GateRun, asked: AskedRule) -> list[Check]:
    pairs = pair_results(run.items, run.base, run.variant)
    own = [each for (source, _), each in pairs.items() if source == "probe"]
    if not own:
        raise OptionError(
            f"general ability of {run.variant} was not tested in this run; run again with "
            "--capability quick or full"
        )
    counted = [each for each in own if each.at_limit is None]
    n_failed = sum(each.n_failed for each in counted)
    limit = -_limit(asked)
    return [
        Check(
            asked,
            "gain in general ability",
            limit=limit,
            fail_limit=limit,
            quantity=AbilityGain(tuple(each.flips for each in counted), n_failed),
            void=run.void,
        )
    ]


def _max_cut_off(run: GateRun, asked: AskedRule) -> list[Check]:
    found = {case.id: _completion(run, case.id, run.variant) for case in run.report.cases}
    known = [c for c in run.report.cases if (one := found[c.id]) and one.finish_reason]
    if not known:
        raise OptionError(
            f"this run does not know how the answers of {run.variant} ended (engines mlx, "
            "transformers and server tell it)"
        )
    cut = [float((one := found[c.id]) is not None and one.finish_reason == "length") for c in known]
    labels = clusters_of(known)
    quantity = Mean(
        Sample(tuple(cut), tuple(labels) if labels else None, 0.0, 1.0),
        seed=run.seed,
        n_resamples=run.n_resamples,
    )
    limit, measured = _limit(asked), f"answers of {run.variant} that were cut off"
    return [Check(asked, measured, limit, limit, False, quantity=quantity, unit="share")]


def _completion(run: GateRun, case_id: str, variant: str) -> Completion | None:
    return run.report.completions.get((case_id, variant))


def _growth(
    run: GateRun, asked: AskedRule, what: str, number: Callable[[Completion], float | None]
) -> list[Check]:
    """Return a check that a number of the completions does not grow by more than the limit."""
    kept, own, base = list[Case](), list[float](), list[float]()
    for case in run.report.cases:
        sides = [_completion(run, case.id, name) for name in (run.variant, run.base)]
        numbers = [number(side) if side else None for side in sides]
        if numbers[0] is not None and numbers[1] is not None:
            own.append(numbers[0])
            base.append(numbers[1])
            kept.append(case)
    if not kept:
        raise OptionError(
            f"this run did not measure the {what} of {run.base} and {run.variant}; the engines mlx "
            "and transformers do"
        )
    labels, limit = clusters_of(kept), _limit(asked)
    n_failed = len(run.report.cases) - len(kept)
    quantity = Growth(tuple(own), tuple(base), tuple(labels) if labels else None, n_failed)
    measured = f"growth of the {what}"
    return [Check(asked, measured, limit, limit, False, quantity=quantity, unit="share")]


def _max_latency_growth(run: GateRun, asked: AskedRule) -> list[Check]:
    _require_measured_alike(run, "seconds")
    if run.report.latency:
        return [growth_under_load(run, asked)]
    return _growth(run, asked, "time for an answer", lambda one: one.seconds)


def _max_first_token_s(run: GateRun, asked: AskedRule) -> list[Check]:
    return [first_token_wait(run, asked)]


def _max_answer_s(run: GateRun, asked: AskedRule) -> list[Check]:
    return [answer_wait(run, asked)]


def _max_token_growth(run: GateRun, asked: AskedRule) -> list[Check]:
    _require_measured_alike(run, "tokens")
    return _growth(run, asked, "tokens of an answer", lambda one: one.n_tokens)


def _max_failed(run: GateRun, asked: AskedRule) -> list[Check]:
    rows = [row for row in run.report.summaries if row.group == ALL]
    given = {spec.name for spec in run.report.metrics if spec.is_relative}
    rows = [
        row
        for row in rows
        if row.variant == run.variant or (row.variant == run.base and row.metric not in given)
    ]
    n_failed, n = sum(row.n_failed for row in rows), sum(row.n + row.n_failed for row in rows)
    share = n_failed / n if n else 1.0
    text = f"{format_count(n_failed)} of {format_count(n, 'score', 'scores')} failed"
    return [_counted(asked, "failed scores", share, text)]


def _counted(asked: AskedRule, measured: str, share: float, text: str) -> Check:
    """Return a check of a share that was counted in this run, so that no interval is needed."""
    limit = _limit(asked)
    result: Result = "pass" if share <= limit else "fail"
    relation = "at most" if share <= limit else "more than"
    fact = Fact(result, f"{text} ({share_text(share)}), {relation} {share_text(limit)}", share)
    return Check(asked, measured, limit, limit, False, fact=fact, unit="share")


def share_text(share: float, *, signed: bool = False) -> str:
    """Return a share as a percentage with up to one digit behind the point; below 1% with two."""
    places = 2 if abs(share) < 0.01 else 1
    number = round(100 * share, places) + 0.0
    return f"{number:{'+' if signed and number else ''}g}%"


def _max_copied(run: GateRun, asked: AskedRule) -> list[Check]:
    memory = run.report.memorisation
    if memory is None:
        raise OptionError("this run was not told the training data; run again with --train_data")
    n, n_cases = memory.counts["copied"], memory.n_cases
    text = f"{format_count(n)} of {format_count(n_cases, 'case', 'cases')} copied from it"
    return [_counted(asked, "cases in the training data", n / max(1, n_cases), text)]


def _require_certificate(run: GateRun, asked: AskedRule) -> list[Check]:
    found = [one for one in run.report.certificates if one.variant == run.variant]
    if not found:
        fact = Fact("can't tell", f"{run.variant} has no certificate; only adapters have one")
    elif found[0].kind == "none":
        fact = Fact("can't tell", f"there is no certificate: {found[0].reason}")
    else:
        fact = Fact("pass" if found[0].kind == "certified" else "fail", found[0].result)
    return [Check(asked, "certificate of the adapter", fact=fact)]


def _require_trusted_judge(run: GateRun, asked: AskedRule) -> list[Check]:
    report, measured = run.report, "the judge"
    if not any(spec.asks_judge for spec in report.metrics):
        return [Check(asked, measured, fact=Fact("pass", "no metric of this run asks a judge"))]
    faults = [*(judge_faults(report.trust) if report.trust else ()), *report.compared.faults]
    faults += ["is the model under test"] if run.header.self_judging else []
    faults += ["only counts words"] if run.header.caveat else []
    if faults:
        told = f"{report.judge} {' and '.join(faults)}"
        return [Check(asked, measured, fact=Fact("fail", told))]
    if report.trust is None or report.trust.family is None:
        told = f"{report.judge} was not examined; --trust_report true does it"
        return [Check(asked, measured, fact=Fact("can't tell", told))]
    return [Check(asked, measured, fact=Fact("pass", f"{report.judge} passed its exam"))]


CHECKS: dict[str, Callable[[GateRun, AskedRule], list[Check]]] = {
    "require": _require,
    "min_gain": _min_gain,
    "max_loss": _max_loss,
    "min_win_rate": _min_win_rate,
    "retention": _retention,
    "require_guards": _require_guards,
    "max_ability_loss": _max_ability_loss,
    "max_cut_off": _max_cut_off,
    "max_latency_growth": _max_latency_growth,
    "max_first_token_s": _max_first_token_s,
    "max_answer_s": _max_answer_s,
    "max_token_growth": _max_token_growth,
    "max_failed": _max_failed,
    "max_copied": _max_copied,
    "require_certificate": _require_certificate,
    "require_trusted_judge": _require_trusted_judge,
}
