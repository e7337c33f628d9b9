"""Find out how a text file writes its table: encoding, separator, header, decimal mark, dates."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mlops_kit.errors import DataError

SAMPLE_BYTES = 1 << 20
SEPARATORS = ",;\t|"
MISSING_WORDS = frozenset(
    {"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "-nan", "#na", "missing"}
)
"""What stands for a missing number, date or truth value, in lower case."""

_MAX_SAMPLE_ROWS = 2_000
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What charset-normalizer is believed about. Among the encodings of Latin scripts it takes
# Spanish and French for Polish (cp1250), so there it isn't asked.
_OTHER_SCRIPTS = re.compile(
    r"cp125[1356]|koi8_|mac_cyrillic|cp93[26]|cp949|cp950|shift_jis|euc_|gb|big5|johab|iso2022"
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
_DAY_OR_MONTH = re.compile(r"(\d{1,2})[./-](\d{1,2})[./-]\d{4}(?!\d)")


@dataclass(frozen=True)
class Dialect:
    """How a text file writes a table.

    `names` are its header's, `header_lines` the lines until its rows start. `decimal` is the
    decimal mark. `day_first` says how a date like 03/04/2026 is read; None where no date of the
    file shows it.
    """

    encoding: str = "utf-8"
    separator: str = ","
    decimal: str = "."
    day_first: bool | None = None
    names: tuple[str, ...] = ()
    header_lines: int = 1


def find_encoding(sample: bytes, *, is_whole: bool = False) -> str:
    """Return the encoding of a text by its first bytes.

    A byte order mark says it; without one it is UTF-16 where half of the bytes are zero, UTF-8
    where the bytes allow it, a script that isn't Latin where charset-normalizer finds one, else
    Windows' Western one, which Latin-1 is a part of.
    """
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    zeros = [sample[start::2].count(0) / max(1, len(sample[start::2])) for start in (0, 1)]
    if max(zeros) > 0.3:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    if is_utf8(sample, is_whole=is_whole):
        return "utf-8"
    from charset_normalizer import from_bytes

    best = from_bytes(sample[:65_536]).best()
    if best is not None and _OTHER_SCRIPTS.match(best.encoding):
        return str(best.encoding)
    try:
        sample.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def is_utf8(sample: bytes, *, is_whole: bool) -> bool:
    """Return whether bytes are UTF-8; a character that a part cuts at its end is no fault."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=is_whole)
    except UnicodeDecodeError:
        return False
    return True


def detect(
    sample: bytes, name: str, encoding: str, *, separator: str = "", is_whole: bool
) -> Dialect:
    """Return the dialect of a text file, judged by its first bytes.

    Raises DataError for bytes that aren't text of this encoding, and a file without a header.

    Args:
        sample: the first bytes.
        name: the file's name, for messages.
        encoding: the text's encoding.
        separator: between columns; empty to detect it.
        is_whole: whether the sample is the whole file.
    """
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        text = decoder.decode(sample, final=is_whole)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name!r} is not {encoding}: {error}; expected text in {encoding}."
        ) from error
    text = text.removeprefix("\ufeff")
    if not is_whole:
        # The last line may be cut.
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    # Excel's first line, which says the separator.
    said = re.match(r"sep=(.)\r?\n", text)
    text = text[said.end() :] if said else text
    separator = separator or (said[1] if said else _separator(text))
    rows, header_lines = _rows(text, separator, name)
    header_lines += 1 if said else 0
    if not rows:
        raise DataError(f"{name!r} has no header; the file is empty.")
    cells = [cell.strip() for row in rows[1:] for cell in row]
    return Dialect(
        encoding, separator, _decimal(cells), is_day_first(cells), tuple(rows[0]), header_lines
    )


def _separator(text: str) -> str:
    """Return the separator that gives each row the same number of fields, and the most.

    csv.Sniffer says ',' for a file of one column with quoted prose, so it only breaks ties.
    """
    found: dict[str, int] = {}
    for separator in SEPARATORS:
        try:
            rows = _parsed(text, separator)
        except csv.Error:
            continue
        widths = [len(row) for row in rows]
        if widths and widths[0] > 1:
            alike = sum(width == widths[0] for width in widths) / len(widths)
            found[separator] = widths[0] if alike > 0.9 else 0
    best = max(found.values(), default=0)
    if best:
        return next(separator for separator, width in found.items() if width == best)
    return next(iter(found), ",")


def _parsed(text: str, separator: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows = []
    for row in reader:
        if row:
            rows.append(row)
        if len(rows) > _MAX_SAMPLE_ROWS:
            break
    return rows


def _rows(text: str, separator: str, name: str) -> tuple[list[list[str]], int]:
    """Return the first rows, the header among them, and the lines until its end."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows: list[list[str]] = []
    header_lines = 0
    try:
        for row in reader:
            if row:
                rows.append(row)
                header_lines = header_lines or reader.line_num
            if len(rows) > _MAX_SAMPLE_ROWS:
                break
    except csv.Error as error:
        raise DataError(f"{name!r} is no CSV at line {reader.line_num}: {error}.") from error
    return rows, header_lines


def _decimal(cells: Sequence[str]) -> str:
    """Return the decimal mark; 1,234 alone may be a thousand, and shows none."""
    commas = [cell for cell in cells if _DECIMAL_COMMA.fullmatch(cell)]
    if any(_DECIMAL_POINT.fullmatch(cell) for cell in cells):
        return "."
    return "," if any(not _THOUSANDS.fullmatch(cell) for cell in commas) else "."


def is_day_first(cells: Iterable[str]) -> bool | None:
    """Return whether dates like 31/12/2026 start with the day; None where none shows it."""
    found = orders(cells)
    return found.pop() if len(found) == 1 else None


def orders(cells: Iterable[str]) -> set[bool]:
    """Return the orders that dates like 31/12/2026 show: True for the day first."""
    found = set()
    for cell in cells:
        match = _DAY_OR_MONTH.match(cell)
        if match and (int(match[1]) > 12) != (int(match[2]) > 12):
            found.add(int(match[1]) > 12)
    return found


def merged(first: Dialect, **given: object) -> Dialect:
    """Return a dialect with what somebody gave by hand."""
    known = {name: value for name, value in given.items() if value not in (None, "")}
    return replace(first, **known)  # type: ignore[arg-type]
