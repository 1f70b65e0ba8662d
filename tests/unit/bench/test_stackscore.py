"""The measures against a plain, slow writing of the same definitions on whole canvases in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import stackscore


def _over(back, front):
    fa, fb = back[..., 3:] / 255, front[..., 3:] / 255
    alpha = fb + fa * (1 - fb)
    rgb = (front[..., :3] * fb + back[..., :3] * fa * (1 - fb)) / np.maximum(alpha, 1e-6)
    return np.concatenate([rgb, alpha * 255], -1)


def _group(stack):
    left, depths = list(range(len(stack))), []
    while left:
        top = [i for i in left if not any(((stack[i] > 0) & (stack[j] > 0))[..., 3].any() for j in left if j > i)]
        merged = stack[top[0]].astype(float)
        for i in top[1:]:
            merged = _over(merged, stack[i].astype(float))
        depths.append(merged)
        left = [i for i in left if i not in top]
    return depths[::-1]


def _pair(p, t):
    pa, ta = p[..., 3] / 255, t[..., 3] / 255
    both, union = np.minimum(pa, ta), np.maximum(pa, ta).sum()
    iou = 1.0 if union == 0 else both.sum() / union
    l1 = 1.0 if both.sum() == 0 else (np.abs(p[..., :3] - t[..., :3]).mean(-1) * both).sum() / both.sum() / 255
    return l1, iou


def _align(pred, true):
    """The cheapest path through the whole grid of pairs, by recursion."""

    def paths(i, j):
        here = _pair(pred[i], true[j])
        if i == j == 0:
            return [here]
        steps = ((i - 1, j - 1), (i - 1, j), (i, j - 1))
        before = [paths(*step) for step in steps if min(step) >= 0]
        return [*min(before, key=lambda path: sum(l1 + 1 - iou for l1, iou in path)), here]

    best = paths(len(pred) - 1, len(true) - 1)
    return np.mean([l1 for l1, _ in best]), np.mean([iou for _, iou in best])


def _score(pred, true, edits):
    pred, true = _group(pred), _group(true)
    results = [_align(pred, true)]
    for _ in range(edits):
        options = []
        for side, stack in enumerate((pred, true)):
            for k in range(len(stack) - 1 if len(stack) > 2 else 0):
                fewer = [*stack[:k], _over(stack[k], stack[k + 1]), *stack[k + 2 :]]
                pair = (fewer, true) if side == 0 else (pred, fewer)
                options.append((pair, _align(*pair)))
        better = [o for o in options if o[1][0] - o[1][1] < results[-1][0] - results[-1][1]]
        if not better:
            break
        (pred, true), result = min(better, key=lambda o: o[1][0] - o[1][1])
        results.append(result)
    return results + [results[-1]] * (edits + 1 - len(results))


def _stack(seed: int, layers: int) -> list[np.ndarray]:
    """An opaque back and random rectangles of random alpha, some of them empty."""
    rng = np.random.default_rng(seed)
    back = rng.integers(0, 256, (9, 12, 4), dtype=np.uint8)
    back[..., 3] = 255
    stack = [back]
    for _ in range(layers - 1):
        layer = np.zeros_like(back)
        y, x = rng.integers(0, 9), rng.integers(0, 12)
        part = layer[y : y + rng.integers(0, 9), x : x + rng.integers(0, 12)]
        part[...] = rng.integers(0, 256, part.shape)
        stack.append(layer)
    return stack


@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(2, 4))
def test_all_measures_agree_with_the_plain_definitions(seed: int, predicted: int, known: int) -> None:
    pred, true = _stack(seed, predicted), _stack(seed + 1, known)
    assert np.allclose(stackscore.score(pred, true, 3), _score(pred, true, 3), atol=1e-5)
    assert np.allclose(
        stackscore.found(pred, true), [max(_pair(p.astype(float), t.astype(float))[1] for p in pred) for t in true[1:]]
    )


def test_the_true_stack_scores_perfectly() -> None:
    stack = _stack(3, 4)
    assert stackscore.score(stack, stack)[-1] == pytest.approx((0, 1), abs=1e-6)
    assert stackscore.found(stack, stack) == [1.0] * 3
    assert stackscore.fill_error(stack, stack) == 0


def test_fill_error_looks_only_where_true_layers_hide_the_back_and_punishes_holes() -> None:
    back = np.full((4, 4, 4), 255, np.uint8)
    front = np.zeros((4, 4, 4), np.uint8)
    front[:2] = 255
    off = back.copy()
    off[2:, :, :3] = 0  # wrong where the back is seen: not this measure's business
    assert stackscore.fill_error([off], [back, front]) == 0
    off[:1, :, :3] = 204
    assert stackscore.fill_error([off], [back, front]) == pytest.approx(0.1)
    off[:2, :, 3] = 0
    assert stackscore.fill_error([off], [back, front]) == 1
