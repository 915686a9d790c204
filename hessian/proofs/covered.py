"""The replay of a complete list by Arb: each part of a cover holds no critical point but those of the list.

    X <- X and K(X)     until nothing is left, or all that is left lies in a ball that holds exactly one

Where this kernel needs smaller parts than the one that made the cover, it halves them further.
"""

from typing import Any

import numpy as np

from hessian.proofs.cover import leaves
from hessian.proofs.kernels import arb as judge
from hessian.proofs.program import Program, Refused
from hessian.proofs.record import Ball

BITS = 80
TURNS = 8  # of Krawczyk's operator on one box
SLOW = 0.7  # a box that keeps this share of its width is halved instead
DEEPER = 16  # times a part is halved at most


def wrong(program: Program, box: np.ndarray, balls: list[Ball], on_edge: list[bool], cover: str) -> str:
    """What is wrong with a list of balls, each of which holds exactly one critical point; "" where it is complete."""
    with judge.bits(BITS):
        sides = [(judge.arb(low), judge.arb(high)) for low, high in box.tolist()]
        held = [[judge.arb(judge.arb(m), r) for m, r in zip(ball.center, ball.radius, strict=True)] for ball in balls]
        zones = [_sharpened(program, one) for one in held]
        for zone, edge in zip(zones, on_edge, strict=True):
            if zone is None or any(x < low or x > high for x, (low, high) in zip(zone, sides, strict=True)):
                return "a point of the list is not in the box"
            if not edge and not all(x >= low and x <= high for x, (low, high) in zip(zone, sides, strict=True)):
                return "a point of the list may lie outside of the box"
        centers = np.array([[float(x) for x in zone] for zone in zones]).reshape(len(zones), len(box))
        if not _distinct(zones, centers):
            return "two points of the list may be one"
        for leaf in leaves(cover, [tuple(side) for side in box.tolist()]):
            if not _decided(program, [_between(low, high) for low, high in leaf], held, centers, DEEPER):
                return "a part of the cover may hold a critical point that is not in the list"
    return ""


def _between(low: float, high: float) -> Any:
    return judge.arb(low).union(judge.arb(high))


def _sharpened(program, box):
    for _ in range(TURNS):
        box = contracted(program, box)
        if box is None:
            return None
    return box


def _distinct(zones, centers):
    order = np.argsort(centers[:, 0]).tolist()
    for place, i in enumerate(order):
        for j in order[place + 1 :]:
            if zones[i][0] < zones[j][0]:
                break  # those that follow lie further
            if all(a.overlaps(b) for a, b in zip(zones[i], zones[j], strict=True)):
                return False
    return True


def _decided(program, box, held, centers, deeper):
    """Whether a box holds no critical point that is not in one of the balls."""
    for _ in range(TURNS):
        smaller = contracted(program, box)
        if smaller is None:
            return True
        if len(held):
            near = np.abs(centers - [float(x) for x in smaller]).max(axis=1).argmin()
            if all(ball.contains_interior(x) for ball, x in zip(held[near], smaller, strict=True)):
                return True
        shares = [float(new.rad()) / max(float(old.rad()), 1e-300) for new, old in zip(smaller, box, strict=True)]
        box = smaller
        if max(shares) > SLOW:
            break
    if not deeper:
        return False
    side = int(np.argmax([float(x.rad()) for x in box]))
    middle, parts = box[side].mid(), (box[side].lower(), box[side].upper())
    halves = [[*box[:side], middle.union(end), *box[side + 1 :]] for end in parts]
    return all(_decided(program, half, held, centers, deeper - 1) for half in halves)


def contracted(program: Program, box: list[Any]) -> list[Any] | None:
    """A part of a box that holds all critical points in it; None where there is none."""
    middle = [x.mid() for x in box]
    try:
        wide, thin = judge.jet(program, box), judge.jet(program, middle)
    except Refused:
        return box
    away = judge.arb_mat([[x - m] for x, m in zip(box, middle, strict=True)])
    taylor = thin.gradient + wide.hessian * away
    if not all(one.contains(0) for slopes in (wide.gradient, taylor) for one in slopes.entries()):
        return None
    try:
        inverse = wide.hessian.mid().inv().mid()
    except ZeroDivisionError:
        return box
    n = len(box)
    unit = judge.arb_mat(n, n, [int(i == j) for i in range(n) for j in range(n)])
    into = judge.arb_mat([[m] for m in middle]) - inverse * thin.gradient + (unit - inverse * wide.hessian) * away
    if not all(x.overlaps(k) for x, k in zip(box, into.entries(), strict=True)):
        return None
    return [x.intersection(k) for x, k in zip(box, into.entries(), strict=True)]
