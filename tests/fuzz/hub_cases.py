"""Cases for the SignalR hubs and the uploads of the gateway."""

import json
import random
import struct
from typing import Any

from tests.fuzz.case import Case, Channel, Ending
from tests.fuzz.http_requests import Request, fill_in
from tests.fuzz.values import ODD_TEXTS, Values, garble
from thumbq_gateway.signalr.hubs import page_hub, worker_hub

_HUBS = [page_hub.PATH, *worker_hub.PATHS]
_METHODS = [
    "JoinModelGroup", "LeaveModelGroup", "JoinAllModelsGroup", "LeaveAllModelsGroup", "JoinModelVersionGroup",
    "LeaveModelVersionGroup", "JoinModelActiveVersionGroup", "JoinAllEnvironmentMapsGroup", "RegisterWorker",
    "UnregisterWorker", "AcknowledgeJobProcessing", "nothing",
]  # fmt: skip
_UPGRADE = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: " + "A" * 22 + "==",
]
_HANDSHAKE = '{"protocol":"json","version":1}\x1e'
_BROKEN_FRAMES = [b"\xff" * 20, b"\x81\xff" + b"\x7f" * 8, b"\x89\xfe\xff\xff", b"\x88\x80\0\0\0\0"]
_DISPOSITIONS = [
    'form-data; name="file"; filename="a.png"', 'form-data; name="file"', "form-data", "", 'form-data; name="\xff"',
]  # fmt: skip
_EXTRA_HEADERS = ["", "Content-Transfer-Encoding: base64\r\n", "Content-Encoding: gzip\r\n", "X" * 9000 + "\r\n"]
_UPLOADS = ["/models/{model_id}/thumbnail/upload", "/models/{model_id}/thumbnail/png-upload"]
_PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\5\0\1"
    b"\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82"
)


def socket(values: Values) -> Case:
    """Return a WebSocket with one of the hubs: a handshake, then calls and frames, some of them broken."""
    chance = values.chance
    path = chance.choice(_HUBS)
    opening = b"".join(Request("GET", path, list(_UPGRADE)).pieces())
    texts = [_HANDSHAKE] if chance.random() < 0.9 else []
    texts += [_message(values) for _ in range(chance.choice([1, 3, 20, 500]))]
    frames = [_frame(chance, text.encode("utf-8", "surrogatepass"), values.is_odd) for text in texts]
    if values.is_odd:
        frames.append(chance.choice(_BROKEN_FRAMES))
    if values.is_odd:
        frames = [garble(chance, frame) for frame in frames]
    return Case(
        Channel.HTTP, path, "WebSocket", (opening, *frames), chance.choice(list(Ending)), reads=chance.random() < 0.8
    )


def hub_call(values: Values) -> Case:
    """Return a negotiation, or a message or poll with a token that nobody has handed out."""
    chance = values.chance
    path = chance.choice(_HUBS)
    token = "".join(chance.choices("abcdefABCDEF0123456789-_.", k=chance.choice([0, 22, 88, 4000])))
    body = (_HANDSHAKE + _message(values)).encode("utf-8", "surrogatepass")
    requests = [
        Request("POST", f"{path}/negotiate?negotiateVersion={chance.choice(['0', '1', '9' * 5000, '-1', '%00', ''])}"),
        Request("POST", f"{path}?id={token}", ["Content-Type: text/plain"], body),
        Request("GET", f"{path}?id={token}", ["Accept: text/event-stream"]),
        Request("DELETE", f"{path}?id={token}"),
    ]
    return Case(Channel.HTTP, path, "hub without a WebSocket", chance.choice(requests).pieces())


def upload(values: Values) -> Case:
    """Return an upload: a picture, a broken picture or a broken form, of any size."""
    chance = values.chance
    path = chance.choice(_UPLOADS)
    size = chance.choice([0, 0, 100, 1_000_000, 11_000_000])
    starts = [_PNG, garble(chance, _PNG), _PNG[:24], b"GIF89a", b"x"]
    content = chance.choice(starts) + b"\xff" * size
    head = f"--b\r\nContent-Disposition: {chance.choice(_DISPOSITIONS)}\r\n".encode("latin-1")
    body = head + chance.choice(_EXTRA_HEADERS).encode() + b"\r\n" + content + b"\r\n--b--\r\n"
    if values.is_odd:
        body = chance.choice([body[: len(body) // 2], garble(chance, body), head * 5000, b"--b\r\n" * 50_000])
    boundary = chance.choice(["b", "b", "b", "c", "", '"', "x" * 300])
    request = Request("POST", fill_in(values, path), [f"Content-Type: multipart/form-data; boundary={boundary}"], body)
    return Case(Channel.HTTP, path, f"upload of {len(body):,} bytes", request.pieces())


def _message(values: Values) -> str:
    chance = values.chance
    arguments: list[Any] = [chance.choice([1, "1", values.text("worker_id"), 2**63, None, {}, 1.5, "x" * 2000])]
    arguments *= chance.choice([0, 1, 1, 1, 2, 1000])
    message = {
        "type": 1,
        "target": chance.choice(_METHODS),
        "arguments": arguments,
        "invocationId": chance.choice(["1", ""]),
    }
    if values.is_odd:
        message["type"] = chance.choice([0, 2, 3, 4, 5, 6, 7, 99, -1, "1", None])
    if values.is_odd:
        message[chance.choice(list(message))] = chance.choice([[], {}, None, 10**30, chance.choice(ODD_TEXTS)])
    text = json.dumps(message) + "\x1e"
    if values.is_odd:
        text = chance.choice([text[:-1], "\x1e" * 2000, "[" * 50_000 + "\x1e", '{"type":6}\x1e' * 500, "\x1e{}"])
    return text


def _frame(chance: random.Random, payload: bytes, is_odd: bool) -> bytes:
    """Return the payload as a frame of a client, all of whose masks are zero."""
    first = chance.choice([0x01, 0x00, 0x82, 0x89, 0x83, 0xC1]) if is_odd else 0x81
    if len(payload) < 126:
        return bytes([first, 0x80 | len(payload)]) + bytes(4) + payload
    if len(payload) < 65_536:
        return bytes([first, 0x80 | 126]) + struct.pack(">H", len(payload)) + bytes(4) + payload
    return bytes([first, 0x80 | 127]) + struct.pack(">Q", len(payload)) + bytes(4) + payload
