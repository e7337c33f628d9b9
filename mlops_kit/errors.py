"""Every fault that the kit raises, in one tree.

    KitError
    ├── SettingsError              a setting is unknown or has the wrong type
    ├── ProjectError               no such project, pipeline, notebook or execution here
    ├── DefinitionError            a pipeline definition contradicts itself
    ├── ParameterError             a parameter is unknown, missing or of the wrong type
    ├── NotebookError              a notebook can't be read, or breaks the grammar
    ├── StepError                  a step was started and didn't end well
    │   ├── CellError              a cell raised
    │   ├── EarlyExitError         a cell ended the kernel, for example by sys.exit
    │   ├── KernelDiedError        the kernel was killed or crashed
    │   ├── StepTimeoutError       the step ran past its deadline
    │   └── OutputError            a declared output is missing or has the wrong type
    ├── TableError                 a table's declaration contradicts itself, or doesn't fit
    ├── DataError                  data that break their contract, with rows and reasons
    ├── EvaluationError            an evaluation that isn't what `evaluate` publishes
    ├── RegistryError              the registry can't do it
    │   ├── ModelNotFoundError     no such model, version or alias
    │   └── UntrustedModelError    a digest or a type that the kit doesn't accept
    ├── ServingError               a release that can't be served, or a platform that can't run
    │   └── RequestError           a request that the V2 protocol doesn't allow, with its status
    ├── ObservationsError          the store of predictions and labels can't do it
    │   ├── StoreBusyError         somebody else writes; the same again may work
    │   └── StoreFullError         there is no room left
    ├── ReleaseError               a change that a release doesn't allow, or a broken release.yaml
    │   └── QuarantineError        a version that was rolled back, or too many rollbacks
    ├── ClusterError               a cluster doesn't answer, or refuses
    └── GitOpsError                the GitOps repository can't do it
        ├── RemoteError            it doesn't answer, or refuses
        ├── LostRaceError          somebody else changed the release first
        └── SecretFoundError       a secret stands in what was to be committed

A "no" is a value (a verdict that fails), never one of these.

Each has a `code` that stays when its sentence or its class is named better. `docs/error-codes.md`
lists them; a fault that callers tell from others of its class has a longer one, as in
"parameter.no-yaml".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class KitError(Exception):
    """Something that the kit can't do; says what, what was expected and where to look.

    `code` is stable: scripts and tests ask for it, and not for the words of the message.
    """

    code = "kit"
    exit_code = 1

    def __init__(self, message: str, *, code: str = "") -> None:
        """`code` tells one fault of the class from its others."""
        super().__init__(message)
        self.code = code or self.code


class SettingsError(KitError):
    """A setting is unknown or has the wrong type."""

    code = "settings"


class ProjectError(KitError):
    """No such project, pipeline, notebook or execution here."""

    code = "project"


class DefinitionError(KitError):
    """A pipeline definition contradicts itself."""

    code = "definition"


class ParameterError(KitError):
    """A parameter is unknown, missing or of the wrong type."""

    code = "parameter"
    exit_code = 2


class NotebookError(KitError):
    """A notebook can't be read, or breaks the grammar."""

    code = "notebook"


class StepError(KitError):
    """A step was started and didn't end well; carries where it stopped."""

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
            reason: why, as a sentence.
            notebook: its path, as the pipeline names it.
            cell: the id of the cell where it stopped.
            line: the line in that cell, from 1.
            parameters: what the notebook was given.
            output: the path of the saved notebook.
            code: as of KitError.
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
        """Name notebook, cell, line, reason, parameters and the command that reproduces it."""
        place = self.notebook
        if self.cell:
            place += f", cell {self.cell!r}"
        if self.line is not None:
            place += f", line {self.line}"
        lines = [f"{place}: {self.reason}"]
        if self.parameters:
            given = " ".join(f"{name}={value!r}" for name, value in self.parameters.items())
            lines.append(f"  parameters: {given}")
        if self.output:
            lines.append(f"  saved: {self.output}")
        if self.reproduce:
            lines.append(f"  reproduce: {self.reproduce}")
        return "\n".join(lines)


class CellError(StepError):
    """A cell raised."""

    code = "step.cell"


class EarlyExitError(StepError):
    """A cell ended the kernel, for example by sys.exit."""

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
    """A table's declaration contradicts itself, or what was given doesn't fit it."""

    code = "table"


class DataError(KitError):
    """Data that break their contract, with the reasons and the first rows that show each."""

    code = "data"

    def __init__(self, message: str, *, reasons: Sequence[str] = (), code: str = "") -> None:
        """`reasons` are sentences, one a broken rule."""
        super().__init__("\n".join([message, *(f"  - {reason}" for reason in reasons)]), code=code)
        self.reasons = tuple(reasons)


class EvaluationError(KitError):
    """An evaluation that isn't what the notebook `evaluate` publishes."""

    code = "evaluation"


class RegistryError(KitError):
    """The registry can't do it."""

    code = "registry"


class ModelNotFoundError(RegistryError):
    """No such model, version or alias."""

    code = "registry.not-found"


class UntrustedModelError(RegistryError):
    """A digest or a type that the kit doesn't accept."""

    code = "registry.untrusted"


class ServingError(KitError):
    """A release that can't be served, or a platform that can't run."""

    code = "serving"


class RequestError(ServingError):
    """A request that the V2 protocol doesn't allow; `status` is HTTP's."""

    code = "serving.request"

    def __init__(self, message: str, *, status: int = 400, code: str = "") -> None:
        """Keep the status beside the sentence."""
        super().__init__(message, code=code)
        self.status = status


class ObservationsError(KitError):
    """The store of predictions and labels can't do it."""

    code = "prediction-log"


class StoreBusyError(ObservationsError):
    """Somebody else writes; the same again may work."""

    code = "prediction-log.busy"


class StoreFullError(ObservationsError):
    """There is no room left."""

    code = "prediction-log.full"


class ReleaseError(KitError):
    """A change that a release doesn't allow, or a broken release.yaml."""

    code = "release"


class QuarantineError(ReleaseError):
    """A version that was rolled back before, or a model that was rolled back too often."""

    code = "release.quarantine"


class ClusterError(KitError):
    """A cluster doesn't answer, or refuses; `lasting` is false where the same again may work."""

    code = "cluster"

    def __init__(
        self, message: str, *, lasting: bool = True, status: int = 0, code: str = ""
    ) -> None:
        """`status` is that of its answer over HTTP, 0 without one."""
        super().__init__(message, code=code)
        self.lasting = lasting and status != 429 and status < 500
        self.status = status


class GitOpsError(KitError):
    """The GitOps repository can't do it."""

    code = "gitops"


class RemoteError(GitOpsError):
    """The remote doesn't answer, or refuses."""

    code = "gitops.remote"


class LostRaceError(GitOpsError):
    """Somebody else changed the release first."""

    code = "gitops.lost-race"


class SecretFoundError(GitOpsError):
    """A secret stands in what was to be committed."""

    code = "gitops.secret"
