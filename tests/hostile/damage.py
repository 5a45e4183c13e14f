"""Input from a hostile or unlucky user: damaged bytes, odd images, odd values. All are drawn from a seed."""

import io
import random
from collections.abc import Callable

import numpy as np
from PIL import Image

DEEP = "[" * 5000 + "]" * 5000
VALUES = (
    *(
        "",
        " ",
        "-1",
        "0",
        "1",
        "7",
        "-0.0",
        "0.5",
        "1e-9",
        "1e999",
        "nan",
        "-inf",
        "9" * 400,
        "9" * 5000,
        "²",
    ),
    *("None", "True", "()", "[]", "(1,)", "(nan,)", "{}", "'", "a\nb", "\udcff", "x" * 300, "../x", "/", "."),
    *("/dev/null", "💥", "--", "-", "=", "%s", "*", "__import__('os')", "lambda: 0", DEEP, "traces", "a/b"),
)
_TOKENS = (
    DEEP,
    "9" * 400,
    "-1",
    "1e999",
    "NaN",
    "null",
    "true",
    '"x"',
    "[]",
    "{}",
    "\0",
    "\ufeff",
    ",",
    "\n",
)


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Returns the bytes with one to three changes: cut, flipped, doubled, or with a strange insertion."""
    for _ in range(rng.randint(1, 3)):
        place = rng.randint(0, len(content))
        end = min(len(content), place + rng.choice((1, 1, 4, 40, 4000)))
        kind = rng.choice(("cut", "remove", "flip", "double", "noise", "token", "token", "empty"))
        if kind == "empty" and rng.random() < 0.2:
            content = b""
        elif kind == "cut":
            content = content[:place]
        elif kind == "remove":
            content = content[:place] + content[end:]
        elif kind == "flip":
            content = content[:place] + bytes(byte ^ rng.randint(1, 255) for byte in content[place:end])
        elif kind == "double":
            content = content[:end] + content[place:]
        elif kind == "noise":
            content = content[:place] + rng.randbytes(end - place) + content[end:]
        elif kind == "token":
            content = _with_token(rng, content)
    return content


def _with_token(rng: random.Random, content: bytes) -> bytes:
    """Replaces a digit with something strange; without digits, replaces the first byte."""
    digits = [place for place, byte in enumerate(content[:20000]) if chr(byte).isdigit()]
    place = rng.choice(digits) if digits else 0
    return content[:place] + rng.choice(_TOKENS).encode() + content[place + 1 :]


def odd_image(rng: random.Random) -> bytes:
    """Returns an image file of a random size, mode and format; one in three is damaged."""
    width, height = rng.choice(((1, 1), (2, 3), (3, 2000), (2000, 3), (30, 20), (97, 65)))
    mode = rng.choice(("P", "L", "RGB", "RGBA", "LA", "1", "I;16", "I", "F", "CMYK", "YCbCr"))
    formats = ("PNG", "PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
    values = np.random.default_rng(rng.getrandbits(32)).integers(
        0, rng.choice((2, 5, 256)), (height, width, 3)
    )
    picture = Image.fromarray(values.astype(np.uint8))
    buffer = io.BytesIO()
    try:
        picture.convert(mode).save(buffer, rng.choice(formats))
    except (OSError, ValueError):  # not every format has every mode
        picture.save(buffer, "PNG")
    content = buffer.getvalue()
    return damaged(rng, content) if rng.random() < 0.33 else content


def odd_tensor(rng: random.Random) -> object:
    """Returns something that a checkpoint may hold in place of a tensor of 4 x 4 numbers."""
    import torch

    kinds: tuple[Callable[[], object], ...] = (
        lambda: torch.tensor(rng.choice((1.0, float("nan"), float("inf"), -1e38))),
        lambda: torch.zeros(rng.choice(((0,), (0, 4), (4,), (4, 4, 4), (1, 1), (4, 5)))),
        lambda: torch.ones(1).expand(10 ** rng.randint(0, 6), 10 ** rng.randint(0, 6)),
        lambda: torch.ones(4, 4).to(rng.choice((torch.bool, torch.int8, torch.int64, torch.float16))),
        lambda: torch.ones(4, 4).to(rng.choice((torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64))),
        lambda: torch.full((4, 4), rng.choice((1e300, 1.0)), dtype=torch.float64),
        lambda: torch.eye(4).to_sparse(),
        lambda: torch.ones(4, 4, device="meta"),
        lambda: torch.quantize_per_tensor(torch.ones(4, 4), 0.1, 0, torch.qint8),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: torch.ones(4, 4).t(),
        lambda: rng.choice((None, 3, "text", [1.0], {"a": 1}, b"bytes")),
    )
    return rng.choice(kinds)()
