#include "wick/text/tokenizer.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/json.hpp"
#include "text/added_tokens.hpp"
#include "text/components.hpp"
#include "text/token_model.hpp"
#include "text/unicode.hpp"
#include "wick/base/error.hpp"

namespace wick {

using detail::Json;

struct Tokenizer::Impl {
  std::unique_ptr<detail::TokenModel> model;
  detail::Normalizer normalizer;
  detail::PreTokenizer pre_tokenizer;
  detail::Frame frame;
  detail::Decoder decoder;
  detail::AddedTokens added;
  detail::TokenSet control;  // special tokens that no text may be read as, unless it is asked for
  std::int64_t vocab_size = 0;

  void encode(const detail::Segment& segment, bool parse_special_tokens,
              std::vector<std::int32_t>& ids) const;
  void encode_plain(std::string_view piece, std::vector<std::int32_t>& ids) const;

  const std::string* token(std::int64_t id) const {
    const std::string* found = added.vocabulary().token(id);
    return found != nullptr ? found : model->vocabulary().token(id);
  }
};

// A model's vocabulary often has the special tokens too, and text that spells one would become it.
void Tokenizer::Impl::encode_plain(std::string_view piece, std::vector<std::int32_t>& ids) const {
  const std::size_t before = ids.size();
  model->encode(piece, ids);
  const bool has_control = std::any_of(ids.begin() + static_cast<std::ptrdiff_t>(before), ids.end(),
                                       [&](std::int32_t id) { return control.contains(id); });
  if (!has_control) return;
  ids.resize(before);
  model->encode_without(control, piece, ids);
}

void Tokenizer::Impl::encode(const detail::Segment& segment, bool parse_special_tokens,
                             std::vector<std::int32_t>& ids) const {
  detail::Pieces pieces;
  pieces.push_back({segment.text, segment.is_first});
  if (pre_tokenizer) pieces = pre_tokenizer(std::move(pieces));
  for (const detail::Piece& piece : pieces) {
    if (piece.text.empty()) continue;
    if (parse_special_tokens) {
      model->encode(piece.text, ids);
    } else {
      encode_plain(piece.text, ids);
    }
  }
}

Tokenizer::Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

Tokenizer Tokenizer::from_file(const std::filesystem::path& path) {
  std::error_code ignored;  // what cannot be looked at is refused when it is read
  const bool is_folder = std::filesystem::is_directory(path, ignored);
  const std::filesystem::path file = is_folder ? path / "tokenizer.json" : path;
  return from_json(detail::read_text_file(file), file.string());
}

Tokenizer Tokenizer::from_json(std::string_view text, std::string_view where) {
  const Json json = detail::parse_json(text, where);
  const std::string place(where);
  const detail::JsonFields fields(json, place);
  const auto part = [&](const char* key) {
    const Json* found = fields.find(key);
    return found != nullptr ? *found : Json();
  };
  auto impl = std::make_shared<Impl>();
  impl->model = detail::make_token_model(fields.require("model"), place + ": model");
  impl->normalizer = detail::make_normalizer(part("normalizer"), place + ": normalizer");
  impl->pre_tokenizer =
      detail::make_pre_tokenizer(part("pre_tokenizer"), place + ": pre_tokenizer");
  impl->frame = detail::make_frame(part("post_processor"), place + ": post_processor");
  impl->decoder = detail::make_decoder(part("decoder"), place + ": decoder");
  impl->added =
      detail::AddedTokens(part("added_tokens"), place + ": added_tokens", impl->normalizer);
  impl->control = impl->added.special();
  if (impl->model->unk_id()) impl->control.erase(*impl->model->unk_id());
  // Some files mark the bytes of characters that the vocabulary lacks as special; they are text.
  for (int byte = 0; byte < 256; ++byte) {
    const auto id = impl->model->vocabulary().id(detail::byte_token(byte));
    if (id) impl->control.erase(*id);
  }
  impl->vocab_size =
      1 + std::max(impl->model->vocabulary().largest_id(), impl->added.vocabulary().largest_id());
  for (const auto* ids : {&impl->frame.prefix, &impl->frame.suffix}) {
    for (const std::int32_t id : *ids) {
      if (impl->token(id) == nullptr) {
        fields.fail("post_processor", "id " + std::to_string(id) + " is not in the vocabulary");
      }
    }
  }
  return Tokenizer(std::move(impl));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text,
                                            const EncodeOptions& options) const {
  const std::size_t invalid = detail::first_invalid_utf8(text);
  if (invalid != text.size()) {
    throw Error(ErrorKind::kArgument, "tokenizer",
                "the text is not valid UTF-8 at byte " + std::to_string(invalid));
  }
  const Impl& impl = *impl_;
  std::vector<std::int32_t> ids;
  if (options.add_special_tokens) ids = impl.frame.prefix;
  for (const detail::Segment& segment :
       impl.added.split(text, impl.normalizer, options.parse_special_tokens)) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
    } else if (!segment.text.empty()) {
      impl.encode(segment, options.parse_special_tokens, ids);
    }
  }
  if (options.add_special_tokens) {
    ids.insert(ids.end(), impl.frame.suffix.begin(), impl.frame.suffix.end());
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::string* token = impl_->token(ids[i]);
    if (token == nullptr) {
      throw Error(ErrorKind::kArgument, "tokenizer",
                  "id " + std::to_string(ids[i]) + " at position " + std::to_string(i) +
                      " is not in the vocabulary");
    }
    if (!(skip_special_tokens && is_special(ids[i]))) tokens.push_back(*token);
  }
  std::string text;
  if (impl_->decoder) {
    for (const std::string& part : impl_->decoder(std::move(tokens))) text += part;
    return text;
  }
  for (const std::string& token : tokens) text += (text.empty() ? "" : " ") + token;
  return text;
}

std::int64_t Tokenizer::vocab_size() const { return impl_->vocab_size; }

std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  const auto added = impl_->added.vocabulary().id(token);
  return added ? added : impl_->model->vocabulary().id(token);
}

std::optional<std::string> Tokenizer::id_to_token(std::int32_t id) const {
  const std::string* token = impl_->token(id);
  if (token == nullptr) return std::nullopt;
  return *token;
}

bool Tokenizer::is_special(std::int32_t id) const { return impl_->added.is_special(id); }

const std::vector<std::int32_t>& Tokenizer::prefix_ids() const { return impl_->frame.prefix; }

const std::vector<std::int32_t>& Tokenizer::suffix_ids() const { return impl_->frame.suffix; }

}  // namespace wick
