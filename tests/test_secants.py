"""Answers of states to rows, corrected by steps: what steps showed is believed, the rest is the map."""

from __future__ import annotations

import numpy as np
import pytest

from tokengraft.training.secants import Answers, curvature_of_all, towards_and_curvature

A, D = 2, 6


def answers_of(rng: np.random.Generator) -> Answers:
    spread = rng.standard_normal((D, D))
    return Answers(rng.standard_normal((A, D, D)), np.linalg.inv(spread @ spread.T + np.eye(D)))


def applied(answers: Answers, token: int, change_D: np.ndarray) -> np.ndarray:
    u_KAD, v_KD = answers.corrections(token)
    shared = np.einsum("aod,d->ao", answers.shared_ADD, change_D)
    return np.asarray(shared + np.einsum("kao,k->ao", u_KAD, v_KD @ change_D))


def test_what_a_step_showed_is_believed_and_only_of_its_own_token() -> None:
    rng = np.random.default_rng(0)
    answers = answers_of(rng)
    true_NADD = answers.shared_ADD + rng.standard_normal((2, A, D, D))
    changes = rng.standard_normal((3, 2, D))
    for change_ND in changes:
        change_ND[1] = 0  # this token took no step
        answers.learn(change_ND, np.einsum("naod,nd->nao", true_NADD, change_ND))
    for change_ND in changes:
        told = true_NADD[0] @ change_ND[0]
        by_all = answers.shared_ADD @ change_ND[0]
        found = applied(answers, 0, change_ND[0])
        assert np.linalg.norm(found - told) < 0.25 * np.linalg.norm(by_all - told)
    other = rng.standard_normal(D)
    assert applied(answers, 1, other) == pytest.approx(answers.shared_ADD @ other)


def test_steps_along_every_direction_show_the_whole_map() -> None:
    rng = np.random.default_rng(1)
    answers = answers_of(rng)
    true_ADD = rng.standard_normal((A, D, D))
    for change_D in np.eye(D):
        answers.learn(change_D[None], (true_ADD @ change_D)[None])
    fisher_DD = np.eye(D)
    residual_AD = rng.standard_normal((A, D))
    shared = curvature_of_all(answers, fisher_DD)
    towards, curvature = towards_and_curvature(answers, 0, residual_AD, fisher_DD, shared)
    expected = np.einsum("aod,ao->d", true_ADD, residual_AD) / A
    exact = sum(a.T @ a for a in true_ADD) / A
    assert np.linalg.norm(towards - expected) < 0.2 * np.linalg.norm(expected)
    assert np.linalg.norm(curvature - exact) < 0.3 * np.linalg.norm(exact - shared)
    assert (np.linalg.eigvalsh(curvature) > -1e-9).all()


def test_without_a_step_the_map_of_all_is_used() -> None:
    rng = np.random.default_rng(2)
    answers = answers_of(rng)
    residual_AD = rng.standard_normal((A, D))
    shared = curvature_of_all(answers, np.eye(D))
    towards, curvature = towards_and_curvature(answers, 0, residual_AD, np.eye(D), shared)
    assert towards == pytest.approx(np.einsum("aod,ao->d", answers.shared_ADD, residual_AD) / A)
    assert curvature is shared
