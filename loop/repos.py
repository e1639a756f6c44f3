"""Harness trees as git commits, through GitPython. One bare repository a task; nothing is ever checked out by git.

Trees are written to disk by us, from blobs, so no hook, filter or attribute of a harness can act.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from pathlib import Path

import git
from git.index.fun import write_tree_from_cache
from git.index.typ import IndexEntry
from gitdb import IStream

from governance.digests import entries_digest
from loop.errors import HarnessError
from loop.harness_tree import check_tree, files_below, with_edits

MODES = {"file": 0o100644, "exec": 0o100755, "link": 0o120000}

Tree = dict[str, tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class CommitNote:
    """What a commit says: subject line, author name, moment and trailers (campaign, generation, parent, decision)."""

    subject: str
    author: str
    moment: datetime
    trailers: Mapping[str, str] = field(default_factory=dict)

    def message(self) -> str:
        """The commit message with its trailers."""
        lines = [f"{key}: {' '.join(value.split())}" for key, value in self.trailers.items()]
        return "\n".join([" ".join(self.subject.split()), "", *lines]) + "\n"


def read_tree(folder: Path) -> Tree:
    """The files of a folder as {path: (mode, bytes)}. Raises HarnessError for links, devices, oversize."""
    tree: Tree = {}
    for path in files_below(folder):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise HarnessError(f"{path} is not a regular file; a harness holds files and folders only.")
        tree[path.relative_to(folder).as_posix()] = (
            "exec" if status.st_mode & 0o100 else "file",
            path.read_bytes(),
        )
    check_tree(_sizes(tree))
    return tree


def edited(tree: Tree, edits: Mapping[str, str | None]) -> Tree:
    """The tree after edits (new text for a path, None removes it). Raises HarnessError when it is unusable."""
    changed = {
        path: None if text is None else (tree.get(path, ("file", b""))[0], text.encode())
        for path, text in edits.items()
    }
    made = with_edits(tree, changed)
    check_tree(_sizes(made))
    return made


def _sizes(tree: Tree) -> dict[str, int]:
    return {path: len(data) for path, (_, data) in tree.items()}


def write_tree(tree: Tree, target: Path) -> None:
    """Write the tree's files under the new folder `target`."""
    target.mkdir(parents=True)
    for path, (mode, data) in tree.items():
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        place.chmod(0o755 if mode == "exec" else 0o644)


def digest_of(tree: Tree) -> str:
    """The tree digest: our own SHA-256 over paths, modes and bytes."""
    return entries_digest(tree)


class HarnessRepo:
    """The bare git repository that holds every harness version of one task."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / "HEAD").exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            git.Repo.init(path, bare=True, initial_branch="main").close()

    def _open(self) -> git.Repo:
        return git.Repo(self.path)

    def commit(self, tree: Tree, parent: str | None, note: CommitNote, branch: str) -> str:
        """Commit the tree on `branch` and return the commit's id. The same arguments give the same id."""
        with self._open() as repo:
            entries = [
                IndexEntry((MODES[mode], repo.odb.store(_blob(data)).binsha, 0, path))
                for path, (mode, data) in sorted(tree.items())
            ]
            binsha, _ = write_tree_from_cache(entries, repo.odb, slice(0, len(entries)))
            actor = git.Actor(note.author, "agent@pawl.invalid")
            commit = git.Commit.create_from_tree(
                repo,
                git.Tree(repo, binsha),
                note.message(),
                parent_commits=[repo.commit(parent)] if parent else [],
                author=actor,
                committer=actor,
                author_date=note.moment,
                commit_date=note.moment,
            )
            repo.git.update_ref(f"refs/heads/{branch}", commit.hexsha)
            return commit.hexsha

    def read(self, commit: str) -> Tree:
        """The tree of a commit as {path: (mode, bytes)}, from its blobs. Raises HarnessError for an unknown commit."""
        with self._open() as repo:
            try:
                root = repo.commit(commit).tree
            except (ValueError, git.BadName) as error:
                raise HarnessError(
                    f"Commit {commit[:12]} is not in {self.path}; restore it from a backup."
                ) from error
            kinds = {mode: kind for kind, mode in MODES.items()}
            return {
                str(blob.path): (kinds[blob.mode], blob.data_stream.read())
                for blob in root.traverse()
                if isinstance(blob, git.Blob)
            }

    def live(self) -> str:
        """The commit that the branch `live` is at; empty when there is none yet."""
        with self._open() as repo:
            return repo.heads["live"].commit.hexsha if "live" in repo.heads else ""

    def move_live(self, new: str, old: str) -> None:
        """Move the branch `live` from `old` (empty: it must not exist) to `new`, by compare and swap."""
        with self._open() as repo:
            repo.git.update_ref("refs/heads/live", new, old or "0" * 40)


def _blob(data: bytes) -> IStream:
    return IStream("blob", len(data), BytesIO(data))
