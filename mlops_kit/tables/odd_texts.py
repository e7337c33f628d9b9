"""Tell text that seems to be numbers or dates, and why it can't be read as such."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlops_kit.tables import dialects

_SHARE = 0.9
_MAX_WORDS, _MIN_NUMBERS = 3, 10
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([,. '’\u00a0\u202f]\d{3})+([.,]\d+)?")
_SIGN = r"[$€£¥₹%]"
_SIGNED = re.compile(rf"[+-]?{_SIGN}\s?[+-]?[\d.,]*\d|[+-]?[\d.,]*\d\s?{_SIGN}")
_DATE = re.compile(
    r"(\d{1,2}[./-]\d{1,2}[./-]\d{4}|\d{4}[./-]\d{1,2}[./-]\d{1,2}|\d\d[./-]\d\d[./-]\d\d"
    r"|\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{4}|[A-Za-z]{3,9} \d{1,2}, \d{4})(?!\d)"
)
_AS_ISO = "write them as 2026-12-31"


def odd(cells: Sequence[str]) -> str:
    """Return why distinct texts aren't the numbers or dates that they seem; "" for plain text."""
    if not cells:
        return ""
    if sum(bool(_DATE.match(each)) for each in cells) >= _SHARE * len(cells):
        if len(dialects.orders(cells)) > 1:
            return f"dates with the day first and with the month first; {_AS_ISO}"
        return f"dates in several forms, or that no calendar has; {_AS_ISO}"
    grouped = [each for each in cells if _THOUSANDS.fullmatch(each)]
    others = [each for each in cells if not _NUMBER.fullmatch(each)]
    if grouped and all(_THOUSANDS.fullmatch(each) for each in others):
        return f"numbers with marks for thousands, as {grouped[0]!r}; write them without"
    signed = [each for each in cells if _SIGNED.fullmatch(each)]
    if len(signed) >= _SHARE * len(cells):
        return f"numbers with a sign, as {signed[0]!r}; write them without"
    if len(others) <= _MAX_WORDS and len(cells) - len(others) >= _MIN_NUMBERS and others:
        return f"numbers but for {sorted(others)}; leave a missing value empty"
    return ""
