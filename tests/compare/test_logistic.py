"""Logistic fits against scikit-learn and choix, which are used in tests only."""

from __future__ import annotations

import math

import choix
import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t
from sklearn.linear_model import LogisticRegression

from plugin.compare.bradley_terry import Match, bradley_terry
from plugin.compare.length_control import BOLD, LENGTH, LISTS, length_controlled, style_controlled
from plugin.compare.logistic import PENALTY, draw_counts, fit_logistic, number_units, reach_of
from tests.compare.test_length_control import draw_outcomes, marks


def by_sklearn(features, values, weights):
    """The same fit by scikit-learn: a tie is half a win and half a loss."""
    model = LogisticRegression(
        C=1 / PENALTY, fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=1_000
    )
    rows, labels = np.concatenate((features.T, features.T)), [1] * len(values) + [0] * len(values)
    shares = np.concatenate((values * weights, (1 - values) * weights))
    return model.fit(rows[shares > 0], np.array(labels)[shares > 0], shares[shares > 0]).coef_[0]


def length_features(differences, weights):
    """Length control's features, from the formula of AlpacaEval 2, on drawn cases."""
    spread = np.repeat(differences, weights.astype(int)).std(ddof=1)
    return np.stack((np.ones_like(differences), np.tanh(differences / spread)))


def test_a_weighted_fit_agrees_with_scikit_learn():
    rng = np.random.default_rng(1)
    features = np.concatenate((np.ones((5, 1, 80)), rng.normal(size=(5, 2, 80))), axis=1)
    values = rng.choice([0.0, 0.5, 1.0], 80, p=[0.3, 0.2, 0.5])
    weights = rng.integers(0, 4, size=(5, 80)).astype(float)
    found = fit_logistic(features, values, weights)
    for own, each, weight in zip(found, features, weights, strict=True):
        assert own == pytest.approx(by_sklearn(each, values, weight), abs=1e-6)


def test_separated_outcomes_have_a_finite_fit_like_scikit_learns():
    x = np.stack((np.ones(40), np.linspace(-1, 1, 40)))
    y = (x[1] > 0).astype(float)
    found = fit_logistic(x[None], y, np.ones((1, 40)), start=np.array([9.0, -50.0]))[0]
    assert found == pytest.approx(by_sklearn(x, y, np.ones(40)), abs=1e-6)


def test_the_length_controlled_rate_agrees_with_scikit_learn():
    differences, values = draw_outcomes(0.4, 1.0, 0.3, np.random.default_rng(2))
    found = length_controlled(values, differences, seed=3)
    features = length_features(differences, np.ones(200))
    fitted = by_sklearn(features, values, np.ones(200))
    assert found.rate == pytest.approx(expit(fitted[0]), abs=1e-6)
    assert found.effects[0].log_odds == pytest.approx(fitted[1], abs=1e-6)


def test_the_whole_fit_is_repeated_for_the_interval_and_the_spread_with_it():
    differences, values = draw_outcomes(0.4, 1.0, 0.3, np.random.default_rng(4))
    clusters = np.repeat(np.arange(50), 4).tolist()
    found = length_controlled(values, differences, clusters=clusters, seed=5, n_resamples=20)
    units = number_units(200, clusters)
    (counts,) = draw_counts(50, 20, 5, 400)
    refits = []
    for drawn in counts[:, units]:
        refits.append(by_sklearn(length_features(differences, drawn), values, drawn)[0])
    half = reach_of(np.array(refits), np.full(50, 4.0))
    assert logit(found.rate) - logit(found.ci_low) == pytest.approx(half, abs=1e-6)
    assert logit(found.ci_high) - logit(found.rate) == pytest.approx(half, abs=1e-6)


def test_the_style_controlled_rate_agrees_with_scikit_learn():
    rng = np.random.default_rng(6)
    differences, values = draw_outcomes(0.2, 1.0, 0.3, rng)
    styles = [(marks(*rng.integers(0, 6, 2)), marks(*rng.integers(0, 6, 2))) for _ in values]
    found = style_controlled(values, differences, styles, seed=7, n_resamples=50)
    columns = [
        [(a - b) / (a + b) if a + b else 0.0 for a, b in ((o[k], p[k]) for o, p in styles)]
        for k in (1, 2)
    ]
    scaled = [np.array(column) / np.std(column, ddof=1) for column in columns]
    features = np.stack((*length_features(differences, np.ones(200)), *scaled))
    fitted = by_sklearn(features, values, np.ones(200))
    assert [effect.name for effect in found.effects] == [LENGTH, LISTS, BOLD]
    assert found.rate == pytest.approx(expit(fitted[0]), abs=1e-6)
    assert [effect.log_odds for effect in found.effects] == pytest.approx(fitted[1:], abs=1e-6)


def test_an_interval_has_the_t_quantile_of_the_effective_number_of_units():
    refits = np.array([[0.0], [2.0]])  # standard deviation 1
    assert reach_of(refits, np.ones(20)) == pytest.approx(2.093024 * math.sqrt(20 / 19), abs=1e-6)
    sizes = np.array([8.0] * 4 + [1.0] * 8)  # 40 ** 2 / 264 effective units
    n = 1600 / 264
    assert reach_of(refits, sizes) == pytest.approx(t.ppf(0.975, n - 1) * math.sqrt(n / (n - 1)))


def test_bradley_terry_scores_agree_with_choix():
    rng, names = np.random.default_rng(8), ["base", "a", "b", "c"]
    matches = [
        Match(names[i], names[j], rng.choice([0.0, 0.5, 1.0], p=[0.5 - d, 0.2, 0.3 + d]), case)
        for case in range(60)
        for i in range(4)
        for j in range(i)
        for d in [0.1 * (i - j)]
    ]
    games = []  # every match twice, so that a tie is one win for each side
    for match in matches:
        own, other = names.index(match.variant), names.index(match.baseline)
        won = [(own, other)] * int(2 * match.value)
        games += won + [(other, own)] * (2 - len(won))
    for penalty in (PENALTY, 1e-5):
        # choix's alpha weighs the plain sum of squares, and everything counts twice here.
        wanted = choix.opt_pairwise(4, games, alpha=penalty, tol=1e-12)
        found = bradley_terry(matches, seed=9, n_resamples=20, penalty=penalty)
        scores = {row.name: row.score for row in found.rated}
        assert [scores[name] for name in names] == pytest.approx(wanted - wanted.mean(), abs=1e-6)
