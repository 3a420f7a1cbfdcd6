"""Token ids and log-probabilities of stories260K's greedy output, from numpy in double precision.

The texts are the reference program's (greedy.json beside the model); this fails unless its own greedy decoding gives the
same texts, so the ids are the reference's too.

Run: python3 make_stories_tokens.py FOLDER_OF_stories260K > stories_tokens.json
"""
import json
import pathlib
import struct
import sys

import numpy as np

folder = pathlib.Path(sys.argv[1])
raw = (folder / "stories260K.bin").read_bytes()
WIDTH, FEED_FORWARD, LAYERS, HEADS, KV_HEADS, VOCABULARY, CONTEXT = struct.unpack("7i", raw[:28])
HEAD = WIDTH // HEADS
values, at = np.frombuffer(raw[28:], dtype="<f4").astype(np.float64), 0


def take(*shape):
    global at
    begin, at = at, at + int(np.prod(shape))
    return values[begin:at].reshape(shape)


embeddings, attention_norm = take(VOCABULARY, WIDTH), take(LAYERS, WIDTH)
wq, wk, wv = take(LAYERS, WIDTH, WIDTH), take(LAYERS, KV_HEADS * HEAD, WIDTH), take(LAYERS, KV_HEADS * HEAD, WIDTH)
wo, feed_norm = take(LAYERS, WIDTH, WIDTH), take(LAYERS, WIDTH)
w1, w2, w3 = take(LAYERS, FEED_FORWARD, WIDTH), take(LAYERS, WIDTH, FEED_FORWARD), take(LAYERS, FEED_FORWARD, WIDTH)
output_norm = take(WIDTH)

data, pieces, scores = (folder / "tok512.bin").read_bytes()[4:], [], []
for _ in range(VOCABULARY):
    score, length = struct.unpack("<fi", data[:8])
    piece = data[8:8 + length]
    pieces.append(bytes([int(piece[3:5], 16)]) if piece.startswith(b"<0x") else piece)
    scores.append(score)
    data = data[8 + length:]


def encode(text):
    ids = [len(pieces) - 1 - pieces[::-1].index(bytes([byte])) for byte in (" " + text if text else "").encode()]
    while True:
        best = None
        for i in range(len(ids) - 1):
            joined = pieces[ids[i]] + pieces[ids[i + 1]]
            if joined in pieces and (best is None or scores[pieces.index(joined)] > best[0]):
                best = (scores[pieces.index(joined)], i, pieces.index(joined))
        if best is None:
            return [1] + ids
        ids[best[1]:best[1] + 2] = [best[2]]


def step(token, position, keys, rows):
    norm = lambda x, g: x / np.sqrt((x * x).mean() + 1e-5) * g
    angles = position * 10000.0 ** (-2.0 * np.arange(HEAD // 2) / HEAD)

    def rope(x):
        even, odd = x[:, 0::2].copy(), x[:, 1::2].copy()
        x[:, 0::2] = even * np.cos(angles) - odd * np.sin(angles)
        x[:, 1::2] = even * np.sin(angles) + odd * np.cos(angles)
        return x

    x = embeddings[token]
    for layer in range(LAYERS):
        h = norm(x, attention_norm[layer])
        q = rope((wq[layer] @ h).reshape(HEADS, HEAD))
        keys[layer, position] = rope((wk[layer] @ h).reshape(KV_HEADS, HEAD))
        rows[layer, position] = (wv[layer] @ h).reshape(KV_HEADS, HEAD)
        out = []
        for head in range(HEADS):
            group = head // (HEADS // KV_HEADS)
            weights = keys[layer, :position + 1, group] @ q[head] / np.sqrt(HEAD)
            weights = np.exp(weights - weights.max())
            out.append(weights / weights.sum() @ rows[layer, :position + 1, group])
        x = x + wo[layer] @ np.concatenate(out)
        h = norm(x, feed_norm[layer])
        gate = w1[layer] @ h
        x = x + w2[layer] @ (gate / (1 + np.exp(-gate)) * (w3[layer] @ h))
    return embeddings @ norm(x, output_norm)


results = []
for case in json.loads((folder / "greedy.json").read_text()):
    prompt = encode(case["prompt"])
    ids, chances, gap = list(prompt), [], np.inf
    keys = np.zeros((LAYERS, CONTEXT, KV_HEADS, HEAD))
    rows = np.zeros((LAYERS, CONTEXT, KV_HEADS, HEAD))
    ended = False
    for position in range(case["steps"]):
        logits = step(ids[position], position, keys, rows)
        if position + 1 >= len(ids):
            two = np.sort(logits)[-2:]
            gap = min(gap, two[1] - two[0])
            following = int(np.argmax(logits))
            if following == 1:
                ended = True
                break
            ids.append(following)
        chances.append(float(f"{logits[ids[position + 1]] - logits.max() - np.log(np.exp(logits - logits.max()).sum()):.9g}"))
    text = b"".join(pieces[i] for i in ids[1:]).decode()
    text = text[1:] if text.startswith(" ") else text
    assert text == case["text"], (text, case["text"])
    print(len(prompt), len(ids), "ended" if ended else "", "smallest gap of the two best logits", gap, file=sys.stderr)
    results.append({"prompt": case["prompt"], "prompt_tokens": len(prompt), "ended": ended, "ids": ids,
                    "log_probabilities": chances})
print(json.dumps(results))
