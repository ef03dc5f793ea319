"""Find the checkpoints of a training, with their place on the axis, and refuse what cannot be one.

A training leaves checkpoint-N folders (Hugging Face), numbered files beside one config (mlx-lm), or
folders with an adapter each. One that cannot be read is skipped, and the reason is kept.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plugin.errors import AdapterError, OptionError, list_first
from plugin.load.adapter import MLX_CHECKPOINT, AdapterFolder, inspect_adapter, is_mlx_checkpoint
from plugin.load.chat_files import read_json_object
from plugin.load.model import short_name, short_names
from plugin.plan.variants import RESERVED
from plugin.records import PROMPTED, VANILLA

STEP, PLACE = "step", "checkpoint"
"""What the axis shows: the training step, or the place in the list where steps are not known."""

_ADAPTER_FILES = ("adapters.safetensors", "adapter_model.safetensors")
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)$")
_N_SHOWN = 6


@dataclass(frozen=True, slots=True)
class FoundCheckpoint:
    """One checkpoint that can be compared.

    Attributes:
        name: by which it is shown; no two have the same.
        value: its place on the axis.
        adapter: what lies on disk.
    """

    name: str
    value: float
    adapter: AdapterFolder


@dataclass(frozen=True, slots=True)
class Skipped:
    """A checkpoint that takes no part.

    Attributes:
        place: its folder or file.
        why: the reason, a sentence or several.
    """

    place: str
    why: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the user's words led to.

    Attributes:
        axis: what the values are, such as "step".
        checkpoints: at least two, by their place on the axis.
        skipped: those that take no part.
        notes: what the reader must know besides, a sentence each.
    """

    axis: str
    checkpoints: tuple[FoundCheckpoint, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Search:
    """Collect what was found so far."""

    adapters: list[tuple[AdapterFolder, float | None]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    models: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def look_at(self, path: Path, value: float | None) -> None:
        """Read one checkpoint."""
        if _is_whole_model(path):
            self.models.append(path)
            return
        try:
            adapter = inspect_adapter(path)
        except AdapterError as error:
            self.skipped.append(Skipped(str(path), str(error)))
            return
        self.adapters.append((adapter, value if value is not None else _step_of(adapter)))


def find_checkpoints(words: Sequence[str], axis: str = "") -> Found:
    """Return the checkpoints that the words of --checkpoints name.

    Args:
        words: one folder with checkpoints; or several checkpoints; or VALUE=DIR for each.
        axis: what the values are; "" for the training step.

    Raises:
        OptionError: when there are fewer than two, or they do not belong together.
    """
    search = _Search()
    named = _values_given(words)
    if named:
        for value, path in named:
            search.look_at(path, value)
    else:
        if axis:
            raise OptionError(
                f"--axis {axis!r} names what the checkpoints' values are: give them with "
                "--checkpoints VALUE=DIR VALUE=DIR, or leave --axis out"
            )
        for path in _listed([_existing(word) for word in words]):
            search.look_at(path, None)
    _require_adapters(search, words)
    _leave_out_copies(search)
    _require_one_base([adapter for adapter, _ in search.adapters])
    axis, placed = _place(search, axis or (STEP if not named else "value"))
    _require_two(placed, search, words)
    return Found(axis, _with_names(placed, axis), tuple(search.skipped), tuple(search.notes))


def _values_given(words: Sequence[str]) -> list[tuple[float, Path]]:
    """Return value and path of words such as 100=DIR; empty where no word has a value.

    Raises:
        OptionError: naming words without a value, or with one that is no number or there twice.
    """
    split = [(word, word.partition("=")) for word in words]
    with_value = [word for word, (_, sign, _) in split if sign and not Path(word).exists()]
    if not with_value:
        return []
    problems = [f"{word!r} has no value before it" for word in words if word not in with_value]
    found = []
    for word, (value, _, place) in split:
        if word in with_value:
            number = _number(value)
            if number is None:
                problems.append(f"{word!r}: {value!r} is not a number")
            else:
                found.append((number, place))
    twice = [value for value, n in Counter(value for value, _ in found).items() if n > 1]
    problems += [f"the value {value:g} is there twice" for value in twice]
    if problems:
        raise OptionError(
            f"--checkpoints: {'; '.join(problems)}. Give each checkpoint as VALUE=DIR with a "
            "number of its own, such as 100=runs/rows-100 200=runs/rows-200; or give all of them "
            "without a value"
        )
    return [(value, _existing(place)) for value, place in sorted(found)]


def absolute_words(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words with absolute paths, which mean the same from every directory."""
    found = []
    for word in words:
        value, sign, place = word.partition("=")
        named = bool(sign) and not Path(word).exists() and _number(value) is not None
        head, path = (f"{value}=", place) if named else ("", word)
        found.append(f"{head}{Path(path).expanduser().absolute()}")
    return tuple(found)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _existing(word: str) -> Path:
    """Return the absolute path of a folder or of a checkpoint's file.

    Raises:
        OptionError: when there is none.
    """
    path = Path(word).expanduser().absolute()
    if not path.exists():
        raise OptionError(f"--checkpoints {word}: there is no such directory (tried {path})")
    if path.is_dir() or is_mlx_checkpoint(path):
        return path
    raise OptionError(
        f"--checkpoints {word} is a file; give a folder with checkpoints, or a checkpoint's folder "
        "(of mlx-lm also its file, such as 0000100_adapters.safetensors)"
    )


def _listed(paths: Sequence[Path]) -> list[Path]:
    """Return what to read: the checkpoints in the only folder, or all the paths themselves."""
    if len(paths) > 1 or paths[0].is_file():
        return list(paths)
    (folder,) = paths
    try:
        inside = sorted(folder.iterdir(), key=_natural)
    except OSError as error:
        raise OptionError(f"--checkpoints {folder} cannot be read ({error.strerror})") from error
    numbered = [path for path in inside if MLX_CHECKPOINT.fullmatch(path.name)]
    folders = [path for path in inside if re.fullmatch(r"checkpoint-\d+", path.name)]
    if not (numbered or folders):
        folders = [path for path in inside if _holds_adapter(path) or _is_whole_model(path)]
    own = [folder] if _holds_adapter(folder) else []
    return [*numbered, *folders, *own]


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a key that sorts step-2 before step-10."""
    parts = re.split(r"(\d+)", path.name)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def _holds_adapter(path: Path) -> bool:
    return any((path / name).is_file() for name in _ADAPTER_FILES)


def _is_whole_model(path: Path) -> bool:
    has_weights = any(path.glob("model*.safetensors")) or any(path.glob("pytorch_model*.bin"))
    return has_weights and (path / "config.json").is_file() and not _holds_adapter(path)


def _step_of(adapter: AdapterFolder) -> float | None:
    """Return the training step, as the trainer wrote it or the name says; None if neither does."""
    if found := MLX_CHECKPOINT.fullmatch(adapter.path.name):
        return float(found[1])
    for folder in dict.fromkeys((adapter.root, adapter.path)):
        step = _recorded_step(folder)
        if step is not None:
            return step
    if adapter.kind == "mlx" and adapter.root == adapter.path:
        iters = adapter.config.get("iters")
        has_others = any(MLX_CHECKPOINT.fullmatch(path.name) for path in adapter.root.iterdir())
        if has_others and type(iters) is int:  # else several folders may share a config
            return float(iters)
    found = _NUMBER.search(adapter.root.name)
    return float(found[1]) if found else None


def _recorded_step(folder: Path) -> float | None:
    """Return the step in the trainer's own record; None where there is none, or a broken one."""
    try:
        step = read_json_object(folder / "trainer_state.json", AdapterError).get("global_step")
    except AdapterError:
        return None
    return float(step) if type(step) is int and step >= 0 else None


def _require_adapters(search: _Search, words: Sequence[str]) -> None:
    """Refuse whole models, and words that led to nothing.

    Raises:
        OptionError: naming them.
    """
    if search.models:
        names = list_first([str(path) for path in search.models], _N_SHOWN)
        options = " ".join(f"--tuned_model {path}" for path in search.models[:2])
        raise OptionError(
            f"--checkpoints: {names}: whole models, not adapters. A sweep keeps the base loaded "
            "and changes only the adapters. Leave them out; to compare whole models, use "
            f"`run {options}`"
        )
    if search.adapters or search.skipped:
        return
    folder = Path(words[0]).expanduser()
    inside = [path.name for path in sorted(folder.iterdir(), key=_natural)]
    listing = f"holds {list_first(inside, _N_SHOWN)}" if inside else "is empty"
    raise OptionError(
        f"--checkpoints {words[0]}: there is no checkpoint here: the folder {listing}. It must "
        "hold checkpoint-N folders, mlx-lm's numbered files (0000100_adapters.safetensors), or "
        "folders with an adapter each. If your trainer kept none, let it save some (mlx_lm.lora: "
        "--save-every; Hugging Face: save_steps)"
    )


def _leave_out_copies(search: _Search) -> None:
    """Skip a checkpoint with the same weights and settings as one before it."""
    seen: dict[tuple[str, str], AdapterFolder] = {}
    kept = []
    for adapter, value in search.adapters:
        key = _weights_digest(adapter.weights_path), json.dumps(adapter.config, sort_keys=True)
        if key in seen:
            why = f"the same weights as {seen[key].path}"
            search.skipped.append(Skipped(str(adapter.path), why))
        else:
            seen[key] = adapter
            kept.append((adapter, value))
    search.adapters = kept


def _weights_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_one_base(adapters: Sequence[AdapterFolder]) -> None:
    """Refuse checkpoints that name different base models.

    Raises:
        OptionError: naming a checkpoint of each base.
    """
    first_of: dict[str, AdapterFolder] = {}
    for adapter in adapters:
        named = adapter.config.get("base_model_name_or_path") or adapter.config.get("model")
        if isinstance(named, str) and named.strip("/"):
            first_of.setdefault(short_name(named), adapter)
    if len(first_of) > 1:
        told = "; ".join(f"{one.path} was trained on {base}" for base, one in first_of.items())
        raise OptionError(
            f"--checkpoints: {told}. One sweep compares checkpoints of one base model, which "
            "--model_name names: leave out those of other bases"
        )


def _place(search: _Search, axis: str) -> tuple[str, list[tuple[AdapterFolder, float]]]:
    """Return the axis, and the adapters by their place on it.

    Steps that are unknown or there twice make no axis. Then the order of the list counts.
    """
    values = [value for _, value in search.adapters]
    known = [value for value in values if value is not None]
    if len(known) == len(values) and len(set(known)) == len(known):
        if known != sorted(known):
            search.notes.append(
                "the checkpoints were not listed by their steps, and are shown in that order; "
                "--checkpoints 1=DIR 2=DIR sets another one"
            )
        pairs = zip((adapter for adapter, _ in search.adapters), known, strict=True)
        return axis, sorted(pairs, key=lambda pair: pair[1])
    why = "are not known" if len(known) < len(values) else "repeat or go backwards"
    search.notes.append(
        f"the steps of these checkpoints {why}, so they are shown in the order of the list; "
        "--checkpoints VALUE=DIR VALUE=DIR says where each stands"
    )
    numbered = enumerate(search.adapters, 1)
    return PLACE, [(adapter, float(place)) for place, (adapter, _) in numbered]


def _require_two(
    placed: Sequence[tuple[AdapterFolder, float]], search: _Search, words: Sequence[str]
) -> None:
    """Check that there is something to choose from.

    Raises:
        OptionError: with what was skipped, and the way out.
    """
    if len(placed) > 1:
        return
    skipped = "".join(f"\n  skipped {one.place}: {one.why}" for one in search.skipped)
    given = list_first(list(words), _N_SHOWN)
    if not placed:
        raise OptionError(f"--checkpoints {given}: none of them can be used:{skipped}")
    only = placed[0][0].path
    raise OptionError(
        f"--checkpoints {given}: a sweep chooses between two checkpoints or more, and there is "
        f"one, {only}. To test it, use `run --model_adapter {only}`{skipped}"
    )


def _with_names(
    placed: Sequence[tuple[AdapterFolder, float]], axis: str
) -> tuple[FoundCheckpoint, ...]:
    """Give each a name: that of its folder or file, or its place where folders share a name."""
    files = [str(adapter.path).removesuffix(".safetensors") for adapter, _ in placed]
    names = short_names(files)
    taken = {*RESERVED, VANILLA, PROMPTED}
    if len(set(names)) < len(names) or taken & set(names):
        names = [f"{axis} {value:g}" for _, value in placed]
    rows = zip(names, placed, strict=True)
    return tuple(FoundCheckpoint(name, value, adapter) for name, (adapter, value) in rows)
