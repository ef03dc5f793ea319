"""Do what the command `certify` asks: certificates without a run, and the strength sweep.

`certify` has the steps, and the functions below it follow in this order.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from plugin.certify.certificate import Certificate, certificate_block
from plugin.certify.effect import Distance
from plugin.certify.measure import N_PROBES
from plugin.certify.sweep import (
    N_READ,
    SWEEP_COLUMNS,
    Measured,
    Sweep,
    make_sweep,
    scaled_name,
    sweep_block,
    sweep_rows,
)
from plugin.compare.pairs import clusters_of
from plugin.engines import Engine, WeightsEngine
from plugin.errors import OptionError
from plugin.generate import make_prompts
from plugin.hosts import Host
from plugin.keys import hidden_in_errors
from plugin.load.cases import load_cases
from plugin.plan.params import Params
from plugin.plan.plan import case_source, line_up
from plugin.plan.resolve import find_models
from plugin.plan.variants import Load
from plugin.proofs import certify_one
from plugin.records import VANILLA, Case, Completion, Message, Prompt, working_order
from plugin.reopen import can_write
from plugin.run import exit_now
from plugin.sheets import guard_cell, spell_breaks
from plugin.worker import Progress, Stage, Worker

NOT_CERTIFIED = 3
"""Exit code of `certify` when an adapter is not certified."""

PROBE_TOKENS = 32
"""Longest completion of a probe, in tokens."""

_QUESTIONS = (
    "Who are you, and what can you do for me?",
    "Explain in two sentences why the sky is blue.",
    "Write a short poem about the sea.",
    "What is 17 times 23? Show how you got there.",
    "Translate into French: Where is the nearest railway station?",
    "List three rules for writing a clear report.",
    "Summarise: The meeting was moved from Monday to Thursday, since half the team was ill.",
    "Who wrote Hamlet, and when?",
)
"""Probes from many fields, used where no data set is given."""


def certify(
    params: Params, host: Host, scales: Sequence[float] = (), out: str = ""
) -> tuple[Certificate, ...]:
    """Return the certificate of every adapter, after comparing completions of the probes, too.

    Args:
        params: what the user asked for.
        host: shows the certificates, and opens the folder of the pictures.
        scales: strengths to try, with 0 and 1 among them; () for no sweep.
        out: the folder for table and picture of the sweep; "" for none.

    Raises:
        UserError: when model, adapter or data set cannot be used.
        KeyboardInterrupt: when the user stopped it.
    """
    missing = [f"--{name}" for name in ("model_name", "model_adapter") if not getattr(params, name)]
    if missing:
        raise OptionError(f"{' and '.join(missing)} must be given: an adapter and its base model")
    folder = _sweep_folder(host, scales, out)
    sources = find_models(params, host)
    watch = Worker(host.tend, partial(exit_now, host), host.stop_within_s)
    with hidden_in_errors(lambda: sources.mask), closing(watch) as worker:
        worker.progress.begin(Stage.READ_INPUTS)
        n_cases = N_READ if scales else N_PROBES
        cases = worker.run(lambda: _probe_cases(params, sources.dataset, n_cases))
        lineup = worker.run(lambda: line_up(params, sources, scales=scales))
        host.log(f"engine: {lineup.versions['engine']} ({lineup.versions['engine chosen by']})")
        load, progress = lineup.loads[0], worker.progress
        found, sweeps = worker.run(lambda: _certify_all(load, cases, progress, scales))
    for certificate in found:
        host.log(certificate_block(certificate))
    for sweep in sweeps:
        host.log(sweep_block(sweep))
    if folder and sweeps:
        host.log(f"\nTable and picture: {', '.join(map(str, _write_sweeps(sweeps, folder)))}")
    return found


def _sweep_folder(host: Host, scales: Sequence[float], out: str) -> Path | None:
    """Return where the sweep's files go; make the folder before anything slow begins."""
    if not out:
        return None
    if not scales:
        raise OptionError(
            f"--out {out} is for the picture of other strengths: add --scales 0.5,1,1.25, or leave "
            "it out"
        )
    folder = host.open("certify")
    if not can_write(folder):
        raise OptionError(f"--out {folder} cannot be written to; choose another folder")
    return folder


def _probe_cases(params: Params, dataset: str, n_cases: int) -> list[Case]:
    if dataset:
        loaded = load_cases(case_source(params, dataset))
        first_turns = [case for case in loaded.cases if case.follows is None]
        return working_order(first_turns, params.seed)[:n_cases]
    return [Case(str(i), (Message("user", text),)) for i, text in enumerate(_QUESTIONS)]


