"""Find secrets in files before they are committed, offline and without repeating them.

The only module that imports detect_secrets. It calls the detectors directly: detect_secrets' own
scan has process-wide settings and verifies findings over the network.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_kit import notebook_file
from mlops_kit.errors import NotebookError, SecretFoundError
from mlops_kit.formatting import joined

# Left out: both high-entropy detectors and public addresses. Notebooks are full of digests.
_DETECTORS = {
    "artifactory": "ArtifactoryDetector",
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "basic_auth": "BasicAuthDetector",
    "cloudant": "CloudantDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "ibm_cloud_iam": "IbmCloudIamDetector",
    "ibm_cos_hmac": "IbmCosHmacDetector",
    "jwt": "JwtTokenDetector",
    "mailchimp": "MailchimpDetector",
    "npm": "NpmDetector",
    "openai": "OpenAIDetector",
    "private_key": "PrivateKeyDetector",
    "pypi_token": "PypiTokenDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "softlayer": "SoftlayerDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "telegram_token": "TelegramBotTokenDetector",
    "twilio": "TwilioKeyDetector",
}
# Kinds that detect-secrets 1.5 lacks.
_MORE = {
    "GitHub fine-grained token": re.compile(r"\b(github_pat_[A-Za-z0-9_]{22,})"),
    "Google API key": re.compile(r"\b(AIza[A-Za-z0-9_-]{35})(?![A-Za-z0-9_-])"),
    "Hugging Face token": re.compile(r"\b(hf_[A-Za-z0-9]{30,})\b"),
    "API key": re.compile(r"\b(sk-(?:ant-|proj-|svcacct-)[A-Za-z0-9_-]{24,})"),
    "Databricks token": re.compile(r"\b(dapi[a-f0-9]{32})(?:-\d)?\b"),
    "Private key": re.compile(r"BEGIN (ENCRYPTED PRIVATE KEY)"),
    "Password in a URL": re.compile(
        r"(?<![\w+.-])[a-z][\w+.-]{0,20}://[^\s:/@\"'<>]*:([^\s/@\"'<>]{2,}(?:/[^\s@\"'<>]*)?)@[\w\[]",
        re.I,
    ),
    "Authorization header": re.compile(
        r"(?i)\b(?:bearer|basic|token)[ :]+[\"']?((?=[^\s\"']*\d)[A-Za-z0-9+/_.~=-]{20,})"
    ),
    "Token": re.compile(
        r"(?i)(?:token|credentials?|access_?key|api[-_ ]?key|secret)\w{0,12}"
        r"[\"'\]]{0,2}\s*[:=]\s*[\"']?"
        r"([A-Za-z0-9+/_.~=-]{16,})"
    ),
}
# Their patterns also match by chance inside digests and base64.
_ALONE = {"artifactory", "aws", "discord", "mailchimp", "telegram_token", "twilio"}
_REFERENCE = re.compile(
    r"(?i)(?<![\w-])[\w-]{0,60}?(?:secret|password|passwd|pwd|api_?key|private_?key|credential|token)s?[-_]?"
    r"(?:name|key_?ref|ref|file|path|env|env_?var|field|column|label|hint|type|url|uri|class|store)\w*"
    r"[\"'\]]{0,2}\s*(?::|=)\s*[\"']?[^\s\"',;]*[\"']?"
)
_NAMED = re.compile(r"(?i)pass|pwd|secret|key|contrase")
_ANNOTATION = re.compile(r"(\b\w+)\s*:\s*[A-Za-z_][\w.\[\], |]{0,60}?(\s{0,4}=(?!=))")
_PLACEHOLDER = re.compile(
    r"(?i)^(?:none|null|true|false|str|string|secretstr|password|passwd|secret|token|redacted|hidden|"
    r"xxx+|\.\.\.|…|change-?me|your[-_ ].*|example.*|placeholder|dummy|todo|not[-_ ]set|unset|"
    r"\[?redacted\]?|os\.environ.*|env:.*|vault:.*|secrets?\..*|\{.*\}|<.*>|\$\{.*|\$\(.*|\$[A-Z_]+|%\(.*)$"
)
_CONFIG = (".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".env", ".properties")
_MAX_LINE_LENGTH = 20_000


@dataclass(frozen=True, order=True)
class Finding:
    """Where a secret is and of which kind; never the secret itself."""

    file: str
    line: int
    kind: str
    cell: str = ""
    place: str = ""

    def __str__(self) -> str:
        """Name file, cell, place, line and kind."""
        where = [self.file, f"cell {self.cell!r}" if self.cell else "", self.place]
        return ", ".join([*filter(None, where), f"line {self.line}: {self.kind}"])


@dataclass(frozen=True)
class _Text:
    """A text to scan; `style` is source, config, prose or binary."""

    text: str
    style: str
    cell: str = ""
    place: str = ""


def find(files: Mapping[str, bytes]) -> tuple[Finding, ...]:
    """Return the secrets in the files, by file name and sorted; thread-safe."""
    found: set[Finding] = set()
    for name, content in files.items():
        for text in _texts(name, content):
            for number, line in enumerate(text.text.splitlines(), start=1):
                for kind in _kinds(line, text.style):
                    found.add(Finding(name, number, kind, text.cell, text.place))
    return tuple(sorted(found))


def check(files: Mapping[str, bytes]) -> None:
    """Raise SecretFoundError if a file contains a secret."""
    found = find(files)
    if found:
        places = "\n".join(f"  - {finding}" for finding in found)
        raise SecretFoundError(
            f"Nothing was committed: it would contain {len(found)} secret(s):\n{places}\n"
            "Remove each from its cell or file, run the notebook again, and revoke the secret."
        )


def _texts(name: str, content: bytes) -> Iterator[_Text]:
    """Yield the texts to scan in a file: a notebook's parts, or the whole file."""
    text = content.decode("utf-8", "replace")
    if name.endswith(".ipynb"):
        try:
            yield from _notebook(notebook_file.parsed(text.encode(), name))
            return
        except (NotebookError, TypeError, AttributeError):
            pass  # scan it whole, as text
    if b"\0" in content[:8192]:
        text = content.decode("latin-1")
        yield _Text(text, "binary")
    elif name.endswith(".json"):
        yield _Text(text, "source")
    else:
        is_config = name.endswith(_CONFIG) or name.rpartition("/")[2].startswith(".env")
        yield _Text(text, "config" if is_config else "source" if name.endswith(".py") else "prose")


