"""A Django project in one file: `python gallery.py runserver 8000`."""

import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, JsonResponse
from django.urls import path

from thumbq import BlockingClient, Unavailable, Unsuccessful, hash_file

MODELS = Path(os.environ.get("MODELS", "models"))
# It connects with the first call, so the processes of gunicorn may share this line.
queue = BlockingClient(os.environ.get("THUMBQ_SERVER", "localhost:50051"), timeout=5)


def thumbnail(request: HttpRequest, model_id: int) -> JsonResponse:
    """Wait for the picture of a model."""
    file = MODELS / f"{model_id}.glb"
    if not file.exists():
        return JsonResponse({"error": f"there is no model {model_id}"}, status=404)
    try:
        picture = queue.wait_for(queue.enqueue(model_id, hash_file(file)).job_id, timeout=10)
    except TimeoutError:
        return JsonResponse({"status": "Pending"}, status=202)
    except Unsuccessful as error:
        return JsonResponse({"status": error.status, "error": str(error)}, status=502)
    except Unavailable as error:
        return JsonResponse({"error": str(error)}, status=503)
    return JsonResponse({"status": picture.status, "url": picture.url, "width": picture.width})


urlpatterns = [path("models/<int:model_id>", thumbnail)]

if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost", "127.0.0.1"], SECRET_KEY="an example")
    django.setup()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
