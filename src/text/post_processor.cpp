#include "text/components.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

constexpr std::int64_t kLargestId = (std::int64_t{1} << 31) - 2;

std::int32_t checked_id(const JsonFields& fields, std::string_view key, const Json& id) {
  if (!id.is_number_integer() || id < 0 || id > kLargestId) {
    fields.fail(key, "must hold a token's id, got " + describe(id));
  }
  return id.get<std::int32_t>();
}

// ["[SEP]", 102]
std::int32_t pair_id(const JsonFields& fields, std::string_view key) {
  const Json& pair = fields.require(key);
  if (!pair.is_array() || pair.size() != 2) fields.fail(key, "must be [token, id]");
  return checked_id(fields, key, pair[1]);
}

void append_special(const JsonFields& fields, const std::string& name,
                    std::vector<std::int32_t>& ids) {
  const Json& table = fields.require("special_tokens");
  const JsonFields tokens(table, fields.where() + ".special_tokens");
  const Json& entry = tokens.require(name);
  const JsonFields token(entry, tokens.where() + "." + name);
  const Json& list = token.require("ids");
  if (!list.is_array()) token.fail("ids", "must be a list");
  for (const Json& id : list) ids.push_back(checked_id(token, "ids", id));
}

// What a template puts around the one text that it is about.
Frame read_template(const JsonFields& fields) {
  const Json& single = fields.require("single");
  if (!single.is_array()) fields.fail("single", "must be a list");
  Frame frame;
  int texts = 0;
  for (const Json& item : single) {
    const JsonFields part(item, fields.where() + ".single");
    if (part.find("Sequence") != nullptr) {
      ++texts;
    } else {
      const Json& special = part.require("SpecialToken");
      const JsonFields token(special, part.where() + ".SpecialToken");
      append_special(fields, token.string("id"), texts == 0 ? frame.prefix : frame.suffix);
    }
  }
  if (texts != 1) fields.fail("single", "must hold the text (Sequence) exactly once");
  return frame;
}

Frame read_sequence(const Json& parts, const std::string& where) {
  if (!parts.is_array()) {
    throw Error(ErrorKind::kParse, "tokenizer", where + ": must be a list");
  }
  Frame frame;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Frame outer = make_frame(parts[i], where + "[" + std::to_string(i) + "]");
    frame.prefix.insert(frame.prefix.begin(), outer.prefix.begin(), outer.prefix.end());
    frame.suffix.insert(frame.suffix.end(), outer.suffix.begin(), outer.suffix.end());
  }
  return frame;
}

}  // namespace

Frame make_frame(const Json& json, const std::string& where) {
  if (json.is_null()) return {};
  const JsonFields fields(json, where);
  const std::string type = fields.string("type");
  if (type == "Sequence") return read_sequence(fields.require("processors"), where);
  if (type == "ByteLevel") return {};  // changes offsets only
  if (type == "TemplateProcessing") return read_template(fields);
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    return {{pair_id(fields, "cls")}, {pair_id(fields, "sep")}};
  }
  unknown_component(fields);
}

}  // namespace wick::detail