def _notebook(raw: Mapping[str, Any]) -> Iterator[_Text]:
    yield _Text("\n".join(_flat(raw.get("metadata", {}))), "source", place="metadata")
    for position, cell in enumerate(raw["cells"]):
        name = str(cell.get("id") or position)
        style = "source" if cell["cell_type"] == "code" else "prose"
        yield _Text(_plain(notebook_file.source(cell)), style, name, "source")
        yield _Text("\n".join(_flat(cell.get("metadata", {}))), "source", name, "metadata")
        for number, output in enumerate(cell.get("outputs", ())):
            place = f"output {number}"
            match output.get("output_type"):
                case "stream":
                    yield _Text(_plain(output.get("text", "")), "prose", name, place)
                case "error":
                    text = "\n".join([*output.get("traceback", ()), str(output.get("evalue", ""))])
                    yield _Text(text, "prose", name, f"{place}, traceback")
                case _:
                    yield from _bundle(output, name, place)


def _bundle(output: Mapping[str, Any], cell: str, place: str) -> Iterator[_Text]:
    yield _Text("\n".join(_flat(output.get("metadata", {}))), "source", cell, f"{place}, metadata")
    for kind, value in output.get("data", {}).items():
        if kind.endswith("json"):
            yield _Text("\n".join(_flat(value)), "source", cell, f"{place}, {kind}")
        elif not kind.startswith("image/") or "svg" in kind:
            yield _Text(_plain(value), "prose", cell, f"{place}, {kind}")


def _flat(value: Any, name: str = "") -> Iterator[str]:
    """Yield each value as a line of assignment, so that a name like `password` counts."""
    match value:
        case dict():
            for key, entry in value.items():
                yield from _flat(entry, str(key))
        case list():
            for entry in value:
                yield from _flat(entry, name)
        case str():
            for line in value.splitlines():
                yield f'{name} = "{line}"'


