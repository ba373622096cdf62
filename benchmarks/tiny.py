"""The smallest application that serves: hundreds of them fit on one machine. HTTP/1.1, keep-alive, one thread."""

import os
import select
import socket

_HEAD_END = b"\r\n\r\n"
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nx-version: " + os.environ.get("VERSION", "v1").encode() + b"\r\ncontent-length: 2\r\n\r\nok"
)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=128)
    poll, wires, heads = select.epoll(), {}, {}
    poll.register(listener, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                wire, _ = listener.accept()
                wires[wire.fileno()], heads[wire.fileno()] = wire, b""
                poll.register(wire, select.EPOLLIN)
            elif not _serve(wires[number], heads):
                poll.unregister(number)
                wires.pop(number).close()


def _serve(wire: socket.socket, heads: dict[int, bytes]) -> bool:
    """Answer what has been asked for; tell whether the connection lives on."""
    try:
        data = wire.recv(65_536)
        *asked, heads[wire.fileno()] = (heads[wire.fileno()] + data).split(_HEAD_END)
        for head in asked:
            wire.sendall(_ANSWER)
            if b"connection: close" in head.lower():
                return False
    except OSError:
        return False
    return bool(data)


if __name__ == "__main__":
    main()
