"""An engine on two workers: what it gives is what the engine gives alone, whatever is lost."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demo import FOLDER
from plugin import engines
from plugin.certify.certificate import Certificate
from plugin.engines import Engine, EngineSettings, _ray_cluster, _ray_workers
from plugin.engines._ray_cluster import _try_to_join, brief_error
from plugin.engines._ray_workers import EngineWorker, WorkerSpec, require_same_setup
from plugin.engines.choice import spread_over_workers
from plugin.engines.ray import RayEngine
from plugin.errors import AdapterError, FaultError, ModelError, OptionError
from plugin.load.adapter import inspect_adapter
from plugin.load.model import inspect_model
from plugin.records import Completion, Failure, Message, NoResult, Prompt

N_CASES = 24
QUESTIONS = [f"Who plays number {i} in Silicon Valley?" for i in range(N_CASES - 1)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> EngineSettings:
    broken = tmp_path_factory.mktemp("adapters") / "broken"
    shutil.copytree(FOLDER / "adapter", broken)
    tensors = load_file(broken / "adapters.safetensors")
    tensors[min(tensors)][0, 0] = np.nan
    save_file(tensors, broken / "adapters.safetensors")
    folders = {"tuned": FOLDER / "adapter", "broken": broken}
    adapters = {name: inspect_adapter(path) for name, path in folders.items()}
    return EngineSettings(inspect_model(FOLDER / "model"), "demo", adapters, 24, 4, True)


@pytest.fixture(scope="module")
def alone(settings: EngineSettings) -> Engine:
    return engines.load("mlx", settings)


@pytest.fixture(scope="module")
def both(settings: EngineSettings) -> Iterator[RayEngine]:
    engine = engines.load(*spread_over_workers("mlx", settings, 2, ""))
    assert isinstance(engine, RayEngine)
    yield engine
    pids = [place.pid for place in engine.places()]
    engine.close()
    engine._cluster.wait_until_left()
    await_end_of(pids)


@pytest.fixture(scope="module")
def prompts(alone: Engine) -> list[Prompt]:
    """Cases with both variants side by side, and one that the model's context cannot hold."""
    turns = [(Message("user", text),) for text in (*QUESTIONS, "Who? " * 500)]
    return [
        Prompt(str(i), variant, messages, alone.encode(messages))
        for i, messages in enumerate(turns)
        for variant in ("vanilla", "tuned")
    ]


@pytest.fixture(scope="module")
def expected(alone: Engine, prompts: list[Prompt]) -> dict[tuple[str, str | None], Any]:
    return by_key([one for step in alone.generate(prompts) for one in step])


def by_key(results: list[Completion | Failure]) -> dict[tuple[str, str | None], Any]:
    """Results without the time they took."""
    found = {(one.case_id, one.variant): one for one in results}
    assert len(found) == len(results), "a result came twice"
    return {
        key: replace(one, seconds=0) if isinstance(one, Completion) else one
        for key, one in found.items()
    }


def await_end_of(pids: list[int]) -> None:
    deadline = time.monotonic() + 120
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still there: {pids}"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended may wait for its parent to take note."""
    state = os.popen(f"ps -o state= -p {pid}").read().strip()
    return bool(state) and state[0] != "Z"


@pytest.mark.slow
def test_a_model_that_no_worker_can_load_is_refused_and_another_may_follow(
    settings: EngineSettings, tmp_path: Path
) -> None:
    """The first of its file, since a process belongs to one cluster at a time."""
    folder = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    (folder / "model.safetensors").write_bytes(b"no tensors")
    spoilt = replace(settings, model=replace(settings.model, path=folder))
    with pytest.raises(ModelError, match=f"{folder}: mlx-lm cannot load this model") as caught:
        engines.load(*spread_over_workers("mlx", spoilt, 2, ""))
    assert type(caught.value) is ModelError


@pytest.mark.slow
def test_two_workers_give_what_one_engine_gives(
    both: RayEngine,
    prompts: list[Prompt],
    expected: dict[tuple[str, str | None], Any],
) -> None:
    assert len({place.pid for place in both.places()} - {os.getpid()}) == 2
    found = [one for step in both.generate(prompts) for one in step]
    assert by_key(found) == expected
    assert sum(isinstance(one, Failure) for one in found) == 2


@pytest.mark.slow
def test_certificates_and_prompts_are_those_of_one_engine(
    both: RayEngine, alone: Engine, prompts: list[Prompt]
) -> None:
    assert both.certify("tuned", prompts[:8]) == alone.certify("tuned", prompts[:8])
    assert [both.encode(prompt.messages) for prompt in prompts[:4]] == [
        prompt.token_ids for prompt in prompts[:4]
    ]
    assert both.tokens("Hooli it is") == alone.tokens("Hooli it is")
    assert both.notes == alone.notes


