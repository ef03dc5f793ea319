"""An adapter's tensors held against the places that a loaded model has for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from plugin.adapters.layout import AdapterFolder
from plugin.errors import AdapterError

_N_SHOWN = 8


class Fit(NamedTuple):
    """An adapter's tensors against the places that a model has for them.

    Attributes:
        used: names of the tensors that are loaded.
        unused: those without a place, or whose partner has none.
        missing: places that no tensor fills.
        problems: what no adapter may have, a line each: misshapen or broken tensors.
    """

    used: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]

    def require_usable(self, adapter: AdapterFolder, model: Path) -> None:
        """Refuse what could only be half an adapter by mistake.

        A file with strangers in it is used as far as it fits, and its certificate says so; one
        that only lacks tensors was not saved whole.

        Raises:
            AdapterError: with everything that is wrong.
        """
        lines = list(self.problems)
        if not self.unused:
            lines += [
                f"  {name}: named by the config, missing from the file" for name in self.missing
            ]
        if lines:
            raise AdapterError(
                f"{adapter.path} does not fit the base model {model} ({_n(len(lines), 'problem')} "
                f"with {_n(len(adapter.shapes), 'tensor')}):\n" + "\n".join(sorted(lines)) + "\n"
                "An adapter fits only the model it was trained on; check --model_name, or save the "
                "adapter again from its training"
            )
        if not self.used:
            shown = "\n".join(f"  {name}" for name in self.unused[:_N_SHOWN])
            raise AdapterError(
                f"{adapter.path}: none of its {_n(len(adapter.shapes), 'tensor')} has a place in "
                f"the base model {model}:\n{shown}\nAn adapter fits only the model it was "
                "trained on; check --model_name"
            )


def fit(
    held: Mapping[str, tuple[int, ...]],
    places: Mapping[str, tuple[int, ...]],
    broken: Iterable[str],
    module_of: Callable[[str], str],
) -> Fit:
    """Hold an adapter's tensors against a model's places.

    Args:
        held: name -> shape, of the file's tensors.
        places: name -> shape, of what the adapter's configuration makes room for.
        broken: names of tensors that hold NaN or infinity.
        module_of: the module that a name belongs to; its tensors work only together.
    """
    missing = tuple(sorted(set(places) - set(held)))
    lame = {module_of(name) for name in missing}
    strangers = set(held) - set(places)
    # Where nothing is strange, what is missing is not excused.
    halves = {name for name in held if module_of(name) in lame} if strangers else set()
    unused = strangers | halves
    problems = [f"  {name}: holds NaN or infinity" for name in broken]
    problems += [
        f"  {name}: shape {_shape(shape)} in the file, {_shape(places[name])} in the model"
        for name, shape in held.items()
        if name in places and shape != places[name]
    ]
    return Fit(
        used=tuple(sorted(set(held) - unused)),
        unused=tuple(sorted(unused)),
        missing=missing,
        problems=tuple(sorted(problems)),
    )


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _n(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
