"""What the library raises: a class for each of its codes, all of them RagError."""


class RagError(Exception):
    """An error of the library; str() says what is wrong, with the value and the place."""

    code = "internal"


class InvalidArgumentError(RagError, ValueError):
    code = "invalid_argument"


class NotFoundError(RagError, LookupError):
    code = "not_found"


class AlreadyExistsError(RagError):
    code = "already_exists"


class FailedPreconditionError(RagError):
    """Another state is needed: a model that was not named, another encoder than the collection's."""

    code = "failed_precondition"


class OutOfRangeError(RagError, IndexError):
    code = "out_of_range"


class ResourceExhaustedError(RagError):
    code = "resource_exhausted"


class UnavailableError(RagError):
    """Try again later: another process has the database open, or too many calls wait."""

    code = "unavailable"


class DeadlineExceededError(RagError, TimeoutError):
    code = "deadline_exceeded"


class CancelledError(RagError):
    code = "cancelled"


class DataLossError(RagError):
    code = "data_loss"


class UnsupportedError(RagError, NotImplementedError):
    code = "unsupported"


class IoError(RagError, OSError):
    code = "io_error"


class PermissionDeniedError(RagError, PermissionError):
    code = "permission_denied"


class InternalError(RagError):
    code = "internal"


# In the order of rag.h's numbers; the first is RAG_OK.
BY_CODE = (
    None, InvalidArgumentError, NotFoundError, AlreadyExistsError, FailedPreconditionError, OutOfRangeError,
    ResourceExhaustedError, UnavailableError, DeadlineExceededError, CancelledError, DataLossError,
    UnsupportedError, IoError, PermissionDeniedError, InternalError,
)
