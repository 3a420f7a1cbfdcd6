#include "lib/tokenizer/unigram.h"

#include <algorithm>
#include <cmath>

#include "lib/text/utf8.h"
#include "lib/tokenizer/decoder.h"

namespace rag {
namespace {

// What an unknown character costs below the worst piece (sentencepiece, unigram_model.cc).
constexpr double kUnknownPenalty = 10.0;

}  // namespace

void ByteTrie::Insert(Edge edge) {
  size_t i = Slot(edge.key);
  while (edges_[i].child != 0) i = (i + 1) & mask_;
  edges_[i] = edge;
}

void ByteTrie::Add(std::string_view key, TokenId value) {
  uint32_t node = 0;
  for (const char c : key) {
    const unsigned char byte = static_cast<unsigned char>(c);
    uint32_t child = Child(node, byte);
    if (child == 0) {
      if (2 * (count_ + 1) > edges_.size()) {
        std::vector<Edge> old = std::move(edges_);
        edges_.assign(std::max<size_t>(64, old.size() * 2), Edge());
        mask_ = edges_.size() - 1;
        for (const Edge& edge : old) {
          if (edge.child != 0) Insert(edge);
        }
      }
      child = static_cast<uint32_t>(values_.size());
      values_.push_back(-1);
      Insert({Key(node, byte), child});
      ++count_;
    }
    node = child;
  }
  values_[node] = value;
}

Result<std::unique_ptr<Unigram>> Unigram::Create(std::vector<double> scores,
                                                 const Vocabulary& vocabulary,
                                                 const std::vector<bool>& excluded,
                                                 const UnigramSettings& settings) {
  if (scores.size() < vocabulary.size()) {
    return InvalidArgumentError(scores.size(), " scores for ", vocabulary.size(), " pieces");
  }
  if (settings.unk_id >= static_cast<int64_t>(vocabulary.size())) {
    return InvalidArgumentError("unk_id ", settings.unk_id, " is not in the vocabulary of ",
                                vocabulary.size());
  }
  std::unique_ptr<Unigram> model(new Unigram(settings));
  double lowest = 0;
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    if (!std::isfinite(scores[i])) {
      return InvalidArgumentError("score of piece ", i, " is no finite number");
    }
    lowest = i == 0 ? scores[i] : std::min(lowest, scores[i]);
    const std::string_view piece = vocabulary.Piece(static_cast<TokenId>(i));
    if (piece.empty() || (i < excluded.size() && excluded[i])) continue;
    if (settings.byte_fallback && ParseBytePiece(piece) >= 0) continue;
    model->trie_.Add(piece, static_cast<TokenId>(i));
  }
  model->unk_score_ = lowest - kUnknownPenalty;
  model->scores_ = std::move(scores);
  if (settings.byte_fallback) {
    static constexpr char kDigits[] = "0123456789ABCDEF";
    for (int byte = 0; byte < 256; ++byte) {
      const char piece[] = {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
      const auto id = vocabulary.Find({piece, sizeof(piece)});
      model->fallback_ids_.push_back(id ? *id : -1);
    }
  }
  return model;
}

Result<std::unique_ptr<Unigram>> Unigram::FromJson(const Value& model, const Vocabulary& vocabulary,
                                                   const std::vector<bool>& excluded) {
  UnigramSettings settings;
  RAG_ASSIGN_OR_RETURN(settings.unk_id, model.GetInt("unk_id", -1));
  RAG_ASSIGN_OR_RETURN(settings.byte_fallback, model.GetBool("byte_fallback", false));
  const Value* vocab = model.Find("vocab");
  if (vocab == nullptr || !vocab->is_array()) {
    return InvalidArgumentError("model Unigram's vocab is no list");
  }
  std::vector<double> scores;
  scores.reserve(vocab->as_array().size());
  for (const Value& entry : vocab->as_array()) {
    if (!entry.is_array() || entry.as_array().size() != 2 || !entry.as_array()[1].is_number()) {
      return InvalidArgumentError("entry ", scores.size(), " of model's vocab has no score");
    }
    scores.push_back(entry.as_array()[1].as_double());
  }
  return Create(std::move(scores), vocabulary, excluded, settings);
}

void Unigram::Tokenize(std::span<const SourceChar> word, std::vector<Token>& out) const {
  struct Node {
    double score = 0;
    uint32_t start = 0;  // in characters
    TokenId id = -2;     // -2: not reached, -1: unknown
  };
  const size_t count = word.size();
  std::string bytes;
  std::vector<uint32_t> byte_of(count + 1);  // of each character
  for (size_t i = 0; i < count; ++i) {
    byte_of[i] = static_cast<uint32_t>(bytes.size());
    AppendUtf8(bytes, word[i].c);
  }
  byte_of[count] = static_cast<uint32_t>(bytes.size());

  std::vector<Node> best(count + 1);  // ending before each character
  for (size_t i = 0; i < count; ++i) {
    const double here = best[i].score;
    bool single = false;
    const auto offer = [&](size_t end, double score, TokenId id) {
      Node& node = best[end];
      if (node.id == -2 || score > node.score) node = {score, static_cast<uint32_t>(i), id};
    };
    uint32_t node = 0;
    size_t end = i;
    for (size_t at = byte_of[i]; at < bytes.size(); ++at) {
      node = trie_.Child(node, static_cast<unsigned char>(bytes[at]));
      if (node == 0) break;
      if (at + 1 != byte_of[end + 1]) continue;
      ++end;
      if (const TokenId id = trie_.value(node); id >= 0) {
        offer(end, here + scores_[static_cast<size_t>(id)], id);
        single |= end == i + 1;
      }
    }
    if (!single) offer(i + 1, here + unk_score_, -1);
  }

  const size_t first = out.size();
  for (size_t end = count; end > 0;) {
    size_t start = best[end].start;
    TokenId id = best[end].id;
    if (id == -1 || id == settings_.unk_id) {
      if (settings_.fuse_unk) {
        while (start > 0 && (best[start].id == -1 || best[start].id == settings_.unk_id)) {
          start = best[start].start;
        }
      }
      const std::string_view run(bytes.data() + byte_of[start], byte_of[end] - byte_of[start]);
      const auto fallback = [&](char byte) {
        return fallback_ids_[static_cast<unsigned char>(byte)];
      };
      if (!fallback_ids_.empty() &&
          std::all_of(run.begin(), run.end(), [&](char byte) { return fallback(byte) >= 0; })) {
        size_t at = end;
        for (size_t i = run.size(); i-- > 0;) {
          while (byte_of[at - 1] > byte_of[start] + i) --at;
          out.push_back({fallback(run[i]), word[at - 1].begin, word[at - 1].end});
        }
      } else if (settings_.unk_id >= 0) {
        out.push_back(
            {static_cast<TokenId>(settings_.unk_id), word[start].begin, word[end - 1].end});
      }
    } else {
      out.push_back({id, word[start].begin, word[end - 1].end});
    }
    end = start;
  }
  std::reverse(out.begin() + static_cast<ptrdiff_t>(first), out.end());
}

}  // namespace rag
