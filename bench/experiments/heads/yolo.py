"""YOLOX, YOLO-NAS and YOLOv5-face, each by its package's network and postprocessing."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
from heads import common
from heads.common import letterboxed, plain, plane, read, set_statistics

WIDTH, HEIGHT = 416, 256


def yolox(*, out, pictures, decoded, threshold, iou):
    """YOLOX-Nano of the package yolox, as its exporter leaves it, or with its decoding.

    Sides of pictures are rounded here, as ours are, and not down, which is another picture.
    """
    from yolox.exp import get_exp
    from yolox.utils import postprocess

    torch.manual_seed(0)
    model = get_exp(exp_name="yolox-nano").get_model()
    images = read(pictures)
    fitted = [letterboxed(image, WIDTH, HEIGHT, 114, corner=True) for image in images]
    planes = torch.cat([plane(canvas, std=(1.0,) * 3, rgb=False) for canvas, _, _ in fitted])
    model.eval()  # in training its head asks for labels
    set_statistics(model.backbone, planes)
    head = model.head
    with torch.no_grad():
        features = model.backbone(planes)
        head.train()
        for k, feature in enumerate(features):
            stem = head.stems[k](feature)
            head.cls_convs[k](stem)
            head.reg_convs[k](stem)
    model.eval()
    for layer in head.obj_preds:
        common.sure(layer, slice(None))
    with torch.no_grad():
        common.spread(
            [(layer, slice(None)) for layer in head.cls_preds], lambda: model(planes), threshold
        )
        head.decode_in_inference = True
        raw = model(planes)
        found = postprocess(raw, head.num_classes, threshold, iou)
    head.decode_in_inference = decoded
    file = common.to_onnx(model, planes[:1], Path(out) / f"yolox-{decoded}.onnx", ["output"])
    return {
        "model": file,
        "results": [
            plain(rows[:, :4] / scale, rows[:, 4] * rows[:, 5], rows[:, 6], image)
            for rows, image, (_, scale, _) in zip(found, images, fitted, strict=True)
        ],
    }


def yolo_nas(*, out, pictures, threshold, iou):
    """YOLO-NAS-S of the package modern-yolonas, its pictures without the border it adds."""
    from modern_yolonas.inference.postprocess import postprocess, rescale_boxes
    from modern_yolonas.model import YoloNAS

    torch.manual_seed(0)
    model = YoloNAS.from_config("yolo_nas_s")
    images = read(pictures)
    fitted = [letterboxed(image, WIDTH, HEIGHT, 114) for image in images]
    planes = torch.cat([plane(canvas) for canvas, _, _ in fitted])
    set_statistics(model, planes)
    layers = [getattr(model.heads, f"head{i}").cls_pred for i in (1, 2, 3)]
    common.spread([(layer, slice(None)) for layer in layers], lambda: model(planes), threshold)
    with torch.no_grad():
        found = postprocess(*model(planes), threshold, iou)
    file = common.to_onnx(model, planes[:1], Path(out) / "yolo_nas.onnx", ["boxes", "scores"])
    return {
        "model": file,
        "results": [
            plain(rescale_boxes(boxes, scale, corner, image.shape[:2]), scores, classes, image)
            for (boxes, scores, classes), image, (_, scale, corner) in zip(
                found, images, fitted, strict=True
            )
        ],
    }


def yolov5_face(*, out, pictures, threshold, iou):
    """YOLOv5n-face of the package yolov5-face."""
    import yolov5_face
    from yolov5_face.models.yolo import Model
    from yolov5_face.utils.general import non_max_suppression_face

    torch.manual_seed(0)
    model = Model(str(Path(yolov5_face.__file__).parent / "models" / "yolov5n-0.5.yaml"))
    images = read(pictures)
    fitted = [letterboxed(image, WIDTH, HEIGHT, 114) for image in images]
    planes = torch.cat([plane(canvas) for canvas, _, _ in fitted])
    set_statistics(model, planes)
    detect = model.model[-1]
    rows = [[15 + 16 * anchor] for anchor in range(3)]
    for layer in detect.m:
        common.sure(layer, [4 + 16 * anchor for anchor in range(3)])
    for row in rows:
        common.spread([(layer, row) for layer in detect.m], lambda: model(planes), threshold)
    with torch.no_grad():
        found = non_max_suppression_face(model(planes)[0], threshold, iou)
    detect.export_cat = True
    file = common.to_onnx(model, planes[:1], Path(out) / "yolov5_face.onnx", ["output"])
    return {
        "model": file,
        "results": [
            plain(
                (rows[:, :4] - torch.tensor(corner * 2)) / scale, rows[:, 4], rows[:, 15], image,
                (rows[:, 5:15].reshape(-1, 5, 2) - torch.tensor(corner)) / scale,
            )
            for rows, image, (_, scale, corner) in zip(found, images, fitted, strict=True)
        ],
    }  # fmt: skip
