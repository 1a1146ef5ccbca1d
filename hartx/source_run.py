"""A run that begins with the network of a finished one: smaller (`hartx.pruning`), or elsewhere (`hartx.finetuning`).

Its config is the other's with what is given changed, and a section that says which run that was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from hartx.errors import HartxError

# Section of a config that names the run it begins with, in its field workdir -> what is added to that run's name.
SECTIONS = {"prune": "pruned", "finetune": "finetuned"}


def source_folder(config: ConfigDict, section: str, workdir: Path) -> Path:
    """Return the folder of the run that one in `workdir` begins with, as a config's section names it.

    Raises:
      HartxError: if it names none, or the very run.
    """
    if not config[section].workdir:
        raise HartxError(
            f"config.{section}.workdir is empty; give the folder of a finished run: --config.{section}.workdir=..."
        )
    folder = Path(config[section].workdir).expanduser().resolve()
    if folder == workdir.expanduser().resolve():
        raise HartxError(
            f"config.{section}.workdir={config[section].workdir} is the run itself; give another --workdir"
        )
    return folder


def changed_config(source: ConfigDict, config: ConfigDict, section: str, folder: Path) -> ConfigDict:
    """Return the config, in full, of a run that begins with another.

    Args:
      source: of the run that it begins with.
      config: what is given; what is None in it is as in `source`.
      section: which of `SECTIONS` it is.
      folder: of the run that it begins with.
    """
    changed = source.copy_and_resolve_references()
    for other in SECTIONS:
        if other in changed:
            del changed[other]
    changed.update(_given({key: value for key, value in config.items() if key not in ("name", section)}))
    changed.name = f"{source.name}_{SECTIONS[section]}"
    changed.pretraining = ConfigDict()  # what it left alone has to adapt now
    changed[section] = config[section].copy_and_resolve_references()
    changed[section].workdir = str(folder)
    return changed


def source_of(config: ConfigDict) -> Path | None:
    """Return the folder of the run that a run of this config begins with; None for most, which begin anew."""
    return next((Path(config[section].workdir) for section in SECTIONS if section in config), None)


def _given(values: Any) -> dict[str, Any]:
    return {
        key: _given(value) if isinstance(value, ConfigDict) else value
        for key, value in values.items()
        if value is not None
    }
