"""A gallery in one file: `uvicorn gallery:app`. Pages take models up, show their thumbnails, and delete them."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from string import Template
from typing import Annotated

import fastapi
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse

from thumbq import Client, InvalidJob, Unavailable, hash_file

MODELS = Path(os.environ.get("MODELS", "models"))
# Browsers load the client from there. It lets pages of other origins in when THUMBQ_CORS_ORIGINS names them.
GATEWAY = os.environ.get("THUMBQ_GATEWAY", "http://localhost:5009").rstrip("/")
PAGE = Template((Path(__file__).parent / "page.html").read_text())
MODELS.mkdir(exist_ok=True)
queue = Client(os.environ.get("THUMBQ_SERVER", "localhost:50051"), timeout=5)
# Whole numbers from 1 on that JavaScript holds exactly.
ModelId = Annotated[int, fastapi.Path(ge=1, le=2**53 - 1)]


@asynccontextmanager
async def connected(_: FastAPI) -> AsyncIterator[None]:
    """Hold the connection for as long as the application lives."""
    async with queue:
        yield


app = FastAPI(lifespan=connected)


@app.get("/")
def page() -> HTMLResponse:
    """Show every model. The page follows their thumbnails by itself."""
    model_ids = sorted(int(file.stem) for file in MODELS.glob("*.glb") if file.stem.isdecimal())
    return HTMLResponse(PAGE.substitute(gateway=GATEWAY, model_ids=model_ids))


@app.put("/models/{model_id}")
async def take(model_id: ModelId, request: Request) -> dict[str, int]:
    """Keep a model, and ask for its thumbnail."""
    file = MODELS / f"{model_id}.glb"
    await asyncio.to_thread(file.write_bytes, await request.body())
    try:
        answer = await queue.enqueue(model_id, await asyncio.to_thread(hash_file, file))
    except InvalidJob as error:
        file.unlink(missing_ok=True)
        raise HTTPException(400, str(error)) from None
    except Unavailable as error:
        raise HTTPException(503, str(error)) from None
    return {"jobId": answer.job_id}


@app.delete("/models/{model_id}")
async def forget(model_id: ModelId) -> dict[str, list[int]]:
    """Delete a model with its picture. Open pages see it go."""
    await asyncio.to_thread((MODELS / f"{model_id}.glb").unlink, missing_ok=True)
    return {"jobIds": await queue.forget(model_id)}
