"""Makes the golden files of tests/lib/model with other people's writers and readers.

python make.py SHARED_DATA     (gguf 0.19, safetensors 0.8, numpy 2)

all_types.gguf         every metadata type and the tensor types that the gguf package can quantize to
all_types.safetensors  every dtype that numpy has, a scalar and an empty tensor, __metadata__
listing.txt            what the gguf package reads in all_types.gguf and in the files of SHARED_DATA
"""

import pathlib
import sys

import gguf
import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
QUANTIZED = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


def fnv(data: bytes) -> str:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def text_of(item) -> bytes:
    if isinstance(item, (bool, np.bool_)):
        return b"true" if item else b"false"
    if isinstance(item, (int, np.integer)):
        return b"%d" % int(item)
    if isinstance(item, (float, np.floating)):
        return b"%.9g" % float(item)
    if isinstance(item, bytes):
        return item
    return str(item).encode()


def values(field):
    kind = field.types[-1]
    if kind == gguf.GGUFValueType.STRING:
        return [bytes(field.parts[i]) for i in field.data]
    return [field.parts[i].tolist()[0] for i in field.data]


def write_gguf(path):
    writer = gguf.GGUFWriter(path, "test")
    writer.add_uint8("t.u8", 200)
    writer.add_int8("t.i8", -100)
    writer.add_uint16("t.u16", 60000)
    writer.add_int16("t.i16", -30000)
    writer.add_uint32("t.u32", 4000000000)
    writer.add_int32("t.i32", -2000000000)
    writer.add_float32("t.f32", 0.1)
    writer.add_bool("t.yes", True)
    writer.add_bool("t.no", False)
    writer.add_string("t.string", "한글 ☃")
    writer.add_uint64("t.u64", 1 << 62)
    writer.add_int64("t.i64", -(1 << 62))
    writer.add_float64("t.f64", 2.5e-300)
    writer.add_array("t.strings", ["a", "", "ㅎ"])
    writer.add_array("t.ints", [1, -2, 3])
    writer.add_array("t.floats", [0.5, 1e30])
    writer.add_array("t.bools", [True, False, True])
    writer.add_custom_alignment(64)
    data = np.random.default_rng(7).standard_normal((3, 64)).astype(np.float32)
    writer.add_tensor("f32", data)
    for name in QUANTIZED:
        kind = gguf.GGMLQuantizationType[name]
        writer.add_tensor(name.lower(), gguf.quants.quantize(data, kind), raw_dtype=kind)
    writer.add_tensor("cube", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    writer.add_tensor("i32", np.arange(5, dtype=np.int32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def listing(name, path):
    reader = gguf.GGUFReader(path)
    yield f"file {name} version {reader.fields['GGUF.version'].contents()}"
    for key, field in reader.fields.items():
        if key.startswith("GGUF."):
            continue
        items = values(field)
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            body = b"\n".join(text_of(item) for item in items)
            yield f"key {key} array {len(items)} {fnv(body)}"
        else:
            text = text_of(items[0])
            short = field.types[0] != gguf.GGUFValueType.STRING
            yield f"key {key} {text.decode()}" if short else f"key {key} string {len(text)} {fnv(text)}"
    for tensor in reader.tensors:
        shape = "x".join(str(n) for n in reversed(tensor.shape.tolist()))
        raw = tensor.data.tobytes()
        yield f"tensor {tensor.name} {shape} {tensor.tensor_type.name} {len(raw)} {fnv(raw)}"


def main():
    shared = pathlib.Path(sys.argv[1])
    write_gguf(HERE / "all_types.gguf")
    save_file(
        {
            "f64": np.array([[1.5, -2.0]], np.float64),
            "f32": np.arange(6, dtype=np.float32).reshape(2, 3),
            "f16": np.array([0.5, 65504], np.float16),
            "i64": np.array([-(1 << 62)], np.int64),
            "i32": np.array([-5, 6], np.int32),
            "i16": np.array([-7], np.int16),
            "i8": np.array([-8, 8], np.int8),
            "u64": np.array([1 << 63], np.uint64),
            "u32": np.array([9], np.uint32),
            "u16": np.array([10], np.uint16),
            "u8": np.array([11], np.uint8),
            "bool": np.array([True, False]),
            "scalar": np.array(3.25, np.float32),
            "empty": np.zeros((0, 4), np.float32),
        },
        HERE / "all_types.safetensors",
        metadata={"format": "np", "note": "한글"},
    )
    files = [("golden", HERE / "all_types.gguf")]
    files.append(("stories260K", shared / "models/stories260K/stories260K.gguf"))
    for path in sorted((shared / "tok-llamacpp").glob("*.gguf")):
        files.append((path.name, path))
    with open(HERE / "listing.txt", "w", encoding="utf-8") as out:
        for name, path in files:
            for line in listing(name, path):
                out.write(line + "\n")


main()
