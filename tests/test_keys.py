"""Secrets in texts: what is hidden, and what stays."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from plugin.cache import Cache, Judgment
from plugin.errors import JudgeDownError
from plugin.journal import Journal
from plugin.keys import KnownSecrets, SecretMask, hidden_in_errors
from plugin.records import Failure, Score
from tests.e2e.conftest import demo_options, main
from tests.judge_server import JudgeServer, Reply
from tests.samples import completion

KEY = "sk-4711-secret"


def test_long_secrets_are_hidden_in_content_in_any_case() -> None:
    mask = SecretMask(KEY, "https://anna:pass%20word@host/v1", more=["another-one"])
    assert mask.in_content(f"a {KEY}, SK-4711-SECRET!") == "a [key], [key]!"
    assert mask.in_content("another-one and pass word, pass%20word") == "[key] and [key], [key]"
    assert mask.in_content(KEY.encode().hex()) == "[key]"
    assert mask.in_content("sk-4711, the secret of anna") == "sk-4711, the secret of anna"


def test_a_short_key_is_a_word_in_content_but_not_in_a_message() -> None:
    mask = SecretMask("EMPTY")
    assert mask.in_content("The list is EMPTY.") == "The list is EMPTY."
    assert mask("no such key: EMPTY") == "no such key: [key]"
    assert SecretMask().in_content("as it is\ud800") == "as it is\ud800"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("key: sk-4711-secre", "key: [key]"),
        ("key: sk-4711-", "key: [key]"),
        ("key: sk-4711", "key: sk-4711"),
        ("sk-4711-secre is not the end", "sk-4711-secre is not the end"),
    ],
)
def test_the_end_of_a_cut_off_text_holds_no_large_part_of_a_secret(text: str, left: str) -> None:
    assert SecretMask(KEY).in_content(text) == left


def test_which_settings_are_secret() -> None:
    stored = {
        "OPENAI_API_KEY": KEY,
        "OPENAI_API_VERSION": "2024-10-21",
        "OLLAMA_HOST": "anna:password-1@box:11434",
        "CUSTOM_JUDGE_BASE_URL": "http://[::1/v1",
    }
    secrets = KnownSecrets(stored.get)
    assert [secrets(name) for name in stored] == list(stored.values())
    assert secrets("ANTHROPIC_API_KEY") is None
    text = f"{KEY} 2024-10-21 password-1 http://[::1/v1 box:11434"
    assert secrets.mask().in_content(text) == "[key] 2024-10-21 [key] http://[::1/v1 box:11434"


def test_the_journal_hides_them_in_everything_from_outside(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache.sqlite")
    cache.add_judgment("old", Judgment(f'{{"reason": "{KEY}"}}', version=KEY))
    with closing(Journal(tmp_path / "run", cache, SecretMask(KEY))) as journal:
        journal.add_answer("k", completion(f"the key {KEY}", "1", "tuned"))
        journal.add_answer("l", completion("no key", "2", "tuned"))
        journal.add_judgment("new", Judgment(f'{{"reason": "{KEY}"}}', version=KEY))
        assert journal.judgment("old") == Judgment('{"reason": "[key]"}', version="[key]")
        assert journal.judgment("new") == Judgment('{"reason": "[key]"}', version="[key]")
        journal.add_score(Score("1", "tuned", "Bias", 0.5, f"because of {KEY}"))
        journal.add_failure(Failure("1", "judge", f"HTTP 400: {KEY}", "tuned", "Toxicity"))
        made = journal.completions()
        masked = made["1", "tuned"]
        assert (masked.text, masked.token_ids, masked.is_masked) == ("the key [key]", (), True)
        assert not made["2", "tuned"].is_masked
        assert [score.reason for score in journal.scores()] == ["because of [key]"]
        assert [failure.reason for failure in journal.failures()] == ["HTTP 400: [key]"]
        again = journal.completions()["1", "tuned"]
        journal.add_answer("m", again.copy_for("3", "tuned"))
        assert journal.completions()["3", "tuned"].is_masked
    run = b"".join(file.read_bytes() for file in (tmp_path / "run").iterdir())
    assert KEY.encode() not in run


def test_an_error_and_what_led_to_it_hold_no_secret() -> None:
    secrets = KnownSecrets({"OPENAI_API_KEY": KEY, "OTHER_KEY": "none"}.get)
    with pytest.raises(JudgeDownError) as caught, hidden_in_errors(secrets.mask):
        assert secrets("OPENAI_API_KEY") and secrets("OTHER_KEY")
        try:
            raise ValueError(f"said {KEY}", 7)
        except ValueError as error:
            raise JudgeDownError(f"none of it: {KEY.upper()}") from error
    assert str(caught.value) == "none of it: [key]"
    assert caught.value.__cause__ and caught.value.__cause__.args == ("said [key]", 7)


def test_most_of_a_long_secret_is_hidden_anywhere() -> None:
    secret = "sk-proj-0123456789abcdef"
    mask = SecretMask(secret)
    assert mask.in_content(f"not {secret[:-1]}, but") == "not [key], but"
    assert mask.in_content(f"not {secret[:18]}..., but") == "not [key]..., but"
    assert mask.in_content(f"keys like {secret[:8]}...") == f"keys like {secret[:8]}..."


def test_errors_that_cause_each_other_are_no_trap() -> None:
    one, other = ValueError(KEY), ValueError(KEY)
    one.__cause__, other.__cause__ = other, one
    with pytest.raises(ValueError, match="^.key.$"), hidden_in_errors(lambda: SecretMask(KEY)):
        raise one


def test_a_server_that_repeats_the_key_of_another_gets_it_into_no_message(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.fault = lambda n, body: Reply(status=418, text=f"I know {KEY}")
    options = {
        "predefined_tasks": "Correctness",
        "judge": "custom:some",
        "second_judge": "openai:gpt-some",
        "max_tokens": "8",
    }
    secrets = {"CUSTOM_JUDGE_BASE_URL": server.url, "OPENAI_API_KEY": KEY}
    ended = main(*demo_options(tmp_path / "o", **options), **secrets)
    assert ended.code == 1
    assert "the last with: HTTP 418: I know [key]" in ended.err
    assert KEY not in ended.out + ended.err
