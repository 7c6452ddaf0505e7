"""Out of memory: how to tell it from other errors, and what to say."""

from __future__ import annotations

# What torch's and CUDA's allocators say, where no class of their own tells; torch is not imported for it.
_WORDS = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out, of the machine or of a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS)


def step_message(step: int, part: str, device: str, *, at_once: int, batch: int) -> str:
    """What to say when a training step does not fit.

    Nobody knows what would fit before it has been tried: half of what did not is an estimate, and called so.

    Args:
        step: that failed, from 1.
        part: of the step, as the clock calls it.
        device: "cpu", "cuda:0".
        at_once: images of this process that go through the backbone together.
        batch: images of the global batch.
    """
    begin = f"step {step}: out of memory on {device}"
    untouched = f"the weights of step {step - 1} are untouched"
    half = "half of it, an estimate"
    if part == "optimizer":
        return f"{begin} in the optimizer; choose a smaller backbone, or optimizer.name=sgd"
    if part == "loss":
        return (
            f"{begin} in the loss, with a batch of {batch} images; {batch // 2} may fit ({half}): "
            f"lower batch; {untouched}"
        )
    if at_once < 4:
        return f"{begin} with {at_once} images at a time; choose a smaller backbone or image; {untouched}"
    return (
        f"{begin} with {at_once} images at a time, of a batch of {batch}; {at_once // 2} may fit ({half}): "
        f"set train.micro_batch={at_once // 2}, which keeps the gradient, or lower batch; {untouched}"
    )


def evaluation_message(device: str, batch_size: int, option: str) -> str:
    """What to say when images do not fit that are only looked at.

    Args:
        device: "cpu", "cuda:0".
        batch_size: images at a time.
        option: the setting of that number, with what stands between it and its value ("--batch-size ").
    """
    begin = f"out of memory on {device} while {batch_size} images were embedded at a time"
    if batch_size < 2:
        return f"{begin}; choose a smaller backbone or image size"
    half = batch_size // 2
    return f"{begin}; {half} may fit (half of it, an estimate): set {option}{half}"
