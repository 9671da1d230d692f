"""Error feedback: each column of a weight makes good what rounding the columns before it did to the products.

GPTQ (https://arxiv.org/abs/2210.17323) in the space of a few directions of the inputs. X [T, K] are inputs of the
matrix w [N, K]; U [R, K] has the R strongest directions of X / sqrt(T), so that U^T U stands for the mean of x x^T; and
lam, a multiple of the mean of x^2, keeps what was not seen in X from being moved for nothing. When the columns before k
are rounded to q, they have changed the outputs along U by d = sum (w - q) U^T, and errors e of the columns that follow
answer best, in the sense of  |d + e U_rest^T|^2 + lam |e|^2  being least, with

    e = -d (lam I + U_rest U_rest^T)^-1 U_rest          U_rest: the columns of U from k on

so column k is rounded from w_k + d . correction_k, correction_k = (lam I + U_rest U_rest^T)^-1 U_k.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 64  # columns whose corrections are solved for at once


@dataclass(frozen=True)
class Feedback:
    """What rounding a weight takes from its inputs: ``importance`` [K], ``directions`` and ``correction`` [K, R]."""

    importance: Tensor
    directions: Tensor
    correction: Tensor


def feedback_from(inputs: Tensor, *, damping: float, rank: int) -> Feedback:
    """``inputs`` [T, K] of a matrix, T > 0; ``damping`` is lam in units of the mean of their squares."""
    x = inputs.float() / len(inputs) ** 0.5
    squares = x.square().sum(0)
    lam = damping * float(squares.mean())
    lam = lam if lam > 0 else 1.0  # inputs that are all zero
    directions = _strongest(x, rank).T.contiguous()
    importance = squares + lam
    return Feedback(importance / importance.mean(), directions, correction_of(directions, lam))


def correction_of(directions: Tensor, lam: float) -> Tensor:
    """directions [K, R] -> [K, R], see above.

    From the last column to the first, with P the inverse of lam I + U_rest U_rest^T for the columns done: a block V of
    columns has  L L^T = I + V P V^T,  whose leading parts are those of its first columns alone, so
    Y = L^-1 V P  holds all their corrections, each times an entry of L's diagonal, and P loses Y^T Y.
    """
    u = directions.double().flip(0)
    inverse = torch.eye(u.shape[1], dtype=torch.float64) / lam
    corrections: list[Tensor] = []
    for block in u.split(BLOCK):
        projected = block @ inverse
        factor = torch.linalg.cholesky(torch.eye(len(block), dtype=torch.float64) + projected @ block.T)
        y = torch.linalg.solve_triangular(factor, projected, upper=False)
        corrections.append(y / factor.diagonal().unsqueeze(1))
        inverse = inverse - y.T @ y
    return torch.cat(corrections).flip(0).float()


def _strongest(x: Tensor, rank: int) -> Tensor:
    """The ``rank`` strongest directions of x [T, K], each as long as x is along it, [R, K]; x if it has fewer."""
    if len(x) <= rank:
        return x
    _, vectors = torch.linalg.eigh((x @ x.T).double())
    return vectors[:, -rank:].T.float() @ x