def _plain(text: Any) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", joined(text))


def _kinds(line: str, style: str) -> Iterator[str]:
    """Yield the kinds of secrets in a line; a very long line is scanned in overlapping pieces."""
    for start in range(0, max(len(line), 1), _MAX_LINE_LENGTH):
        piece = line[max(0, start - 500) : start + _MAX_LINE_LENGTH]
        yield from _tokens(piece, style)
        if style != "binary":
            yield from _passwords(piece, style)


def _tokens(line: str, style: str) -> Iterator[str]:
    for name, detector in _detectors().items():
        for secret in detector.analyze_string(line):
            if _real(secret) and (name not in _ALONE or _stands_alone(secret, line)):
                yield detector.secret_type
    if style == "binary":
        return
    for kind, pattern in _MORE.items():
        for secret in pattern.findall(_REFERENCE.sub("", line) if kind == "Token" else line):
            if _real(secret) and (kind != "Token" or _random(secret)):
                yield kind


def _passwords(line: str, style: str) -> Iterator[str]:
    """Yield a kind for each name like `password` that is given a value."""
    detector, quoted, bare = _keywords()
    # The detector takes minutes for a word of thousands of letters; its ends are enough.
    line = re.sub(r"\w{80,}", lambda word: word.group()[:30] + word.group()[-30:], line)
    # Our own grammar: `password: str = "..."`, which the detector reads as a type.
    line = _ANNOTATION.sub(r"\1\2", _REFERENCE.sub("", line))
    for patterns in (quoted,) if style == "source" else (quoted, bare):
        for secret in _values(detector, line, patterns):
            if patterns is quoted or style == "config":
                fits = len(secret) > 3 and " " not in secret
            else:
                fits = bool(re.fullmatch(r"(?=.*[\d!#%&*^])[^\s()]{6,}", secret))
            if fits and _real(secret):
                yield detector.secret_type
                return


def _values(detector: Any, line: str, patterns: Any) -> Iterator[str]:
    """Yield each name's value; the detector alone stops at the first, which may be harmless."""
    if not _NAMED.search(line):
        return
    starts = [0, *(found.end() for found in re.finditer(r"[,;({]", line))]
    for start in starts[:40]:
        for value in detector.analyze_string(line[start:], patterns):
            yield value.strip("\"'`,;)}")


def _real(secret: str) -> bool:
    """Tell whether a value is real, not a placeholder, stars or a template."""
    from detect_secrets.filters import heuristic

    return not (
        _PLACEHOLDER.match(secret)
        or heuristic.is_templated_secret(secret)
        or heuristic.is_not_alphanumeric_string(secret)
    )


def _stands_alone(secret: str, line: str) -> bool:
    core = re.escape(secret.strip(" =:\"'"))
    has_digit = any(character.isdigit() for character in secret)
    return has_digit and bool(re.search(rf"(?<![A-Za-z0-9+/=_-]){core}(?![A-Za-z0-9+/_-])", line))


def _random(secret: str) -> bool:
    """Tell whether a long value looks random: not a word, a path or a model's name."""
    mixed = re.search(r"\d", secret) and re.search(r"[A-Za-z]", secret)
    return (
        bool(mixed)
        and len(set(secret)) >= 10
        and not re.search(r"[A-Za-z]{3,}[-_./][a-z]{3,}", secret)
    )


@functools.cache
def _detectors() -> dict[str, Any]:
    """Return the detectors; they keep no state, so one of each is enough."""
    from importlib import import_module

    return {
        module: getattr(import_module(f"detect_secrets.plugins.{module}"), name)()
        for module, name in _DETECTORS.items()
    }


@functools.cache
def _keywords() -> tuple[Any, Any, Any]:
    """Return the password detector and its patterns for quoted and for bare values."""
    from detect_secrets.plugins import keyword

    return (
        keyword.KeywordDetector(),
        keyword.QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP,
        keyword.CONFIG_DENYLIST_REGEX_TO_GROUP,
    )
