#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>

#include "apps/common/flags.h"
#include "apps/rag/completion.h"
#include "apps/rag/options.h"
#include "apps/rag/output.h"

namespace rag {
namespace {

constexpr int kUsage = 2;
constexpr const char* kVersion = RAG_VERSION;

class CommandLine {
 public:
  explicit CommandLine(Options& options) : options_(options), settings_(options.settings) {
    app_.name("rag");
    app_.description("Vector search and cited answers over your own documents.");
    app_.set_version_flag("--version", StrCat("rag ", kVersion));
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.footer(
        "Settings: flags over RAG_* variables over a TOML file over defaults.\n"
        "Exit codes: 0 done, 1 failed, 2 usage.\n\n"
        "Examples:\n"
        "  rag index docs/\n"
        "  rag search \"rotating the signing key\" -k 5\n"
        "  rag ask \"How often is the signing key rotated?\" --llm model.gguf");
    AddGlobalFlags();
    AddIndex();
    AddSearch();
    AddAsk();
    AddChat();
    AddEmbed();
    AddClassify();
    AddProbe();
    AddGet();
    AddRemove();
    AddCollections();
    AddStats();
    AddModels();
    AddVerify();
    AddCare();
    AddTune();
    AddEvaluate();
    AddBench();
    AddCompletion();
    RefuseNegativeCounts(app_);
  }

  int Parse(int argc, const char* const* argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      // Help and version arrive here too, with exit code 0.
      if (error.get_exit_code() == 0) return app_.exit(error);
      const bool json = std::any_of(argv, argv + argc, [](const char* argument) {
        return std::string_view(argument) == "--json";
      });
      const std::string problem = DescribeParseError(app_, error);
      if (json) {
        PrintJson(ErrorValue(InvalidArgumentError(problem)));
      } else {
        std::fprintf(stderr, "rag: %s\nRun with --help for what is known.\n",
                     Printable(problem).c_str());
      }
      return kUsage;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "rag: %s\n", error.what());
      return kUsage;
    }
    NoteGiven(app_);
    options_.db_given = options_.db_given || db_flag_->count() != 0;
    options_.get.has_chunk = chunk_flag_->count() != 0;
    const auto given = [](const CLI::Option* flag) { return flag->count() != 0; };
    options_.search.mode_given = std::any_of(mode_flags_.begin(), mode_flags_.end(), given);
    options_.search.rerank_given = std::any_of(rerank_flags_.begin(), rerank_flags_.end(), given);
    // Whoever asks for small chunks need not know the overlap's default.
    if (overlap_flag_->count() == 0 && create_overlap_flag_->count() == 0 &&
        settings_.chunk.overlap * 2 >= settings_.chunk.tokens) {
      settings_.chunk.overlap = settings_.chunk.tokens / 8;
    }
    if (options_.command == Command::kCompletion) {
      options_.completion = CompletionScript(options_.arguments.front(), Words());
    }
    return -1;
  }

 private:
  // --- pieces ---

  void NoteGiven(const CLI::App& app) {
    for (const CLI::Option* option : app.get_options()) {
      if (option->count() == 0) continue;
      for (const std::string& name : option->get_lnames()) options_.given.push_back(name);
    }
    for (const CLI::App* sub : app.get_subcommands()) NoteGiven(*sub);
  }

  CLI::App* Add(CLI::App* parent, Command command, const std::string& name,
                const std::string& description, const std::string& examples) {
    CLI::App* sub = parent->add_subcommand(name, description);
    sub->fallthrough();
    if (!examples.empty()) sub->footer("Examples:\n" + examples);
    sub->callback([this, command] { options_.command = command; });
    return sub;
  }
  CLI::App* Add(Command command, const std::string& name, const std::string& description,
                const std::string& examples) {
    return Add(&app_, command, name, description, examples);
  }

  void AddGlobalFlags() {
    CLI::App& app = app_;
    AddEngineFlags(app, settings_);
    db_flag_ = app.get_option("--db");
    app.add_option("--config", config_, "TOML file with settings");
    app.add_flag("--json", options_.json, "print JSON, of the shapes the README documents");
    app.add_flag("--quiet", options_.quiet, "no progress bar");
  }

  // A setting as a flag of a command.
  CLI::Option* AddSetting(CLI::App* app, std::string_view key, const std::string& name = "") {
    return AddFlag(*app, settings_, key, name);
  }