@pytest.mark.slow
def test_log_likelihoods_come_in_the_order_of_their_pairs(
    both: RayEngine, alone: Engine, prompts: list[Prompt]
) -> None:
    pairs = [(p.token_ids, alone.tokens(f"number {p.case_id}")) for p in prompts[:-2]]
    *found, too_long = both.loglikelihoods("tuned", [*pairs, (prompts[-1].token_ids, (5,))])
    assert found == pytest.approx(list(alone.loglikelihoods("tuned", pairs)), rel=1e-5)
    assert len(set(found)) > N_CASES / 2
    assert isinstance(too_long, NoResult) and not too_long.retry


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(
    both: RayEngine,
    prompts: list[Prompt],
    expected: dict[tuple[str, str | None], Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    both.certify("tuned", prompts[:8])
    victim, other = both.places()
    found: list[Completion | Failure] = []
    for step in both.generate(prompts):
        found += step
        if len(found) > 4 and is_alive(victim.pid):
            os.kill(victim.pid, signal.SIGKILL)
    assert by_key(found) == expected
    places = both.places()
    assert len(places) == 2 and other in places and victim not in places
    assert capfd.readouterr() == ("", "")  # nothing of Ray's log on the user's terminal


@pytest.mark.slow
def test_too_many_losses_end_the_work(
    both: RayEngine, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_ray_workers, "_MOST_LOSSES", 0)
        with pytest.raises(FaultError, match="workers were lost; reason of the last: ") as caught:
            for step in both.generate(prompts):
                for place in both.places() if step else ():
                    os.kill(place.pid, signal.SIGKILL)
    assert "Traceback" not in str(caught.value)
    both._pool._n_lost = 0
    assert both.encode(prompts[0].messages) == prompts[0].token_ids  # with a new worker


@pytest.mark.slow
def test_errors_arrive_as_they_were_raised(
    both: RayEngine, alone: Engine, prompts: list[Prompt]
) -> None:
    with pytest.raises(AdapterError) as here:
        alone.certify("broken", prompts[:8])
    with pytest.raises(AdapterError) as there:
        both.certify("broken", prompts[:8])
    assert type(there.value) is AdapterError
    assert str(there.value) == str(here.value)


@pytest.mark.slow
def test_a_caller_may_leave_in_the_middle(
    both: RayEngine, prompts: list[Prompt], expected: dict[tuple[str, str | None], Any]
) -> None:
    longest_s, last_s = 0.0, time.monotonic()
    for step in both.generate(prompts):
        longest_s, last_s = max(longest_s, time.monotonic() - last_s), time.monotonic()
        if step:
            break
    assert longest_s < 30  # the caller is asked often whether to go on
    assert by_key([one for step in both.generate(prompts) for one in step]) == expected


def worker_spec(
    settings: EngineSettings, machine: str = "another machine", **changed: Any
) -> WorkerSpec:
    return WorkerSpec("mlx", settings, engines.library_version("mlx"), machine, 0, **changed)


def test_another_machine_must_have_the_same_files(settings: EngineSettings, tmp_path: Path) -> None:
    worker = EngineWorker()
    elsewhere = replace(settings.model, path=tmp_path / "nowhere")
    with pytest.raises(ModelError, match="model folder .*nowhere not found; put it on a path that"):
        worker.prepare(worker_spec(replace(settings, model=elsewhere)), [])
    changed = replace(settings.model, digest="0" * 64)
    with pytest.raises(ModelError, match="holds a different model than on the machine that"):
        worker.prepare(worker_spec(replace(settings, model=changed)), [])
    lost = replace(settings.adapters["tuned"], root=tmp_path / "lost")
    with pytest.raises(AdapterError, match="adapter folder .*lost not found; put it on a path"):
        worker.prepare(worker_spec(replace(settings, adapters={"tuned": lost})), [])


def test_another_machine_must_have_the_same_libraries(settings: EngineSettings) -> None:
    asked = replace(worker_spec(settings), version="mlx-lm 0.1")
    with pytest.raises(OptionError, match="generate with mlx-lm .* the run began with mlx-lm 0.1;"):
        EngineWorker().prepare(asked, [])


def test_workers_that_disagree_about_an_adapter_end_the_run() -> None:
    one = Certificate("tuned", adapter_digest="a", n_tensors=8)
    require_same_setup(one, replace(one, weight_norm=1.0))
    with pytest.raises(FaultError, match="the workers disagree about adapter tuned: certified on"):
        require_same_setup(one, replace(one, base_proof=""))


@pytest.mark.slow
@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "nonsense"])
def test_what_is_no_cluster_is_refused_in_time(
    address: str, settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ray_cluster, "_JOIN_WITHIN_S", 4)
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked = address.format(port=server.server_port)
        began = time.monotonic()
        with pytest.raises(OptionError, match=f"--ray_address {asked}: ") as caught:
            _try_to_join(asked)
        server.shutdown()
    assert time.monotonic() - began < 120
    assert "\n" not in str(caught.value)


def test_what_ray_says_in_many_lines_is_said_in_one() -> None:
    said = "Failed to connect.\n Last error: Traceback (most recent call last):\n  File x\nE: no.\n"
    assert brief_error(said) == "Failed to connect. Last error: E: no."
    assert brief_error("The actor died.\n\tpid: 7\n") == "The actor died. pid: 7"
