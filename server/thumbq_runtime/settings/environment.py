"""The variables of the environment that are no settings: those of Kubernetes, proxies, and typing errors."""

import contextlib
import difflib
import re
import sys
from collections.abc import MutableMapping

from thumbq_runtime.settings.shared import DATABASE_VARIABLES
from thumbq_runtime.text import printable

PREFIX = "THUMBQ_"
# A test compares them with docs/settings.md.
_NAMES = """
    ALLOWED_HOSTS API_KEY API_KEY_FILE AUDIT_RETENTION BODY_TIMEOUT CA CERT CONNECTIONS_OF_ADDRESS CORS_ORIGINS
    DATABASE_CONNECTIONS DATABASE_FOLDER DATABASE_URL DATABASE_URL_FILE DATA_DIR
    DELIVERY_LEASE_DURATION ENQUEUE_STREAMS_OF_ADDRESS GATEWAYS GATEWAY_SECRET GATEWAY_SECRET_FILE
    GRPC_HOST GRPC_PORT GRPC_SOCKET
    HEARTBEAT HEARTBEAT_INTERVAL HTTP_HOST HTTP_PORT
    HUB_SECRET HUB_SECRET_FILE IDLE_TIMEOUT INSECURE JOBS_IN_FLIGHT_OF_ADDRESS JOB_RETENTION KEY LEASE_DURATION
    LISTEN_URL LISTEN_URL_FILE
    LOG_FORMAT LOG_LEVEL
    METRICS_PORT MODELS MODEL_ROOT MODEL_STORE NOTIFICATION_RETENTION PEER_HOST PROCESSES QUEUE_LIMIT QUEUE_WATCH_LINGER
    RATE_OF_ENQUEUES RATE_OF_POLLS RATE_OF_READS RATE_OF_WORKER_POLLS
    READY_FD RETRY_BASE RETRY_CAP REUSE_PORT RING_BYTES RING_NOTIFICATIONS SERVER SHUTDOWN_GRACE
    STATEMENT_TIMEOUT STREAMS_OF_ADDRESS STREAM_MAX_AGE SUBSCRIBER_BUFFER SUBSCRIBER_LIMIT SUBSCRIBER_TIMEOUT
    SUBSCRIPTIONS_OF_ADDRESS SUPERSEDED_GRACE
    THUMBNAIL_REDIRECT THUMBNAIL_ROOT THUMBNAIL_ROOTS THUMBNAIL_STORE
    TLS_CERT_FILE TLS_CLIENT_CA_FILE TLS_CLIENT_ROLES TLS_KEY_FILE
    TRUSTED_PROXIES UNARY_LEASE_DURATION UPSTREAM UPSTREAM_VERIFY WAITING_CALLS_OF_ADDRESS WORKER_RETENTION
    WORK_STREAMS_OF_ADDRESS
"""
KNOWN = frozenset(PREFIX + name for name in _NAMES.split())
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy")
_EXCEPTIONS = ("no_proxy", "NO_PROXY")
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
# For a service called "thumbq" or "thumbq-http", Kubernetes sets THUMBQ_HTTP_PORT=tcp://10.0.0.1:80 and a dozen more.
_SERVICE_LINK = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+:\d+$")


def forget_strangers(environment: MutableMapping[str, str]) -> list[str]:
    """Remove the variables that are no settings, and return a sentence about each that looks like one.

    Variables that name another database than the first that counts are of another program.
    """
    sentences = []
    for name in [name for name in DATABASE_VARIABLES if environment.get(name)][1:]:
        del environment[name]
    for name in sorted(name for name in environment if name.startswith(PREFIX)):
        if _is_of_kubernetes(name, environment[name]):
            del environment[name]
        elif name not in KNOWN and not name.startswith("THUMBQ_TEST_"):
            del environment[name]
            near = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.8)
            hint = f"; did you mean {near[0]}?" if near else "."
            sentences.append(f"{name} is no setting of thumbq and is ignored{hint}")
    return sentences


def warn_of_strangers(environment: MutableMapping[str, str]) -> None:
    """Do so, and write the sentences to standard error."""
    for sentence in forget_strangers(environment):
        # A standard error that takes nothing is no reason to end.
        with contextlib.suppress(OSError, AttributeError):
            sys.stderr.write(f"thumbq: {printable(sentence)}\n")


def reach_this_machine_directly(environment: MutableMapping[str, str]) -> None:
    """Except this machine from the proxies of the environment: a proxy reaches itself under these names.

    Each library reads another spelling of the variable. So an exception in one of them counts in both.
    """
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return
    said = [environment.get(name, "") for name in _EXCEPTIONS]
    for name, own, other in zip(_EXCEPTIONS, said, reversed(said), strict=True):
        hosts = [host.strip() for host in (own or other).split(",") if host.strip()]
        # An asterisk excepts all hosts, and some libraries know it alone only.
        environment[name] = "*" if "*" in hosts else ",".join(dict.fromkeys([*hosts, *_THIS_MACHINE]))


def _is_of_kubernetes(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.search(name)) or (name.endswith("_PORT") and bool(_SERVICE_ADDRESS.match(value)))
