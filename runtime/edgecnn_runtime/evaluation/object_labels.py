"""Labeled objects in any of the forms that people have: YOLO texts, COCO JSON, or a table."""

from edgecnn_runtime.bundle.manifest import ModelSpec
from edgecnn_runtime.evaluation.coco_labels import find_coco_file, read_coco_labels
from edgecnn_runtime.evaluation.dataset import (
    LabeledSet,
    SourceLocation,
    count_images,
    is_table,
    make_labeled_set,
)
from edgecnn_runtime.evaluation.label_shapes import LabelShape
from edgecnn_runtime.evaluation.object_tables import read_object_table
from edgecnn_runtime.evaluation.yolo_labels import read_yolo_labels


def read_object_labels(source: SourceLocation, model: ModelSpec, shape: LabelShape) -> LabeledSet:
    """Read labeled objects.

    Args:
        source: A folder of images with a YOLO text each, a COCO JSON file or a folder that has one,
            or a table with one object per row.
        model: Whose classes they are of.
        shape: What each object has.

    Raises:
        UsageError: Labels, images and model do not match, or there is no object at all.
    """
    table = is_table(source)
    if coco := find_coco_file(source):
        source, samples = coco, read_coco_labels(coco, model, shape)
    else:
        samples = (read_object_table if table else read_yolo_labels)(source, model, shape)
    labeled = make_labeled_set(source, samples)
    if all(each.ignored for sample in labeled.samples for each in sample.objects):
        raise source.error(
            f"{count_images(len(labeled.samples))} and not one {shape.noun}, and the score of "
            "nothing proves nothing; add images with something to find"
        )
    return labeled
