"""Make the logs of Inspect in logs/, by Inspect's own writers.

Inspect is no requirement of the tests, so what it wrote is kept. To make it again, install
inspect-ai 0.3.285 into an environment of its own and run this file there: it needs no network.
"""

from pathlib import Path

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, match, mean, scorer

HERE = Path(__file__).parent / "logs"
N = 6


@scorer(metrics={"form": [mean()], "tone": [mean()]})
def style():  # noqa: ANN201
    async def score(state, target):  # noqa: ANN001, ANN202, ARG001
        return Score(value={"form": 1.0, "tone": 0.25}, explanation="short and plain")

    return score


def answers(n_right: int) -> list[ModelOutput]:
    """Answer all samples, twice."""
    made = []
    for _ in range(2):
        for i in range(N):
            text = str(2 * i) if i < n_right else "no idea"
            made.append(ModelOutput.from_content("mockllm/model", text))
            made[-1].usage = ModelUsage(input_tokens=5, output_tokens=2, total_tokens=7)
    return made


def main() -> None:
    samples = [
        Sample(id=i if i % 2 else f"q{i}", input=f"What is {i}+{i}?", target=str(2 * i))
        for i in range(N)
    ]
    for name, log_format, n_right in (("base", "eval", 2), ("tuned", "json", 6)):
        for old in HERE.glob(f"inspect_{name}.*"):
            old.unlink()
        task = Task(
            dataset=MemoryDataset(samples), scorer=[match(numeric=True), style()], name="sums"
        )
        model = get_model("mockllm/model", custom_outputs=answers(n_right))
        (log,) = eval(
            task,
            model=model,
            log_dir=str(HERE),
            log_format=log_format,
            epochs=2,
            max_samples=1,
            max_connections=1,
            display="none",
        )
        Path(log.location).rename(HERE / f"inspect_{name}.{log_format}")


if __name__ == "__main__":
    main()
