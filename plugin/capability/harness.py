"""Run tasks of lm-evaluation-harness on every variant: find them, load their data, keep each item.

Tasks are named as the harness names them (mmlu, hellaswag, ...), or are folders of task files.
Their data come from the hub, its local cache or the folder. What can be wrong with a task is found
before anything is generated.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from plugin.capability.records import ItemResult
from plugin.engines.plain_text import PlainEngine
from plugin.errors import OptionError, did_you_mean, one_line

INSTALL = "pip install -r requirements-lm-eval.txt -c constraints/default.txt"

NEEDS_WEIGHTS = (
    "--lm_eval asks for likelihoods of the tasks' own texts, which only an engine that holds the "
    "weights here can give: use --engine mlx or transformers with --workers 1, or leave it out"
)

_SCORES = ("acc_norm", "acc", "exact_match", "pass@1", "em", "f1")
"""Of several scores of an item the first one of these counts; else the first one that it has."""

_FILTERS = ("flexible-extract", "none")
"""Of several readings of an answer the first one of these counts; else the first one."""

_SEED = 1234
"""The harness's own seed for drawing few-shot examples."""


_LEAST_PART = 3
"""A part of an item with fewer words, such as its subject, is no question by itself."""


class ItemTexts(NamedTuple):
    """What an item of a task says, to be compared with training data.

    Attributes:
        id: the item's.
        question: as a variant is asked, without examples; "" where the task gives none.
        parts: texts of the item within the question, without the form of the task.
        answers: the right ones.
    """

    id: str
    question: str = ""
    parts: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HarnessTask:
    """One task of the harness with the items that are asked.

    Attributes:
        asked: what the user called it: the task itself, or a group that it belongs to.
        name: the task's own name.
        task: the harness's object, with its data loaded.
        items: numbers of the items, in the order of the data.
    """

    asked: str
    name: str
    task: Any
    items: tuple[int, ...]

    def item_id(self, number: int) -> str:
        """Return what identifies an item within the harness."""
        return f"{self.name}/{number}"

    def texts_of(self, number: int) -> ItemTexts:
        """Return what an item says; its name alone where the task's code fails on it."""
        name = self.item_id(number)
        try:
            doc = self.task.eval_docs[number]
            question = self.task.doc_to_text(doc)
            question = question if isinstance(question, str) else ""
            asked = {_plain(question)}
            values = [doc[key] for key in doc]
            if self.task.should_decontaminate():
                values.append(self.task.doc_to_decontamination_query(doc))
            parts = [
                text
                for text in dict.fromkeys(one for one in values if isinstance(one, str))
                if len(text.split()) >= _LEAST_PART and _plain(text) not in asked
                if not question or _plain(text) in _plain(question)
            ]
            return ItemTexts(name, question, tuple(parts), tuple(self._right_answers(doc)))
        except Exception:  # the task's own code raises anything
            return ItemTexts(name)

    def _right_answers(self, doc: Any) -> list[str]:
        found = self.task.doc_to_target(doc)
        if self.task.get_config("doc_to_choice") is not None:
            choices, places = self.task.doc_to_choice(doc), found
            found = [
                choices[place] if isinstance(place, int) else place
                for place in (places if isinstance(places, list) else [places])
            ]
        return [one for one in (found if isinstance(found, list) else [found]) if _is_text(one)]

    @property
    def wants_greedy(self) -> bool:
        """Return whether the task looks at what the variant itself would have said."""
        kind = self.task.get_config("output_type") or self.task.OUTPUT_TYPE
        listed = self.task.get_config("metric_list") or ()
        return kind == "loglikelihood" or any(
            isinstance(one, dict) and one.get("metric") == "exact_match" for one in listed
        )


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def load_tasks(names: Sequence[str], n_items: int, seed: int) -> tuple[HarnessTask, ...]:
    """Load tasks with their data and draw their items.

    Args:
        names: tasks or groups of the harness, or folders of task files.
        n_items: how many items of each name, drawn at random; 0 for all.
        seed: for the draw.

    Raises:
        OptionError: when the harness is not installed; listing every task that is unknown, whose
            data cannot be had, or that cannot be compared item by item.
    """
    if find_spec("lm_eval") is None:
        raise OptionError(f"--lm_eval needs lm-eval, not installed here. Install with: {INSTALL}")
    for library in ("lm_eval", "datasets"):  # both tell a lot that is of no use here
        logging.getLogger(library).setLevel(logging.ERROR)
    found, problems = list[HarnessTask](), list[str]()
    for name in dict.fromkeys(names):
        try:
            found += _draw(name, _load(name), n_items, seed)
        except OptionError as error:
            problems.append(str(error))
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise OptionError(f"--lm_eval {','.join(names)}:{listed}\nNothing was generated")
    return tuple(found)


def _load(name: str) -> dict[str, Any]:
    """Return task name -> task, of one name or folder, with the data loaded.

    Raises:
        OptionError: naming what is wrong.
    """
    folder = Path(name).expanduser()
    is_folder = folder.is_dir()
    manager = _manager(name, folder if is_folder else None)
    wanted = manager.all_subtasks if is_folder else [name]
    if is_folder and not wanted:
        raise OptionError(f"{name}: the folder has no task file (*.yaml with a line `task: NAME`)")
    try:
        tasks: dict[str, Any] = manager.load(list(wanted))["tasks"]
    except Exception as error:  # the hub, the data's library and the task's own code raise anything
        raise OptionError(
            f"{name}: its data cannot be had ({type(error).__name__}: {one_line(error)[:300]}). "
            "Load them once with a connection to the hub (they are then taken from its cache), or "
            "name a folder with task files and data of your own"
        ) from error
    for task_name, task in tasks.items():
        if obstacle := _obstacle(task):
            raise OptionError(f"{task_name}: {obstacle}; leave it out")
    return tasks


