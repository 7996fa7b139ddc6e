"""Uploaded files and results files: bytes that leave no trace on the disk, and the list of what there is."""

import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import BinaryIO

from tunemill.local.pages import Listed
from tunemill.local.replies import Reply, bad_request, json_reply, not_found

FILE_BYTES_MAX = 512 * 1024 * 1024
IN_MEMORY_BYTES = 1024 * 1024  # larger ones go to a file without a name, which the system forgets with the process
CHUNK_BYTES = 256 * 1024
PURPOSES = ("fine-tune", "assistants", "batch", "vision", "user_data", "evals")


@dataclass(slots=True)
class Blob:
    """Bytes that are written once and then read from anywhere, by several readers at a time."""

    size: int = 0
    _spool: "SpooledTemporaryFile[bytes]" = field(
        default_factory=lambda: tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115  # lives on
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fill(self, source: BinaryIO) -> None:
        """Append everything that `source` has."""
        with self._lock:
            while chunk := source.read(CHUNK_BYTES):
                self._spool.write(chunk)
                self.size += len(chunk)

    def chunks(self) -> Iterator[bytes]:
        """The whole content, piece by piece."""
        offset = 0
        while offset < self.size:
            with self._lock:
                self._spool.seek(offset)
                chunk = self._spool.read(CHUNK_BYTES)
            offset += len(chunk)
            yield chunk

    def lines(self) -> Iterator[bytes]:
        """The content line by line, without line ends."""
        rest = b""
        for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def close(self) -> None:
        """Let go of the bytes."""
        with self._lock:
            self._spool.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile(Listed):
    """One entry of the list of files. `created_at` in seconds since 1970."""

    filename: str
    purpose: str
    created_at: int
    content: Blob

    def to_json(self) -> dict[str, object]:
        """As the API lists it."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.content.size,
            "created_at": self.created_at,
            "expires_at": None,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


class FileStore:
    """All files, oldest first."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}

    def __iter__(self) -> Iterator[StoredFile]:
        return iter(self._files.values())

    def add(self, file: StoredFile) -> None:
        """Keep one more file; its id must be new."""
        assert file.id not in self._files, f"two files have the id {file.id}"
        self._files[file.id] = file

    def find(self, file_id: str) -> StoredFile | Reply:
        """The file, or the 404 that says it is not there."""
        return self._files.get(file_id) or not_found(f"No such File object: {file_id}", param="id")

    def delete(self, file_id: str) -> Reply:
        """DELETE /v1/files/ID"""
        file = self.find(file_id)
        if isinstance(file, Reply):
            return file
        del self._files[file_id]
        file.content.close()
        return json_reply({"id": file_id, "object": "file", "deleted": True})

    def close(self) -> None:
        """Let go of everything."""
        for file in self:
            file.content.close()
        self._files.clear()


def check_upload(filename: str, purpose: str, size: int) -> Reply | None:
    """What the hosted service finds wrong with an upload before it looks into the file; None where nothing is."""
    if purpose not in PURPOSES:
        return bad_request(f"'{purpose}' is not one of {list(PURPOSES)} - 'purpose'", param="purpose")
    if size == 0:
        return bad_request("File is empty. Please try again with a non-empty file.", param="file")
    if size > FILE_BYTES_MAX:
        return bad_request(f"Files larger than {FILE_BYTES_MAX} bytes are not accepted.", param="file")
    if purpose == "fine-tune" and not filename.endswith(".jsonl"):
        return bad_request("Invalid file format for Fine-Tuning API. Must be .jsonl", param="file")
    return None
