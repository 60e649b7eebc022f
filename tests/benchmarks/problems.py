"""Rows of mixtures on which EM is slow, in several ways, and one on which it is fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Problem:
    """Rows to fit and with how many components.

    Attributes
    ----------
    name : str
    n_components : int
    make : callable
        Returns rows of shape (n, d) for a seed and n.
    """

    name: str
    n_components: int
    make: Callable[[int, int], Rows]


def mixture(
    seed: int, n_rows: int, weights: NDArray[np.float64], n_features: int, spread: float
) -> tuple[Rows, NDArray[np.intp]]:
    """Return rows of a Gaussian mixture with centres `spread` deviations from zero, and their components."""
    rng = np.random.default_rng(seed)
    n_components = len(weights)
    centres = rng.normal(size=(n_components, n_features))
    centres *= spread / np.linalg.norm(centres, axis=1, keepdims=True)
    shapes = np.eye(n_features) + 0.3 * rng.normal(size=(n_components, n_features, n_features))
    labels = rng.choice(n_components, size=n_rows, p=weights / weights.sum())
    rows = rng.normal(size=(n_rows, n_features))
    for k in range(n_components):
        members = labels == k
        rows[members] = centres[k] + rows[members] @ shapes[k]
    return rows, labels


def overlapping(seed: int, n_rows: int) -> Rows:
    """Return 8 components of 4 features, most of them on one another."""
    return mixture(seed, n_rows, np.ones(8), 4, spread=2.0)[0]


def rare(seed: int, n_rows: int) -> Rows:
    """Return 6 components of 5 features, one of which has 0.5 % of the rows."""
    return mixture(seed, n_rows, np.array([0.005, 0.199, 0.199, 0.199, 0.199, 0.199]), 5, spread=2.5)[0]


def misspecified(seed: int, n_rows: int) -> Rows:
    """Return skewed, heavy-tailed rows of 3 features: no mixture of a few normal distributions."""
    rng = np.random.default_rng(seed)
    rows, _ = mixture(seed, n_rows, np.ones(3), 3, spread=3.0)
    return rows + rng.exponential(2.0, size=rows.shape) / np.sqrt(rng.gamma(3.0, size=(n_rows, 1)))


def high_dimensional(seed: int, n_rows: int) -> Rows:
    """Return 6 components of 24 features that overlap."""
    return mixture(seed, n_rows, np.ones(6), 24, spread=1.5)[0]


def separated(seed: int, n_rows: int) -> Rows:
    """Return 4 components of 3 features, far from one another."""
    return mixture(seed, n_rows, np.ones(4), 3, spread=9.0)[0]


SLOW = (
    Problem("overlapping", 8, overlapping),
    Problem("rare 0.5 %", 6, rare),
    Problem("misspecified", 12, misspecified),
    Problem("high-dimensional", 6, high_dimensional),
)
FAST = Problem("separated", 4, separated)


def flat(seed: int, n_rows: int) -> Rows:
    """Return 8 components of 3 features that overlap: k-means on many rows has many ends."""
    return mixture(seed, n_rows, np.arange(1.0, 9.0), 3, spread=3.0)[0]


def uneven(seed: int, n_rows: int) -> Rows:
    """Return 6 components of 2 features, one with half of the rows and one with 1 %."""
    return mixture(seed, n_rows, np.array([50.0, 20.0, 15.0, 10.0, 4.0, 1.0]), 2, spread=3.5)[0]


def concentric(seed: int, n_rows: int) -> Rows:
    """Return a narrow and a wide component in one place, and two beside them."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [0.0, 0.0], [2.5, 0.0], [0.0, 2.5]])
    deviations = np.array([0.6, 2.0, 1.0, 1.2])
    labels = rng.choice(4, size=n_rows, p=[0.4, 0.3, 0.2, 0.1])
    return centres[labels] + rng.normal(size=(n_rows, 2)) * deviations[labels, np.newaxis]


def crossed(seed: int, n_rows: int) -> Rows:
    """Return three long components that cross one another."""
    rng = np.random.default_rng(seed)
    angles = np.array([0.0, 1.0, 2.1])[rng.choice(3, size=n_rows, p=[0.5, 0.3, 0.2])]
    along, across = 2.0 * rng.normal(size=n_rows), 0.6 * rng.normal(size=n_rows)
    rotated = (
        along * np.cos(angles) - across * np.sin(angles),
        along * np.sin(angles) + across * np.cos(angles),
    )
    return np.column_stack(rotated)


#: With the numbers of components that they were made of.
KNOWN = (Problem("concentric", 4, concentric), Problem("crossed", 3, crossed))
#: Where a start on all rows is many passes.
BIG = (Problem("flat", 8, flat), Problem("uneven", 6, uneven), Problem("misspecified", 5, misspecified))
