"""The settings that more than one program reads; a program's own stand in its `settings.py`.

Each is an environment variable. docs/settings.md lists them all: `make settings` writes it.
"""

from pathlib import Path

from thumbq_runtime.connections import FEWEST_PER_SERVER, MOST_PER_SERVER, PER_SERVER
from thumbq_runtime.settings.declaration import MOST_SECONDS, Kind, Setting

MOST_PROCESSES = 64


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


def _flag(text: str) -> bool:
    if text.lower() in {"1", "true", "t", "yes", "y", "on"}:
        return True
    if text.lower() in {"0", "false", "f", "no", "n", "off"}:
        return False
    raise ValueError(text)


_TEXT = Kind("a text", str)
_PATH = Kind("a path", Path)
_FLAG = Kind("true or false", _flag)
_PORT = Kind("a port number from 0 to 65535", _whole_number, minimum=0, maximum=65535)
_COUNT = Kind("a number from 1 to 2147483647", _whole_number, minimum=1, maximum=2**31 - 1)
_RATE = Kind("a number from 0 to a billion", float, minimum=0, maximum=10**9)
_SECONDS = Kind("a positive number of seconds, at most a century", float, above=0, maximum=MOST_SECONDS)

CA = Setting[Path | None](
    ("THUMBQ_CA",),
    _PATH,
    None,
    "Authorities of servers that are trusted, in PEM, for addresses with grpcs:// or https://.",
)
CERT = Setting[Path | None](("THUMBQ_CERT",), _PATH, None, "Certificate that is shown to a server that asks, in PEM.")
DATA_DIR = Setting(
    ("THUMBQ_DATA_DIR",),
    _PATH,
    Path("thumbq-data"),
    "Folder of the thumbnails and, without a DATABASE_URL, of the database.",
    shown_default="./thumbq-data",
)
DATABASE_CONNECTIONS = Setting(
    ("THUMBQ_DATABASE_CONNECTIONS",),
    Kind(
        f"a number from {FEWEST_PER_SERVER} to {MOST_PER_SERVER}",
        _whole_number,
        minimum=FEWEST_PER_SERVER,
        maximum=MOST_PER_SERVER,
    ),
    PER_SERVER,
    "Connections to PostgreSQL that each server opens at most. All but 8 of them are a pool for reads, duties and"
    " operators; a larger one helps where many read at once.",
)
# The order in which they count: a variable of our own goes before one that other programs read as well, and a file
# before an address, since units of systemd name files.
DATABASE_VARIABLES = ("THUMBQ_DATABASE_URL_FILE", "THUMBQ_DATABASE_URL", "DATABASE_URL_FILE", "DATABASE_URL")
DATABASE_FOLDER = Setting[Path | None](
    ("THUMBQ_DATABASE_FOLDER",),
    _PATH,
    None,
    "Folder of the PostgreSQL on this machine: the metrics of a server then say how much room its disk has."
    " `thumbq serve` sets it for its own.",
)
DATABASE_URL = Setting(
    ("DATABASE_URL", "THUMBQ_DATABASE_URL"),
    _TEXT,
    "",
    "Address of PostgreSQL; without one, `thumbq serve` brings a PostgreSQL of its own. Of several, the first of"
    " THUMBQ_DATABASE_URL_FILE, THUMBQ_DATABASE_URL, DATABASE_URL_FILE and DATABASE_URL counts.",
)
DATABASE_URL_FILE = Setting[Path | None](
    ("DATABASE_URL_FILE", "THUMBQ_DATABASE_URL_FILE"),
    _PATH,
    None,
    "File that holds the address of PostgreSQL, as container platforms pass secrets.",
)
GRPC_HOST = Setting(("THUMBQ_GRPC_HOST",), _TEXT, "127.0.0.1", "Address that the gRPC API binds.")
GRPC_SOCKET = Setting[Path | None](
    ("THUMBQ_GRPC_SOCKET",),
    _PATH,
    None,
    "Unix socket on which the server also listens, without TLS: whoever may open its folder may use it."
    " `thumbq serve` makes one for its gateways when there is TLS.",
)
GRPC_PORT = Setting(("THUMBQ_GRPC_PORT",), _PORT, 50051, "Port of the gRPC API; 0 takes any free one.")
HTTP_HOST = Setting(("THUMBQ_HTTP_HOST",), _TEXT, "127.0.0.1", "Address that the page and the JSON API bind.")
HTTP_PORT = Setting(
    ("THUMBQ_HTTP_PORT", "PORT"), _PORT, 5009, "Port of the page and the JSON API; 0 takes any free one."
)
HUB_SECRET = Setting[str | None](
    ("THUMBQ_HUB_SECRET",),
    _TEXT,
    None,
    "Signs the connection tokens of the SignalR hubs: the same for gateways on several hosts."
    " Without one, `thumbq serve` makes one for its gateways.",
)
HUB_SECRET_FILE = Setting[Path | None](
    ("THUMBQ_HUB_SECRET_FILE",), _PATH, None, "File that holds the secret of the SignalR hubs."
)
API_KEY = Setting[str | None](
    ("THUMBQ_API_KEY",), _TEXT, None, "Key that the command line, the worker and the Python SDK show the server."
)
API_KEY_FILE = Setting[Path | None](
    ("THUMBQ_API_KEY_FILE",), _PATH, None, "File that holds the key, as container platforms pass secrets."
)
GATEWAY_SECRET = Setting[str | None](
    ("THUMBQ_GATEWAY_SECRET",),
    _TEXT,
    None,
    "Shows the server that its caller is a gateway, which has checked the API key of its own caller: the same for"
    " servers and gateways, and 32 characters or more. Without one, `thumbq serve` makes one.",
)
GATEWAY_SECRET_FILE = Setting[Path | None](
    ("THUMBQ_GATEWAY_SECRET_FILE",), _PATH, None, "File that holds the secret of the gateways."
)
INSECURE = Setting(("THUMBQ_INSECURE",), _FLAG, False, "Serve other machines without any API key.")
KEY = Setting[Path | None](("THUMBQ_KEY",), _PATH, None, "Private key of that certificate, in PEM, without a password.")
METRICS_PORT = Setting[int | None](
    ("THUMBQ_METRICS_PORT",),
    _PORT,
    None,
    "Port of the server's metrics for Prometheus, at the address of the gRPC API; without one there are none."
    " With several processes, each further server takes the next port.",
)
PROCESSES = Setting(
    ("THUMBQ_PROCESSES",),
    Kind(f"a number from 1 to {MOST_PROCESSES}", _whole_number, minimum=1, maximum=MOST_PROCESSES),
    1,
    "Number of servers, and also of gateways; each pair of them uses another core.",
)
RATE_OF_ENQUEUES = Setting(
    ("THUMBQ_RATE_OF_ENQUEUES",), _RATE, 5000.0, "Calls a second with which one address may enqueue; 0 is any number."
)
RATE_OF_POLLS = Setting(
    ("THUMBQ_RATE_OF_POLLS",),
    _RATE,
    300.0,
    "Calls a second with which all workers of one address may ask in vain for jobs; 0 is any number.",
)
RATE_OF_READS = Setting(
    ("THUMBQ_RATE_OF_READS",),
    _RATE,
    2000.0,
    "Calls a second with which one address may read, or open streams; 0 is any number.",
)
RATE_OF_WORKER_POLLS = Setting(
    ("THUMBQ_RATE_OF_WORKER_POLLS",),
    _RATE,
    20.0,
    "Calls a second with which one worker may ask in vain for jobs; 0 is any number."
    " For all of these rates, ten seconds' worth may come at once.",
)
READY_FD = Setting[int | None](
    ("THUMBQ_READY_FD",),
    Kind("a file descriptor", _whole_number, minimum=0, maximum=2**31 - 1),
    None,
    'Pipe, inherited from the parent, that gets {"port": N} when the program serves.',
)
REUSE_PORT = Setting(
    ("THUMBQ_REUSE_PORT",), _FLAG, False, "Share the port with other processes; connections are spread over them."
)
SERVER = Setting(
    ("THUMBQ_SERVER",),
    _TEXT,
    "127.0.0.1:50051",
    "Address of the server's gRPC API, with TLS as grpcs://queue.example:50051; several without TLS as"
    " ipv4:10.0.0.1:50051,10.0.0.2:50051. Workers and commands take one at random, a gateway the first that is there.",
)
SHUTDOWN_GRACE = Setting(
    ("THUMBQ_SHUTDOWN_GRACE",), _SECONDS, 10.0, "Seconds that a stopping server waits for workers to report."
)
SUBSCRIPTIONS_OF_ADDRESS = Setting(
    ("THUMBQ_SUBSCRIPTIONS_OF_ADDRESS",),
    _COUNT,
    15_000,
    "Subscriptions that one key or address may have on a server (gRPC), and on a gateway (event streams and"
    " connections to hubs).",
)
TLS_CERT_FILE = Setting[Path | None](
    ("THUMBQ_TLS_CERT_FILE",),
    _PATH,
    None,
    "Certificate of all ports, in PEM, with the certificates between it and its authority."
    " A renewed file counts from the next connection on. Without one there is no TLS.",
)
TLS_CLIENT_CA_FILE = Setting[Path | None](
    ("THUMBQ_TLS_CLIENT_CA_FILE",),
    _PATH,
    None,
    "Authorities of client certificates, in PEM: the gRPC API then takes only clients that have one, and the JSON API"
    " takes both.",
)
TLS_CLIENT_ROLES = Setting(
    ("THUMBQ_TLS_CLIENT_ROLES",),
    _TEXT,
    "",
    'Roles of clients by the names in their certificates, as "render-*=worker,ci=producer"; they need no API key.'
    " The first that fits counts. From then on every caller needs a role.",
)
TLS_KEY_FILE = Setting[Path | None](
    ("THUMBQ_TLS_KEY_FILE",), _PATH, None, "Private key of the certificate, in PEM and without a password."
)
THUMBNAIL_ROOT = Setting[Path | None](
    ("THUMBQ_THUMBNAIL_ROOT",),
    _PATH,
    None,
    "Folder of the thumbnails: files outside it are neither served nor removed, and without it none.",
)
THUMBNAIL_STORE = Setting[str | None](
    ("THUMBQ_THUMBNAIL_STORE",),
    _TEXT,
    None,
    "Object store of the thumbnails, as s3://bucket/prefix: new ones go there instead of into the folder. The AWS_"
    " variables say how to reach it (docs/operations.md).",
)
THUMBNAIL_ROOTS = Setting(
    ("THUMBQ_THUMBNAIL_ROOTS",),
    _TEXT,
    "",
    'Folders where workers may put thumbnails, separated by ":"; none means anywhere but folders of the system.'
    " `thumbq serve` sets its own folder when other machines can reach it.",
)
WAITING_CALLS_OF_ADDRESS = Setting(
    ("THUMBQ_WAITING_CALLS_OF_ADDRESS",),
    _COUNT,
    10_000,
    "Calls with a `wait` that one key or address may have under way on a server (gRPC), and on a gateway (JSON).",
)
