"""A second opinion by h11, which shares no code with the product.

`pipe`: reads messages (four bytes of length, big-endian, then the bytes) and answers each with a line of JSON.
`serve`: is an origin on a free port, whose number it prints; every answer's body is what it understood, as JSON.

What is understood: {"method", "target", "version", "fields": [[name, value], ...], "body"}, all bytes as Latin-1
characters, or {"error"} where h11 refuses.
"""

import json
import socket
import struct
import sys
import threading

import h11

# Above every limit of the node: what is asked here is how heads are read, not how long they may be.
LARGEST_HEAD = 1 << 20


def connection():
    return h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)


def described(request, body):
    return {
        "method": request.method.decode("latin-1"),
        "target": request.target.decode("latin-1"),
        "version": request.http_version.decode("latin-1"),
        "fields": [
            [name.decode("latin-1"), value.decode("latin-1")]
            for name, value in request.headers.raw_items()
        ],
        "body": body.decode("latin-1"),
    }


def understood(message):
    """What h11 makes of one whole message."""
    reader = connection()
    request, body = None, b""
    try:
        reader.receive_data(message)
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                if list(event.headers):
                    return {"error": "there are trailers"}
                if reader.trailing_data[0]:
                    return {"error": "bytes are left behind the message"}
                return described(request, body)
            else:
                return {"error": "the message has no end"}
    except h11.RemoteProtocolError as error:
        return {"error": str(error)}


def pipe():
    source, sink = sys.stdin.buffer, sys.stdout
    while True:
        size = source.read(4)
        if len(size) < 4:
            return
        message = source.read(struct.unpack(">I", size)[0])
        sink.write(json.dumps(understood(message)) + "\n")
        sink.flush()


def answer(stream, status, body, head_only):
    stream.sendall(
        b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        + (b"" if head_only else body)
    )


def serve_one(stream):
    reader = connection()
    request, body = None, b""
    try:
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                reader.receive_data(stream.recv(65536))
            elif isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                text = json.dumps(described(request, body)).encode()
                answer(stream, 200, text, request.method == b"HEAD")
                reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                reader.send(h11.EndOfMessage())
                reader.start_next_cycle()
            else:
                return
    except h11.RemoteProtocolError as error:
        answer(stream, 599, json.dumps({"error": str(error)}).encode(), False)
    except OSError:
        pass
    finally:
        stream.close()


def serve():
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=serve_one, args=(stream,), daemon=True).start()


if sys.argv[1] == "pipe":
    pipe()
else:
    serve()
