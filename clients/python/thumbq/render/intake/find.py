"""Which file in a folder is the model that a job names."""

import re
from pathlib import Path

from thumbq.render.files.folder import Folder, copy
from thumbq.render.files.refusal import Refused
from thumbq.render.formats import CAN_BE_DRAWN, looks_like_a_model


def find(folder: Folder, model_id: int, model_hash: str, target: Path, most: int) -> str:
    """Copy the file of a model to `target`, and return its name; raises Refused.

    Of the files that are called `<model id>.<format>`, `<model id>-<any name>.<format>` or `<model hash>.<format>`,
    the one with the right content is taken. The id may have zeros before it.
    """
    named = re.compile(rf"(0*{model_id}(-.*)?|{re.escape(model_hash)})\.[^.]+", re.IGNORECASE)
    files = sorted(name for name in folder.names() if named.fullmatch(name))
    models = [name for name in files if looks_like_a_model(name)]
    if not models:
        # It may still be on its way.
        raise Refused(_no_file(model_id, files), retryable=True)
    for name in models:
        with folder.open(name) as file:
            if copy(file, target, most, f"The model file {name}") == model_hash:
                return name
    raise Refused(f"The content of {models[0]} does not have the hash that the job names.")


def _no_file(model_id: int, others: list[str]) -> str:
    if others:
        return f"The file of model {model_id} ({others[0]}) is of no known format. {CAN_BE_DRAWN}"
    return f"There is no file for model {model_id} in the folder of models."
