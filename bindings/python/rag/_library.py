"""librag, the C library (bindings/c/rag.h), as ctypes sees it."""

import contextlib
import ctypes
import json
import math
import operator
import os
import threading

import numpy as np

from . import errors

TEXT, SIZE, INT, NUMBER, HANDLE = ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_double, ctypes.c_void_p
TEXTS = ctypes.POINTER(TEXT)
SIZES = ctypes.POINTER(SIZE)
JSON = ctypes.POINTER(HANDLE)  # char**: kept as an address, which rag_free needs
ABI_VERSION = 1


def _whole(value, name):
    try:
        return operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from error


def size(value, name):
    """Checked, since ctypes takes the lowest 64 bits of any integer."""
    whole = _whole(value, name)
    if not 0 <= whole < 1 << 64:
        raise errors.InvalidArgumentError(f"{name} is {whole}, not from 0 to 2**64 - 1")
    return whole


def integer(value, name):
    """Likewise, of 32 bits."""
    whole = _whole(value, name)
    if not -(1 << 31) <= whole < 1 << 31:
        raise errors.InvalidArgumentError(f"{name} is {whole}, not from -2**31 to 2**31 - 1")
    return whole


def number(value, name):
    if isinstance(value, (str, bytes, bytearray)):  # of which float() would make one
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    try:
        return float(value)
    except TypeError as error:
        raise TypeError(f"{name} must be a number, not {type(value).__name__}") from error
    except OverflowError as error:
        raise errors.InvalidArgumentError(f"{name} is beyond the largest number, 1.8e308") from error


_CHECKED = {SIZE: size, INT: integer, NUMBER: number}


class Versioned(ctypes.Structure):
    """A struct that is versioned by its size; what is not given is zero."""

    def __init__(self, **fields):
        for name, kind in self._fields_:
            if name in fields and kind in _CHECKED:
                fields[name] = _CHECKED[kind](fields[name], name)
        super().__init__(struct_size=ctypes.sizeof(self), **fields)


class Adapter(ctypes.Structure):
    _fields_ = [("name", TEXT), ("path", TEXT), ("scale", NUMBER)]


class Options(Versioned):
    _fields_ = [
        ("struct_size", SIZE), ("models_folder", TEXT), ("encoder", TEXT), ("precision", TEXT),
        ("truncate_dim", SIZE), ("query_prompt", TEXT), ("document_prompt", TEXT), ("sparse", TEXT),
        ("reranker", TEXT), ("classifier", TEXT), ("reader", TEXT), ("llm", TEXT), ("context_tokens", SIZE),
        ("parallel", SIZE), ("kv_type", TEXT), ("kv_bytes", SIZE), ("kv_cache", TEXT), ("draft_tokens", SIZE),
        ("draft_model", TEXT), ("adapters", ctypes.POINTER(Adapter)), ("adapter_count", SIZE), ("threads", INT),
        ("draft_min_probability", NUMBER), ("mapped_weights", INT), ("read_only", INT),
    ]


class CollectionOptions(Versioned):
    _fields_ = [("struct_size", SIZE), ("index", TEXT), ("chunk_strategy", TEXT), ("chunk_tokens", SIZE),
                ("chunk_overlap", SIZE), ("token_vectors", INT)]


class Document(Versioned):
    _fields_ = [("struct_size", SIZE), ("key", TEXT), ("text", TEXT), ("text_bytes", SIZE), ("title", TEXT),
                ("media_type", TEXT), ("metadata_json", TEXT), ("image", TEXT), ("image_bytes", SIZE)]


class IndexOptions(Versioned):
    _fields_ = [("struct_size", SIZE), ("prune", INT), ("hidden", INT), ("metadata_json", TEXT)]


class SearchOptions(Versioned):
    _fields_ = [("struct_size", SIZE), ("k", SIZE), ("mode", TEXT), ("filter", TEXT), ("ef_search", SIZE),
                ("exact", INT), ("per_document", SIZE), ("rerank_top", SIZE), ("image", TEXT),
                ("image_bytes", SIZE), ("rrf_k", SIZE), ("dense_weight", NUMBER), ("lexical_weight", NUMBER),
                ("sparse_weight", NUMBER)]


class LogitBias(ctypes.Structure):
    _fields_ = [("token", ctypes.c_int32), ("bias", NUMBER)]


ON_TEXT = ctypes.CFUNCTYPE(INT, ctypes.POINTER(ctypes.c_char), SIZE, HANDLE)


