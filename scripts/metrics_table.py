#!/usr/bin/env python3
"""Writes docs/metrics.md to standard output: every metric, as the programs declare it."""

import sys
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from thumbq.render.jobs.metrics import RenderMetrics
from thumbq_gateway.metrics import Metrics
from thumbq_server.metrics.counters import Counters

HEAD = """\
# Metrics

Each program answers Prometheus on `/metrics`. `make metrics` writes this page from the declarations.

| program | where |
|---|---|
| server | the port in `THUMBQ_METRICS_PORT`, at the address of the gRPC API; without one there are no metrics. `thumbq serve --processes 3` with 9464 takes 9464, 9465 and 9466 |
| gateway | `/metrics` on the port of the page. Of several gateways on one port one answers, for itself alone, and Prometheus mostly meets the same: with `thumbq serve --processes 3` its counters are about a third of all |
| render worker | the port in `--metrics-port`, at the address in `--metrics-host`, which is loopback |

No label is the name of a worker or a model, so the number of series does not grow with the queue.

Every server shows the queue and its database alike, as each looks at them every five seconds. While a server cannot, those gauges are NaN
there, or missing where they have labels; `max` takes those of the others.

Once there are API keys, server and gateway answer a key of any role only ([security.md](security.md)). Prometheus shows one with
`authorization: {credentials_file: viewer.key}` beside its targets.

The contract asks for these:

| what to monitor | query |
|---|---|
| Jobs pending vs. processing vs. completed, queue depth | `max by (status) (thumbq_jobs)` |
| Average job processing time | `max by (quantile) (thumbq_processing_seconds)`; for each stage of a picture `rate(thumbq_render_stage_seconds_sum[5m]) / rate(thumbq_render_stage_seconds_count[5m])` |
| Worker throughput (jobs/minute) | `60 * sum(rate(thumbq_results_total{verb="complete", verdict="ok"}[5m]))` |
| Failure rate | `sum(rate(thumbq_results_total{verb="fail", verdict="ok"}[5m])) / sum(rate(thumbq_results_total{verb=~"fail|complete", verdict="ok"}[5m]))` |
| Error types | `sum(increase(thumbq_dead_letters_total[1h]))`, and `thumbq dead --reason TEXT`; of the reference worker `sum by (reason) (increase(thumbq_render_failures_total[1h]))` |
| Wait times | `max by (quantile) (thumbq_wait_seconds)`, `max(thumbq_oldest_due_age_seconds)` |

[deploy/prometheus/alerts.yml](../deploy/prometheus/alerts.yml) has alerts, each with an entry in [runbook.md](runbook.md), and
[deploy/grafana/thumbq.json](../deploy/grafana/thumbq.json) is a dashboard. Those that ring when a program is away look for the jobs
`thumbq-server`, `thumbq-gateway` and `thumbq-worker`, as [prometheus.yml](../deploy/prometheus/prometheus.yml) names them.
"""


def declared(registry: CollectorRegistry) -> Iterator[tuple[str, str, str, str]]:
    """Yield the name, the kind, the labels and the sentence of each metric, in the order of the declarations."""
    for collector in dict.fromkeys(registry._names_to_collectors.values()):  # noqa: SLF001 - there is no other list
        assert isinstance(collector, MetricWrapperBase)
        name = collector._name + ("_total" if collector._type == "counter" else "")  # noqa: SLF001
        labels = ", ".join(f"`{label}`" for label in collector._labelnames)  # noqa: SLF001
        yield name, str(collector._type), labels or "–", collector._documentation  # noqa: SLF001


def page() -> str:
    """Return the whole page."""
    programs = (("server", Counters(Path())), ("gateway", Metrics(Path())), ("render worker", RenderMetrics()))
    parts = [HEAD]
    for program, metrics in programs:
        parts.append(f"\n## The {program}\n\n| metric | kind | labels | what it tells |\n|---|---|---|---|\n")
        parts += [
            f"| `{name}` | {kind} | {labels} | {text} |\n" for name, kind, labels, text in declared(metrics.registry)
        ]
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
