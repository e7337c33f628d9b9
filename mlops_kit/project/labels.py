"""Store labels from Python, a file, or the folder or table that the settings name."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlops_kit.errors import ObservationsError, SettingsError
from mlops_kit.prediction_log import label_files
from mlops_kit.prediction_log.label import LabelCounts, State
from mlops_kit.prediction_log.label_records import RecordReader, Refusal
from mlops_kit.project import local_server
from mlops_kit.project.workspace import Workspace
from mlops_kit.project_folder import absolute_uri

if TYPE_CHECKING:
    from mlops_kit.prediction_log.label_sources import Part
    from mlops_kit.prediction_log.log import Observations
    from mlops_kit.tables.table import Table

# Labels that are stored at once, and reasons that are kept.
_ROWS, _REASONS = 5_000, 100


@dataclass(frozen=True)
class LabelResult:
    """What became of delivered labels.

    `stored`, `waiting` and `unknown` as in `LabelCounts`; `refused` counts those that weren't
    taken, and `reasons` says why for the first 100 of them.
    """

    counts: LabelCounts = field(default_factory=LabelCounts)
    refused: int = 0
    reasons: tuple[Refusal, ...] = ()

    def __add__(self, other: LabelResult) -> LabelResult:
        """Return both as one."""
        reasons = (*self.reasons, *other.reasons)[:_REASONS]
        return LabelResult(self.counts + other.counts, self.refused + other.refused, reasons)

    def summary(self) -> dict[str, Any]:
        """Return it as plain data."""
        reasons = [vars(each) for each in self.reasons]
        return {**vars(self.counts), "refused": self.refused, "reasons": reasons}

    def __str__(self) -> str:
        """Return the counts on one line."""
        counts = self.counts
        return (
            f"{counts.stored:,} labels stored, {counts.waiting:,} wait for their request, "
            f"{counts.unknown:,} of unknown rows, {self.refused:,} refused."
        )


def label(
    labels: Any,
    *,
    model: str = "",
    environment: str = "",
    state: State = "final",
    workspace: Workspace | None = None,
) -> LabelResult:
    """Store labels of logged predictions, and return what became of them.

    Args:
        labels: a data frame, or mappings: `id` or `key`, `label` as the table has it, and
            optionally `row` (0), `time` (now), `origin` and `state`.
        model: by default the settings' model.
        environment: by default the settings' environment.
        state: "provisional" or "final", of a label that gives none.
        workspace: by default the project of the working directory.

    Raises ObservationsError; a label that can't be taken is refused, and keeps no other one out.
    """
    records: Iterable[Any] = labels
    if hasattr(labels, "to_dict") and hasattr(labels, "columns"):
        records = labels.to_dict(orient="records")
    elif isinstance(labels, Mapping):
        records = [labels]
    with _Store(workspace or Workspace.open(), model, environment, state) as store:
        return store.take(_plain(records))


def from_file(
    workspace: Workspace,
    stream: IO[bytes],
    kind: label_files.Kind,
    name: str,
    *,
    model: str = "",
    environment: str = "",
    state: State = "final",
) -> LabelResult:
    """Store the labels of a file; raises ObservationsError for one that can't be read.

    Args:
        workspace: the project.
        stream: the file, in bytes.
        kind: what it holds: "csv", "jsonl" or "parquet".
        name: the file's, for messages.
        model: by default the settings' model.
        environment: by default the settings' environment.
        state: of a label that gives none.
    """
    with _Store(workspace, model, environment, state) as store:
        return store.take(label_files.records(stream, kind, name), is_text=kind == "csv")


def from_settings(
    workspace: Workspace,
    *,
    required: bool = True,
    state: State | None = None,
    tables: Mapping[str, Table] | None = None,
) -> LabelResult:
    """Store what is new in the folder and the table that [labels] names, each row once.

    `state` is that of a label that gives none, by default the settings'. `tables` declare the
    labels of models, before the project's do. Raises SettingsError where neither is named and one
    is `required`, and ObservationsError.
    """
    from mlops_kit.prediction_log import label_sources

    named, result = workspace.settings.labels, LabelResult()
    if not (named.folder or named.sql):
        if required:
            raise SettingsError("[labels] names neither a 'folder' nor an 'sql' URL.")
        return result
    with _Store(workspace, named.model, "", state or named.state, tables) as store:
        if named.folder:
            folder = workspace.project / named.folder
            for part in label_sources.of_folder(folder, store.observations, time.time()):
                result += store.take_part(part)
        if named.sql:
            address = absolute_uri(named.sql, workspace.project)
            where = (address, named.table, named.order)
            result += store.take_part(label_sources.of_table(*where, store.observations))
    return result


class _Store:
    """The prediction log, and the classes that raw labels are read with."""

    observations: Observations

    def __init__(
        self,
        workspace: Workspace,
        model: str,
        environment: str,
        state: State,
        tables: Mapping[str, Table] | None = None,
    ) -> None:
        settings, self._state = workspace.settings, state
        self._model = model or workspace.default_model
        self._environment = environment or settings.environment
        self._table = (workspace.tables() | dict(tables or {})).get(self._model)
        self.observations = local_server.observations(workspace, self._model)

    def __enter__(self) -> _Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.observations.close()

    def take(self, records: Iterable[object], *, is_text: bool = False) -> LabelResult:
        """Store labels chunk by chunk."""
        reader = RecordReader(self._table, time.time(), is_text=is_text, state=self._state)
        result, first, left = LabelResult(), 0, iter(records)
        while chunk := list(islice(left, _ROWS)):
            labels, refused = reader.read(chunk, first)
            where = {"model": self._model, "environment": self._environment}
            counts = self.observations.label(labels, **where)
            result += LabelResult(counts, len(refused), tuple(refused))
            first += len(chunk)
        return result

    def take_part(self, part: Part) -> LabelResult:
        """Store what is new in a source, then remember how far it was read."""
        result = self.take(part.records, is_text=part.is_text)
        self.observations.set_position(part.source, part.after())
        return result


def _plain(records: Iterable[Any]) -> Iterator[Any]:
    """Yield records with plain numbers and times in place of numpy's and pandas'."""
    for record in records:
        if not isinstance(record, Mapping):
            raise ObservationsError(
                f"{record!r:.80} is no label; expected a mapping with 'id' or 'key', and 'label'.",
                code="prediction-log.label",
            )
        yield {name: _value(value) for name, value in record.items()}


def _value(value: Any) -> Any:
    if hasattr(value, "to_pydatetime"):
        return value.to_pydatetime() if value == value else None
    return value.item() if hasattr(value, "item") else value


def open_file(name: str) -> IO[bytes]:
    """Open a file of labels; raises ObservationsError."""
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise ObservationsError(
            f"The labels in {name!r} can't be read: {error}.", code="prediction-log.label-file"
        ) from error
