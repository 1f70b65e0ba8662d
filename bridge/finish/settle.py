"""The last step to exactness: the layer on top takes what rounding has left, in Krita's own arithmetic."""

import numpy as np
from numpy.typing import NDArray

from bridge.finish.blend import blend
from bridge.finish.encoding import Encoding
from bridge.finish.images import Floats
from bridge.picture import Pixels

STEPS = {"u": 3, "f": 64}
"""Steps of alpha in which a colour that comes out right is looked for, by kind of number: 16-bit floats need some."""
HALF_STEP = 1 / 2048
"""One such step in 16-bit floating point: the spacing of its numbers below 1."""
NEAR = 2e-7
"""32-bit floating point needs no search: as near as this, in parts of the range or of the number, is its rounding."""
NUDGES = (0, -1, 1)


def flat(form: Encoding, colours: Pixels, alphas: Pixels) -> Pixels:
    """Layers flattened at m pixels, (C, m), over the first, which is opaque or hidden.

    colours: (n, C, m); alphas: (n, m), both in `form`.
    """
    below = colours[0]
    for colour, alpha in zip(colours[1:], alphas[1:], strict=True):
        below = blend(form, below, colour, alpha)
    return below


def settle_top(form: Encoding, colours: Pixels, alphas: Pixels, goal: Pixels, low: Floats, high: Floats) -> None:
    """Change the topmost layer that is there, in place, so that m pixels flatten to `goal` (C, m).

    colours: (n, C, m); alphas: (n, m); low, high: (C, 1), what a colour may be. A step of the top colour moves the
    flattened pixel by at most one step, so what lies between its extremes can be reached; alpha rises by the least
    that brings the goal between them. Where nothing else helps the layer becomes opaque, which always does.
    """
    count = len(colours)
    top = count - 1 - (alphas[::-1] > 0).argmax(0)
    below = np.empty_like(goal)
    result = colours[0]
    for k in range(1, count):
        here = top == k
        below[:, here] = result[:, here]
        result = blend(form, result, colours[k], alphas[k])
    left = np.flatnonzero(~reached(form, result, goal))
    if len(left) == 0:
        return
    alone = left[top[left] == 0]  # nothing below to mix with
    colours[0][:, alone], alphas[0, alone] = goal[:, alone], form.opaque
    left = left[top[left] > 0]
    k = top[left]
    colour, alpha = _solve(form, below[:, left], goal[:, left], alphas[k, left], low, high)
    colours[k, :, left], alphas[k, left] = colour.T, alpha


def _solve(
    form: Encoding, below: Pixels, goal: Pixels, alpha: Pixels, low: Floats, high: Floats
) -> tuple[Pixels, Pixels]:
    """Colour (C, m) and alpha (m) that give `goal` over `below`, alpha at least as given."""
    colour, solved = goal.copy(), np.full_like(alpha, form.opaque)
    least = _least_alpha(form, below, goal, alpha, low, high)
    left = np.arange(int(goal.shape[1]), dtype=np.intp)
    for step in range(STEPS[form.dtype.kind]):
        b, t = below[:, left], goal[:, left]
        tried = _raised(form, least[left], step)
        guess = b + (t - b.astype(np.float64)) * (form.opaque / tried.astype(np.float64))
        guess = guess.clip(low, high)
        chosen, right = np.empty_like(t), np.zeros(t.shape, np.bool_)
        for nudge in NUDGES:
            candidate = _nudged(form, guess, nudge)
            hit = _near(form, blend(form, b, candidate, tried), t)
            np.copyto(chosen, candidate, where=hit & ~right)
            right |= hit
            if right.all():
                break
        done = np.all(right, axis=0)
        colour[:, left[done]], solved[left[done]] = chosen[:, done], tried[done]
        left = np.asarray(left[~done], np.intp)
        if len(left) == 0:
            break
    return colour, solved


def _least_alpha(
    form: Encoding, below: Pixels, goal: Pixels, alpha: Pixels, low: Floats, high: Floats
) -> NDArray[np.float64]:
    """The smallest alpha, at least `alpha`, with which a colour between `low` and `high` can give `goal`."""
    b = below.astype(np.float64)
    rise = goal - b
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(rise > 0, rise / (high - b), rise / (low - b))
    reach = np.where(rise == 0, 0, reach).max(0).clip(0, 1)  # “not a number” stays, and ends as opaque
    if form.integer:
        return np.maximum(np.maximum(alpha, np.ceil(reach * form.opaque - 1e-6)), 1)
    return np.maximum(alpha.astype(np.float64), reach)


def _raised(form: Encoding, alpha: NDArray[np.float64], steps: int) -> Pixels:
    raised = alpha + steps * (1 if form.integer else HALF_STEP)
    return np.nan_to_num(np.minimum(raised, form.opaque), nan=form.opaque).astype(form.dtype)


def _nudged(form: Encoding, guess: NDArray[np.float64], nudge: int) -> Pixels:
    """`guess` in the document's numbers, and the next one below or above it."""
    if form.integer:
        return (np.rint(guess) + nudge).clip(0, form.opaque).astype(form.dtype)
    nearest = guess.astype(form.dtype)
    return np.nextafter(nearest, form.dtype.type(nudge * np.inf)) if nudge else nearest


def reached(form: Encoding, got: Pixels, goal: Pixels) -> NDArray[np.bool_]:
    """(m,) whether each pixel of `got` (C, m) is that of `goal`: the same, in 32-bit floating point NEAR it."""
    return np.all(_near(form, got, goal), axis=0)


def _near(form: Encoding, got: Pixels, goal: Pixels) -> NDArray[np.bool_]:
    if form.dtype != np.float32:
        return np.equal(got, goal)
    span = np.maximum((form.high - form.low)[:-1, None], np.abs(goal))
    return np.less_equal(np.abs(got - goal), NEAR * span)
