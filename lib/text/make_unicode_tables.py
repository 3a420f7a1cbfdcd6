"""Writes lib/text/unicode_tables.cc from Python's unicodedata (run it with the newest Python at hand).

python3 lib/text/make_unicode_tables.py > lib/text/unicode_tables.cc
"""

import unicodedata as u

CATEGORIES = (
    "Cn Cc Cf Co Cs Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp".split()
)
# Property White_Space (PropList.txt), which unicodedata does not have.
SPACES = {0x85, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xA0, 0x20}
SPACES |= set(range(0x9, 0xE)) | set(range(0x2000, 0x200B))
BLOCK = 128
BITS_SPACE, BIT_LOWER, BIT_DECOMPOSES = 32, 64, 128


def is_hangul(cp):
    return 0xAC00 <= cp <= 0xD7A3


def decompositions():
    canonical, compatible = {}, {}
    for cp in range(0x110000):
        if is_hangul(cp) or 0xD800 <= cp < 0xE000:
            continue
        nfd, nfkd = u.normalize("NFD", chr(cp)), u.normalize("NFKD", chr(cp))
        if nfd != chr(cp):
            canonical[cp] = nfd
        if nfkd != nfd:
            compatible[cp] = nfkd
    return canonical, compatible


def lists(name, kind, items, per_line):
    print(f"const {kind} {name}[] = {{")
    for i in range(0, len(items), per_line):
        print("    " + ",".join(items[i : i + per_line]) + ",")
    print("};")


def pool_table(name, mapping):
    pool, rows = [], []
    for cp in sorted(mapping):
        rows.append(f"{{{cp},{len(pool)},{len(mapping[cp])}}}")
        pool += [str(ord(c)) for c in mapping[cp]]
    lists(f"k{name}Pool", "char32_t", pool, 20)
    lists(f"k{name}", "UnicodeExpansion", rows, 10)
    print(f"const size_t k{name}Count = {len(rows)};")


def main():
    canonical, compatible = decompositions()
    lower = {cp: chr(cp).lower() for cp in range(0x110000) if not 0xD800 <= cp < 0xE000}
    lower = {cp: text for cp, text in lower.items() if text != chr(cp)}
    print("// Made by make_unicode_tables.py; do not edit.")
    print("// clang-format off")
    print('#include "lib/text/unicode_tables.h"\n')
    print("namespace rag::unicode {\n")
    print(f'const char kVersion[] = "{u.unidata_version}";\n')
    blocks, index = {}, []
    for start in range(0, 0x110000, BLOCK):
        block = []
        for cp in range(start, start + BLOCK):
            value = CATEGORIES.index(u.category(chr(cp)))
            value |= BITS_SPACE if cp in SPACES else 0
            value |= BIT_LOWER if cp in lower else 0
            value |= BIT_DECOMPOSES if cp in canonical or cp in compatible else 0
            block.append(value)
        index.append(blocks.setdefault(tuple(block), len(blocks)))
    lists("kPropertyIndex", "uint16_t", [str(i) for i in index], 32)
    lists("kPropertyBlocks", "uint8_t", [str(v) for block in blocks for v in block], 32)
    pool_table("Lower", lower)
    pool_table("Canonical", canonical)
    pool_table("Compatible", compatible)
    classes = [f"{{{cp},{u.combining(chr(cp))}}}" for cp in range(0x110000) if u.combining(chr(cp))]
    lists("kCombiningClasses", "UnicodePair", classes, 12)
    print(f"const size_t kCombiningClassCount = {len(classes)};")
    # A character composes when NFC puts it together again (this leaves out the exclusions); its
    # last step joins the composition of all but the last character with the last one.
    rows = []
    for cp, nfd in canonical.items():
        if u.normalize("NFC", nfd) == chr(cp) and len(nfd) > 1:
            first = u.normalize("NFC", nfd[:-1])
            assert len(first) == 1, hex(cp)
            rows.append((ord(first), ord(nfd[-1]), cp))
    rows = [f"{{{a},{b},{c}}}" for a, b, c in sorted(rows)]
    lists("kCompositions", "UnicodeComposition", rows, 8)
    print(f"const size_t kCompositionCount = {len(rows)};\n")
    print("}  // namespace rag::unicode")


main()
