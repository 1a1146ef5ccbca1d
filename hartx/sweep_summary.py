"""The tested runs of a sweep -> its statistics.

What varies over what: the recordings of all folds that one seed tested are pooled, which gives one number a
seed; mean, standard deviation and t-interval are over these. The Wilson interval is over recordings: of the
mean top-1 with as many recordings as one seed tested, each counted once where several folds tested it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hartx.calibration import confidence_at, fit_temperature, with_temperature
from hartx.metrics import classification_metrics, expected_calibration_error, negative_log_likelihood
from hartx.predictions import Predictions, pool
from hartx.spread import spread, wilson_interval


@dataclass(frozen=True)
class FoldResult:
    """A run of a sweep with what it predicted."""

    fold: str
    seed: int
    predictions: Predictions
    report: dict[str, Any]


def summarise(
    tested: Sequence[FoldResult], folds_of: Mapping[int, Sequence[str]], labels: Sequence[str]
) -> dict[str, Any]:
    """Return the statistics of a sweep.

    Args:
      tested: the runs that were tested, on at least one recording each.
      folds_of: the folds that each seed has; a seed of which one is not tested is left out of what is
        pooled, and named.
      labels: names of the classes.

    Returns:
      seeds (top1 by seed), top1 (mean, std, interval95 over seeds), wilson95, f1_macro, ece and nll (over
      seeds), folds, per_class (recall over seeds, and support: how many recordings one seed tests, as clips),
      confusion_matrix (all that was said, summed over seeds), missing, calibration, left_out; what nothing is known of
      is None.
    """
    by_seed = {seed: [t for t in tested if t.seed == seed] for seed in folds_of}
    whole = {seed: runs for seed, runs in by_seed.items() if {t.fold for t in runs} == set(folds_of[seed])}
    metrics = {seed: _metrics([t.predictions for t in runs], labels) for seed, runs in whole.items()}
    summary: dict[str, Any] = {
        "seeds": {str(seed): m["top1"] for seed, m in metrics.items()},
        "left_out": [seed for seed in folds_of if seed not in whole],
        "folds": _folds(tested),
    }
    if not whole:
        empty = ("clips", "top1", "wilson95", "f1_macro", "ece", "nll", "confusion_matrix", "calibration")
        return summary | dict.fromkeys(empty) | {"per_class": {}, "missing": []}
    for name in ("top1", "f1_macro", "ece", "nll"):
        summary[name] = asdict(spread([m[name] for m in metrics.values()]))
    clips = round(float(np.mean([_count(runs) for runs in whole.values()])))
    return summary | {
        "clips": clips,
        "wilson95": wilson_interval(summary["top1"]["mean"], clips),
        "per_class": _per_class(list(metrics.values()), [_counts(runs) for runs in whole.values()], labels),
        "confusion_matrix": np.sum([m["confusion_matrix"] for m in metrics.values()], axis=0).tolist(),
        "missing": _missing(list(whole.values())),
        "calibration": _calibration(list(whole.values())),
    }


def _metrics(parts: Sequence[Predictions], labels: Sequence[str]) -> dict[str, Any]:
    pooled = pool(parts)
    return classification_metrics(pooled.labels, pooled.probabilities, labels)


def _count(runs: Sequence[FoldResult]) -> int:
    return sum(_counts(runs).values())


def _counts(runs: Sequence[FoldResult]) -> Counter[int]:
    """Return how many recordings of each class, by its label, one seed's folds test, each recording once."""
    label_of = {
        name: int(label) for t in runs for name, label in zip(t.predictions.names, t.predictions.labels, strict=True)
    }
    return Counter(label_of.values())


def _folds(tested: Sequence[FoldResult]) -> dict[str, Any]:
    """Return for each fold its recordings, top1 by seed, and mean and spread over seeds."""
    found = {}
    for fold in dict.fromkeys(t.fold for t in tested):
        runs = [t for t in tested if t.fold == fold]
        seeds = {str(t.seed): top1 for t in runs if (top1 := t.predictions.top1) is not None}
        found[fold] = {"clips": len(runs[0].predictions), "seeds": seeds, "top1": asdict(spread(list(seeds.values())))}
    return found


