"""The options that say how completions are scored: metrics, judge, and what judging may cost."""

from __future__ import annotations

from typing import Literal

from plugin.judges import choices as judge_choices
from plugin.metrics import names as metric_names
from plugin.plan.options import CLASSIC, CLI, Criteria, Option, Price, Texts, option
from plugin.plan.params_input import InputParams

STRIP, KEEP = "strip", "keep"
BASE, ALL_PAIRS = "base", "all"


class ScoringParams(InputParams):
    """Declare the options of the groups metrics, judge and cost."""

    predefined_tasks: Texts = option(
        (),
        "Metrics",
        "What is scored. Empty: your own criteria alone where there are any, else what other "
        "options and the expected outputs call for (labels, JSON), else Answer Relevancy (Turn "
        "Rating where conversations are asked turn by turn), Hallucination where cases have "
        "context, Correctness where they have expected outputs, "
        "Preference where none has. Of Hallucination, Bias and Toxicity less is better. The "
        "Contextual ones judge the data set, not the models, and are never compared. Perplexity "
        "(of the expected outputs, in nats per token; less is better) needs the engine mlx or "
        "transformers and no judge. Latency, Tokens per Second, Completion Tokens and Cut Off "
        "describe and never decide.",
        Option(
            "metrics",
            "metrics, such as 'Token F1, Correctness'",
            "NAMES",
            widget="AutoCompleteWidget",
            form_help="Several may be chosen; the Introduction says what each looks at. Empty: "
            "what suits the data, such as Classification for labels, else Correctness and others.",
            choices=metric_names(),
        ),
    )
    primary_metric: str = option(
        "",
        "Primary metric",
        "The metric that decides the verdict. Empty: Turn Rating where it runs (it does in "
        "conversations), else Correctness when cases have expected outputs, else Preference "
        "(unless the judge is offline), else Answer Relevancy.",
        Option("metrics", "the metric that decides the verdict", "NAME"),
    )
    guard_metric: Texts = option(
        (),
        "Guard metrics",
        "Metrics of this run that may only veto: NAME or NAME=MARGIN, your own criteria too. A "
        "loss beyond the margin stands in the verdict. Hallucination, Faithfulness, Bias and "
        "Toxicity are guards wherever they run; naming one of them sets its margin, and 'none' "
        "leaves out those that you do not name. Several: separated by commas.",
        Option("metrics", value="NAME[=MARGIN]", may_repeat=True),
    )
    retention_group: Texts = option(
        (),
        "Retention groups",
        "Groups of cases that must not get worse, such as general knowledge; a loss on the primary "
        "metric there stands in the verdict. A column named retention can mark them, too. Several: "
        "separated by commas.",
        Option("metrics", value="GROUP", may_repeat=True),
    )
    thinking: Literal["strip", "keep"] = option(
        STRIP,
        "Thoughts of thinking models",
        "strip: only what follows a completion's thoughts (think tags, gpt-oss channels) is "
        "scored; one that ends inside them has no answer and is a counted failure. keep: all of it "
        "is scored.",
        Option("metrics", widget="radio", choices=(STRIP, KEEP)),
    )
    tasks: Criteria = option(
        (),
        "Your own criteria (G-Eval)",
        "What else the judge should look at, each as a metric of its own. Lines 'name: "
        "description', or JSON: a list of {name, description, include_context, evaluation_steps, "
        "whole_conversation}. Without steps the judge writes them from the description, once for "
        "all cases.",
        Option(
            "metrics",
            value="TEXT",
            widget="textarea",
            form_help="What else the judge looks at: one criterion a line, as 'name: description', "
            "such as 'Politeness: Is the answer polite?'. Each is a metric of its own.",
        ),
    )
    preference_criteria: str = option(
        "",
        "Your own criterion for Preference",
        "What makes one completion better than the other, in your words, such as 'Which answer "
        "would calm an angry customer?'. Asks for the metric Preference, and replaces its general "
        "criterion: accuracy, helpfulness, completeness, clarity and instructions followed.",
        Option("metrics", value="TEXT"),
    )
    preference_reference: bool = option(
        False,
        "Preference sees expected outputs",
        "Show the judge of Preference the expected output of the cases that have one, as a "
        "reference to compare both completions with.",
        Option("metrics"),
    )
    pairs: Literal["base", "all"] = option(
        BASE,
        "Pairs that Preference compares",
        "base: every variant against the base, and against the prompted base if there is one. "
        "all: the other variants against each other, too, which makes the ranking sharper and "
        "costs two calls per case and pair.",
        Option("metrics", widget="radio", choices=(BASE, ALL_PAIRS)),
    )
    style_control: bool = option(
        False,
        "Style control",
        "Report the win rate of Preference at equal style, too: as if both answers had as many "
        "headers, lists and bold marks. At equal length it is always reported.",
        Option("metrics"),
    )
    margin: float = option(
        0.05,
        "Smallest difference that matters",
        "Differences within it, either way, count as equivalent (scores run from 0 to 1; "
        "Perplexity counts nats per token).",
        Option("metrics", value="N"),
        ge=0.001,
        lt=1,
    )
    judge: str = option(
        "",
        "Judge",
        f"Who scores: {judge_choices()}. custom is any OpenAI-compatible server, at "
        "CUSTOM_JUDGE_BASE_URL. local is the classic host's own server (local:<model> where it has "
        "several). mlx and transformers take a hub id or a directory and run here. offline uses "
        "word rules, only to try the tool out. Several judges, separated by commas, are a panel: "
        "each judges everything, and their mean counts. Not needed when no metric asks a judge.",
        Option("judge", "who scores, such as openai:gpt-4o-mini", "KIND:MODEL"),
    )
    judge_model: str = option(
        "",
        "Judge model",
        "Who scores. Greyed models have no key yet: store it in the host's Settings. Exact Match, "
        "Token F1 and Perplexity need no judge.",
        Option("judge", hosts=CLASSIC, widget="ModelProviderWidget"),
    )
    second_judge: str = option(
        "",
        "Second judge",
        "Judges again, both sides of a pair, where the first is unsure: a score in the middle "
        "third, a tie or flip of Preference, or a panel that is more than a third apart. Its "
        "scores then count.",
        Option("judge", value="KIND:MODEL"),
    )
    include_reason: bool = option(
        True,
        "Ask for reasons",
        "Have the judge say why for every score. Off saves a call per score of most metrics.",
        Option("judge"),
    )
    trust_report: bool = option(
        True,
        "Trust report",
        "Examine the judge, too, with a few calls more: some judgments asked again, and wrong "
        "answers that it must not like. Not done for the offline judge.",
        Option("judge"),
    )
    human_ratings: Texts = option(
        (),
        "Human ratings",
        "Files with human ratings of this run's completions: what a rating page downloads, or the "
        "CSV template (`python main.py ratings DIR` writes both). Several raters, several files. "
        "The report then says how far judge and humans agree, and the gain corrected by them.",
        Option("judge", value="FILE", hosts=CLI, may_repeat=True, takes_several=True),
    )
    budget: float = option(
        0.0,
        "Budget in dollars",
        "Judging stops when the judges' tokens have cost so much; what was done is kept, and a "
        "higher budget goes on. 0: no limit.",
        Option("cost", "stop judging at this cost in dollars", "N"),
        ge=0,
    )
    max_calls: int = option(
        0,
        "Limit on judge calls",
        "Judging stops after so many calls; what was done is kept. 0: no limit.",
        Option("cost", "stop judging after this many calls", "N"),
        ge=0,
    )
    deadline_s: float = option(
        0.0,
        "Seconds for judging",
        "Judging stops after so many seconds; what was done is kept, and the same run goes on. "
        "0: no limit.",
        Option("cost", value="N"),
        ge=0,
    )
    judge_price: Price = option(
        (),
        "Price of the judge",
        "Dollars per million tokens, prompt and completion: '0.15, 0.60'. Empty: from a table of "
        "the known ones.",
        Option("cost", value="N,N"),
    )
    stop_early: bool = option(
        False,
        "Stop early",
        "Stop judging as soon as the verdict is settled, by intervals that hold however often "
        "one looks. They are wider, and where nothing is settled all cases are judged.",
        Option("cost"),
    )
