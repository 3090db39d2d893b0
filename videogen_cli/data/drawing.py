"""Thick lines on a grid of pixels, pixel for pixel as OpenCV's ``cv2.line`` (modules/imgproc/src/drawing.cpp) has them.

Masks of published training recipes are drawn with it. Coordinates are 16.16 fixed point, divisions round towards zero.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

_SHIFT = 16
_ONE, _HALF = 1 << _SHIFT, 1 << (_SHIFT - 1)
Point = tuple[int, int]  # (x, y)


def thick_line(image: np.ndarray, start: Point, end: Point, thickness: int, value: float = 1.0) -> None:
    """Draw from ``start`` to ``end``, pixels (x, y) that may lie outside, into ``image`` (h w), with round ends.

    ``thickness`` is in pixels, at least 2.
    """
    dx, dy = start[0] - end[0], end[1] - start[1]
    if length := math.sqrt(dx * dx + dy * dy):  # hypot rounds otherwise
        reach = (thickness + thickness % 2) * _HALF / length
        across = round(dy * reach), round(dx * reach)
        (x0, y0), (x1, y1) = ((x << _SHIFT, y << _SHIFT) for x, y in (start, end))
        corners = [
            (x0 + across[0], y0 + across[1]),
            (x0 - across[0], y0 - across[1]),
            (x1 - across[0], y1 - across[1]),
            (x1 + across[0], y1 + across[1]),
        ]
        _fill_convex(image, corners, value)
    for centre in (start, end):
        _fill_circle(image, centre, (thickness + 1) // 2, value)


def _row(image: np.ndarray, y: int, left: int, right: int, value: float) -> None:
    """Fill one row from ``left`` to ``right``, both included, as far as it is inside."""
    if 0 <= y < image.shape[0]:
        image[y, max(left, 0) : max(right + 1, 0)] = value


def _fill_circle(image: np.ndarray, centre: Point, radius: int, value: float) -> None:
    """Fill a disc, its edge by the midpoint rule."""
    (x, y), long, short, error, minus = centre, radius, 0, 0, 2 * radius - 1
    while long >= short:
        for height, width in ((short, long), (long, short)):
            _row(image, y - height, x - width, x + width, value)
            _row(image, y + height, x - width, x + width, value)
        error += 2 * short + 1
        short += 1
        if error > 0:
            error, long, minus = error - minus, long - 1, minus - 2


def _fill_convex(image: np.ndarray, corners: list[Point], value: float) -> None:
    """Fill a convex polygon with corners in fixed point: its outline, and the rows between its two flanks."""
    for start, end in pairwise([corners[-1], *corners]):
        _outline(image, start, end, value)
    rows = [(y + _HALF) >> _SHIFT for _, y in corners]
    top = min(range(len(corners)), key=lambda index: corners[index][1])
    last = min(max(rows), image.shape[0] - 1)
    flanks = [_Flank(corners, rows, top, step) for step in (1, -1)]
    for y in range(rows[top], last + 1):
        if not all(flank.enter(y) for flank in flanks):
            return
        left, right = sorted(flank.x for flank in flanks)
        _row(image, y, (left + _HALF) >> _SHIFT, (right + _HALF) >> _SHIFT, value)
        for flank in flanks:
            flank.x += flank.slope


class _Flank:
    """One side of a convex polygon, followed from its top row by row."""

    def __init__(self, corners: list[Point], rows: list[int], top: int, step: int) -> None:
        self.corners, self.rows, self.index, self.step = corners, rows, top, step
        self.until, self.x, self.slope = rows[top], 0, 0

    def enter(self, y: int) -> bool:
        """Be ready for row ``y``, on the next edge where one ends; False below the last."""
        if y < self.until:
            return True
        for _ in self.corners:
            start, self.index = self.index, (self.index + self.step) % len(self.corners)
            height = self.rows[self.index] - y
            if height > 0:
                self.x = self.corners[start][0]
                self.slope = _divided((self.corners[self.index][0] - self.x) * 2 + height, 2 * height)
                self.until = self.rows[self.index]
                return True
        return False


def _outline(image: np.ndarray, start: Point, end: Point, value: float) -> None:
    """Draw a line one pixel wide between points in fixed point."""
    height, width = image.shape
    ends = _clipped(start, end, (width << _SHIFT) - 1, (height << _SHIFT) - 1)
    if ends is None:
        return
    first, last = ends
    flat = abs(last[0] - first[0]) > abs(last[1] - first[1])
    along, across = (0, 1) if flat else (1, 0)  # axes
    if last[along] < first[along]:
        first, last = last, first
    run = last[along] - first[along]
    count = (run >> _SHIFT) + 1
    slope = _divided((last[across] - first[across]) << _SHIFT, run | 1)
    steps = np.arange(count)
    places = ((first[along] + _HALF) >> _SHIFT) + steps, (first[across] + _HALF + steps * slope) >> _SHIFT
    xs, ys = places if flat else places[::-1]
    xs = np.append(xs, (last[0] + _HALF) >> _SHIFT)
    ys = np.append(ys, (last[1] + _HALF) >> _SHIFT)
    inside = (xs >= 0) & (xs < width) & (ys >= 0) & (ys < height)
    image[ys[inside], xs[inside]] = value


def _clipped(start: Point, end: Point, right: int, bottom: int) -> tuple[Point, Point] | None:
    """Cut a line to [0, right] x [0, bottom], first at top and bottom; None when nothing is left."""
    points = [list(start), list(end)]
    for axis, limit in ((1, bottom), (0, right)):
        sides = [(point[axis] > limit) - (point[axis] < 0) for point in points]
        if sides[0] == sides[1] != 0 or (axis == 1 and _beside(points, right)):
            return None
        for point, side in zip(points, sides, strict=True):
            if side:
                edge, other = limit if side > 0 else 0, 1 - axis
                run = points[1][axis] - points[0][axis]
                point[other] += _divided((edge - point[axis]) * (points[1][other] - points[0][other]), run)
                point[axis] = edge
    return (points[0][0], points[0][1]), (points[1][0], points[1][1])


def _beside(points: list[list[int]], right: int) -> bool:
    """Tell whether both points lie on the same outer side."""
    return all(point[0] < 0 for point in points) or all(point[0] > right for point in points)


def _divided(number: int, by: int) -> int:
    """Divide, rounding towards zero."""
    quotient = abs(number) // abs(by)
    return quotient if (number < 0) == (by < 0) else -quotient