def _manager(name: str, folder: Path | None) -> Any:
    """Return the harness's manager that knows a name, with as few task files read as possible."""
    import lm_eval.tasks
    from lm_eval.tasks import TaskManager

    if folder is not None:
        return TaskManager(include_path=str(folder), include_defaults=False)
    root, parts = Path(lm_eval.tasks.__file__).parent, name.split("_")
    # Reading all task files takes many seconds; most tasks lie in a folder named like them.
    for n_parts in range(len(parts), 0, -1):
        near = root / "_".join(parts[:n_parts])
        if near.is_dir() and near != root:
            manager = TaskManager(include_path=str(near), include_defaults=False)
            if name in manager.task_index:
                return manager
    manager = TaskManager()
    if name not in manager.task_index:
        raise OptionError(
            f"{name}: neither a task of lm-eval nor a folder here"
            f"{did_you_mean(name, manager.all_tasks)}"
        )
    return manager


def _obstacle(task: Any) -> str:
    """Return why a task cannot be compared item by item, "" if it can."""
    settings = task.get_config("generation_kwargs") or {}
    if getattr(task, "UNSAFE_CODE", False) or task.get_config("unsafe_code"):
        return (
            "it runs generated code within this program, which is not safe: give its rows as "
            "--dataset_name, and the metric Code Tests runs the code in a sandbox"
        )
    if getattr(task, "MULTIMODAL", False):
        return "it needs pictures or sound"
    if (task.get_config("output_type") or task.OUTPUT_TYPE) == "loglikelihood_rolling":
        return "it has no score of 0 to 1 for each item (for perplexity use the metric Perplexity)"
    if settings.get("do_sample") or (task.get_config("repeats") or 1) > 1:
        return "it draws several answers at random"
    return ""


def _draw(asked: str, tasks: dict[str, Any], n_items: int, seed: int) -> list[HarnessTask]:
    """Return the tasks with their items; the draw is over all tasks of the name together."""
    everything = [(name, i) for name, task in tasks.items() for i in range(len(task.eval_docs))]
    if not everything:
        raise OptionError(f"{asked}: its data are empty")
    if 0 < n_items < len(everything):
        drawn = random.Random(f"lm-eval {seed} {asked}").sample(everything, n_items)
    else:
        drawn = everything
    found = []
    label = asked if asked in tasks or not Path(asked).expanduser().is_dir() else ""
    for name, task in tasks.items():
        items = tuple(sorted(i for owner, i in drawn if owner == name))
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=_SEED)
        if items:
            found.append(HarnessTask(label or name, name, task, items))
    return found


def run_task(
    one: HarnessTask, engine: PlainEngine, variant: str, count: Callable[[float], None]
) -> tuple[ItemResult, ...]:
    """Ask one variant all items of a task.

    Args:
        one: the task.
        engine: holds the base and the variant's adapter.
        variant: who answers.
        count: is told which share of the requests has been answered; may raise to stop.

    Raises:
        FaultError: when the engine cannot answer an item, for lack of memory for example.
    """
    import lm_eval.api.task
    from lm_eval.evaluator import evaluate

    from plugin.capability.harness_model import HarnessModel

    lm_eval.api.task.tqdm = lambda rows, **_: rows  # its bars would cut through our own
    model = HarnessModel(engine, variant, count)
    model.wants_greedy = one.wants_greedy
    results = evaluate(
        lm=model,
        task_dict={"tasks": {one.name: one.task}},
        samples={one.name: list(one.items)},
        bootstrap_iters=0,
        log_samples=True,
    )
    samples = results["samples"][one.name]
    readings = list(dict.fromkeys(sample["filter"] for sample in samples))
    reading = next((name for name in _FILTERS if name in readings), readings[0])
    return tuple(_result(one, variant, sample) for sample in samples if sample["filter"] == reading)


def _result(one: HarnessTask, variant: str, sample: dict[str, Any]) -> ItemResult:
    names = [name for name in _SCORES if name in sample["metrics"]] or sample["metrics"]
    score = _score_of(sample, names)
    expected = " ".join(str(sample["target"]).split())[:200]
    return ItemResult(
        source="lm-eval",
        ability=one.asked,
        item_id=one.item_id(sample["doc_id"]),
        variant=variant,
        score=score,
        output=_output_of(sample, names[0] if names else ""),
        reason=f"expected: {expected}" if score is not None else "the task gives no score",
    )


def _score_of(sample: dict[str, Any], names: Sequence[str]) -> float | None:
    for name in names:
        try:
            value = float(sample[name])
        except (TypeError, ValueError):
            continue
        if 0 <= value <= 1:
            return value
    return None


def _output_of(sample: dict[str, Any], score: str) -> str:
    """Return the answer; of an item with options, the most likely one."""
    given = sample["filtered_resps"]
    if given and isinstance(given[0], tuple | list) and len(given[0]) == 2:
        options = [str(arguments[1]) for arguments in sample["arguments"]]
        lengths = [len(option) or 1 if score == "acc_norm" else 1 for option in options]
        values = [float(answer[0]) / n for answer, n in zip(given, lengths, strict=False)]
        return options[values.index(max(values))].strip()
    return str(given[0]) if given else ""
