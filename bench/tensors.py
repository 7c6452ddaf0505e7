"""Files of tensors, from anywhere: read without running what is in them."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from bench.errors import one_line
from bench.memory import is_out_of_memory


def load_tensors(path: Path, device: torch.device) -> object:
    """What torch.save wrote, tensors and plain values, or a .safetensors; nothing in the file is run.

    Raises:
        ValueError: it is neither, or damaged; the message is the reason, in one line.
        OSError: the file is not there, or cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path, device=str(device))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sparse tensors and old formats, which nobody here writes
            content: object = torch.load(path, map_location=device, weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file raises whatever its bytes happen to mean
        if is_out_of_memory(error):
            raise ValueError("it does not fit into memory") from None
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ValueError(one_line(first)) from None
    return content
