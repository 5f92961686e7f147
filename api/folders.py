"""Folders that the configuration names: whether they can be written is known before it is needed."""

from pathlib import Path
from tempfile import TemporaryFile

from api.settings import SettingsWrong


def make_folder(folder: Path, key: str) -> None:
    """Makes a folder where there is none. Raises SettingsWrong where nothing can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        said = f"{key}: {folder}: {error.strerror}; nothing can be written there"
        raise SettingsWrong(said) from error
