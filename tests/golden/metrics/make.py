"""Makes trec_eval.json: rankings, judgements and what trec_eval says of them.

Made with pytrec_eval-terrier 0.5.11 (a binding of trec_eval 9). Run: python make.py > trec_eval.json
"""
import json
import random

import pytrec_eval

random.seed(7)
CUTOFFS = [1, 3, 10, 100]
rankings, judgements = {}, {}
for q in range(40):
    pool = [f"d{i}" for i in range(150)]
    random.shuffle(pool)
    rankings[f"q{q}"] = pool[: random.choice([0, 1, 5, 12, 120])]
    judged = random.sample(pool, random.choice([1, 2, 8, 30]))
    judgements[f"q{q}"] = {d: random.choice([0, 1, 1, 2, 3]) for d in judged}
# A query of which nothing relevant is judged.
judgements["q0"] = {d: 0 for d in judgements["q0"]}

expected = {q: {} for q in rankings}
for k in CUTOFFS:
    run = {q: {d: float(len(r) - i) for i, d in enumerate(r[:k])} for q, r in rankings.items()}
    measures = {f"ndcg_cut.{k}", f"recall.{k}", "recip_rank"}
    result = pytrec_eval.RelevanceEvaluator(judgements, measures).evaluate(run)
    for q in rankings:
        # trec_eval says nothing of a query without results; its -c option counts it as 0.
        values = result.get(q, {})
        expected[q][str(k)] = {
            "ndcg": values.get(f"ndcg_cut_{k}", 0.0),
            "recall": values.get(f"recall_{k}", 0.0),
            "reciprocal_rank": values.get("recip_rank", 0.0),
        }
print(json.dumps({"cutoffs": CUTOFFS, "rankings": rankings, "judgements": judgements,
                  "expected": expected}))
