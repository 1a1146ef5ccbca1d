"""Name the actions in recordings and streams that others send.

    python -m edge.serve --bundle=bundles/a --port=8000
    curl -F clip=@CLIP.mp4 -F skeleton=@CLIP.npy http://localhost:8000/predict

POST /predict takes a recording as `edge.predict` does, WebSocket /stream the pictures of a camera, GET / says what the
model is: edge/README.md. Anybody who reaches the port may ask; by itself it listens to this machine alone.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from contextlib import suppress
from typing import Any, Optional, Sequence

# A picture of a few kilobytes may unpack to gigabytes. OpenCV reads this when it is imported, so it stands here: 8K.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**25))

from edge.arguments import CommandParser, positive_float, positive_int
from edge.command import add_model_options, run_command
from edge.errors import EdgeError
from edge.recognizer import ActionRecognizer

_GOODBYE_S = 5  # for what is under way when the server is told to stop


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m edge.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_options(parser, "a precision the bundle has (default: what the engine runs best)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen to; 0.0.0.0 is all (127.0.0.1)")
    parser.add_argument("--port", type=positive_int, default=8000, help="(8000)")
    parser.add_argument(
        "--max_upload_mb", type=positive_float, default=256.0, metavar="MB", help="largest recording (256)"
    )
    return parser


def _run(args: argparse.Namespace) -> int:
    uvicorn, create_app = _server()
    recognizer = ActionRecognizer.from_bundle(args.bundle, args.engine, args.precision, args.threads, cpus=args.cpus)
    print(f"{args.bundle}: {recognizer.bundle.model} in {recognizer.precision} by {recognizer.engine.name}")
    app = create_app(recognizer, int(args.max_upload_mb * 1e6))
    with _listen(args.host, args.port) as bound, suppress(KeyboardInterrupt):
        print(f"listening at http://{args.host}:{args.port}, Ctrl-C ends it", flush=True)
        uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=_GOODBYE_S)).run([bound])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    try:
        if not host or port >= 2**16:  # which would be any address, and another port
            raise OSError("there is no such address")
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise EdgeError(
            f"cannot listen on --host={host} --port={port}: {error.strerror or error}\n  Give others, or end the "
            "program that has them"
        ) from None


def _server() -> Any:
    """Return what serves, which is optional to have."""
    try:
        import uvicorn

        from edge.service import create_app
    except ImportError as error:
        raise EdgeError(
            f"{error.name or error} is not installed\n  pip install -r edge/requirements-server.txt"
        ) from None
    return uvicorn, create_app


if __name__ == "__main__":
    sys.exit(main())
