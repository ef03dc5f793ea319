"""Ask every variant the items of the probe, and keep each result at once.

Answers are generated greedily with the run's own chat template, but without its system prompt: the
question is what the weights can do. Thoughts are taken off before an answer is scored; a variant
that thinks gets as much room as in the run itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from plugin.cache import content_key
from plugin.capability.choice import longest_answer
from plugin.capability.records import Item, ItemResult
from plugin.capability.scoring import score_answer
from plugin.engines import Engine
from plugin.errors import ModelError
from plugin.journal import Journal
from plugin.records import Completion, Failure, Prompt, Variant
from plugin.thinking import SplitText, split_thoughts
from plugin.worker import Progress, Stage

UNFINISHED = "the answer ends inside the model's thoughts; raise --max_tokens"


@dataclass(frozen=True, slots=True)
class Thinker:
    """How one variant thinks, as its completions in the run show.

    Attributes:
        thinks: whether it does.
        is_marked_late: whether only the end of its thoughts is marked.
    """

    thinks: bool = False
    is_marked_late: bool = False

    @classmethod
    def of(cls, texts: Iterable[SplitText]) -> Thinker:
        """Return what a variant's completions show."""
        found = list(texts)
        return cls(
            any(one.thoughts or not one.is_finished for one in found),
            any(one.is_marked_late for one in found),
        )

    def split(self, completion: Completion) -> SplitText:
        """Return thoughts and answer of a completion."""
        found = split_thoughts(completion.text)
        if self.is_marked_late and completion.finish_reason == "length" and not found.thoughts:
            return SplitText(found.answer, "", is_finished=False)
        return found


def thinkers(journal: Journal) -> dict[str, Thinker]:
    """Return how each variant of the run thinks."""
    texts: dict[str, list[SplitText]] = {}
    for (_, name), one in journal.completions().items():
        texts.setdefault(name, []).append(split_thoughts(one.text))
    return {name: Thinker.of(own) for name, own in texts.items()}


def missing_items(
    items: Sequence[Item], variants: Sequence[Variant], journal: Journal
) -> list[tuple[Item, Variant]]:
    """Return what was not asked yet, or failed in a way that another try may mend."""
    have = journal.answered_items()
    return [
        (item, variant)
        for variant in variants
        for item in items
        if ("probe", item.id, variant.name) not in have
    ]


def ask_items(
    items: Sequence[Item],
    variants: Sequence[Variant],
    engine: Engine,
    journal: Journal,
    progress: Progress,
    *,
    shared: bool = True,
) -> None:
    """Ask the variants of one engine every item that has no result yet.

    Args:
        items: all items of the set.
        variants: those that differ in their weights.
        engine: holds them.
        journal: gets the results, each at once.
        progress: gets a stage.
        shared: whether completions go into the cache that runs share, and come from it.

    Raises:
        Stopped: when the user stopped the run.
    """
    todo = missing_items(items, variants, journal)
    if not todo:
        return
    n_all = len(items) * len(variants)
    progress.begin(Stage.ASK_ITEMS, total=n_all, done=n_all - len(todo))
    asking = _Asking(engine, journal, thinkers(journal), shared)
    prompts = [prompt for item, variant in todo if (prompt := asking.prompt(item, variant))]
    progress.done += len(todo) - len(prompts)
    waiting = [prompt for prompt in prompts if not asking.find_kept(prompt)]
    progress.done += len(prompts) - len(waiting)
    waiting.sort(key=lambda prompt: -len(prompt.token_ids))  # batches of one length need no padding
    for ended in engine.generate(waiting):
        for result in ended:
            asking.keep(result)
            progress.done += 1
        progress.check()


class _Asking:
    """Turn items into prompts and completions into results, for one engine."""

    def __init__(
        self, engine: Engine, journal: Journal, found: Mapping[str, Thinker], shared: bool
    ) -> None:
        self._engine, self._journal, self._shared = engine, journal, shared
        self._thinkers = found
        self._items: dict[str, Item] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._encoded: dict[tuple[str, str], tuple[int, ...]] = {}

    def prompt(self, item: Item, variant: Variant) -> Prompt | None:
        """Return the prompt; None if the engine refuses its turns, which is kept as a failure."""
        own = (variant.name,) if variant.own_chat else ()
        place = item.id, variant.name if variant.own_chat else ""
        try:
            if place not in self._encoded:
                self._encoded[place] = self._engine.encode(item.messages, *own)
        except ModelError as error:
            self._add(item, variant.name, None, str(error))
            return None
        thinks = self._thinkers.get(variant.name, Thinker()).thinks
        room = None if thinks else longest_answer(item)
        prompt = Prompt(item.id, variant.name, item.messages, self._encoded[place], room)
        asked: list[object] = list(prompt.token_ids)
        asked = asked or [[turn.role, turn.content] for turn in prompt.messages]
        self._items[item.id] = item
        self._keys[item.id, variant.name] = content_key(variant.id, asked, ["room", room])
        return prompt

    def find_kept(self, prompt: Prompt) -> bool:
        """Return whether journal or cache have the completion; then its result is kept."""
        key = self._keys[prompt.case_id, prompt.variant]
        kept = self._journal.completion(key, shared=self._shared)
        if kept is None:
            return False
        self.keep(kept.copy_for(prompt.case_id, prompt.variant))
        return True

    def keep(self, result: Completion | Failure) -> None:
        """Keep what became of one prompt."""
        item, name = self._items[result.case_id], str(result.variant)
        if isinstance(result, Failure):
            self._add(item, name, None, result.reason, retry=result.retry)
            return
        key = self._keys[item.id, name]
        result = self._journal.keep_completion(key, result, self._shared)
        split = self._thinkers.get(name, Thinker()).split(result)
        if split.is_finished:
            self._add(item, name, *score_answer(item, split.answer), text=split.answer)
        else:
            self._add(item, name, None, UNFINISHED)

    def _add(
        self,
        item: Item,
        name: str,
        score: float | None,
        reason: str,
        *,
        text: str = "",
        retry: bool = False,
    ) -> None:
        row = ItemResult("probe", item.ability, item.id, name, score, text, reason)
        self._journal.add_item_results([row], retry=retry)
