"""Reads and writes a model's weights in the safetensors format: names, shapes and raw numbers, no code.

Format: https://huggingface.co/docs/safetensors (8-byte little-endian header length, JSON header, raw buffers).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER = 1 << 20  # bytes
NAMES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")
TORCH_NAMES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


class WeightsError(ValueError):
    """A file that is not weights in the safetensors format."""


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors of any shape; tied ones are written once per name."""
    import torch

    codes = {getattr(torch, name): code for name, code in zip(TORCH_NAMES, NAMES, strict=True)}
    header, buffers, offset = {}, [], 0
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        data = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        header[name] = {
            "dtype": codes[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        buffers.append(data)
        offset += len(data)
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(buffers)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors back. Raises WeightsError on anything that is not exactly the format."""
    data = bytearray(path.read_bytes())
    try:
        return _parse(data)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsError(f"not weights in the safetensors format: {error}") from None


def _parse(data: bytearray) -> dict[str, Tensor]:
    import torch

    dtypes = {code: getattr(torch, name) for name, code in zip(TORCH_NAMES, NAMES, strict=True)}
    (length,) = struct.unpack_from("<Q", data)
    if length > MAX_HEADER:
        raise ValueError(f"the header claims {length} bytes")
    header = json.loads(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        if not 0 <= start <= end <= len(body):
            raise ValueError(f"tensor {name} lies outside the file")
        dtype = dtypes[entry["dtype"]]
        flat = torch.frombuffer(body[start:end], dtype=dtype) if end > start else torch.empty(0, dtype=dtype)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors
