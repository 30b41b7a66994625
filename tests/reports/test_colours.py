"""Colours of the page, as those see them who lack one kind of cone.

The matrices (full severity, linear RGB) are those of Machado, Oliveira and Fernandes, IEEE TVCG 15 (2009)
1291.
"""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest

from merian_campaign.reports.page.style import DARK, FAILURES, LIGHT, SEQUENCE, STATES

type Triple = tuple[float, float, float]

EYES: dict[str, tuple[Triple, Triple, Triple]] = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "no green": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "no blue": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
TO_XYZ: tuple[Triple, Triple, Triple] = (
    (0.4124, 0.3576, 0.1805),
    (0.2126, 0.7152, 0.0722),
    (0.0193, 0.1192, 0.9505),
)
WHITE: Triple = (0.9505, 1.0, 1.0888)
APART, A_SHADE = 15.0, 8.0
"""Distances in CIELAB: what is told at a glance, and a shade beside another."""


def times(rows: tuple[Triple, Triple, Triple], given: Triple) -> Triple:
    first, second, third = (sum(a * b for a, b in zip(row, given, strict=True)) for row in rows)
    return first, second, third


def seen(colour: str, eyes: str) -> Triple:
    """CIELAB of a colour, as such eyes see it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    light = times(EYES[eyes], (red, green, blue))
    xyz = times(TO_XYZ, (max(0, light[0]), max(0, light[1]), max(0, light[2])))
    x, y, z = (
        t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116
        for t in (part / white for part, white in zip(xyz, WHITE, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_everybody_can_tell_states_apart(palette: dict[str, str], eyes: str) -> None:
    for one, other in combinations((*STATES, "none"), 2):
        pairs = zip(seen(palette[one], eyes), seen(palette[other], eyes), strict=True)
        apart = sum((a - b) ** 2 for a, b in pairs) ** 0.5
        assert apart > (A_SHADE if {one, other} == {"waiting", "none"} else APART), (one, other)
    for scale in (SEQUENCE, FAILURES):
        lightness = [seen(palette[name], eyes)[0] for name in scale]
        steps = [b - a for a, b in pairwise(lightness)]
        assert all(step > 4 for step in steps) or all(step < -4 for step in steps)