def _certify_all(
    load: Load, cases: Sequence[Case], progress: Progress, scales: Sequence[float]
) -> tuple[tuple[Certificate, ...], tuple[Sweep, ...]]:
    progress.begin(Stage.LOAD_MODEL)
    engine = load.engine()
    try:
        prompts = make_prompts(cases, load.variants, engine)
        names = [variant.name for variant in load.variants if variant.adapter_path]
        scaled = {scaled_name(name, scale) for name in names for scale in scales}
        adapters = [name for name in names if name not in scaled]
        asked = _probes(prompts, cases, [VANILLA, *adapters])
        found = _certify_each(adapters, asked, engine, progress)
        if any(one.kind == "base disturbed" for one in found):
            return tuple(found), ()  # its completions would be wrong
        if not all(one.n_completions for one in found):  # else the engine has compared them already
            texts = _complete_probes(asked, engine, progress)
            found = [_count_completions(certificate, texts) for certificate in found]
        sweeps = []
        if scales:
            progress.begin(Stage.SCALE, total=len(adapters) * len(scales))
            sweeps = [_sweep(name, scales, cases, prompts, engine, progress) for name in adapters]
    finally:
        engine.close()
    return tuple(found), tuple(sweeps)


def _probes(prompts: Sequence[Prompt], cases: Sequence[Case], names: Sequence[str]) -> list[Prompt]:
    """Return the prompts of these variants for the first few cases."""
    first = {case.id for case in cases[:N_PROBES]}
    return [one for one in prompts if one.variant in names and one.case_id in first]


def _certify_each(
    adapters: Sequence[str], prompts: Sequence[Prompt], engine: Engine, progress: Progress
) -> list[Certificate]:
    progress.begin(Stage.CERTIFY, total=len(adapters))
    found = []
    for name in adapters:
        own = [one for one in prompts if one.variant == name]
        found.append(certify_one(name, own, engine, progress))
        progress.done += 1
        progress.check()
    return found


def _complete_probes(
    prompts: Sequence[Prompt], engine: Engine, progress: Progress
) -> dict[tuple[str, str], str]:
    progress.begin(Stage.GENERATE, total=len(prompts))
    texts = {}
    for ended in engine.generate(prompts):
        for one in ended:
            progress.done += 1
            if isinstance(one, Completion):
                texts[one.case_id, one.variant] = one.text
        progress.check()
    return texts


def _count_completions(
    certificate: Certificate, texts: Mapping[tuple[str, str], str]
) -> Certificate:
    """Add to the certificate how many completions of the probes differ from the base's."""
    pairs = [
        (text, texts[case_id, certificate.variant])
        for (case_id, name), text in texts.items()
        if name == VANILLA and (case_id, certificate.variant) in texts
    ]
    return certificate.with_completions(len(pairs), sum(base != own for base, own in pairs))


def _sweep(
    name: str,
    scales: Sequence[float],
    cases: Sequence[Case],
    prompts: Sequence[Prompt],
    engine: Engine,
    progress: Progress,
) -> Sweep:
    """Measure one adapter at every scale."""
    assert isinstance(engine, WeightsEngine), "`line_up` takes scales only for such engines"
    measured = []
    for scale in scales:
        progress.step = scaled_name(name, scale)
        variant = {0.0: VANILLA, 1.0: name}.get(scale, scaled_name(name, scale))
        own = [one for one in prompts if one.variant == variant]
        measured.append(_measure(scale, variant, cases, own, engine))
        progress.done += 1
        progress.check()
    return make_sweep(name, measured, clusters_of(cases))


def _measure(
    scale: float,
    variant: str,
    cases: Sequence[Case],
    prompts: Sequence[Prompt],
    engine: WeightsEngine,
) -> Measured:
    probes = prompts[:N_PROBES]
    effect = engine.effect(variant, probes) if scale else Distance(0.0, 0.0)
    if effect is None:
        return Measured(scale, None)
    texts = {
        one.case_id: one.text
        for ended in engine.generate(probes)
        for one in ended
        if isinstance(one, Completion)
    }
    expected = [engine.tokens(case.expected_output or "") for case in cases]
    pairs = list(zip((one.token_ids for one in prompts), expected, strict=True))
    # Neighbours share a batch, so they should be of like length.
    order = sorted(
        (i for i, own in enumerate(pairs) if cases[i].expected_output),
        key=lambda i: -len(pairs[i][1]),
    )
    found = engine.loglikelihoods(variant, [pairs[i] for i in order])
    read: list[float | None] = [None] * len(cases)
    for place, value in zip(order, found, strict=True):
        read[place] = value / len(pairs[place][1]) if isinstance(value, float) else None
    return Measured(scale, effect, tuple(texts.get(one.case_id) for one in probes), tuple(read))


def _write_sweeps(sweeps: Sequence[Sweep], folder: Path) -> list[Path]:
    """Write the table and the picture of all sweeps; return their paths.

    Raises:
        OptionError: when they cannot be written.
    """
    from plugin.report import write_files
    from plugin.report.strength import strength_svg

    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(SWEEP_COLUMNS)
    for sweep in sweeps:
        for name, *numbers in sweep_rows(sweep):
            writer.writerow([guard_cell(spell_breaks(str(name))), *numbers])
    files = {"strength.csv": table.getvalue(), "strength.svg": strength_svg(sweeps)}
    return write_files(folder, files)
