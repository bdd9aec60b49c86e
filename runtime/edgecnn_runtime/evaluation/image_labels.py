"""One label per image: in a column of a table, or the name of the folder that the image lies in."""

from collections.abc import Sequence
from pathlib import Path

from edgecnn_runtime.evaluation import dataset
from edgecnn_runtime.evaluation.table_labels import LabelRow, read_table
from edgecnn_runtime.idx import idx_files, idx_labels, idx_pictures
from edgecnn_runtime.image_file import SUFFIXES


def read_image_labels(
    source: dataset.SourceLocation, column: str, *, folder: str = "", names: Sequence[str] = ()
) -> dataset.LabeledSet:
    """Read a table with ``file`` and a label, or a folder with one subfolder per label.

    IDX files, whose labels are numbers, are taken as well; of a folder that has a training part and
    others, the others.

    Args:
        source: The table, folder or IDX file.
        column: The table's column that holds the label.
        folder: What each subfolder stands for, such as "class"; "" where none can.
        names: The label for each number of an IDX file; one that has no name is its label itself.

    Raises:
        UsageError: An image has no label or two, or does not exist.
    """
    if dataset.is_table(source):
        samples = _from_rows(read_table(source, ("file", column)), column)
    elif folder and (files := idx_files(source.path, training=False)):
        samples = _from_idx(source, files, names)
        source = source.of(files[0])
    elif folder:
        samples = _from_folders(source, folder)
    else:
        raise source.error(f"a folder does not give the {column} of its images; give a table")
    return dataset.make_labeled_set(source, samples)


def _from_rows(rows: Sequence[LabelRow], column: str) -> list[dataset.LabeledImage]:
    """One image per row."""
    first: dict[Path, LabelRow] = {}
    for row in rows:
        file, label = row.file, row.cells[column]
        if not label:
            raise row.place.error(
                f"no `{column}` for {dataset.truncate_text(file.name)}; write it, or remove the row"
            )
        other = first.setdefault(file, row)
        if other is not row:
            before = other.cells[column]
            labels = (
                f" as {dataset.truncate_text(before)}, and here as {dataset.truncate_text(label)}"
            )
            raise row.place.error(
                f"{dataset.truncate_text(file.name)} is in line {other.place.line} already"
                f"{labels if label != before else ''}; keep one row"
            )
    return [
        dataset.LabeledImage(file, label=row.cells[column], places=(row.place,))
        for file, row in first.items()
    ]


def _from_idx(
    source: dataset.SourceLocation, files: Sequence[Path], names: Sequence[str]
) -> list[dataset.LabeledImage]:
    if len(files) > 1:
        listed = dataset.list_names([file.name for file in files])
        raise source.error(f"{len(files)} IDX files of pictures: {listed}; name one of them")
    (file,) = files
    return [
        dataset.LabeledImage(picture, label=names[number] if number < len(names) else str(number))
        for picture, number in zip(idx_pictures(file), idx_labels(file), strict=True)
    ]


def _from_folders(source: dataset.SourceLocation, kind: str) -> list[dataset.LabeledImage]:
    entries = sorted(source.path.iterdir())
    samples = [
        dataset.LabeledImage(file, label=folder.name)
        for folder in entries
        if folder.is_dir()
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in SUFFIXES
    ]
    loose = [entry.name for entry in entries if entry.suffix.lower() in SUFFIXES]
    if not samples and not loose:
        raise source.error(dataset.NO_IMAGE)
    if not samples:
        raise source.error(
            f"{dataset.count_images(len(loose))} and no label, none lies in a subfolder; "
            f"make one for each {kind}"
        )
    if loose:
        raise source.error(
            f"{dataset.count_images(len(loose))} beside its subfolders and so without a label: "
            f"{dataset.list_names(loose)}; move each into the folder of its {kind}, or out"
        )
    return samples