class GenerateOptions(Versioned):
    _fields_ = [
        ("struct_size", SIZE), ("max_tokens", SIZE), ("temperature", NUMBER), ("top_p", NUMBER), ("min_p", NUMBER),
        ("top_k", SIZE), ("repetition_penalty", NUMBER), ("presence_penalty", NUMBER),
        ("frequency_penalty", NUMBER), ("seed", ctypes.c_uint64), ("stop", TEXTS), ("stop_count", SIZE),
        ("constraint", TEXT), ("constraint_text", TEXT), ("choices", TEXTS), ("choice_count", SIZE),
        ("adapters", TEXTS), ("adapter_count", SIZE), ("priority", INT), ("on_text", ON_TEXT), ("user", HANDLE),
        ("typical_p", NUMBER), ("top_n_sigma", NUMBER), ("xtc_probability", NUMBER), ("xtc_threshold", NUMBER),
        ("mirostat_tau", NUMBER), ("mirostat_eta", NUMBER), ("dry_multiplier", NUMBER), ("dry_base", NUMBER),
        ("dry_allowed_length", SIZE), ("logit_bias", ctypes.POINTER(LogitBias)), ("logit_bias_count", SIZE),
        ("adapter_scales", ctypes.POINTER(NUMBER)), ("logprobs", INT), ("top_logprobs", SIZE),
    ]


class Message(ctypes.Structure):
    _fields_ = [("role", TEXT), ("content", TEXT)]


class AskOptions(Versioned):
    _fields_ = [
        ("struct_size", SIZE), ("search", ctypes.POINTER(SearchOptions)),
        ("generate", ctypes.POINTER(GenerateOptions)), ("strategy", TEXT), ("system", TEXT),
        ("template_path", TEXT), ("examples_path", TEXT), ("history", ctypes.POINTER(Message)),
        ("history_count", SIZE),
    ]


class ClassifyOptions(Versioned):
    _fields_ = [("struct_size", SIZE), ("labels", TEXTS), ("label_count", SIZE), ("hypothesis", TEXT),
                ("several", INT), ("tokens", INT), ("templates", TEXTS), ("template_count", SIZE)]


class TuneOptions(Versioned):
    _fields_ = [("struct_size", SIZE), ("recall", NUMBER), ("memory_bytes", SIZE), ("k", SIZE), ("dry_run", INT)]


class EvaluateOptions(Versioned):
    _fields_ = [("struct_size", SIZE), ("search", ctypes.POINTER(SearchOptions)), ("cutoffs", SIZES),
                ("cutoff_count", SIZE)]


