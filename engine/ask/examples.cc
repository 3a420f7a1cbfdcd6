#include "engine/ask/examples.h"

#include <algorithm>
#include <numeric>

#include "engine/ask/evidence.h"
#include "engine/check_text.h"
#include "lib/base/file.h"

namespace rag {

Result<std::vector<Example>> LoadExamples(const std::string& path) {
  RAG_ASSIGN_OR_RETURN(const std::string content, ReadFile(path, kMaxExamplesBytes));
  std::vector<Example> examples;
  size_t line_number = 0;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    std::string_view line = std::string_view(content).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (IsBlank(line)) continue;
    const std::string place = StrCat(path, ":", line_number);
    auto value = ParseJson(line);
    if (!value.ok()) return std::move(value).status().WithContext(place);
    if (!value->is_object()) {
      return InvalidArgumentError(place, ": an example is an object, not ", value->type_name());
    }
    Example example;
    for (auto [key, member] :
         {std::pair("question", &Example::question), std::pair("answer", &Example::answer),
          std::pair("context", &Example::context)}) {
      auto text = value->GetString(key, "");
      if (!text.ok()) return std::move(text).status().WithContext(place);
      example.*member = std::move(text).value();
    }
    if (example.question.empty()) return InvalidArgumentError(place, ": 'question' is missing");
    if (example.answer.empty()) return InvalidArgumentError(place, ": 'answer' is missing");
    if (examples.size() == kMaxExamples) {
      return ResourceExhaustedError(path, ": more than ", kMaxExamples, " examples");
    }
    examples.push_back(std::move(example));
  }
  if (examples.empty()) return InvalidArgumentError(path, ": has no example");
  return examples;
}

Result<std::vector<Example>> ChooseExamples(std::vector<Example> examples,
                                            std::string_view question, size_t count, bool similar,
                                            const Encoder* encoder, const CancelToken* cancel) {
  count = std::min(count, examples.size());
  if (!similar || count == 0) {
    examples.resize(count);
    return examples;
  }
  std::vector<double> scores(examples.size());
  if (encoder != nullptr) {
    std::vector<std::string_view> texts = {question};
    for (const Example& example : examples) texts.push_back(example.question);
    RAG_ASSIGN_OR_RETURN(const Embeddings embeddings,
                         encoder->Encode(texts, TextRole::kQuery, cancel));
    for (size_t i = 0; i < examples.size(); ++i) {
      scores[i] = Cosine(embeddings.vectors.row(0), embeddings.vectors.row(i + 1));
    }
  } else {
    const std::vector<std::string> wanted = TermsOf(question);
    for (size_t i = 0; i < examples.size(); ++i) {
      const std::vector<std::string> terms = TermsOf(examples[i].question);
      std::vector<std::string> shared;
      std::set_intersection(wanted.begin(), wanted.end(), terms.begin(), terms.end(),
                            std::back_inserter(shared));
      const size_t all = wanted.size() + terms.size() - shared.size();
      scores[i] = all > 0 ? static_cast<double>(shared.size()) / static_cast<double>(all) : 0;
    }
  }
  std::vector<size_t> order(examples.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  std::vector<Example> chosen;
  for (size_t i = count; i > 0; --i) chosen.push_back(std::move(examples[order[i - 1]]));
  return chosen;
}

}  // namespace rag