  void AddCollectionFlag(CLI::App* app) { AddSetting(app, "collection", "-c,--collection"); }

  // k: the setting that -k gives.
  void AddSearchFlags(CLI::App* app, std::string_view k) {
    AddSetting(app, k, "-k");
    app->add_option("--per-document", options_.search.per_document,
                    "at most so many passages of one document; 0: any number");
    AddRankingFlags(app);
  }

  // How passages are found and ranked, whatever they are for.
  void AddRankingFlags(CLI::App* app) {
    Options::Search& search = options_.search;
    mode_flags_.push_back(AddSetting(app, "search.mode"));
    app->add_option("--filter", search.filter, "only where, as: year >= 2020 AND lang = \"ko\"");
    app->add_flag("--exact", search.exact, "compare every vector instead of walking the graph");
    app->add_option("--ef-search", search.ef_search, "width of the graph walk");
    rerank_flags_.push_back(AddSetting(app, "reranker", "--rerank"));
    rerank_flags_.push_back(AddSetting(app, "search.rerank_top"));
    app->add_option("--rrf-k", search.rrf_k, "constant of the rank fusion")->capture_default_str();
    app->add_option("--dense-weight", search.dense_weight, "weight of dense ranks in hybrid")
        ->capture_default_str();
    app->add_option("--lexical-weight", search.lexical_weight, "weight of lexical ranks in hybrid")
        ->capture_default_str();
    app->add_option("--sparse-weight", search.sparse_weight, "weight of sparse ranks in hybrid")
        ->capture_default_str();
  }

  void AddAnswerFlags(CLI::App* app) {
    SamplingOptions& sampling = options_.sampling;
    Options::Answer& answer = options_.answer;
    for (const char* const key :
         {"llm", "reader", "lora", "context_tokens", "draft_tokens", "draft_model",
          "draft_min_probability", "kv_type", "kv_bytes", "kv_cache", "mapped_weights",
          "ask.max_tokens", "ask.strategy", "ask.examples", "ask.template", "ask.system",
          "ask.temperature"}) {
      AddSetting(app, key);
    }
    app->add_option("--example-count", answer.example_count, "how many examples")
        ->capture_default_str();
    app->add_flag("--first-examples", answer.first_examples,
                  "the first examples instead of the most similar ones");
    app->add_option("--top-k", sampling.top_k, "draw from the k likeliest; 0: off");
    app->add_option("--top-p", sampling.top_p, "draw from the likeliest that have p together");
    app->add_option("--min-p", sampling.min_p, "drop what is less likely than p of the likeliest");
    app->add_option("--repetition-penalty", sampling.repetition_penalty, "1: off");
    app->add_option("--presence-penalty", sampling.presence_penalty,
                    "taken off a token's logit once it was generated");
    app->add_option("--frequency-penalty", sampling.frequency_penalty,
                    "and again each time that it was");
    app->add_option("--dry", sampling.dry_multiplier,
                    "how much what goes on with a repetition loses (0.8 is usual); 0: off");
    app->add_option("--typical-p", sampling.typical_p, "draw from the most typical; 1: off");
    app->add_option("--top-n-sigma", sampling.top_n_sigma,
                    "draw within n standard deviations of the largest logit; 0: off");
    app->add_option("--xtc", sampling.xtc_probability,
                    "how often the likeliest tokens but the last of them are left out; 0: off");
    app->add_option("--xtc-threshold", sampling.xtc_threshold, "from which probability on");
    app->add_option("--mirostat", sampling.mirostat_tau,
                    "keep the surprise near so many bits, in place of the others; 0: off");
    app->add_option("--seed", sampling.seed, "equal seeds give equal answers");
    app->add_option("--stop", answer.stop, "text that ends the answer; may be given again")
        ->allow_extra_args(false);
    CLI::Option* grammar = app->add_option("--grammar", answer.grammar_path,
                                           "file with a GBNF grammar that the answer must match");
    CLI::Option* schema = app->add_option("--json-schema", answer.json_schema_path,
                                          "file with a JSON schema that the answer must match");
    CLI::Option* regex = app->add_option("--regex", answer.regex,
                                         "regular expression that the whole answer must match");
    grammar->excludes(schema)->excludes(regex);
    schema->excludes(regex);
  }