def _open():
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "librag.so.1")
    path = os.environ.get("RAG_LIBRARY") or (beside if os.path.exists(beside) else "librag.so.1")
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise ImportError(f"the C library of rag cannot be loaded ({error}); RAG_LIBRARY may name librag.so.1, "
                          "which ./dev build leaves under build/") from error
    if library.rag_abi_version() != ABI_VERSION:
        raise ImportError(f"{path} has ABI {library.rag_abi_version()}, and this package wants {ABI_VERSION}")
    pointer = ctypes.POINTER
    takes = {
        "rag_call_create": [pointer(HANDLE)],
        "rag_open": [TEXT, pointer(Options), pointer(HANDLE)],
        "rag_close": [HANDLE],
        "rag_models": [HANDLE, JSON],
        "rag_create_collection": [HANDLE, TEXT, pointer(CollectionOptions)],
        "rag_drop_collection": [HANDLE, TEXT],
        "rag_collections": [HANDLE, TEXT, JSON],
        "rag_add": [HANDLE, TEXT, pointer(Document), JSON],
        "rag_index": [HANDLE, TEXT, TEXTS, SIZE, pointer(IndexOptions), HANDLE, JSON],
        "rag_get": [HANDLE, TEXT, TEXT, JSON],
        "rag_list": [HANDLE, TEXT, TEXT, SIZE, JSON],
        "rag_chunk": [HANDLE, TEXT, ctypes.c_uint64, JSON],
        "rag_remove": [HANDLE, TEXT, TEXT],
        "rag_search": [HANDLE, TEXT, TEXT, pointer(SearchOptions), HANDLE, JSON],
        "rag_ask": [HANDLE, TEXT, TEXT, pointer(AskOptions), HANDLE, JSON],
        "rag_chat": [HANDLE, pointer(Message), SIZE, pointer(GenerateOptions), HANDLE, JSON],
        "rag_embed": [HANDLE, TEXTS, SIZES, SIZE, TEXT, HANDLE, HANDLE, SIZE, SIZES],
        "rag_embed_images": [HANDLE, TEXTS, SIZES, SIZE, HANDLE, HANDLE, SIZE, SIZES],
        "rag_rerank": [HANDLE, TEXT, TEXTS, SIZES, SIZE, HANDLE, HANDLE],
        "rag_classify": [HANDLE, TEXTS, SIZES, SIZE, pointer(ClassifyOptions), HANDLE, JSON],
        "rag_classify_images": [HANDLE, TEXTS, SIZES, SIZE, pointer(ClassifyOptions), HANDLE, JSON],
        "rag_verify": [HANDLE, TEXT, HANDLE, JSON],
        "rag_measure_recall": [HANDLE, TEXT, SIZE, SIZE, HANDLE, JSON],
        "rag_tune": [HANDLE, TEXT, pointer(TuneOptions), HANDLE, JSON],
        "rag_evaluate": [HANDLE, TEXT, TEXT, pointer(EvaluateOptions), HANDLE, JSON],
        "rag_backup": [HANDLE, TEXT, HANDLE, JSON],
        "rag_vacuum": [HANDLE, HANDLE, JSON],
        "rag_check_writes": [HANDLE],
        "rag_refresh": [HANDLE, pointer(INT)],
        "rag_save_cache": [HANDLE, JSON],
        "rag_restore": [TEXT, TEXT, HANDLE, JSON],
        "rag_vector_index_create": [TEXT, TEXT, SIZE, INT, pointer(HANDLE)],
        "rag_vector_index_add": [HANDLE, HANDLE, HANDLE, SIZE],
        "rag_vector_index_remove": [HANDLE, HANDLE, SIZE, SIZES],
        "rag_vector_index_search": [HANDLE, HANDLE, SIZE, SIZE, SIZE, HANDLE, HANDLE],
        "rag_vector_index_size": [HANDLE, SIZES, SIZES],
        "rag_vector_index_save": [HANDLE, TEXT],
        "rag_vector_index_load": [TEXT, TEXT, TEXT, SIZE, INT, pointer(HANDLE)],
    }
    for name, arguments in takes.items():
        if not hasattr(library, name):
            raise ImportError(f"{path} is of an older version than this package: it has no {name}")
        getattr(library, name).argtypes = arguments
    for name in ("rag_call_free", "rag_call_cancel", "rag_free", "rag_vector_index_free"):
        getattr(library, name).argtypes = [HANDLE]
        getattr(library, name).restype = None
    library.rag_call_progress.argtypes = [HANDLE, pointer(ctypes.c_uint64), pointer(ctypes.c_uint64)]
    library.rag_call_progress.restype = None
    library.rag_version.restype = TEXT
    library.rag_last_error.restype = TEXT
    return library


lib = _open()


def check(code):
    """Raises what the calling thread's last call gave, unless it was RAG_OK."""
    if code != 0:
        raise errors.BY_CODE[code](lib.rag_last_error().decode("utf-8", "replace"))


def call(name, *arguments):
    check(getattr(lib, name)(*arguments))


def call_json(name, *arguments):
    """A call whose last argument hands out JSON, which is returned as Python's values."""
    out = HANDLE()
    check(getattr(lib, name)(*arguments, ctypes.byref(out)))
    try:
        return json.loads(ctypes.string_at(out.value))
    finally:
        lib.rag_free(out)


def utf8(value, name):
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise errors.InvalidArgumentError(f"{name} has a lone surrogate at {error.start}") from error


def text(value, name):
    """As UTF-8, which C ends at the first zero byte."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    encoded = utf8(value, name)
    if b"\0" in encoded:
        raise errors.InvalidArgumentError(f"{name} has a zero character at {value.index(chr(0))}")
    return encoded


def needed(value, name):
    """A text that must be given."""
    if value is None:
        raise TypeError(f"{name} must be a str, not None")
    return text(value, name)


def path(value, name):
    try:
        encoded = os.fsencode(value)
    except TypeError as error:
        raise TypeError(f"{name} must be a path, not {type(value).__name__}") from error
    if b"\0" in encoded:
        raise errors.InvalidArgumentError(f"{name} has a zero character")
    return encoded


_callbacks = threading.local()


@contextlib.contextmanager
def in_callback():
    """While a caller's function runs within a call."""
    before = within_callback()
    _callbacks.within = True
    try:
        yield
    finally:
        _callbacks.within = before


def within_callback():
    return getattr(_callbacks, "within", False)


def items(values, name, what):
    """A list of what is neither one string nor anything else that cannot be gone through."""
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{name} must be a sequence of {what}, not one {type(values).__name__}")
    try:
        return list(values)
    except TypeError as error:
        raise TypeError(f"{name} must be a sequence of {what}, not {type(values).__name__}") from error


def members(values, name):
    """(key, value) of each of a dict's; none of None."""
    if values is None:
        return []
    if not isinstance(values, dict):
        raise TypeError(f"{name} must be a dict, not {type(values).__name__}")
    return list(values.items())


