"""Stand-in for a program that runs warm elsewhere: ask the supervisor to run it, wait, pass its end on.

Run as ``python -I -S launch.py SOCKET LOG STDIN PROGRAM ARGUMENT...``, so standard library only and very
little of that.  ``STDIN`` is a file that gets this process's input, or ``-``.  Killing this process ends the
program: the supervisor sees the connection close.
"""

import json
import os
import socket
import sys


def main(arguments: list[str]) -> int:
    """Run the program; return its exit status."""
    path, log, stdin, *words = arguments
    if stdin != "-":
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(stdin, flags, 0o600), "wb") as stream:
            stream.write(sys.stdin.buffer.read())
    request = {
        "kind": "run",
        "job": words[0],
        "label": words[0],
        "command": words[0],
        "words": words,
        "quanta": [],
        "stdout": log,
        "stderr": log,
        "stdin": "" if stdin == "-" else stdin,
        "stage": True,
        "header": False,
        "environment": dict(os.environ),
    }
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(path)
    connection.sendall(json.dumps(request).encode() + b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        data = connection.recv(65536)
        if not data:
            return 1
        answer += data
    outcome = json.loads(answer)["outcome"]
    number = outcome["signal"]
    return int(outcome["exit"] or 0) if number is None else 128 + int(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
