"""Vector search and cited answers over your own documents, in this process.

Engine has documents, searches and answers; VectorIndex is the nearest-neighbour search by itself.
"""

from ._library import lib as _lib
from .engine import Engine, restore
from .errors import (
    AlreadyExistsError, CancelledError, DataLossError, DeadlineExceededError, FailedPreconditionError, InternalError,
    InvalidArgumentError, IoError, NotFoundError, OutOfRangeError, PermissionDeniedError, RagError,
    ResourceExhaustedError, UnavailableError, UnimplementedError,
)
from .results import Added, Answer, Citation, Completion, Document, Failure, Hit, IndexReport, Label, Span
from .vector_index import VectorIndex

__version__ = _lib.rag_version().decode()

__all__ = [
    "Added", "AlreadyExistsError", "Answer", "CancelledError", "Citation", "Completion", "DataLossError",
    "DeadlineExceededError", "Document", "Engine", "FailedPreconditionError", "Failure", "Hit", "IndexReport",
    "InternalError", "InvalidArgumentError", "IoError", "Label", "NotFoundError", "OutOfRangeError",
    "PermissionDeniedError", "RagError", "ResourceExhaustedError", "Span", "UnavailableError", "UnimplementedError",
    "VectorIndex", "restore",
]
