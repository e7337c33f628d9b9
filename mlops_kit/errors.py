"""The tree of errors that the kit raises.

    KitError
    ├── SettingsError              a setting is unknown or has the wrong type
    ├── ProjectError               the project, pipeline, notebook or execution doesn't exist here
    ├── DefinitionError            a pipeline definition contradicts itself
    ├── ParameterError             a parameter is unknown, missing or has the wrong type
    ├── NotebookError              a notebook can't be read, or breaks the grammar
    ├── StepError                  a step started and failed
    │   ├── CellError              a cell raised an exception
    │   ├── EarlyExitError         a cell ended the kernel, for example with sys.exit
    │   ├── KernelDiedError        the kernel was killed or crashed
    │   ├── StepTimeoutError       the step ran past its deadline
    │   └── OutputError            a declared output is missing or has the wrong type
    ├── TableError                 a table contradicts itself, or a value doesn't fit it
    ├── DataError                  the data violates its contract
    ├── EvaluationError            an evaluation doesn't have the form that `evaluate` publishes
    ├── RegistryError              the registry can't do what was asked
    │   ├── ModelNotFoundError     the model, version or alias doesn't exist
    │   └── UntrustedModelError    the kit doesn't trust a model's digest, or a type in it
    ├── ServingError               a release can't be served, or a server can't run
    │   └── RequestError           a request violates the V2 protocol
    ├── ObservationsError          the store of predictions and labels failed
    │   ├── StoreBusyError         another writer holds the store; retry
    │   └── StoreFullError         no space is left for predictions and labels
    ├── ReleaseError               a release forbids this change, or its release.yaml is broken
    │   └── QuarantineError        the version was rolled back before, or the model too often
    ├── ClusterError               a cluster doesn't answer, or refuses the request
    └── GitOpsError                the GitOps repository can't do what was asked
        ├── RemoteError            the remote doesn't answer, or refuses the request
        ├── LostRaceError          somebody else changed the release first
        └── SecretFoundError       the content to commit contains a secret

A "no", such as a verdict that fails, is a value and never an error.

Each error has a `code` that never changes, even when its message or class does. A longer code, such
as "parameter.no-yaml", tells one error of a class from the others. `docs/error-codes.md` lists all.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence

# Characters of a parameter's value in a message.
MAX_SHOWN = 120


class KitError(Exception):
    """The kit can't do what was asked.

    The message says what is wrong, what was expected and where to look. Scripts and tests match on
    the stable `code`, never on the message.
    """

    code = "kit"
    exit_code = 1

    def __init__(self, message: str, *, code: str = "") -> None:
        """Set the message, and a code that tells this error from others of its class."""
        super().__init__(message)
        self.code = code or self.code


class SettingsError(KitError):
    """A setting is unknown or has the wrong type."""

    code = "settings"


class ProjectError(KitError):
    """The project, pipeline, notebook or execution doesn't exist here."""

    code = "project"


class DefinitionError(KitError):
    """A pipeline definition contradicts itself."""

    code = "definition"


class ParameterError(KitError):
    """A parameter is unknown, missing or has the wrong type."""

    code = "parameter"
    exit_code = 2


class NotebookError(KitError):
    """A notebook can't be read, or breaks the grammar."""

    code = "notebook"


class StepError(KitError):
    """A step started and failed; the fields say where."""

    code = "step"

    def __init__(
        self,
        reason: str,
        *,
        notebook: str,
        cell: str = "",
        line: int | None = None,
        parameters: Mapping[str, object] | None = None,
        output: str = "",
        code: str = "",
    ) -> None:
        """Keep the facts as fields.

        Args:
            reason: why the step failed, as a sentence.
            notebook: the notebook's path, as the pipeline names it.
            cell: the id of the cell where the step stopped.
            line: the line in that cell, counted from 1.
            parameters: the notebook's parameters.
            output: the path of the saved notebook.
            code: see KitError.
        """
        super().__init__(reason, code=code)
        self.reason = reason
        self.notebook = notebook
        self.cell = cell
        self.line = line
        self.parameters = dict(parameters or {})
        self.output = output
        self.reproduce = ""

    def __str__(self) -> str:
        """Return notebook, cell, line, reason, parameters and the command that reproduces it."""
        place = self.notebook
        if self.cell:
            place += f", cell {self.cell!r}"
        if self.line is not None:
            place += f", line {self.line}"
        lines = [f"{place}: {self.reason}"]
        if self.parameters:
            # An evaluation would fill the screen; `saved` has all of it.
            shown = {name: reprlib.repr(value) for name, value in self.parameters.items()}
            given = " ".join(f"{name}={value:.{MAX_SHOWN}}" for name, value in shown.items())
            lines.append(f"  parameters: {given}")
        if self.output:
            lines.append(f"  saved: {self.output}")
        if self.reproduce:
            lines.append(f"  reproduce: {self.reproduce}")
        return "\n".join(lines)


