"""Group questions by topic: TF-IDF of their words, and k-means; with scikit-learn, if installed.

A topic is named after the words that are heavier in it than elsewhere. In a script without spaces,
pairs of signs stand for words. Cases of an earlier version keep their topics, and new ones join the
nearest; so the topics of a set stay the same while it grows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plugin.caseset.records import ONE_TOPIC, BuildRequest, PoolRow
from plugin.errors import OptionError
from plugin.languages import is_common_word
from plugin.memorisation.texts import is_sign, words_of
from plugin.memorisation.training import asked_text

OTHER = "other questions"
"""The topic of questions whose words no other one has."""

NO_GROUP = "without a group"
INSTALL = "pip install -r requirements-cases.txt -c constraints/default.txt"

_MOST_TOPICS, _ROWS_PER_TOPIC, _LEAST_ROWS = 12, 10, 20
_N_FITTED, _N_WORDS, _N_AXES = 20_000, 20_000, 50
_LONGEST = 2_000
"""Characters of a question that are looked at."""

_ASKING = frozenset(
    "how what why when where who whom whose can could would should will shall may might must does "
    "did has had please help explain tell want know need like get there with from about not but "
    "out and for while because then than our her his its any all some into only just before after "
    "since until between show find use using wie was warum wann wer wen welche kann können bitte "
    "hilfe möchte ich mir mein meine comment pourquoi quand quel quelle peux pouvez merci aide mon "
    "mes cómo qué por cuándo dónde quién cuál puedo puede favor ayuda mis".split()
)
"""Words that say that something is asked, and not about what; besides common ones."""

_N_NAMED = 3
_LEAST_LETTERS = 3

Matrix = NDArray[np.float64]


def find_topics(
    rows: Sequence[PoolRow], request: BuildRequest
) -> tuple[tuple[PoolRow, ...], tuple[str, ...]]:
    """Return the rows with their topics, and notes.

    Args:
        rows: the pool, by rank.
        request: says how many topics there are, or that groups are topics.

    Raises:
        OptionError: when topics are asked for that cannot be found.
    """
    if request.by_group:
        return _by_group(rows), ()
    known = sorted({row.topic for row in rows if row.is_earlier} - {"", ONE_TOPIC})
    n = request.n_topics if request.n_topics is not None else usual_number(len(rows))
    if request.n_topics is not None and not 1 <= n <= len(rows):
        raise OptionError(f"--topics {n} must be from 1 to {len(rows)}, the number of questions")
    if known and request.n_topics in (None, len(known)):
        n = len(known)
    elif known:
        raise OptionError(
            f"--topics {n}: the set in {request.out} has {len(known)} topics, and new cases join "
            "them; leave --topics out, or choose another folder with --out"
        )
    if n == 1:
        return _in_one(rows, known[0] if known else ONE_TOPIC), ()
    if find_spec("sklearn") is None:
        if request.n_topics is not None or known:
            what = "--topics needs" if request.n_topics else f"the topics of {request.out} need"
            raise OptionError(f"{what} scikit-learn: {INSTALL}")
        note = f"Topics were not looked for: this needs scikit-learn ({INSTALL})"
        return _in_one(rows), (note,)
    texts = [asked_text(row.case)[:_LONGEST] for row in rows]
    found = _cluster(texts, rows, n, request.seed)
    if found is None:
        note = "Topics were not found: the questions have no words in common"
        return _in_one(rows), (note,)
    return tuple(replace(row, topic=one) for row, one in zip(rows, found, strict=True)), ()


def _in_one(rows: Sequence[PoolRow], topic: str = ONE_TOPIC) -> tuple[PoolRow, ...]:
    return tuple(replace(row, topic=topic) for row in rows)


def _by_group(rows: Sequence[PoolRow]) -> tuple[PoolRow, ...]:
    if not any(row.case.group for row in rows):
        raise OptionError(
            "--by_group: no row has a group; name its column with --group_column, or leave "
            "--by_group out"
        )
    return tuple(replace(row, topic=row.case.group or NO_GROUP) for row in rows)


def usual_number(n_rows: int) -> int:
    """Return how many topics to look for: 1 for few rows, then with the square root, up to 12."""
    if n_rows < _LEAST_ROWS:
        return 1
    return max(2, min(_MOST_TOPICS, round(math.sqrt(n_rows / _ROWS_PER_TOPIC))))


def terms_of(text: str) -> Iterator[str]:
    """Yield the words of a text that may say what it is about, and pairs of signs."""
    before = ""
    for word in words_of(text):
        sign = is_sign(word)
        if sign and before:
            yield before + word
        elif not sign and len(word) >= _LEAST_LETTERS and not word.isdecimal():
            if not is_common_word(word) and word not in _ASKING:
                yield word
        before = word if sign else ""


def _cluster(texts: Sequence[str], rows: Sequence[PoolRow], n: int, seed: int) -> list[str] | None:
    """Return the topic of each text; None where they have no words to tell them by."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    fitted = texts[:_N_FITTED]
    vectorizer = TfidfVectorizer(
        analyzer=lambda text: list(terms_of(text)),
        min_df=2 if len(fitted) >= 50 else 1,
        max_df=0.5,
        max_features=_N_WORDS,
        sublinear_tf=True,
    )
    try:
        vectorizer.fit(fitted)
    except ValueError:  # no term is in several texts but not in all
        return None
    weights = vectorizer.transform(texts)
    has_terms = np.asarray(weights.getnnz(axis=1)) > 0
    places = _places(weights, len(fitted), seed)
    own = ["" if row.topic == ONE_TOPIC else row.topic for row in rows]
    if any(own):
        found = _nearest_known(places, own)
    else:
        labels = _k_means(places, has_terms, n, seed)
        names = _name_topics(weights, labels, vectorizer.get_feature_names_out())
        found = [names[label] for label in labels.tolist()]
    return [
        topic or (name if has else OTHER)
        for topic, name, has in zip(own, found, has_terms.tolist(), strict=True)
    ]


