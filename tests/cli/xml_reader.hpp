#pragma once

#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace wick::test {

/// An element of a well-formed document.
struct XmlElement {
  std::string name;
  std::map<std::string, std::string> attributes;
  std::string text;  ///< its own character data, entities resolved
  std::vector<XmlElement> children;

  /// Calls `visit` for this element and all below it.
  void walk(const std::function<void(const XmlElement&)>& visit) const {
    visit(*this);
    for (const XmlElement& child : children) child.walk(visit);
  }
  /// All elements below (and this one) of a name, in document order.
  std::vector<const XmlElement*> all(const std::string& wanted) const {
    std::vector<const XmlElement*> found;
    walk([&](const XmlElement& element) {
      if (element.name == wanted) found.push_back(&element);
    });
    return found;
  }
  std::string attribute(const std::string& key) const {
    const auto found = attributes.find(key);
    return found == attributes.end() ? std::string() : found->second;
  }
  bool has_class(const std::string& wanted) const {
    return (" " + attribute("class") + " ").find(" " + wanted + " ") != std::string::npos;
  }
};

/// A strict reader of the small part of XML that the reports use: throws std::runtime_error with the byte for anything that is
/// not well-formed. It knows a doctype, elements, quoted attributes, the five named entities and numeric ones.
class XmlReader {
 public:
  static XmlElement read(std::string_view text) {
    XmlReader reader(text);
    reader.skip_space();
    if (reader.take("<!DOCTYPE html>")) reader.skip_space();
    XmlElement root = reader.element();
    reader.skip_space();
    if (reader.at_ != text.size()) reader.fail("something after the root element");
    return root;
  }

 private:
  explicit XmlReader(std::string_view text) : text_(text) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error("byte " + std::to_string(at_) + ": " + what + ": " +
                             std::string(text_.substr(at_, 60)));
  }
  bool take(std::string_view token) {
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  void need(std::string_view token) {
    if (!take(token)) fail("expected " + std::string(token));
  }
  void skip_space() {
    while (at_ < text_.size() &&
           std::string_view(" \n\t\r").find(text_[at_]) != std::string::npos) {
      ++at_;
    }
  }
  std::string name() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 ||
                                  text_[at_] == '-' || text_[at_] == ':')) {
      ++at_;
    }
    if (at_ == begin) fail("expected a name");
    return std::string(text_.substr(begin, at_ - begin));
  }
  // Character data up to one of `ends`.
  std::string characters(std::string_view ends) {
    std::string result;
    while (at_ < text_.size() && ends.find(text_[at_]) == std::string::npos) {
      const char c = text_[at_];
      if (c == '&') {
        result += entity();
      } else if (c == '<' || (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t')) {
        fail("a character that is not allowed here");
      } else {
        result += c;
        ++at_;
      }
    }
    return result;
  }
  std::string entity() {
    const std::map<std::string_view, std::string> known{
        {"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}};
    for (const auto& [token, value] : known) {
      if (take(token)) return value;
    }
    fail("an unknown entity");
  }
  XmlElement element() {
    need("<");
    XmlElement result{.name = name(), .attributes = {}, .text = {}, .children = {}};
    for (skip_space(); !take(">"); skip_space()) {
      if (take("/>")) return result;
      const std::string key = name();
      need("=\"");
      if (!result.attributes.emplace(key, characters("\"")).second) fail("an attribute twice");
      need("\"");
    }
    for (;;) {
      result.text += characters("<");
      if (at_ == text_.size()) fail(result.name + " is not closed");
      if (take("</")) break;
      result.children.push_back(element());
    }
    if (name() != result.name) fail("another element is closed than " + result.name);
    skip_space();
    need(">");
    return result;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace wick::test