def _per_class(
    metrics: Sequence[dict[str, Any]], counts: Sequence[Mapping[int, int]], labels: Sequence[str]
) -> dict[str, Any]:
    """Return recall (mean and spread over seeds) and support of each class that occurs, the least recalled first.

    Args:
      metrics: of each seed.
      counts: of each seed, the recordings of each class. Seeds may differ: their mean is the support, rounded, of those
        that have any, as the recall is of those.
      labels: names of the classes.
    """
    found: dict[str, Any] = {}
    for index, label in enumerate(labels):
        each = [m["per_class"][label] for m in metrics if m["per_class"][label]["support"]]
        if each:
            recall = asdict(spread([e["recall"] for e in each]))
            found[label] = {"recall": recall, "support": round(float(np.mean([c[index] for c in counts if c[index]])))}
    return dict(sorted(found.items(), key=lambda item: item[1]["recall"]["mean"]))


def _missing(seeds: Sequence[Sequence[FoldResult]]) -> list[dict[str, Any]]:
    """Return top1 (over seeds, folds pooled) with streams absent, as the runs' reports have it."""
    found = []
    for index, entry in enumerate(seeds[0][0].report["missing"]):
        values = [
            float(
                np.average(
                    [t.report["missing"][index]["top1"] for t in runs], weights=[len(t.predictions) for t in runs]
                )
            )
            for runs in seeds
        ]
        found.append({"absent": entry["absent"], "present": entry["present"], "top1": asdict(spread(values))})
    return found


def _calibration(seeds: Sequence[Sequence[FoldResult]]) -> dict[str, Any] | None:
    """Return calibration error before and after each fold's temperature; None unless subjects are left out in turn.

    The temperature of a fold is fitted on what the other folds' networks said about the subjects left out
    there, all of them on this fold's training side. A fold without any such other has none, nor has its sweep.
    """
    first = seeds[0]
    if len(first) < 2 or not all(t.fold.startswith("loso:") and len(seen_by_others(t, first)) for t in first):
        return None
    rows = [_scaled(runs) for runs in seeds]
    folds = {
        fold: {name: float(np.mean([row["folds"][fold][name] for row in rows])) for name in rows[0]["folds"][fold]}
        for fold in rows[0]["folds"]
    }
    names = ("ece_before", "ece_after", "nll_before", "nll_after")
    return {"folds": folds} | {name: asdict(spread([row[name] for row in rows])) for name in names}


def _scaled(runs: Sequence[FoldResult]) -> dict[str, Any]:
    """Return the calibration of one seed's folds, each and pooled."""
    folds, scaled = {}, []
    for run in runs:
        temperature = fit_temperature(seen_by_others(run, runs))
        before, after = confidence_at(run.predictions, 1.0), confidence_at(run.predictions, temperature)
        folds[run.fold] = {
            "temperature": temperature,
            "ece_before": before.ece,
            "ece_after": after.ece,
            "nll_before": before.nll,
            "nll_after": after.nll,
        }
        scaled.append(with_temperature(run.predictions.log_probabilities, temperature))
    pooled, pooled_after = pool([run.predictions for run in runs]), np.concatenate(scaled)
    return {
        "folds": folds,
        "ece_before": expected_calibration_error(pooled.labels, pooled.probabilities),
        "ece_after": expected_calibration_error(pooled.labels, pooled_after),
        "nll_before": negative_log_likelihood(pooled.labels, pooled.probabilities),
        "nll_after": negative_log_likelihood(pooled.labels, pooled_after),
    }


def seen_by_others(run: FoldResult, runs: Sequence[FoldResult]) -> Predictions:
    """Return what the other folds predicted, without any recording of a subject that `run` tests."""
    others = pool([other.predictions for other in runs if other.fold != run.fold])
    return others.chosen(~np.isin(others.subjects, run.predictions.subjects))
