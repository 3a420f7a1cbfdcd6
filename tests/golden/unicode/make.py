"""Makes unicode.txt with Python's unicodedata of the Unicode version that lib/text's tables state.

python3.13 make.py > unicode.txt

A hash for each property over all code points, and for each normalization form over random strings that
mix bases, marks, Hangul and compatibility characters.
"""

import unicodedata as u

CATEGORIES = (
    "Cn Cc Cf Co Cs Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp".split()
)
RANGES = [
    (0x41, 0x250), (0x300, 0x36F), (0x590, 0x650), (0x900, 0x9FF), (0x1100, 0x11FF), (0x1E00, 0x2100),
    (0x3040, 0x30FF), (0xAC00, 0xD7A3), (0xF900, 0xFB50), (0x1D100, 0x1D200), (0x300, 0x36F),
]


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def random_strings():
    state = 1
    for _ in range(3000):
        text = ""
        for _ in range(12):
            state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
            low, high = RANGES[(state >> 33) % len(RANGES)]
            text += chr(low + (state >> 40) % (high - low))
        yield text


def main():
    points = [cp for cp in range(0x110000) if not 0xD800 <= cp < 0xE000]
    print("version", u.unidata_version)
    print("category", fnv(bytes(CATEGORIES.index(u.category(chr(cp))) for cp in points)))
    print("lower", fnv("".join(chr(cp).lower() for cp in points).encode()))
    print("class", fnv(bytes(u.combining(chr(cp)) for cp in points)))
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        singles = "\n".join(u.normalize(form, chr(cp)) for cp in points)
        strings = "\n".join(u.normalize(form, text) for text in random_strings())
        print(form, fnv(singles.encode()), fnv(strings.encode()))


main()
