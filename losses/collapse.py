"""The collapse alarm: says in words that all embeddings have become one point, and what is known to help."""

from __future__ import annotations

from collections.abc import Mapping

_NO_SPREAD = 0.1  # embedding_std; 1 is spread over the whole sphere, untrained networks start at 0.2 and more
_STUCK = 0.1  # loss within 10 % of its value at collapse


def collapse_warning(metrics: Mapping[str, float]) -> str | None:
    """One line if the embeddings have collapsed, else None.

    Collapsed means: hardly any spread, and the loss at the value that it has when all images share one point
    (alpha for a triplet hinge, ln 2 for the soft margin), or no pair left to learn from.

    Args:
        metrics: monitors of a loss by name, means over some steps; extra names are ignored.

    Example:
        >>> collapse_warning({"embedding_std": 0.9, "loss_to_collapse": 0.4, "empty": 0.0}) is None
        True
    """
    spread = metrics.get("embedding_std")
    if spread is None or not spread < _NO_SPREAD:
        return None
    ratio = metrics.get("loss_to_collapse", float("nan"))
    is_stuck = abs(ratio - 1.0) < _STUCK
    if not is_stuck and not metrics.get("empty", 0.0) > 0.5:
        return None
    where = f"the loss at {ratio:.2f} of its value there" if is_stuck else "no pair left to learn from"
    return (
        f"collapse: all images have nearly one embedding (spread {spread:.3f} of 1), {where}; known to help: "
        "a lower learning rate or a longer warm-up, mining semi_hard or all instead of hard until it runs, "
        "squared: false with margin: soft, larger batches, cross entropy beside it (loss.name=sum)"
    )
