"""A watch with nothing but aiohttp, which reports as watching_app.py does: bare_watch.py KUBECONFIG NAME"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

import aiohttp
import uvloop


async def main(server: str, name: str) -> None:
    """Watch until the end of the process."""
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.connect(os.environ["TOLD"])
    url = f"{server}/api/v1/namespaces/bench/configmaps"
    query = {"watch": "1", "fieldSelector": f"metadata.name={name}"}
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, params=query) as answer:
        async for line in answer.content:
            mark = json.loads(line)["object"]["data"]["MARK"]
            told.send(f"{mark} {time.monotonic_ns()}".encode())


kubeconfig = json.loads(Path(sys.argv[1]).read_text())
uvloop.run(main(kubeconfig["clusters"][0]["cluster"]["server"], sys.argv[2]))
