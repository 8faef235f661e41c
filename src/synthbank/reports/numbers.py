"""Numbers in words."""

from __future__ import annotations


def number(value: float) -> str:
    """Three significant digits, without an exponent, with a true minus sign.

    >>> number(12.345)
    '12.3'
    """
    if value == 0:
        return "0"
    digits = max(0, 2 - _exponent(value))
    text = f"{value:,.{min(digits, 4)}f}"
    # what rounds to nothing is 0, and not -0.0000
    text = "0" if not text.strip("-0.") else text
    return text.replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """Bounds in words; an em dash where there are none."""
    return "—" if low is None or high is None else f"{number(low)} to {number(high)}"


def _exponent(value: float) -> int:
    return int(f"{value:e}".split("e")[1])
