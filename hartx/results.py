"""Write the tables of docs/results.md anew from the results of sweeps; the text around them stays.

python -m hartx.results --root=runs --output=docs/results.md

A table stands between two lines, and is made of the sweeps that the first one names, or of all that fit:

    <!-- results:accuracy skeleton-loso fusion-loso -->
    <!-- /results:accuracy -->

Tables: accuracy, missing, calibration, ablation (each row against the one before), changes (against the first row).
A picture that the text shows as `results/SWEEP-folds.png` (or confusion_matrix, per_class) is copied from that sweep.

The numbers behind the tables are kept beside the document, in `results/sweeps/SWEEP/`, so that a sweep's rows stay
where its runs are gone; a sweep under --root takes the place of the kept one of its name.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from hartx.blocks import read_document, with_blocks
from hartx.command import run_command
from hartx.errors import HartxError
from hartx.files import whole, write_json, write_text
from hartx.results_tables import KINDS, SweepResults, choose, how_to_run, public_command, read_sweeps

PICTURES = ("confusion_matrix", "folds", "per_class")

# Of a summary: large, and in no table.
_UNREAD = ("confusion_matrix", "per_class")

_PICTURE = re.compile(r"\]\((results/(\S+)-(" + "|".join(PICTURES) + r")\.png)\)")


def with_tables(text: str, sweeps: dict[str, SweepResults]) -> str:
    """Return a document with its tables written anew.

    Raises:
      HartxError: for a marker without its partner, an unknown table, or a sweep that is absent.
    """

    def written(kind: str, names: list[str]) -> str:
        return KINDS[kind].write(choose(kind, names, sweeps), list(sweeps.values()))

    return with_blocks(text, "results", KINDS, written)


def pictures_of(text: str, sweeps: dict[str, SweepResults], folder: Path) -> dict[str, Path]:
    """Return the pictures of sweeps that a document in a folder shows: its path there to the file to copy.

    Raises:
      HartxError: if such a sweep is absent and its picture is not there already.
    """
    found = {}
    for path, name, picture in _PICTURE.findall(text):
        if name not in sweeps:
            if (folder / path).exists():
                continue
            raise HartxError(f"the text shows {path}, but the sweep {name!r} is absent. Run it: {how_to_run(name)}")
        found[path] = sweeps[name].folder / f"{picture}.png"
    return found


def _keep(sweep: SweepResults, folder: Path) -> None:
    """Write what the tables read of a sweep, less what is of one machine alone."""
    runs = [{key: value for key, value in run.items() if key != "workdir"} for run in sweep.sweep["runs"]]
    public = {key: value for key, value in sweep.sweep.items() if key != "config"}
    public |= {"command": public_command(public["command"]), "dataset": sweep.dataset, "runs": runs}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "sweep.json", public)
    shown = {key: value for key, value in sweep.summary.items() if key not in _UNREAD}
    write_json(folder / "summary.json", shown)


def write_results(root: Path, output: Path) -> list[Path]:
    """Write the document's tables anew and copy its pictures; nothing is written if anything is absent.

    Returns:
      The files written.

    Raises:
      HartxError: as `with_tables` and `pictures_of`, or if there is no such document or root.
    """
    document = read_document(output)
    if not root.is_dir():
        raise HartxError(f"--root={root} is no folder; the ROOT of `python -m hartx.sweep` is expected")
    sweeps = read_sweeps(output.parent / "results", root)
    new = {name: sweep for name, sweep in sweeps.items() if sweep.folder.parent == root / "sweeps"}
    text = with_tables(document, sweeps)
    pictures = pictures_of(text, new, output.parent)
    for name, sweep in new.items():
        _keep(sweep, output.parent / "results/sweeps" / name)
    for path, source in pictures.items():
        target = output.parent / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole(target) as temporary:
            shutil.copyfile(source, temporary)
    write_text(output, text)
    return [output, *(output.parent / path for path in pictures)]


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hartx.results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path("runs"), metavar="FOLDER", help="default: %(default)s")
    parser.add_argument(
        "--output", type=Path, default=Path("docs/results.md"), metavar="FILE", help="default: %(default)s"
    )
    args = parser.parse_args(argv)
    return run_command(lambda: _write(args.root, args.output))


def _write(root: Path, output: Path) -> None:
    try:
        print(*write_results(root, output), sep="\n")
    except HartxError as error:
        raise HartxError(f"{output}: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
