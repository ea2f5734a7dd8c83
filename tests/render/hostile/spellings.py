"""Ways to spell the name of a texture that a search for the usual spelling does not find."""

from collections.abc import Callable

from tests.render.hostile import models

_IMAGES = '<library_images><image id="i"><init_from>none</init_from></image></library_images>'


def _dae(usual: str, spelled: str) -> Callable[[str], bytes]:
    """Return a writer; in both arguments FILE stands for the name."""

    def write(name: str) -> bytes:
        text = models.dae(name).decode()
        assert usual.replace("FILE", name) in text
        return text.replace(usual.replace("FILE", name), spelled.replace("FILE", name)).encode()

    return write


def _unresolved(usual: str, spelled: str) -> Callable[[str], bytes]:
    """The reader puts .jpg behind the name of an image that is not there."""
    return lambda name: models.dae("none").decode().replace(usual, spelled.replace("FILE", name[:-4])).encode()


def _image_in_effect(name: str) -> bytes:
    text = models.dae("none").decode()
    image = f'<image id="i"><init_from>{name}</init_from></image>'
    return text.replace(_IMAGES, "").replace("<profile_COMMON>", f"<profile_COMMON>{image}").encode()


def _utf_16(name: str) -> bytes:
    """The closing tag stands in a comment once more, in the other encoding."""
    mark, end = "<!--".encode("utf-16-le"), "-->".encode("utf-16-le")
    return models.dae(name).decode().encode("utf-16") + mark + b"</COLLADA>" + end


def _directx(spelled: str) -> Callable[[str], bytes]:
    return lambda name: models.directx(name).replace(b"TextureFilename {", spelled.encode())


SPELLINGS: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "dae: CDATA": ("dae", _dae("<init_from>FILE<", "<init_from><![CDATA[FILE]]><")),
    "dae: a comment before the name": ("dae", _dae("<init_from>FILE<", "<init_from><!-- a -->FILE<")),
    "dae: a tag before the name": ("dae", _dae("<init_from>FILE<", "<init_from><a b='</init_from>'/>FILE<")),
    "dae: a bracket in an attribute": ("dae", _dae("<init_from>FILE<", '<init_from a=">">FILE<')),
    "dae: a hidden list of images": ("dae", _dae("<library_images>", '<library_images a="</library_images>">')),
    "dae: an image within an effect": ("dae", _image_in_effect),
    "dae: an image that is not there": ("dae", _unresolved("<init_from>i<", "<init_from>FILE<")),
    "dae: a surface that is not there": ("dae", _unresolved("<source>s<", "<source>FILE<")),
    "dae: a texture that is not there": ("dae", _unresolved('texture="t"', 'texture="FILE"')),
    "dae: UTF-16": ("dae", _utf_16),
    "x: an object with a name": ("x", _directx("TextureFilename a {")),
    "x: a comment before the name": ("x", _directx('TextureFilename { // a "\n')),
    "x: another comment": ("x", _directx("TextureFilename # {\n {")),
    "x: a normal map": ("x", _directx("NormalmapFilename {")),
}
