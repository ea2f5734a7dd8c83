"""The routes of files: pictures, uploads and models."""

import grpc
from aiohttp import web

from thumbq_gateway.http.bodies.body import Bodies
from thumbq_gateway.http.files.models.folder import ModelFolder
from thumbq_gateway.http.files.models.handler import ModelFiles, ModelPlace
from thumbq_gateway.http.files.models.store import ModelStore
from thumbq_gateway.http.files.picture_folder import PictureFolder
from thumbq_gateway.http.files.picture_store import PictureStore
from thumbq_gateway.http.files.places import Place, Places
from thumbq_gateway.http.files.thumbnails import ThumbnailFiles
from thumbq_gateway.http.files.uploads import Uploads
from thumbq_gateway.settings import Settings
from thumbq_runtime.files.objects import Objects


def file_routes(
    settings: Settings, channel: grpc.aio.Channel, objects: Objects | None, bodies: Bodies
) -> list[web.RouteDef]:
    """Return the routes. New pictures go into the object store, if there is one, and else into the folder.

    Without any place, pictures belong to the application behind the gateway, if there is one.
    """
    places: list[Place] = []
    if objects:
        places.append(PictureStore(objects, redirect=settings.thumbnail_redirect))
    if settings.thumbnail_root:
        places.append(PictureFolder(settings.thumbnail_root))
    routes = ModelFiles(models).routes() if (models := _models(settings, channel)) else []
    if places or not settings.upstream:
        routes += ThumbnailFiles(channel, Places(places)).routes() + Uploads(Places(places), bodies).routes()
    return routes


def _models(settings: Settings, channel: grpc.aio.Channel) -> ModelPlace | None:
    if stored := settings.models():
        return ModelStore(stored, channel)
    return ModelFolder(settings.model_root) if settings.model_root else None
