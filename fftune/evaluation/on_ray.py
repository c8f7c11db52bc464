"""Jobs on the actors of a cluster: what these compute on, and one pool for all blocks."""

from collections.abc import Mapping

from fftune.config import BatteryConfig, Device, Resources
from fftune.errors import ConfigError
from fftune.evaluation.scheduler import EvalResult, PreparedJob
from fftune.registry import label


def run_on_ray(
    prepared: Mapping[str, PreparedJob], battery: BatteryConfig, resources: Resources
) -> dict[str, EvalResult]:
    """Work through the blocks of all jobs on one pool of actors."""
    from fftune.evaluation.ray_pool import Pool
    from fftune.ray_cluster import cluster  # importing Ray takes seconds

    needs = {"CPU": battery.threads, "GPU": resources.share}
    with (
        cluster(resources),
        Pool(needs, most=resources.concurrency, study=f"evaluate-{label(battery.name)}") as pool,
    ):
        found = pool.run(tuple(prepared.values()))
    return {
        name: ready.answered(result)
        for (name, ready), result in zip(prepared.items(), found, strict=True)
    }


def device_of_actors(wanted: Device, gpus: float) -> Device:
    """Resolve `auto` for actors, of which the devices of this process say nothing.

    Raises:
        ConfigError: CUDA without a GPU.
    """
    if wanted == "cuda" and not gpus:
        raise ConfigError("gpus must be > 0 for device 'cuda' on Ray, got 0")
    on_actors: Device = "cuda" if gpus else "cpu"
    return on_actors if wanted == "auto" else wanted
