"""Follows a channel of rowcast's native dialect: `python rates.py [ws://127.0.0.1:8080/ws] [rates]`.

Needs the package `websockets`, whose client reconnects with backoff by itself; the cursor is ours to keep. Prints one
JSON line for each snapshot and event, and says on stderr when it has to begin anew.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from decimal import Decimal

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

# Of a subscribe: these pass, others do not (docs/ERRORS.md).
PASSING_ERRORS = {"not_ready", "overloaded", "database_unavailable", "view_timeout"}
# The server says that the same again will not help (docs/PROTOCOL.md).
FINAL_CODES = {1000, 1002, 1003, 1007, 1008, 1009, 4400, 4401, 4403, 4404}


async def follow(url: str, channel: str, token: str | None = None) -> AsyncIterator[dict]:
    """Every event of `channel` once and in order, over any number of connections; after a `reset` comes a `snapshot`."""
    cursor = None
    failures = 0
    async for socket in connect(url, subprotocols=["rowcast.v1"]):
        try:
            if token:
                await socket.send(json.dumps({"type": "auth", "token": token}))
            await subscribe(socket, channel, cursor)
            async for text in socket:
                # Decimals keep the digits that Postgres wrote.
                frame = json.loads(text, parse_float=Decimal)
                match frame["type"]:
                    case "subscribed":
                        failures = 0
                        if not frame["resumed"]:
                            cursor = frame.get("cursor")
                    case "snapshot" | "event":
                        cursor = frame.get("cursor", cursor)
                        yield frame
                    case "heartbeat":
                        cursor = frame.get("cursor", cursor)
                    case "reset":
                        cursor = None
                        yield frame
                    case "unsubscribed":
                        # Not by us: such as access_lost.
                        raise RuntimeError(f"{frame['code']}: {frame['message']}")
                    case "error" if frame["code"] == "bad_cursor" and cursor:
                        cursor = None
                        yield frame | {"type": "reset"}
                        await subscribe(socket, channel, cursor)
                    case "error" if frame["code"] in PASSING_ERRORS:
                        print(f"{frame['code']}: {frame['message']}", file=sys.stderr, flush=True)
                        await asyncio.sleep(min(20, 0.5 * 2**failures) * random.uniform(0.5, 1))
                        failures += 1
                        await subscribe(socket, channel, cursor)
                    case "error":
                        raise RuntimeError(f"{frame['code']}: {frame['message']}")
        except ConnectionClosed:
            pass
        if socket.close_code in FINAL_CODES:
            raise RuntimeError(f"closed with {socket.close_code}: {socket.close_reason}")
        print(f"connection lost ({socket.close_code}), connecting again", file=sys.stderr, flush=True)
        # Not all clients in the same moment; a server that is not there is the library's to wait for.
        await asyncio.sleep(random.uniform(0.2, 1))


async def subscribe(socket, channel: str, cursor: str | None) -> None:
    wish = {"type": "subscribe", "channel": channel}
    await socket.send(json.dumps(wish | ({"cursor": cursor} if cursor else {})))


async def main() -> None:
    url, channel = (sys.argv[1:] + ["ws://127.0.0.1:8080/ws", "rates"][len(sys.argv) - 1 :])[:2]
    async for frame in follow(url, channel, os.environ.get("ROWCAST_TOKEN")):
        if frame["type"] == "reset":
            print(frame["message"], file=sys.stderr, flush=True)
        else:
            print(json.dumps(frame, default=str), flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
    except RuntimeError as error:
        sys.exit(str(error))
