"""The file folds.json: which question is in which fold, and the digests of the folds' files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from plugin.cache import content_key
from plugin.errors import DataError
from plugin.load.find import FOLDS
from plugin.records import Case

MANIFEST = FOLDS
"""Its name; it lies beside the folders of the folds."""

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class FoldFile:
    """A file of a fold.

    Attributes:
        file: its path, from the manifest's folder.
        n_rows: rows in it.
        sha256: digest of its bytes.
    """

    file: str
    n_rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ManifestFold:
    """One fold.

    Attributes:
        name: of the fold and its folder.
        test: the cases that its adapter must not have seen.
        train: the rows that its adapter is trained on.
        questions: `question_digest` of each test case.
    """

    name: str
    test: FoldFile
    train: FoldFile
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoldManifest:
    """All folds of a data set."""

    format: int
    folds: tuple[ManifestFold, ...]

    @property
    def digest(self) -> str:
        """Return the digest of all folds."""
        return content_key([[asdict(fold.test), asdict(fold.train)] for fold in self.folds])

    def fold_of(self) -> dict[str, str]:
        """Return the digest of each question -> the name of its fold."""
        return {digest: fold.name for fold in self.folds for digest in fold.questions}


_MANIFEST = TypeAdapter(FoldManifest)


def question_digest(case: Case) -> str:
    """Return the digest of a case's question: all its turns, whatever its answer."""
    return content_key([[turn.role, turn.content] for turn in case.messages])[:16]


def fold_file(folder: Path, name: str, text: str, n_rows: int) -> FoldFile:
    """Return the entry of a file, whose text is known.

    Args:
        folder: of the fold, from the manifest's folder.
        name: the file's, in it.
        text: its content.
        n_rows: rows in it.
    """
    sha256 = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return FoldFile((folder / name).as_posix(), n_rows, sha256)


def manifest_text(folds: Sequence[ManifestFold]) -> str:
    """Return the manifest as JSON."""
    return json.dumps(asdict(FoldManifest(_FORMAT, tuple(folds))), indent=1) + "\n"


def read_manifest(path: Path) -> FoldManifest:
    """Return the manifest in a file.

    Raises:
        DataError: when it cannot be read, or holds none of this version.
    """
    try:
        found = _MANIFEST.validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise DataError(
            f"{path} is no list of folds as `cases build --folds` writes it; build the folds again"
        ) from error
    if found.format != _FORMAT:
        raise DataError(
            f"{path} has format {found.format}, and this version knows {_FORMAT}; use the version "
            "that wrote it, or build the folds again"
        )
    return found


def find_manifest(dataset: str) -> Path | None:
    """Return the manifest that lies beside a data set's folder; None for none."""
    if not dataset:
        return None
    here = Path(dataset).resolve()
    found = (folder / MANIFEST for folder in (*here.parents[:2], here))
    return next((file for file in found if file.is_file()), None)