  // --- commands ---

  void AddIndex() {
    CLI::App* sub =
        Add(Command::kIndex, "index", "Index files and folders; later runs read only what changed",
            "  rag index docs/ notes.md --collection notes\n"
            "  rag index docs/ --prune              # forget files that are gone\n"
            "  rag index docs/ --sparse splade-tiny   # learned sparse vectors too\n"
            "  rag index docs/ --rerank colbert --token-vectors   # kept for rag search --rerank\n"
            "  rag index data.jsonl --metadata lang=ko --metadata year=2024\n"
            "  cat page.html | rag index - --stdin-name page.html");
    sub->add_option("path", options_.arguments, "files, folders, or - for standard input")
        ->required();
    AddCollectionFlag(sub);
    overlap_flag_ = AddCollectionSettings(sub);
    Options::Index& index = options_.index;
    sub->add_flag("--prune", index.prune, "remove documents whose file is gone");
    sub->add_flag("--hidden", index.hidden, "also files and folders whose name begins with a dot");
    sub->add_flag("--strict", index.strict,
                  "exit with 1 when any file failed, or no index reaches the goal");
    sub->add_option("--max-file-bytes", index.max_file_bytes, "larger files fail")
        ->capture_default_str();
    sub->add_option("--metadata", index.metadata, "key=value for every document; may be repeated")
        ->allow_extra_args(false);
    sub->add_option("--stdin-name", index.stdin_name, "names and types what - reads")
        ->capture_default_str();
  }

  // What a new collection is made with; returns the flag of the overlap.
  CLI::Option* AddCollectionSettings(CLI::App* app) {
    AddSetting(app, "chunk.tokens", "--chunk-tokens");
    CLI::Option* const overlap = AddSetting(app, "chunk.overlap", "--chunk-overlap");
    AddSetting(app, "chunk.strategy", "--chunker");
    AddSetting(app, "index.kind", "--index");
    AddSetting(app, "index.token_vectors");
    AddSetting(app, "reranker", "--rerank");
    return overlap;
  }

  void AddSearch() {
    CLI::App* sub = Add(Command::kSearch, "search", "Find passages",
                        "  rag search \"rotating the signing key\" -k 5\n"
                        "  rag search \"key\" --mode lexical --filter 'year >= 2020'\n"
                        "  rag search --image beach.jpg --encoder clip-vit-base-patch32\n"
                        "  rag search \"key\" --json | jq '.hits[0].text'");
    CLI::Option* query =
        sub->add_option("query", options_.arguments, "what to look for; - reads it")->expected(1);
    CLI::Option* image = sub->add_option("--image", options_.search.image,
                                         "what looks like this picture, with an image encoder");
    image->excludes(query);
    AddCollectionFlag(sub);
    AddSearchFlags(sub, "search.k");
    sub->callback([this, query, image] {
      options_.command = Command::kSearch;
      if (query->count() + image->count() == 0) throw CLI::RequiredError("query or --image");
    });
  }

  void AddAsk() {
    CLI::App* sub =
        Add(Command::kAsk, "ask", "Answer a question with citations; without a decoder, by quoting",
            "  rag ask \"How often is the signing key rotated?\"\n"
            "  rag ask \"Why?\" --llm model.gguf --strategy cot --max-tokens 512\n"
            "  rag ask \"Why?\" --llm model.gguf --strategy few-shot --examples qa.jsonl");
    sub->add_option("question", options_.arguments, "the question; - reads it")
        ->required()
        ->expected(1);
    AddCollectionFlag(sub);
    AddSearchFlags(sub, "ask.k");
    AddAnswerFlags(sub);
  }

  void AddChat() {
    CLI::App* sub =
        Add(Command::kChat, "chat", "Ask in turns; lines of standard input when it is no terminal",
            "  rag chat --llm model.gguf\n"
            "  rag chat --llm model.gguf --no-retrieval\n"
            "  echo \"What is a signing key?\" | rag chat --json");
    AddCollectionFlag(sub);
    AddSearchFlags(sub, "ask.k");
    AddAnswerFlags(sub);
    sub->add_flag("--no-retrieval", options_.search.no_retrieval, "the decoder alone");
  }

