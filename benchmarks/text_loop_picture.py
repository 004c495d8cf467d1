"""Draws the curves of text_loop.py as SVG, by hand: two panels side by side, a line for each way."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Curves = Mapping[str, Mapping[str, NDArray[np.float64]]]

TITLES = {"crisis_kinds": "labels by description", "crisis_kinds_phrasings": "labels by phrasings"}
LINES = {
    "plain": ("#8a8f98", "4 4", "plain zero-shot"),
    "without": ("#3d6fb4", "", "Feedsight, no loop"),
    "loop": ("#c2410c", "", "Feedsight, 2 % of posts answered"),
}
WIDTH, HEIGHT, LEFT, TOP, GAP = 330, 220, 52, 56, 60


def draw(shares: NDArray[np.float64], curves: Curves) -> str:
    """Draw.

    Args:
        shares: of the event that has passed, in percent, shape (n,).
        curves: by label set, by way: macro F1 in points, shape (n,).
    """
    values = np.concatenate([line for panel in curves.values() for line in panel.values()])
    low, high = 5 * np.floor(values.min() / 5), 5 * np.ceil(values.max() / 5)
    total = LEFT + len(curves) * (WIDTH + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {TOP + HEIGHT + 78}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#333">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for number, (name, panel) in enumerate(curves.items()):
        parts += _panel(LEFT + number * (WIDTH + GAP), TITLES.get(name, name), shares, panel, low, high)
    for number, (colour, dash, words) in enumerate(LINES.values()):
        x, y = LEFT + number * 220, TOP + HEIGHT + 62
        parts.append(
            f'<path d="M{x} {y - 4}h24" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"/>'
        )
        parts.append(f'<text x="{x + 30}" y="{y}">{words}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    left: int,
    title: str,
    shares: NDArray[np.float64],
    lines: Mapping[str, NDArray[np.float64]],
    low: float,
    high: float,
) -> list[str]:
    def x(share: float) -> float:
        return left + WIDTH * share / 100

    def y(value: float) -> float:
        return TOP + HEIGHT * (1 - (value - low) / (high - low))

    parts = [f'<text x="{left}" y="{TOP - 30}" font-size="14" font-weight="600">{title}</text>']
    parts.append(f'<text x="{left}" y="{TOP - 12}" fill="#666">macro F1, mean of 13 events</text>')
    for value in np.arange(low, high + 1, 5):
        parts.append(f'<path d="M{left} {y(value):.1f}h{WIDTH}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.0f}</text>')
    below = TOP + HEIGHT + 18
    parts += [
        f'<text x="{x(share):.1f}" y="{below}" text-anchor="middle">{share} %</text>'
        for share in (0, 25, 50, 75, 100)
    ]
    said = "of the event has passed"
    parts.append(f'<text x="{x(50):.1f}" y="{below + 18}" text-anchor="middle" fill="#666">{said}</text>')
    for name, line in lines.items():
        colour, dash, _ = LINES[name]
        points = " ".join(f"{x(share):.1f},{y(value):.1f}" for share, value in zip(shares, line, strict=True))
        look = f'fill="none" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"'
        parts.append(f'<polyline points="{points}" {look}/>')
    return parts
