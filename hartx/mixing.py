"""Mixup and cutmix, on the device, inside the jitted step.

Each sample is blended with another one of its batch, every modality of it with the same share: a fused
network then sees pairs of streams that belong together.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray


class Batch(NamedTuple):
    """Network inputs by stream, (B, ...), and soft targets (B, K)."""

    inputs: dict[str, Float[Array, "B ..."]]
    targets: Float[Array, "B K"]


def smooth_one_hot(labels: Array, num_classes: int, smoothing: float) -> Float[Array, "B K"]:
    """Return targets with `smoothing` spread evenly over all classes (Szegedy et al., CVPR 2016)."""
    return jax.nn.one_hot(labels, num_classes) * (1 - smoothing) + smoothing / num_classes


def _others(values: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
    return jnp.roll(values, 1, axis=0)  # batches come shuffled, so the neighbour is a random partner


def _per_sample(values: Array, like: Array) -> Array:
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))


def mixup(key: PRNGKeyArray, batch: Batch, *, alpha: float) -> Batch:
    """Blend each sample with another: lambda x + (1 - lambda) x', lambda ~ Beta(alpha, alpha), one a sample.

    Zhang et al., mixup: Beyond empirical risk minimization, ICLR 2018.
    """
    share = jax.random.beta(key, alpha, alpha, batch.targets.shape[:1])

    def blend(values: Array) -> Array:
        weight = _per_sample(share, values).astype(values.dtype)
        return weight * values + (1 - weight) * _others(values)

    return jax.tree.map(blend, batch)


def _interval(key: PRNGKeyArray, share: Float[Array, " B"], length: int) -> Bool[Array, "B length"]:
    """Return for each sample which of `length` places lie in a random interval of about that share."""
    size = jnp.round(share * length)
    start = jnp.floor(jax.random.uniform(key, share.shape) * (length - size + 1))
    place = jnp.arange(length)
    return (place >= start[:, None]) & (place < (start + size)[:, None])


def cutmix(key: PRNGKeyArray, batch: Batch, *, alpha: float) -> Batch:
    """Replace a part of each sample by the same part of another; targets blend by the share that is kept.

    Videos lose a box in time, height and width whose volume is 1 - lambda; skeletons and other sequences,
    which have no place in the image, the interval of time of that share. lambda ~ Beta(alpha, alpha), one a
    sample. Yun et al., CutMix, ICCV 2019; the box in time as in VideoMix (Yun et al., 2020).
    """
    key_share, *keys = jax.random.split(key, 4)
    cut = 1 - jax.random.beta(key_share, alpha, alpha, batch.targets.shape[:1])

    def part(values: Array) -> Bool[Array, "B ..."]:
        if values.ndim != 5:
            return _per_sample(_interval(keys[0], cut, values.shape[1]), values)
        side = jnp.cbrt(cut)
        frame, row, column = (_interval(k, side, n) for k, n in zip(keys, values.shape[1:4], strict=True))
        box = frame[:, :, None, None] & row[:, None, :, None] & column[:, None, None, :]
        return box[..., None]

    parts = {stream: part(values) for stream, values in batch.inputs.items()}
    inputs = {stream: jnp.where(parts[stream], _others(values), values) for stream, values in batch.inputs.items()}
    # Boxes are whole pixels, so what was cut is counted rather than taken from the draw.
    counted = [p.reshape(len(cut), -1).mean(axis=1) for p in parts.values()]
    weight = jnp.stack(counted).mean(axis=0)[:, None]
    return Batch(inputs, (1 - weight) * batch.targets + weight * _others(batch.targets))


def mix(key: PRNGKeyArray, batch: Batch, *, mixup_alpha: float, cutmix_alpha: float, cutmix_share: float) -> Batch:
    """Apply mixup, cutmix or, where both are on (alpha > 0), cutmix to `cutmix_share` of the samples."""
    key_mixup, key_cutmix, key_choice = jax.random.split(key, 3)
    if not cutmix_alpha:
        return mixup(key_mixup, batch, alpha=mixup_alpha) if mixup_alpha else batch
    if not mixup_alpha:
        return cutmix(key_cutmix, batch, alpha=cutmix_alpha)
    choice = jax.random.bernoulli(key_choice, cutmix_share, batch.targets.shape[:1])
    return jax.tree.map(
        lambda cut, blended: jnp.where(_per_sample(choice, cut), cut, blended),
        cutmix(key_cutmix, batch, alpha=cutmix_alpha),
        mixup(key_mixup, batch, alpha=mixup_alpha),
    )


def drop_modalities(
    key: PRNGKeyArray, inputs: dict[str, Float[Array, "B ..."]], *, rate: float
) -> dict[str, Float[Array, "B ..."]]:
    """Blank (zero) one stream, chosen at random, in a share `rate` of the samples; never all of them.

    A network trained so goes on when a sensor is gone (Neverova et al., ModDrop, TPAMI 2016).
    """
    if not rate or len(inputs) < 2:
        return inputs
    key_drop, key_stream = jax.random.split(key)
    size = next(iter(inputs.values())).shape[:1]
    gone = jnp.where(
        jax.random.bernoulli(key_drop, rate, size), jax.random.randint(key_stream, size, 0, len(inputs)), -1
    )
    return {
        stream: jnp.where(_per_sample(gone == i, values), 0, values)
        for i, (stream, values) in enumerate(inputs.items())
    }
