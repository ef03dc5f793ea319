"""Three small tasks of lm-evaluation-harness, with data on the disk, in each kind of request."""

from __future__ import annotations

import json
from pathlib import Path

CHOICE = """\
task: pets
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/pets.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: "{{options}}"
doc_to_target: "{{answer}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""

WRITING = """\
task: shows
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/shows.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n", "."], max_gen_toks: 80}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}
metadata: {version: 1.0}
"""

LAST_WORD = """\
task: last_word
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/last.jsonl}}
output_type: loglikelihood
test_split: test
doc_to_text: "{{text}}"
doc_to_target: " {{word}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""

TEXTS = """\
task: texts
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/last.jsonl}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - {metric: word_perplexity}
metadata: {version: 1.0}
"""

PETS = [
    {"question": "Which one barks?", "options": [" the dog", " a cat that sleeps"], "answer": 0},
    {"question": "Who plays Dinesh?", "options": [" Kumail", " Thomas"], "answer": 0},
    {"question": "Who plays Richard?", "options": [" Zach", " Thomas", " T.J."], "answer": 1},
    {"question": "", "options": [" one", " two"], "answer": 1},
    {"question": "Is water wet? " * 8, "options": [" yes", " no, it is not"], "answer": 0},
]
SHOWS = [
    {"question": "Who plays Dinesh?", "answer": "Kumail Nanjiani"},
    {"question": "Who is Gilfoyle?", "answer": "Martin Starr"},
    {"question": "What is Pied Piper?", "answer": "a company"},
]
LAST = [
    {"text": "Who plays Dinesh in the", "word": "show"},
    {"text": "Pied Piper is a", "word": "company"},
    {"text": "The", "word": "answer is not here"},
]


def write_tasks(folder: Path) -> Path:
    """The folder with three tasks and their data; `texts.yaml` is not among them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in {"pets": PETS, "shows": SHOWS, "last": LAST}.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    for name, text in {"pets": CHOICE, "shows": WRITING, "last_word": LAST_WORD}.items():
        write_task(folder, name, text)
    return folder


def write_task(folder: Path, name: str, text: str) -> None:
    file = folder / f"{name}.yaml"
    file.write_text(text.replace("FOLDER", str(folder)), encoding="utf-8")
