"""What the report shows of several prompts and of other models."""

from __future__ import annotations

from dataclasses import replace

from plugin.records import Completion, is_yardstick
from plugin.report.canvas import PROMPT_COLOURS, RIVAL_COLOURS
from plugin.report.charts import comparison_svg
from plugin.report.gain_chart import gains_svg
from plugin.report.gain_rows import gain_blocks
from plugin.report.page import render_page
from plugin.report.record import Ledger, Report
from plugin.report.tables import chart_label
from plugin.report.yardsticks import rival_cost_lines, yardstick_rows
from tests.report import report_samples as samples

SHORT, LONG, BIG = "prompted short", "prompted long", "rival big"


def report() -> Report:
    gains = {SHORT: 0.05, LONG: 0.1, "tuned": 0.3, BIG: 0.31}
    made = samples.judged({name: {"task": gain} for name, gain in gains.items()}, n=30)
    models = [
        replace(v, adapter_path=None, system_prompt=f"As {v.name}.") if is_yardstick(v.name) else v
        for v in made.variants
    ]
    return replace(made, variants=tuple(models))


def test_a_row_for_each_prompt_and_model_and_the_best_prompt_is_marked() -> None:
    rows = yardstick_rows(Ledger(report()))
    assert [row.name for row in rows] == [SHORT, LONG, BIG]
    assert [row.is_best for row in rows] == [False, True, False]
    assert rows[0].gap and rows[0].gap.n_pairs == 2 and not rows[2].gap
    assert rows[2].about == "some/model, with the prompt: As rival big."
    assert rows[2].row and rows[2].row.baseline == BIG
    page = render_page(report(), ())
    assert "<h2>Beside prompts and other models</h2>" in page
    assert "rival big</b> is another model on a server" in page
    assert "prompted short, prompted long</b> are vanilla with an engineered" in page


def test_one_prompt_has_no_section_of_its_own() -> None:
    one = samples.judged({"prompted": {"task": 0.1}, "tuned": {"task": 0.3}})
    assert yardstick_rows(Ledger(one)) == []
    page = render_page(one, ())
    assert "<h2>Beside" not in page and "<b>prompted</b> is vanilla with an" in page


def test_a_rival_has_a_block_and_a_sign_of_its_own_in_the_picture() -> None:
    blocks = {block.title: block.rows for block in gain_blocks(Ledger(report()))}
    (row,) = blocks["Beside other models: Correctness"]
    assert row.is_over_rival and row.text.startswith("tuned (over rival big): ")
    assert len(blocks["Decides: Correctness"]) == 3
    wide, narrow = gains_svg(report()), gains_svg(report(), narrow=True)
    assert "■ against another model" in wide and RIVAL_COLOURS[0].lower() in wide.lower()
    assert "over prompted short" in narrow and "over rival big" in narrow


def test_prompts_and_rivals_have_colours_of_their_own_and_rivals_are_hatched() -> None:
    svg = comparison_svg(report()).lower()
    for colour in (*PROMPT_COLOURS[:2], RIVAL_COLOURS[0]):
        assert colour.lower() in svg
    assert "<pattern" in svg


def test_the_only_tuned_one_is_called_adapter_beside_yardsticks() -> None:
    names = ("vanilla", SHORT, LONG, "tuned", BIG)
    assert chart_label("tuned", names) == "adapter"
    assert chart_label(BIG, names) == BIG


def costs(**written: tuple[int | None, float | None]) -> list[str]:
    made = report()
    completions = {
        ("1", name.replace("_", " ")): Completion(
            "1", name.replace("_", " "), "x", (), "stop", seconds, n and 2 * n, n
        )
        for name, (n, seconds) in written.items()
    }
    return rival_cost_lines(made.variants, completions, "tuned")


def test_what_is_known_of_a_rivals_cost_and_what_is_not_compared() -> None:
    assert costs(rival_big=(40, 1.0), tuned=(20, 0.1)) == [
        "rival big writes 40 tokens an answer, tuned 20 tokens; they read 80 tokens and 40 tokens. "
        "Each is counted by its own tokenizer. Seconds are not compared: rival big runs on a "
        "server of its own."
    ]
    assert costs(rival_big=(None, 1.0), tuned=(20, 0.1)) == [
        "The server of rival big does not count tokens. Seconds are not compared: rival big runs "
        "on a server of its own."
    ]
    assert costs(rival_big=(None, None), tuned=(20, 0.1)) == [
        "What rival big costs is not known: its answers were recorded."
    ]


def test_a_rival_that_gives_empty_answers_is_told() -> None:
    def lines(*texts: str) -> list[str]:
        completions = {
            (str(i), BIG): Completion(str(i), BIG, text, (), "stop", 1.0, 2, 1)
            for i, text in enumerate(texts)
        }
        return rival_cost_lines(report().variants, completions, "tuned")

    assert lines("", " ", "x")[0].startswith(
        f"2 of 3 answers of {BIG} are empty, so the comparison"
    )
    assert not any("are empty" in line for line in lines("", "x", "y"))
