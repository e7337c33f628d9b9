"""An SVG as PNG, the same bytes everywhere: resvg draws it, with letters that come along."""

from __future__ import annotations

import functools
import importlib.util
import struct
import zlib
from pathlib import Path

_INCH, _HEADER = 0.0254, 33
_FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")


def png(svg: str, width: float, dpi: int) -> bytes:
    """Return the SVG as PNG; `width` is its own in CSS pixels, of which an inch has 96."""
    import resvg_py

    raw = bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg,
            width=round(width * dpi / 96),
            # The system's fonts would make other pixels on another machine.
            skip_system_fonts=True,
            font_files=list(_fonts()),
            font_family="DejaVu Sans",
            sans_serif_family="DejaVu Sans",
        )
    )
    # How fine it is, behind the header, so that a page or a printer knows its size.
    dots = round(dpi / _INCH)
    body = b"pHYs" + struct.pack(">IIB", dots, dots, 1)
    chunk = struct.pack(">I", 9) + body + struct.pack(">I", zlib.crc32(body))
    return raw[:_HEADER] + chunk + raw[_HEADER:]


@functools.cache
def _fonts() -> tuple[str, ...]:
    """Return the files of the fonts that matplotlib ships, without importing it."""
    found = importlib.util.find_spec("matplotlib")
    folders = (found and found.submodule_search_locations) or ()
    return tuple(
        str(Path(folder, "mpl-data", "fonts", "ttf", name)) for folder in folders for name in _FONTS
    )
