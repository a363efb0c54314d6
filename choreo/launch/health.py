"""Is this process alive, and is it ready?

A few lines of HTTP for orchestrators' probes live here, so that the core needs no web framework; pages do not.
`choreo run --health :9000` serves it beside the workers.
"""

import asyncio
import json
from collections.abc import Callable

REQUEST_BYTES_MAX = 8192
REQUEST_TIMEOUT_S = 5.0


async def serve_health(ready: Callable[[], bool], host: str, port: int) -> asyncio.Server:
    """Serve `/healthz` (the process answers) and `/readyz` (partitions are assigned and restored).

    Args:
        ready: Says whether all services are ready.
        host: Address to bind; "" for all.
        port: Port to bind; 0 picks one.

    Raises:
        OSError: If the address is taken.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                line = await reader.readline()
                status, body = _answer(line[:REQUEST_BYTES_MAX], ready=ready())
                payload = json.dumps(body).encode()
                writer.write(
                    f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n"
                    f"content-length: {len(payload)}\r\nconnection: close\r\n\r\n".encode()
                    + payload
                )
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass  # A probe that hangs or breaks off learns nothing, and harms nobody.
        finally:
            writer.close()

    return await asyncio.start_server(answer, host or None, port, limit=REQUEST_BYTES_MAX)


def _answer(line: bytes, *, ready: bool) -> tuple[str, dict[str, object]]:
    path = line.split(b" ")[1].split(b"?")[0] if line.count(b" ") > 1 else b""
    if path == b"/healthz":
        return "200 OK", {"status": "ok"}
    if path == b"/readyz":
        return ("200 OK" if ready else "503 Service Unavailable"), {"status": "ready" if ready else "starting"}
    return "404 Not Found", {"status": "not found", "paths": ["/healthz", "/readyz"]}
