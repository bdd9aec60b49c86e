"""From site.yaml to what has to run: a recipe per pipeline of a camera, and the models of all."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecnn_runtime.daemon.models import ModelKey
from edgecnn_runtime.daemon.site import CameraConfig, ModelConfig, SiteFile
from edgecnn_runtime.recipe import Detect, Recipe, Recognize, read_recipe
from edgecnn_runtime.stages.model_reader import CROPS_PER_RUN


@dataclass(frozen=True)
class PipelinePlan:
    """A pipeline of a camera.

    Attributes:
        name: As site.yaml names it.
        recipe: What it says.
        detector: Its first model.
        reader: Its second model; None without one.
    """

    name: str
    recipe: Recipe
    detector: ModelKey
    reader: ModelKey | None


@dataclass(frozen=True)
class CameraPlan:
    """A camera.

    Attributes:
        config: What site.yaml says.
        pipelines: At least one.
    """

    config: CameraConfig
    pipelines: tuple[PipelinePlan, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that has to run.

    Attributes:
        cameras: By name.
        detectors: The first models of all pipelines.
        readers: Their second models.
    """

    cameras: Mapping[str, CameraPlan]
    detectors: frozenset[ModelKey]
    readers: frozenset[ModelKey]


def make_plan(file: SiteFile) -> Plan:
    """Read every pipeline of a site.

    Raises:
        EdgecnnError: A pipeline cannot be right, or a bundle is missing or damaged; see
            ``check.problems``, which says where in site.yaml.
    """
    recipes: dict[str, Recipe] = {}
    configs = {file.resolve(name).resolve(): each for name, each in file.site.models.items()}
    cameras = {}
    for name, camera in file.site.cameras.items():
        pipelines = []
        for pipeline in camera.pipelines:
            recipe = recipes.get(pipeline) or read_recipe(file.resolve(pipeline))
            recipes[pipeline] = recipe
            pipelines.append(_plan(pipeline, recipe, configs))
        cameras[name] = CameraPlan(camera, tuple(pipelines))
    everything = [each for camera in cameras.values() for each in camera.pipelines]
    return Plan(
        cameras,
        frozenset(each.detector for each in everything),
        frozenset(each.reader for each in everything if each.reader is not None),
    )


def unused_models(file: SiteFile, plan: Plan) -> Iterator[str]:
    """Bundles under ``models`` that no pipeline uses: most often a name that is misspelled."""
    paths = {key.path for key in plan.detectors | plan.readers}
    for name in file.site.models:
        if file.resolve(name).resolve() not in paths:
            yield name


def _plan(name: str, recipe: Recipe, configs: Mapping[Path, ModelConfig]) -> PipelinePlan:
    second = recipe.second
    return PipelinePlan(
        name,
        recipe,
        _key(recipe.first, configs, recipe.least_score, batch=1),
        None if second is None else _key(second, configs, None, batch=CROPS_PER_RUN),
    )


def _key(
    part: Detect | Recognize,
    configs: Mapping[Path, ModelConfig],
    score: float | None,
    *,
    batch: int,
) -> ModelKey:
    path = Path(part.model).resolve()
    config = configs.get(path, ModelConfig())
    return ModelKey(
        path,
        digest=part.digest or config.digest,
        backend=part.backend or config.backend,
        threads=part.threads or config.threads,
        batch=config.batch or batch,
        score=score,
    )
