"""Real frameworks: Starlette, FastAPI, Quart, Django, and an application for WSGI inside one for ASGI."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import django
import socketio
from a2wsgi import WSGIMiddleware
from asgi_apps import note
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from fastapi import BackgroundTasks, FastAPI, HTTPException, UploadFile, WebSocket
from litestar import Litestar, get, post
from litestar import WebSocket as LitestarSocket
from litestar import websocket as websocket_handler
from litestar.response import ServerSentEvent
from pydantic import BaseModel
from quart import Quart, request, websocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
    yield {"pool": "a pool"}


# Starlette


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.url.path} {request.state.pool} {request.client and request.client.host}")


async def posted(request: Request) -> JSONResponse:
    form = await request.form()
    return JSONResponse({"url": str(request.url), "form": {key: str(value) for key, value in form.items()}})


async def numbers() -> AsyncIterator[str]:
    for number in range(3):
        yield f"data: {number}\n\n"
        await asyncio.sleep(0)


async def stream(request: Request) -> StreamingResponse:
    return StreamingResponse(numbers(), media_type="text/event-stream")


async def breaks(request: Request) -> PlainTextResponse:
    raise LookupError("starlette breaks")


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode(), environ["wsgi.input"].read()]


starlette = Starlette(
    routes=[
        Route("/home", home, name="home"),
        Route("/posted", posted, methods=["POST"]),
        Route("/stream", stream),
        Route("/breaks", breaks),
        Route("/file", lambda request: FileResponse(__file__)),
        Route("/relative", lambda request: FileResponse(os.path.relpath(__file__))),
        Mount("/wsgi", WSGIMiddleware(wsgi)),
    ],
    lifespan=lifespan,
)

# FastAPI

fastapi = FastAPI(lifespan=lifespan)


class Item(BaseModel):
    name: str
    price: float


@fastapi.post("/items/{number}")
async def item(number: int, item: Item, tasks: BackgroundTasks, q: str = "") -> dict[str, Any]:
    tasks.add_task(note, "in the background")
    return {"number": number, "q": q, **item.model_dump()}


@fastapi.get("/sync")
def sync() -> dict[str, str]:
    """Runs in a thread."""
    return {"sync": "yes"}


@fastapi.get("/absent")
async def absent() -> None:
    raise HTTPException(404, "not there")


@fastapi.post("/upload")
async def upload(file: UploadFile) -> dict[str, Any]:
    return {"name": file.filename, "size": len(await file.read())}


@fastapi.websocket("/ws/{room}")
async def room(socket: WebSocket, room: str) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_json({"room": room, "text": text})


# Quart

quart = Quart(__name__)


@quart.route("/hello", methods=["GET", "POST"])
async def hello() -> dict[str, Any]:
    return {"method": request.method, "form": dict(await request.form), "root": request.root_path}


@quart.websocket("/ws")
async def quart_socket() -> None:
    while True:
        await websocket.send(f"quart {await websocket.receive()}")


# Django

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="spam",
    DEBUG=False,
    LOGGING_CONFIG=None,
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup(set_prefix=False)


async def view(request: Any) -> HttpResponse:
    return HttpResponse(f"{request.method} {request.path} {request.META['SCRIPT_NAME']} {request.POST.get('a')}")


async def parts() -> AsyncIterator[bytes]:
    for number in range(3):
        yield b"%d" % number


urlpatterns = [path("view", view), path("stream", lambda request: StreamingHttpResponse(parts()))]
django_app = ASGIHandler()


# Channels: consumers in a group, and one that is not asynchronous


class Grouped(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.channel_layer.group_add("everybody", self.channel_name)
        await self.accept()
        await self.channel_layer.group_send("everybody", {"type": "told", "text": "one more"})

    async def told(self, event: Any) -> None:
        await self.send(text_data=event["text"])


class Loud(WebsocketConsumer):
    def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        self.send(text_data=text_data.upper())


channels_app = ProtocolTypeRouter(
    {"http": django_app, "websocket": URLRouter([path("grouped", Grouped.as_asgi()), path("loud", Loud.as_asgi())])}
)

# Socket.IO

sio = socketio.AsyncServer(async_mode="asgi")


@sio.on("ask")
async def ask(sid: str, data: str) -> str:
    await sio.emit("told", f"{data}?", to=sid)
    return "heard"


socketio_app = socketio.ASGIApp(sio, socketio_path="/socketio/socket.io")

# Litestar


@dataclass
class Named:
    name: str


@post("/items/{number:int}")
async def items(number: int, data: Named, q: str = "") -> dict[str, Any]:
    return {"number": number, "name": data.name, "q": q}


@get("/events")
async def events() -> ServerSentEvent:
    async def each() -> AsyncIterator[str]:
        for number in range(3):
            yield str(number)

    return ServerSentEvent(each())


@websocket_handler("/ws")
async def doubled(socket: LitestarSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text() * 2)
    await socket.close()


litestar = Litestar([items, events, doubled])
