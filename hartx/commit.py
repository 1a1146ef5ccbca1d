"""Which commit of this repository runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def git_commit(repository: Path = REPOSITORY) -> str | None:
    """Return the commit that is checked out, with "+changes" where tracked files differ from it.

    None outside a repository or without git.
    """
    try:
        commit = _git(repository, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(repository, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True, check=True)
    return done.stdout.strip()