def function(value, name):
    """None, or what can be called."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function, not {type(value).__name__}")
    return value


def array(values, name, encode=text):
    """(char**, count) of strings; (None, 0) of none."""
    encoded = []
    for i, value in enumerate(items(values, name, "strings")):
        if value is None:  # which `encode` may take for one that is not given
            raise TypeError(f"{name}[{i}] must not be None")
        encoded.append(encode(value, f"{name}[{i}]"))
    return ((TEXT * len(encoded))(*encoded) if encoded else None), len(encoded)


def sized(values, name):
    """(char**, sizes, count) of texts that may hold zero characters, or of bytes."""
    encoded = []
    for i, value in enumerate(items(values, name, "strings or bytes")):
        if not isinstance(value, (str, bytes)):
            raise TypeError(f"{name}[{i}] must be a str or bytes, not {type(value).__name__}")
        encoded.append(utf8(value, f"{name}[{i}]") if isinstance(value, str) else value)
    count = len(encoded)
    return (TEXT * count)(*encoded), (SIZE * count)(*map(len, encoded)), count


_MAX_DEPTH = 64  # of metadata


def _plain(value, place, depth=0):
    """As json has it, with NumPy's scalars as numbers; `place` names what cannot be."""
    if isinstance(value, (np.bool_, bool)):
        return bool(value)
    if isinstance(value, (np.integer, int)):
        return int(value)
    if isinstance(value, (np.floating, float)):
        if not math.isfinite(value):
            raise errors.InvalidArgumentError(f"{place} is {float(value)}, which is no finite number")
        return float(value)
    if value is None:
        return None
    if isinstance(value, str):
        utf8(value, place)
        return value
    if depth == _MAX_DEPTH:
        raise errors.InvalidArgumentError(f"{place} is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, dict):
        plain = {}
        for key, inner in value.items():
            if isinstance(key, (bool, np.bool_)) or key is None:
                key = json.dumps(None if key is None else bool(key))  # true, false and null, as json has them
            elif isinstance(key, (int, np.integer)):
                key = str(int(key))
            elif isinstance(key, (float, np.floating)):
                key = json.dumps(float(key))
            if not isinstance(key, str):
                raise TypeError(f"{place} has the key {key!r}, which must be a str, not {type(key).__name__}")
            utf8(key, f"a key of {place}")
            if key in plain:
                raise errors.InvalidArgumentError(f"{place} has the key {key!r} twice")
            plain[key] = _plain(inner, f"{place}[{key!r}]", depth + 1)
        return plain
    if isinstance(value, (list, tuple)):
        return [_plain(inner, f"{place}[{i}]", depth + 1) for i, inner in enumerate(value)]
    raise TypeError(f"{place} must be a number, str, bool, None, list or dict, not {type(value).__name__}")


def metadata(value):
    if value is None:
        return None
    if not isinstance(value, dict):
        raise TypeError(f"metadata must be a dict, not {type(value).__name__}")
    return json.dumps(_plain(value, "metadata"), allow_nan=False).encode()


def run(work, progress=None):
    """work(call) with a rag_call, so that Ctrl-C stops it: Python's own handlers wait until a call of C returns,
    which is why the main thread waits for another that calls. `progress` gets (done, in all) as they change, some
    ten times a second; what it raises stops the call."""
    function(progress, "progress")
    handle = HANDLE()
    call("rag_call_create", ctypes.byref(handle))
    try:
        if progress is None and threading.current_thread() is not threading.main_thread():
            return work(handle)
        outcome = {}
        ended = threading.Event()

        def body():
            try:
                outcome["value"] = work(handle)
            except BaseException as error:  # handed on to the caller's thread
                outcome["error"] = error
            finally:
                ended.set()

        thread = threading.Thread(target=body, name="rag", daemon=True)
        try:
            thread.start()
            done, total = ctypes.c_uint64(), ctypes.c_uint64()
            last = None
            while not ended.wait(0.1 if progress is not None else None):
                lib.rag_call_progress(handle, ctypes.byref(done), ctypes.byref(total))
                if (done.value, total.value) != last:
                    last = done.value, total.value
                    with in_callback():
                        progress(*last)
        finally:
            if thread.ident is not None and not ended.is_set():
                lib.rag_call_cancel(handle)
            # The call has the handle until it ends, also when Ctrl-C comes again; an interrupted join() says that a
            # thread has ended that has not.
            while thread.ident is not None and not ended.is_set():
                try:
                    ended.wait()
                except BaseException:
                    pass
        if "error" in outcome:
            raise outcome["error"]
        return outcome["value"]
    finally:
        lib.rag_call_free(handle)
