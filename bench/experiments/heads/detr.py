"""DETRs of Transformers and of D-FINE's own package, by their postprocessing.

Transformers resizes with a filter against aliasing, which gives other pixels and no other reading,
so pictures are resized by OpenCV here as in our runtime.
"""

import importlib
import sys
import types
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
import transformers
from heads.common import plain, plane, read, resized, set_statistics, spread, to_onnx

SIZE = 320
RESNET = {
    "layer_type": "basic", "depths": [1, 1, 1, 1], "hidden_sizes": [32, 64, 96, 128],
    "embedding_size": 32, "out_features": ["stage2", "stage3", "stage4"],
}  # fmt: skip
NORMAL = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


class Tables(torch.nn.Module):
    """The two outputs that count."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        """logits[N,Q,C] and boxes[N,Q,4]."""
        found = self.model(images)
        return found.logits, found.pred_boxes


def transformers_detr(*, out, pictures, kind, threshold):
    """One of BUILDERS, of a few layers."""
    torch.manual_seed(0)
    model, processor, normal = BUILDERS[kind]()
    images = read(pictures)
    planes = torch.cat([plane(resized(image, SIZE, SIZE), **normal) for image in images])
    set_statistics(model, planes)
    softmax = kind == "detr"
    if softmax:  # queries that differ from each other
        torch.nn.init.normal_(model.model.query_position_embeddings.weight, std=10.0)
    layer = class_layer(model)
    background = layer.weight.shape[0] - 1 if softmax else None
    spread(
        [(layer, slice(None))], lambda: model(planes), threshold,
        share=0.3, background=background,
    )  # fmt: skip
    sizes = [image.shape[:2] for image in images]
    with torch.no_grad():
        found = processor.post_process_object_detection(
            model(planes), threshold=threshold, target_sizes=sizes
        )
    file = to_onnx(Tables(model), planes[:1], Path(out) / f"{kind}.onnx", ["logits", "pred_boxes"])
    return {
        "model": file,
        "results": [
            plain(one["boxes"], one["scores"], one["labels"], image)
            for one, image in zip(found, images, strict=True)
        ],
    }


def class_layer(model):
    """The last layer of class scores of what is given out."""
    layers = getattr(model.model.decoder, "class_embed", None)
    return layers[-1] if layers else model.class_labels_classifier


def rt_detr():
    """RT-DETR (Zhao et al., 2024)."""
    backbone = transformers.RTDetrResNetConfig(**RESNET)
    config = transformers.RTDetrConfig(backbone_config=backbone, **small(backbone))
    return (
        transformers.RTDetrForObjectDetection(config),
        transformers.RTDetrImageProcessor(),
        {},
    )


def rt_detr_v2():
    """RT-DETRv2."""
    backbone = transformers.RTDetrResNetConfig(**RESNET)
    config = transformers.RTDetrV2Config(backbone_config=backbone, **small(backbone))
    return (
        transformers.RTDetrV2ForObjectDetection(config),
        transformers.RTDetrImageProcessor(),
        {},
    )


def d_fine():
    """D-FINE (Peng et al., 2025)."""
    backbone = transformers.HGNetV2Config(
        stem_channels=[3, 16, 16], stage_in_channels=[16, 64, 256, 512],
        stage_mid_channels=[16, 32, 64, 128], stage_out_channels=[64, 256, 512, 1024],
        hidden_sizes=[64, 256, 512, 1024], depths=[1, 1, 1, 1], stage_num_blocks=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    fields = small(backbone) | {"encoder_in_channels": [256, 512, 1024]}
    config = transformers.DFineConfig(backbone_config=backbone, **fields)
    return (
        transformers.DFineForObjectDetection(config),
        transformers.RTDetrImageProcessor(),
        {},
    )


def detr():
    """DETR (Carion et al., 2020), with a softmax and a background."""
    backbone = transformers.ResNetConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[32, 64, 96, 128], embedding_size=32, layer_type="basic",
        out_features=["stage4"],
    )  # fmt: skip
    config = transformers.DetrConfig(
        backbone_config=backbone, use_timm_backbone=False, backbone=None, d_model=64,
        encoder_layers=1, decoder_layers=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
        encoder_attention_heads=4, decoder_attention_heads=4, num_labels=20,
    )  # fmt: skip
    return (
        transformers.DetrForObjectDetection(config),
        transformers.DetrImageProcessor(),
        NORMAL,
    )


def small(backbone):
    """Few layers of few channels."""
    return {
        "num_labels": 80, "d_model": 64, "encoder_hidden_dim": 64, "decoder_layers": 2,
        "encoder_in_channels": backbone.hidden_sizes[1:], "decoder_in_channels": [64, 64, 64],
        "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
        "encoder_attention_heads": 4, "freeze_backbone_batch_norms": False,
    }  # fmt: skip


BUILDERS = {"rt_detr": rt_detr, "rt_detr_v2": rt_detr_v2, "d_fine": d_fine, "detr": detr}


class WithPostprocessing(torch.nn.Module):
    """As D-FINE and RT-DETR export themselves: labels, boxes and scores of the best."""

    def __init__(self, model, postprocessor):
        super().__init__()
        self.model, self.postprocessor = Tables(model), postprocessor

    def forward(self, images, orig_target_sizes):
        """labels[N,Q], boxes[N,Q,4] in pixels of the sizes [N,2], and scores[N,Q]."""
        logits, boxes = self.model(images)
        return self.postprocessor({"pred_logits": logits, "pred_boxes": boxes}, orig_target_sizes)


def d_fine_ranked(*, out, pictures, threshold):
    """Transformers' D-FINE with the postprocessing of the package d-fine-project in its graph."""
    torch.manual_seed(0)
    model, _, _ = d_fine()
    images = read(pictures)
    planes = torch.cat([plane(resized(image, SIZE, SIZE)) for image in images])
    set_statistics(model, planes)
    spread([(class_layer(model), slice(None))], lambda: model(planes), threshold, share=0.3)
    whole = WithPostprocessing(model, d_fine_postprocessor().deploy()).eval()
    sizes = torch.tensor([image.shape[1::-1] for image in images])
    with torch.no_grad():
        found = list(zip(*whole(planes, sizes), strict=True))
    file = Path(out) / "d_fine_ranked.onnx"
    torch.onnx.export(
        whole, (planes[:1], sizes[:1]), str(file), opset_version=17, dynamo=False,
        input_names=["images", "orig_target_sizes"], output_names=["labels", "boxes", "scores"],
    )  # fmt: skip
    return {
        "model": str(file),
        "results": [
            plain(boxes[passes], scores[passes], labels[passes], image)
            for (labels, boxes, scores), image in zip(found, images, strict=True)
            for passes in [scores > threshold]
        ],
    }


def d_fine_postprocessor():
    """The package's own. Its files import from a parent that the package does not have."""
    site = Path(transformers.__file__).parents[1]
    for name in ("src", "src.zoo", "src.zoo.dfine", "src.core"):
        parent = types.ModuleType(name)
        parent.__path__ = [str(site.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = parent
    sys.modules["src.core"].register = lambda: lambda kind: kind
    module = importlib.import_module("src.zoo.dfine.postprocessor")
    return module.DFINEPostProcessor(num_classes=80)
