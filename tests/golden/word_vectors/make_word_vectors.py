#!/usr/bin/env python3
"""Makes this folder: small word vectors in word2vec's two forms, and what gensim 4.4.0 gives for them.

expected.json: for each expression the five nearest words with their cosines (KeyedVectors.most_similar), and for each text the
mean of its words' vectors (get_mean_vector without normalization).
"""

import json
import pathlib

import numpy as np
from gensim.models import KeyedVectors

HERE = pathlib.Path(__file__).parent
WORDS = ("the of and king queen man woman prince princess city paris london france england seoul korea river water sea "
         "운하 서울 дом straße café well-known New_York 12 U.S.").split()
ANALOGIES = {"king - man + woman": (["king", "woman"], ["man"]), "paris - france + england": (["paris", "england"], ["france"]),
             "queen": (["queen"], []), "- king + man": (["man"], ["king"]), "서울 + well-known": (["서울", "well-known"], [])}
TEXTS = {"The king of France.": ["the", "king", "of", "france"], "water, water": ["water", "water"],
         "서울 straße!": ["서울", "straße"], "KING unknownword 12": ["king", "12"]}


def main():
    random = np.random.default_rng(7)
    vectors = KeyedVectors(vector_size=12)
    vectors.add_vectors(WORDS, random.standard_normal((len(WORDS), 12)).astype("<f4"))
    vectors.save_word2vec_format(str(HERE / "words.vec"), binary=False)
    vectors.save_word2vec_format(str(HERE / "words.bin"), binary=True)
    vectors = KeyedVectors.load_word2vec_format(str(HERE / "words.vec"), binary=False)
    expected = {
        "analogies": [{"expression": text, "words": [[word, float(cosine)] for word, cosine in
                                                     vectors.most_similar(positive=plus, negative=minus, topn=5)]}
                      for text, (plus, minus) in ANALOGIES.items()],
        "texts": [{"text": text, "mean": [float(x) for x in vectors.get_mean_vector(words, pre_normalize=False)]}
                  for text, words in TEXTS.items()],
    }
    (HERE / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=0) + "\n")


if __name__ == "__main__":
    main()