class CellError(StepError):
    """A cell raised an exception."""

    code = "step.cell"


class EarlyExitError(StepError):
    """A cell ended the kernel, for example with sys.exit."""

    code = "step.early-exit"


class KernelDiedError(StepError):
    """The kernel was killed or crashed."""

    code = "step.kernel-died"
    exit_code = 137


class StepTimeoutError(StepError):
    """The step ran past its deadline."""

    code = "step.timeout"
    exit_code = 124


class OutputError(StepError):
    """A declared output is missing or has the wrong type."""

    code = "step.output"


class TableError(KitError):
    """A table's declaration contradicts itself, or a value doesn't fit it."""

    code = "table"


class DataError(KitError):
    """The data violates its contract; the message lists the reasons, with their first rows."""

    code = "data"

    def __init__(self, message: str, *, reasons: Sequence[str] = (), code: str = "") -> None:
        """Append the reasons to the message: one sentence per broken rule."""
        super().__init__("\n".join([message, *(f"  - {reason}" for reason in reasons)]), code=code)
        self.reasons = tuple(reasons)


class EvaluationError(KitError):
    """An evaluation doesn't have the form that the notebook `evaluate` publishes."""

    code = "evaluation"


class RegistryError(KitError):
    """The registry can't do what was asked."""

    code = "registry"


class ModelNotFoundError(RegistryError):
    """The model, version or alias doesn't exist."""

    code = "registry.not-found"


class UntrustedModelError(RegistryError):
    """The kit doesn't trust a model's digest, or a type in it."""

    code = "registry.untrusted"


class ServingError(KitError):
    """A release can't be served, or a server can't run."""

    code = "serving"


class RequestError(ServingError):
    """A request violates the V2 protocol; `status` is the HTTP status to answer with."""

    code = "serving.request"

    def __init__(self, message: str, *, status: int = 400, code: str = "") -> None:
        """Keep the HTTP status."""
        super().__init__(message, code=code)
        self.status = status


class ObservationsError(KitError):
    """The store of predictions and labels failed."""

    code = "prediction-log"


class StoreBusyError(ObservationsError):
    """Another writer holds the store; retry."""

    code = "prediction-log.busy"


class StoreFullError(ObservationsError):
    """No space is left for predictions and labels."""

    code = "prediction-log.full"


class ReleaseError(KitError):
    """A release forbids this change, or its release.yaml is broken."""

    code = "release"


class QuarantineError(ReleaseError):
    """The version was rolled back before, or the model too often."""

    code = "release.quarantine"


class ClusterError(KitError):
    """A cluster doesn't answer, or refuses the request; retry only if not `lasting`."""

    code = "cluster"

    def __init__(
        self, message: str, *, lasting: bool = True, status: int = 0, code: str = ""
    ) -> None:
        """Keep the HTTP status of the answer, 0 without one; 429 and 5xx are never lasting."""
        super().__init__(message, code=code)
        self.lasting = lasting and status != 429 and status < 500
        self.status = status


class GitOpsError(KitError):
    """The GitOps repository can't do what was asked."""

    code = "gitops"


class RemoteError(GitOpsError):
    """The remote doesn't answer, or refuses the request."""

    code = "gitops.remote"


class LostRaceError(GitOpsError):
    """Somebody else changed the release first."""

    code = "gitops.lost-race"


class SecretFoundError(GitOpsError):
    """The content to commit contains a secret."""

    code = "gitops.secret"
