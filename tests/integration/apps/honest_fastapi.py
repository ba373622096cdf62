"""A FastAPI application on uvicorn, as its tutorial has it."""

from __future__ import annotations

import asyncio
import os

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.get("/health/ready")
async def ready() -> dict[str, str]:
    return {"status": "ready"}


@app.get("/")
async def home() -> dict[str, str]:
    return {"hello": "world"}


@app.get("/slow")
async def slow() -> dict[str, str]:
    await asyncio.sleep(0.5)
    return {"hello": "at last"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]))
