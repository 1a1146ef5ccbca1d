"""The last and the best state of a run (Orbax).

A checkpoint holds what the next step depends on: parameters, BatchNorm statistics, optimiser, average, and the
step, from which the step's random key and its batch follow. Orbax writes it under a temporary name and renames it,
so a run that is killed goes on from the one before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from hartx.errors import HartxError
from hartx.train_step import TrainState

# What Orbax says of a sound checkpoint whose arrays are not those that are asked for.
_ANOTHER_NETWORK = ("structures do not match", "not compatible with the stored shape")


class Checkpoints:
    """WORKDIR/checkpoints/last and WORKDIR/checkpoints/best."""

    def __init__(self, workdir: Path) -> None:
        root = workdir.resolve() / "checkpoints"
        # Not in the background: a few seconds an epoch or so buy that what was saved is there, and that a
        # write that fails stops the run where it happened.
        self._managers = {
            which: ocp.CheckpointManager(
                root / which,
                options=ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False),
            )
            for which, keep in (("last", 2), ("best", 1))
        }

    def latest_step(self, which: str = "last") -> int | None:
        """Return the step of the newest checkpoint, None if there is none."""
        return self._managers[which].latest_step()

    def save(self, step: int, state: TrainState, best_score: float | None = None, losses: Sequence[float] = ()) -> None:
        """Keep the state after `step` steps as the last one and, if a `best_score` is given, as the best one.

        Args:
          step: how many steps were taken.
          state: after them.
          best_score: of the best one; None if it is not the best.
          losses: of the steps since a score was given, for a run that is stopped between two scores.
        """
        # The best one first: a run whose last step is kept is finished, and would not write another.
        for which in ("last",) if best_score is None else ("best", "last"):
            with self._explained(which):
                self._managers[which].save(
                    step,
                    args=ocp.args.Composite(
                        state=ocp.args.StandardSave(state),
                        score=ocp.args.JsonSave({"score": best_score, "losses": list(losses)}),
                    ),
                )

    @contextlib.contextmanager
    def _explained(self, which: str) -> Iterator[None]:
        """Turn what goes wrong in writing into one clear error."""
        try:
            yield
        except Exception as error:  # Orbax and TensorStore pass a full disk on in many shapes
            steps = self._managers["last"].all_steps()
            raise HartxError(
                f"a checkpoint could not be written to {self._managers[which].directory}: {error}\n"
                f"  Mend that (a full disk?) and start again: the run goes on from "
                + (f"step {max(steps)}" if steps else "its beginning")
            ) from error

    def restore(self, state: TrainState, which: str = "last") -> TrainState:
        """Return the newest state.

        Args:
          state: of the same structure, on the devices the result shall lie on.
          which: last or best.

        Raises:
          HartxError: if there is no such checkpoint, or it cannot be read.
        """
        manager = self._managers[which]
        step = manager.latest_step()
        if step is None:
            raise HartxError(f"{manager.directory} holds no checkpoint yet")
        try:
            return manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(state)))["state"]
        except Exception as error:  # whatever Orbax finds wrong, the user can do one thing about it
            folder, said = manager.directory / str(step), f"{type(error).__name__}: {_first_line(error)}"
            if any(words in str(error) for words in _ANOTHER_NETWORK):
                raise HartxError(
                    f"checkpoint {folder} is of another network than the config describes: {said}\n"
                    "  Put config.json back as it was when the run was started, and take the commit that trained it "
                    "(trained_by in run.json)"
                ) from error
            before = [other for other in manager.all_steps() if other < step]
            raise HartxError(
                f"checkpoint {folder} cannot be read: {said}\n  It is damaged: remove that folder to go on from "
                + (f"the checkpoint before it, step {max(before)}" if before else "the beginning: there is no other")
            ) from error

    def forget_best_after(self, step: int) -> None:
        """Remove a best checkpoint of a later step than that from which a run goes on: that step comes again."""
        newest = self.latest_step("best")
        if newest is not None and newest > step:
            self._managers["best"].delete(newest)

    def best_score(self) -> float:
        """Return the score of the best checkpoint, -inf if there is none."""
        return self._noted("best").get("score", float("-inf"))

    def losses(self) -> list[float]:
        """Return the `losses` that were kept with the last checkpoint; none if there is none."""
        return self._noted("last").get("losses", [])

    def _noted(self, which: str) -> dict[str, Any]:
        """Return what stands beside the newest state; nothing if there is none."""
        manager = self._managers[which]
        step = manager.latest_step()
        if step is None:
            return {}
        return manager.restore(step, args=ocp.args.Composite(score=ocp.args.JsonRestore()))["score"]

    def close(self) -> None:
        """Let go of the folders."""
        for manager in self._managers.values():
            manager.close()


def _first_line(error: Exception, length: int = 300) -> str:
    """Return the beginning of what Orbax says, which may go on with every array of both networks."""
    line = (str(error).splitlines() or [""])[0]
    return line if len(line) <= length else f"{line[:length]}..."
