"""What Prometheus reads of a server: requests, latency, and what the log had to drop.

All labels come from the release and from the kit, none from a client: a series is for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlops_kit.serving.predictor import Answer

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

# Seconds; from the fast path's tenth of a millisecond to a model that hangs.
_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Metrics:
    """The series of one server, in a registry of its own unless one is given."""

    def __init__(
        self,
        log_status: Callable[[], Mapping[str, object]] | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        """`log_status` is the log's own; its numbers are read when Prometheus asks."""
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry = registry or CollectorRegistry()
        self._requests = Counter(
            "mlops_kit_requests",
            "Inference requests that a version answered",
            ["version", "role", "outcome"],
            registry=self.registry,
        )
        self._latency = Histogram(
            "mlops_kit_model_seconds",
            "The model's own time for a request",
            ["version"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._refused = Counter(
            "mlops_kit_refused_requests",
            "Inference requests that no model was asked for, by HTTP status",
            ["status"],
            registry=self.registry,
        )
        self._anonymous = Counter(
            "mlops_kit_requests_without_client",
            "Inference requests without a client's id, which are split at random",
            registry=self.registry,
        )
        # Looking a child up by its labels takes longer than counting.
        self._children: dict[tuple[str, str, str], tuple[Any, Any]] = {}
        if log_status is not None:
            self.registry.register(_Log(log_status))

    def count(self, answer: Answer, *, is_anonymous: bool) -> None:
        """Count a request that a version answered, or failed at."""
        key = (answer.version, answer.role, "error" if answer.fault else "ok")
        children = self._children.get(key)
        if children is None:
            children = (self._requests.labels(*key), self._latency.labels(answer.version))
            self._children[key] = children
        children[0].inc()
        children[1].observe(answer.latency_ms / 1000)
        if is_anonymous:
            self._anonymous.inc()

    def refuse(self, status: int) -> None:
        """Count a request that didn't reach a model."""
        self._refused.labels(str(status)).inc()

    def text(self) -> bytes:
        """Return all series in Prometheus' text form."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)


class _Log:
    """Reads the log's numbers when Prometheus does, so that counting costs a request nothing."""

    def __init__(self, status: Callable[[], Mapping[str, object]]) -> None:
        self._status = status

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        status: Mapping[str, Any] = self._status()
        dropped = CounterMetricFamily(
            "mlops_kit_predictions_dropped", "Predictions that weren't logged", labels=["reason"]
        )
        for reason, count in status["dropped"].items():
            dropped.add_metric([reason], count)
        yield dropped
        yield CounterMetricFamily(
            "mlops_kit_predictions_logged", "Predictions written", value=status["written"]
        )
        yield GaugeMetricFamily(
            "mlops_kit_prediction_rows_waiting", "Rows to be logged", value=status["waiting_rows"]
        )
