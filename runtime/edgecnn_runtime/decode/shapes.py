"""The output shapes a head needs, checked once when its decoder is made."""

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.errors import BundleError


def check_output_shape(
    model: ModelSpec, output: str, *shape: int | None, batch_axis: int = 0
) -> tuple[int, ...]:
    """Check an output's shape.

    Args:
        model: What has the output.
        output: Its name.
        *shape: The sizes it needs besides the batch; None matches any.
        batch_axis: Which axis is the batch.

    Returns:
        Its sizes without the batch.

    Raises:
        BundleError: It has another shape; the message says which and what the head needs.
    """
    whole = next(entry.shape for entry in model.outputs if entry.name == output)
    sizes = (*whole[:batch_axis], *whole[batch_axis + 1 :])
    fits = len(sizes) == len(shape) and all(
        have is not None and need in (None, have) for have, need in zip(sizes, shape, strict=True)
    )
    if not fits:
        needs = ", ".join("any" if size is None else str(size) for size in shape)
        raise BundleError(
            f"output {output!r} is {list(whole)}, and its "
            f"{type(model.decode).__name__} head needs [{needs}] besides the batch on axis "
            f"{batch_axis}: --head, --decode and --input of `edgecnn export` say how it is read"
        )
    return tuple(size for size in sizes if size is not None)