  void AddEmbed() {
    CLI::App* sub = Add(Command::kEmbed, "embed", "Print the vectors of texts",
                        "  rag embed \"a sentence\" \"another\" --json\n"
                        "  rag embed - < sentences.txt          # one a line\n"
                        "  rag embed --image cat.jpg --encoder clip-vit-base-patch32\n"
                        "  rag embed --analogy \"king - man + woman\" --encoder words.vec");
    CLI::Option* texts =
        sub->add_option("text", options_.arguments, "texts, or - for the lines of standard input");
    CLI::Option* images = sub->add_option("--image", options_.embed.images,
                                          "a picture, with an image encoder; may be repeated")
                              ->allow_extra_args(false);
    images->excludes(texts);
    sub->add_option("--role", options_.embed.role,
                    "whose prompt of the model stands before the text: plain, query or document")
        ->check(CLI::IsMember({"plain", "query", "document"}))
        ->excludes(images)
        ->capture_default_str();
    CLI::Option* analogy = sub->add_option(
        "--analogy", options_.embed.analogy,
        "instead: the words nearest to a sum of words, by word vectors (.vec, .bin)");
    sub->add_option("-k", options_.embed.k, "words that --analogy gives")
        ->check(CLI::Range(1, 1'000))
        ->capture_default_str()
        ->needs(analogy);
    analogy->excludes(texts)->excludes(images);
    sub->callback([this, texts, images, analogy] {
      options_.command = Command::kEmbed;
      if (texts->count() + images->count() + analogy->count() == 0) {
        throw CLI::RequiredError("text, --image or --analogy");
      }
      if (analogy->count() != 0 && options_.embed.analogy.empty()) {
        throw CLI::ValidationError("--analogy", "holds no word");
      }
    });
  }

  void AddClassify() {
    Options::Classify& classify = options_.classify;
    CLI::App* sub =
        Add(Command::kClassify, "classify",
            "Say which labels pictures (with an image encoder) or texts (with a classifier) have",
            "  rag classify *.jpg --labels cat,dog,horse --encoder clip-vit-base-patch32\n"
            "  rag classify a.png --labels cat,dog --template \"a photo of a {}\" \\\n"
            "      --template \"a drawing of a {}\" --json\n"
            "  rag classify --text \"the key was rotated\" --labels security,sport \\\n"
            "      --classifier nli-model               # labels of your own, by entailment\n"
            "  rag classify --text - --classifier sentiment-model < lines.txt\n"
            "  rag classify --text \"Ada lives in Turin\" --tokens --classifier ner-model");
    CLI::Option* images = sub->add_option("image", options_.arguments, "image files");
    CLI::Option* texts = sub->add_option("--text", classify.texts,
                                         "a text, or - for the lines of standard input; may be "
                                         "repeated")
                             ->allow_extra_args(false)
                             ->excludes(images);
    CLI::Option* list = sub->add_option("--labels", classify.labels,
                                        "what a picture or text may be, with commas in between; "
                                        "without them a text gets the model's own")
                            ->delimiter(',');
    CLI::Option* label = sub->add_option("--label", classify.labels, "one of them; may be repeated")
                             ->allow_extra_args(false);
    list->allow_extra_args(false)->excludes(label);
    AddSetting(sub, "classifier");
    sub->add_option("--template", classify.templates,
                    "of a picture: a sentence with {} for the label; of several the mean is taken")
        ->allow_extra_args(false)
        ->excludes(texts);
    CLI::Option* hypothesis = sub->add_option("--hypothesis", classify.hypothesis,
                                              "of a text: what it entails, with {} for the label")
                                  ->capture_default_str()
                                  ->needs(texts);
    CLI::Option* several =
        sub->add_flag("--several", classify.several, "each label is right or wrong by itself")
            ->needs(texts);
    sub->add_flag("--tokens", classify.tokens, "label places in the texts: names, amounts, …")
        ->needs(texts)
        ->excludes(list)
        ->excludes(label)
        ->excludes(hypothesis)
        ->excludes(several);
    sub->callback([this, images, texts, list, label] {
      options_.command = Command::kClassify;
      if (images->count() + texts->count() == 0) throw CLI::RequiredError("image or --text");
      if (images->count() != 0 && list->count() + label->count() == 0) {
        throw CLI::RequiredError("--labels");
      }
    });
  }

  void AddProbe() {
    CLI::App* probe = app_.add_subcommand("probe", "Labels of pictures, learned from examples");
    probe->require_subcommand(1);
    probe->fallthrough();
    probe->footer(
        "Examples:\n  rag probe train shirts/ --output shirts.json\n"
        "  rag probe predict shirts.json new/*.jpg");
    CLI::App* train = Add(probe, Command::kProbeTrain, "train",
                          "Train on FOLDER/LABEL/PICTURE: a logistic regression over the vectors",
                          "  rag probe train shirts/ --output shirts.json --c 0.3");
    train->add_option("folder", options_.arguments, "holds a folder of pictures for each label")
        ->required()
        ->expected(1);
    train->add_option("--output", options_.probe.output, "file to write")->required();
    train->add_option("--c", options_.probe.c, "how little large weights cost, above 0")
        ->capture_default_str();
    CLI::App* predict =
        Add(probe, Command::kProbePredict, "predict", "Say which label pictures have",
            "  rag probe predict shirts.json new/*.jpg --json");
    predict->add_option("probe", options_.arguments, "what train wrote, then image files")
        ->required()
        ->expected(2, 1'000'000);
  }

  void AddGet() {
    CLI::App* sub = Add(Command::kGet, "get", "Print a document or a chunk, or list the documents",
                        "  rag get docs/keys.md\n"
                        "  rag get --chunk 17 --json\n"
                        "  rag get --after /home/me/docs/keys.md --limit 20");
    sub->add_option("document", options_.arguments, "the document's key, or the path of its file")
        ->expected(0, 1);
    AddCollectionFlag(sub);
    chunk_flag_ = sub->add_option("--chunk", options_.get.chunk, "the chunk of this id");
    sub->add_option("--after", options_.get.after, "list from here on (exclusive)");
    sub->add_option("--limit", options_.get.limit, "list at most this many")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
  }

  void AddRemove() {
    CLI::App* sub =
        Add(Command::kRemove, "rm", "Remove documents", "  rag rm docs/old.md --collection notes");
    sub->add_option("document", options_.arguments, "keys of documents, or paths of their files")
        ->required();
    AddCollectionFlag(sub);
  }

  void AddCollections() {
    CLI::App* sub = app_.add_subcommand("collections", "List, create and drop collections");
    sub->fallthrough()->require_subcommand(1);
    sub->footer(
        "Examples:\n"
        "  rag collections list\n"
        "  rag collections create notes --index flat --chunk-tokens 128\n"
        "  rag collections drop notes");
    Add(sub, Command::kCollectionsList, "list", "What there is", "");
    CLI::App* create = Add(sub, Command::kCollectionsCreate, "create", "Make an empty one", "");
    create->add_option("name", options_.arguments, "its name")->required()->expected(1);
    create_overlap_flag_ = AddCollectionSettings(create);
    CLI::App* drop = Add(sub, Command::kCollectionsDrop, "drop", "Remove one with everything", "");
    drop->add_option("name", options_.arguments, "its name")->required()->expected(1);
  }

  void AddStats() {
    CLI::App* sub = Add(Command::kStats, "stats", "Counts and sizes of a collection",
                        "  rag stats --collection notes --json");
    AddCollectionFlag(sub);
  }

  void AddModels() {
    CLI::App* sub = app_.add_subcommand("models", "List, show, add and quantize models");
    sub->fallthrough()->require_subcommand(1);
    sub->footer(
        "Examples:\n"
        "  rag models list\n"
        "  rag models show all-MiniLM-L6-v2\n"
        "  rag models add ~/Downloads/model.gguf --name small\n"
        "  rag models quantize all-MiniLM-L6-v2 minilm-int8\n"
        "  rag models quantize ~/Downloads/Qwen3-0.6B qwen3.gguf --type Q8_0\n"
        "  rag models imatrix qwen3-f16.gguf texts.txt -o imatrix.gguf\n"
        "  rag models quantize qwen3-f16.gguf qwen3.gguf --type Q4_K_M --imatrix imatrix.gguf\n"

        "  rag models quantize base.gguf tuned.gguf --type Q8_0 --lora adapter/:0.5");
    Add(sub, Command::kModelsList, "list", "What the models folder holds", "");
    CLI::App* show = Add(sub, Command::kModelsShow, "show", "What a model's files say", "");
    show->add_option("model", options_.arguments, "a name, a folder or a GGUF file")
        ->required()
        ->expected(1);
    CLI::App* add = Add(sub, Command::kModelsAdd, "add", "Check a model and link it in", "");
    add->add_option("path", options_.arguments, "a Hugging Face folder or a GGUF file")
        ->required()
        ->expected(1);
    add->add_option("--name", options_.models.name, "under this name");
    add->add_flag("--copy", options_.models.copy, "copy instead of linking");
    CLI::App* quantize =
        Add(sub, Command::kModelsQuantize, "quantize",
            "Write a decoder as a smaller GGUF file, an encoder as a smaller folder", "");
    quantize->add_option("from-to", options_.arguments, "a model, and the file or folder to write")
        ->required()
        ->expected(2);
    quantize->add_option(
        "--type", options_.models.type,
        "of a decoder's matrices: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, "
        "IQ4_NL, IQ4_XS, MXFP4, or a mix: Q2_K_M, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M, Q5_K_M (Q4_K); "
        "of an encoder's: int8, bf16, f16 (int8)");
    quantize->add_option("--imatrix", options_.models.importance,
                         "weigh a decoder's errors by this file of models imatrix or llama.cpp");
    CLI::App* imatrix = Add(sub, Command::kModelsImportance, "imatrix",
                            "Run a decoder over a text to see which columns matter", "");
    imatrix->add_option("model-texts", options_.arguments, "a decoder, and a file of plain text")
        ->required()
        ->expected(2);
    imatrix->add_option("-o,--output", options_.models.output, "the GGUF file to write")
        ->required();
    imatrix->add_option("--chunk-tokens", options_.models.chunk_tokens, "tokens run together")
        ->check(CLI::Range(2, 1 << 20))
        ->capture_default_str();
    imatrix->add_option("--chunks", options_.models.max_chunks, "at most so many (0: all)")
        ->capture_default_str();
    quantize
        ->add_option("--lora", options_.models.lora,
                     "LoRA adapter to make a part of the weights, PATH[:SCALE]; may be given again")
        ->allow_extra_args(false);
  }

  void AddVerify() {
    CLI::App* sub = Add(Command::kVerify, "verify", "Check everything a collection stores",
                        "  rag verify --collection notes\n"
                        "  rag verify --recall 500 --json   # also the index against exact search");
    AddCollectionFlag(sub);
    sub->add_option("--recall", options_.recall_sample,
                    "measure recall@10 with this many stored vectors (200 when none is given)")
        ->check(CLI::Range(1, 100'000))
        ->expected(0, 1)
        ->default_str("200");
  }

  void AddCare() {
    CLI::App* backup =
        Add(Command::kBackup, "backup", "Copy the whole store into a new folder, with checksums",
            "  rag backup /mnt/backups/notes-2026-11-21\n"
            "  rag --db notes.db backup /mnt/backups/notes --json\n"
            "While ragd has the store open, ask it: POST /v1/admin/backup");
    backup
        ->add_option("destination", options_.arguments, "a folder that is not there yet, or empty")
        ->required()
        ->expected(1);
    CLI::App* restore =
        Add(Command::kRestore, "restore", "Make the store --db names from a backup, checking it",
            "  rag --db restored.db restore /mnt/backups/notes-2026-11-21");
    restore->add_option("backup", options_.arguments, "the backup's folder")
        ->required()
        ->expected(1);
    Add(Command::kVacuum, "vacuum", "Remove every byte of deleted documents from the store's files",
        "  rag vacuum\n"
        "  rag --db notes.db vacuum --json");
  }

  void AddTune() {
    CLI::App* sub = Add(Command::kTune, "tune",
                        "Choose the vector index that finds enough within a memory, by measuring",
                        "  rag tune --collection notes --recall 0.95\n"
                        "  rag tune --recall 0.98 --memory 512mb --json\n"
                        "  rag tune --memory 64mb --dry-run      # only measures");
    AddCollectionFlag(sub);
    sub->add_option("--recall", options_.tune.recall, "share of the nearest to be found")
        ->check(CLI::Range(0.5, 0.999))
        ->capture_default_str();
    sub->add_option("--memory", options_.tune.memory, "that the index may take, as 512mb");
    sub->add_option("-k", options_.tune.k, "how many nearest")
        ->check(CLI::Range(1, 100))
        ->capture_default_str();
    sub->add_flag("--dry-run", options_.tune.dry_run, "measure, and change nothing");
  }

  void AddEvaluate() {
    CLI::App* sub =
        Add(Command::kEvaluate, "eval",
            "Measure retrieval on data in BEIR's layout (corpus.jsonl, queries.jsonl, qrels)",
            "  rag eval scifact/ --mode hybrid --dense-weight 2\n"
            "  rag eval scifact/ --mode sparse --sparse splade-tiny\n"
            "  rag --db bench.db eval scifact/ -k 10,100 --json   # keeps the index");
    sub->add_option("folder", options_.arguments, "the data")->required()->expected(1);
    sub->add_option("-c,--collection", eval_collection_,
                    "collection (default: eval, eval-lexical or eval-sparse)");
    sub->add_option("-k", options_.cutoffs, "cutoffs")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->capture_default_str();
    AddRankingFlags(sub);
    sub->callback([this] {
      options_.command = Command::kEvaluate;
      const std::string& mode = settings_.search.mode;
      settings_.collection = !eval_collection_.empty()               ? eval_collection_
                             : mode == "lexical" || mode == "sparse" ? "eval-" + mode
                                                                     : "eval";
    });
  }

  void AddBench() {
    CLI::App* sub = Add(Command::kBench, "bench",
                        "How fast this machine encodes, searches and (with --llm) decodes",
                        "  rag bench --collection notes --llm model.gguf --json");
    AddCollectionFlag(sub);
    AddSetting(sub, "llm");
    sub->add_option("--seconds", options_.bench_seconds, "for each measurement")
        ->check(CLI::Range(0.1, 600.0))
        ->capture_default_str();
  }

  void AddCompletion() {
    CLI::App* sub = Add(Command::kCompletion, "completion", "Print a shell's completion script",
                        "  rag completion bash > ~/.local/share/bash-completion/completions/rag\n"
                        "  rag completion zsh > ~/.zfunc/_rag\n"
                        "  rag completion fish > ~/.config/fish/completions/rag.fish");
    sub->add_option("shell", options_.arguments, "bash, zsh or fish")
        ->required()
        ->expected(1)
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  }

  // Every command with its flags and commands below, for the completion scripts.
  std::vector<CommandWords> Words() const {
    std::vector<CommandWords> all;
    const std::function<void(const CLI::App*, const std::string&)> visit =
        [&](const CLI::App* app, const std::string& path) {
          CommandWords words;
          words.path = path;
          for (const CLI::Option* option : app->get_options()) {
            for (const std::string& name : option->get_lnames()) words.flags.push_back("--" + name);
            for (const std::string& name : option->get_snames()) words.flags.push_back("-" + name);
          }
          std::vector<const CLI::App*> below =
              app->get_subcommands([](const CLI::App*) { return true; });
          for (const CLI::App* sub : below) {
            words.commands.emplace_back(sub->get_name(), sub->get_description());
          }
          all.push_back(std::move(words));
          for (const CLI::App* sub : below) {
            visit(sub, path.empty() ? sub->get_name() : path + " " + sub->get_name());
          }
        };
    visit(&app_, "");
    return all;
  }

  Options& options_;
  Settings& settings_;
  CLI::App app_;
  CLI::Option* db_flag_ = nullptr;
  CLI::Option* chunk_flag_ = nullptr;
  std::vector<CLI::Option*> mode_flags_;    // of each command that searches
  std::vector<CLI::Option*> rerank_flags_;  // likewise
  CLI::Option* overlap_flag_ = nullptr;
  CLI::Option* create_overlap_flag_ = nullptr;
  std::string config_;  // read by ConfigFlag before
  std::string eval_collection_;
};

}  // namespace

int ParseCommandLine(int argc, const char* const* argv, Options& options) {
  options.settings = DefaultSettings();
  const std::string default_db = options.settings.db;
  const Status loaded = LoadSettings(ConfigFlag(argc, argv), options.settings);
  options.db_given = options.settings.db != default_db;
  CommandLine command_line(options);
  const int code = command_line.Parse(argc, argv);
  if (code >= 0) return code;
  // After parsing, so that --help works with a broken file too.
  if (!loaded.ok()) return Fail(loaded, options.json);
  return -1;
}

}  // namespace rag
