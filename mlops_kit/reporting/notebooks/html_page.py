"""Show an executed notebook as a page that Argo's server can serve.

The server's content policy allows no scripts, no `data:` pictures and nothing from other hosts, so
the page is a folder: `index.html` with inline styles, and each picture as a file beside it.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mlops_kit import notebook_file
from mlops_kit.formatting import joined
from mlops_kit.reporting.notebooks import git_safe

_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif"}
_KINDS = {**{suffix: kind for kind, suffix in _SUFFIXES.items()}, "svg": "image/svg+xml"}
_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
pre { font: .85rem/1.45 ui-monospace, monospace; overflow-x: auto; padding: .6rem .8rem;
  margin: .4rem 0; border: 1px solid #8886; border-radius: 4px; }
pre.code { background: #8881; }
.error { border-left: 4px solid #d55e00; padding-left: .8rem; }
table { border-collapse: collapse; }
th, td { border: 1px solid #8886; padding: .2rem .6rem; }
img, svg { max-width: 100%; height: auto; background: #fff; }
"""


def save(notebook: Path, folder: Path) -> None:
    """Write an executed notebook's page and pictures into a new folder.

    Raises NotebookError for a file that isn't a notebook, and OSError.
    """
    markup, pictures = _of_file(notebook)
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (folder / name).write_bytes(picture)
    (folder / "index.html").write_text(markup, encoding="utf-8")


def whole(notebook: Path) -> str:
    """Return an executed notebook's page with its pictures embedded; nothing in it runs.

    Raises NotebookError for a file that isn't a notebook.
    """
    markup, pictures = _of_file(notebook)
    return _embedded(markup, pictures)


def shown(name: str, files: Mapping[str, bytes]) -> str:
    """Return one of a release's evidence files as a page: a notebook, a report, a picture or text.

    Raises NotebookError for an .ipynb file that isn't a notebook.
    """
    content = files[name]
    if name.endswith(".ipynb"):
        safe = git_safe.git_safe(notebook_file.parsed(content, name))
        return _embedded(*page(notebook_file.parsed(safe, name), name))
    text = content.decode(errors="replace")
    pictures = {html.escape(each): files[each] for each in files if each.endswith(".svg")}
    if name.endswith(".svg"):
        body = f'<p><img src="{html.escape(name)}" alt="{html.escape(name)}"></p>'
    elif name.endswith(".md"):
        # What a Git host folds is shown unfolded here.
        body = _markdown(re.sub(r"</?details>|</?summary>", "", text))
        for each in pictures:
            # Markdown pictures are off, as they could be remote; put the report's own back.
            body = body.replace(f'!<a href="{each}">', f'<img src="{each}" alt=""><a>')
    else:
        body = _text(text)
    return _embedded(_framed(name, body), pictures)


def _embedded(markup: str, pictures: Mapping[str, bytes]) -> str:
    """Return a page with its pictures embedded, and without links that leave its frame."""
    markup = re.sub(r'<a href="(?!#)[^"]*"', "<a", markup)
    # Without it, a link within the page would load the outer page into the frame.
    markup = markup.replace("<head>", '<head><base href="about:srcdoc">', 1)
    for name, picture in pictures.items():
        kind = _KINDS[name.rpartition(".")[2]]
        inside = f"data:{kind};base64,{base64.b64encode(picture).decode()}"
        # Quotes in the notebook's own text are escaped, so no text can look like this.
        markup = markup.replace(f'src="{name}"', f'src="{inside}"')
    return markup


def _of_file(notebook: Path) -> tuple[str, dict[str, bytes]]:
    safe = notebook_file.parsed(git_safe.git_safe(notebook), str(notebook))
    return page(safe, notebook.stem)


def page(notebook: Mapping[str, Any], title: str) -> tuple[str, dict[str, bytes]]:
    """Return the page of a Git-safe notebook, and its pictures by file name."""
    pictures: dict[str, bytes] = {}
    cells = [_cell(cell, pictures) for cell in notebook["cells"]]
    failed = any(_is_failed(cell) for cell in notebook["cells"])
    jump = '<p class="error"><a href="#failed">Go to the failed cell</a></p>' if failed else ""
    return _framed(title, "\n".join(filter(None, [jump, *cells]))), pictures


def _framed(title: str, body: str) -> str:
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title>'
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{head}\n<style>{_STYLE}{_colours()}</style>'
        f"</head>\n<body><main>\n{body}\n</main></body>\n</html>\n"
    )


def _cell(cell: Mapping[str, Any], pictures: dict[str, bytes]) -> str:
    source = notebook_file.source(cell)
    if notebook_file.has_tag(cell, notebook_file.ERROR_MARKER):
        return ""
    if cell["cell_type"] != "code":
        return _markdown(source)
    shown = [_output(output, pictures) for output in cell["outputs"]]
    name = 'id="failed"' if _is_failed(cell) else f'id="cell-{html.escape(str(cell["id"]))}"'
    return f"<section {name}>{_code(source)}{''.join(shown)}</section>"


def _is_failed(cell: Mapping[str, Any]) -> bool:
    return bool(cell["metadata"].get("papermill", {}).get("exception"))


def _output(output: Mapping[str, Any], pictures: dict[str, bytes]) -> str:
    """Return an output in its richest form."""
    if output["output_type"] == "stream":
        return _text(joined(output["text"]))
    if output["output_type"] == "error":
        said = "\n".join(output["traceback"]) or f"{output['ename']}: {output['evalue']}"
        return f'<div class="error">{_text(said)}</div>'
    data = output["data"]
    text = joined(data.get("text/plain", ""))
    if "image/svg+xml" in data:  # the Git-safe form keeps only a harmless one
        return re.sub(r"^\s*(?:<\?xml.*?\?>|<!DOCTYPE.*?>|\s)*", "", joined(data["image/svg+xml"]))
    for kind in _SUFFIXES.keys() & data.keys():
        name = f"figure-{len(pictures) + 1}.{_SUFFIXES[kind]}"
        pictures[name] = base64.b64decode(data[kind])
        return f'<p><img src="{name}" alt="{html.escape(" ".join(text.split()))}"></p>'
    if "text/markdown" in data:
        return _markdown(joined(data["text/markdown"]))
    if text or "application/json" not in data:
        return _text(text)
    return _text(json.dumps(data["application/json"], indent=1, ensure_ascii=False))


def _text(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>" if text else ""


def _markdown(text: str) -> str:
    """Return Markdown as HTML; HTML in it becomes text, and pictures are left out."""
    rendered: str = _reader().render(text)
    return rendered


@cache
def _reader() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def _code(source: str) -> str:
    from pygments import highlight
    from pygments.formatters.html import HtmlFormatter
    from pygments.lexers.python import PythonLexer

    if not source.strip():
        return ""
    return f'<pre class="code">{highlight(source, PythonLexer(), HtmlFormatter(nowrap=True))}</pre>'


def _colours() -> str:
    from pygments.formatters.html import HtmlFormatter

    light, dark = (
        HtmlFormatter(style=style).get_style_defs(".code")  # type: ignore[no-untyped-call]
        for style in ("default", "github-dark")
    )
    # Take only the text's colours from the themes; the background is the page's.
    ground = ".code { background: #8881 !important; }"
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n{ground}"
