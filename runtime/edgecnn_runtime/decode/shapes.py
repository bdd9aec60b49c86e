"""The output shapes a head needs, checked once when its decoder is made."""

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.errors import BundleError


def check_output_shape(
    model: ModelSpec, output: str, *shape: int | None, batch_axis: int = 0
) -> tuple[int, ...]:
    """An output's shape without the batch, checked; None matches any size.

    Raises BundleError naming the output, what it is and what the head needs.
    """
    whole = next(entry.shape for entry in model.outputs if entry.name == output)
    found = (*whole[:batch_axis], *whole[batch_axis + 1 :])
    fits = len(found) == len(shape) and all(
        have is not None and need in (None, have) for have, need in zip(found, shape, strict=True)
    )
    if not fits:
        needs = ", ".join("any" if size is None else str(size) for size in shape)
        raise BundleError(
            f"output {output!r} is {list(whole)}, and its "
            f"{type(model.decode).__name__} head needs [{needs}] besides the batch on axis "
            f"{batch_axis}: export it again with the right --head and --input"
        )
    return tuple(size for size in found if size is not None)
