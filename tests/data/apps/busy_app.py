"""An app under load: one HTTP route, one unary RPC and one stream, each taking a little while."""

import asyncio
import json

from eggycore import hookimpl

STREAMED = 10
"""Messages of one stream, 20 ms apart."""


async def work(request):
    await asyncio.sleep(0.005)
    return {"ok": True}


class Busy:
    async def unary(self, request, context):
        await asyncio.sleep(0.005)
        return request

    async def stream(self, request, context):
        for number in range(STREAMED):
            await asyncio.sleep(0.02)
            yield json.dumps({"number": number}).encode()


def add_to_server(servicer, server):
    import grpc

    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "busy.Busy",
                {
                    "Unary": grpc.unary_unary_rpc_method_handler(servicer.unary),
                    "Stream": grpc.unary_stream_rpc_method_handler(servicer.stream),
                },
            ),
        )
    )


@hookimpl
def register_services(runtime):
    runtime.http.get("/work", work)
    runtime.grpc.add(add_to_server, Busy())