def _places(weights: Any, n_fitted: int, seed: int) -> Matrix:
    """Return a place for each text in a space of few axes, on the unit sphere."""
    from sklearn.decomposition import TruncatedSVD

    n_axes = min(_N_AXES, weights.shape[1] - 1, n_fitted - 1)
    if n_axes < 2:
        places: Matrix = np.asarray(weights.todense(), np.float64)
    else:
        svd = TruncatedSVD(n_axes, random_state=seed)
        svd.fit(weights[:n_fitted])
        places = np.asarray(svd.transform(weights), np.float64)
    return _unit(places)


def _unit(places: Matrix) -> Matrix:
    lengths = np.linalg.norm(places, axis=1, keepdims=True)
    found: Matrix = places / np.where(lengths > 0, lengths, 1.0)
    return found


def _k_means(places: Matrix, has_terms: NDArray[np.bool_], n: int, seed: int) -> NDArray[np.int64]:
    """Return the number of each text's topic; that of a text without terms says nothing."""
    from sklearn.cluster import KMeans

    fitted = places[:_N_FITTED][has_terms[:_N_FITTED]]
    n_different = len(np.unique(fitted.round(9), axis=0))
    made = KMeans(min(n, n_different), n_init=4, random_state=seed).fit(fitted)
    return np.asarray(made.predict(places), np.int64)


def _nearest_known(places: Matrix, topics: Sequence[str]) -> list[str]:
    """Return each text's topic: its own, or that whose texts lie nearest on average.

    Args:
        places: of the texts.
        topics: of each text; "" for one that has none yet.
    """
    names = sorted(set(topics) - {""})
    own = {name: [at for at, topic in enumerate(topics) if topic == name] for name in names}
    middles = _unit(np.stack([places[own[name]].mean(0) for name in names]))
    nearest = (places @ middles.T).argmax(1).tolist()
    return [topic or names[at] for topic, at in zip(topics, nearest, strict=True)]


def _name_topics(weights: Any, labels: NDArray[np.int64], terms: Any) -> dict[int, str]:
    """Return a name for each topic: the terms that weigh more in it than in all texts."""
    whole = np.asarray(weights.mean(0)).ravel()
    names: dict[int, str] = {}
    for label in sorted(set(labels.tolist())):
        own = np.asarray(weights[labels == label].mean(0)).ravel()
        ahead = own - whole
        order = np.lexsort((terms, -np.round(ahead, 9)))
        heavy = [str(terms[at]) for at in order[:_N_NAMED] if ahead[at] > 0]
        name = ", ".join(heavy) or OTHER
        while name in names.values():
            name += "'"
        names[label] = name
    return names
