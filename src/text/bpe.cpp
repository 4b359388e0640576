// Byte-pair encoding: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909.

#include <algorithm>
#include <array>
#include <mutex>
#include <queue>
#include <thread>

#include "base/quote.hpp"
#include "text/token_model.hpp"
#include "text/unicode.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

// Below this many symbols looking at all pairs again is cheaper than a heap.
constexpr std::size_t kScanLimit = 24;
constexpr std::size_t kCachedPieceBytes = 64;
constexpr std::size_t kCacheShards = 8;
constexpr std::size_t kCacheEntries = 1 << 14;

struct Merge {
  std::int32_t rank = 0;
  std::int32_t id = 0;
};

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
         static_cast<std::uint32_t>(right);
}

// Pairs of ids that merge, in one flat table.
class MergeTable {
 public:
  explicit MergeTable(std::size_t count) {
    std::size_t size = 16;
    while (size < 2 * count + 1) size *= 2;
    slots_.resize(size);
  }
  // Of a pair that is there twice the last rank counts.
  void add(std::int32_t left, std::int32_t right, Merge merge) {
    slots_[index_of(pair_key(left, right))] = {pair_key(left, right), merge};
  }
  const Merge* find(std::int32_t left, std::int32_t right) const {
    const Slot& slot = slots_[index_of(pair_key(left, right))];
    return slot.key == kEmpty ? nullptr : &slot.merge;
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = kEmpty;
    Merge merge;
  };
  // The pair's slot, or the empty one where it belongs.
  std::size_t index_of(std::uint64_t key) const {
    const std::size_t mask = slots_.size() - 1;
    std::uint64_t mixed = key * 0x9E3779B97F4A7C15u;
    std::size_t i = static_cast<std::size_t>(mixed ^ (mixed >> 32)) & mask;
    while (slots_[i].key != kEmpty && slots_[i].key != key) i = (i + 1) & mask;
    return i;
  }
  std::vector<Slot> slots_;
};

// Ids of short pieces seen before. Threads use different shards, and skip one that another holds.
class PieceCache {
 public:
  bool find(std::string_view piece, std::vector<std::int32_t>& ids) {
    Shard& shard = own_shard();
    const std::unique_lock lock(shard.mutex, std::try_to_lock);
    if (!lock) return false;
    const auto found = shard.ids.find(piece);
    if (found == shard.ids.end()) return false;
    ids.insert(ids.end(), found->second.begin(), found->second.end());
    return true;
  }
  void add(std::string_view piece, std::vector<std::int32_t> ids) {
    Shard& shard = own_shard();
    const std::unique_lock lock(shard.mutex, std::try_to_lock);
    if (!lock) return;
    if (shard.ids.size() >= kCacheEntries) shard.ids.clear();
    shard.ids.emplace(piece, std::move(ids));
  }

 private:
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string, std::vector<std::int32_t>, TextHash, std::equal_to<>> ids;
  };
  Shard& own_shard() {
    const std::size_t hash = std::hash<std::thread::id>{}(std::this_thread::get_id());
    return shards_[(hash >> 4) % kCacheShards];
  }
  std::array<Shard, kCacheShards> shards_;
};

struct Symbol {
  std::int32_t id = 0;
  std::int32_t previous = -1;
  std::int32_t next = -1;
};

class Bpe : public TokenModel {
 public:
  Bpe(const Json& json, const std::string& where);
  void encode(std::string_view piece, std::vector<std::int32_t>& ids) const override;
  void encode_without(const TokenSet& avoided, std::string_view piece,
                      std::vector<std::int32_t>& ids) const override;

 private:
  void read_options(const JsonFields& fields);
  void read_merges(const Json& merges, const std::string& where);
  void add_merge(const std::string& left, const std::string& right, std::int32_t rank,
                 const std::string& where);
  std::vector<std::int32_t> symbols_of(std::string_view piece) const;
  void merge_by_scan(std::vector<std::int32_t>& ids) const;
  void merge_by_heap(std::vector<std::int32_t>& ids) const;

  MergeTable merges_;
  ByteTokens byte_tokens_;
  std::string prefix_;
  std::string suffix_;
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
  mutable PieceCache cache_;
};

std::size_t count_merges(const Json& json) {
  return json.contains("merges") ? json["merges"].size() : 0;
}

Bpe::Bpe(const Json& json, const std::string& where) : merges_(count_merges(json)) {
  const JsonFields fields(json, where);
  vocabulary_ = Vocabulary(fields.require("vocab"), where + ".vocab");
  read_options(fields);
  read_merges(fields.require("merges"), where + ".merges");
  if (byte_fallback_) byte_tokens_ = ByteTokens(vocabulary_);
}

void Bpe::read_options(const JsonFields& fields) {
  prefix_ = fields.string("continuing_subword_prefix", "");
  suffix_ = fields.string("end_of_word_suffix", "");
  fuse_unk_ = fields.boolean("fuse_unk", false);
  byte_fallback_ = fields.boolean("byte_fallback", false);
  ignore_merges_ = fields.boolean("ignore_merges", false);
  if (fields.number("dropout", 0) != 0) {
    throw Error(ErrorKind::kUnsupported, "tokenizer",
                fields.where() + ".dropout makes tokens random and is not supported");
  }
  const std::string unk = fields.string("unk_token", "");
  if (unk.empty()) return;
  unk_id_ = vocabulary_.id(unk);
  if (!unk_id_) fields.fail("unk_token", quote(unk) + " is not in the vocabulary");
}

void Bpe::add_merge(const std::string& left, const std::string& right, std::int32_t rank,
                    const std::string& where) {
  const auto left_id = vocabulary_.id(left);
  const auto right_id = vocabulary_.id(right);
  const bool has_prefix = !prefix_.empty() && right.starts_with(prefix_);
  const std::string joined = left + (has_prefix ? right.substr(prefix_.size()) : right);
  const auto joined_id = vocabulary_.id(joined);
  if (!left_id || !right_id || !joined_id) {
    const std::string& missing = !left_id ? left : (!right_id ? right : joined);
    throw Error(ErrorKind::kParse, "tokenizer",
                where + "[" + std::to_string(rank) + "]: token " + quote(missing) +
                    " is not in the vocabulary");
  }
  merges_.add(*left_id, *right_id, {rank, *joined_id});
}

void Bpe::read_merges(const Json& merges, const std::string& where) {
  const auto fail = [&](std::size_t i) {
    throw Error(ErrorKind::kParse, "tokenizer",
                where + "[" + std::to_string(i) +
                    "]: must be \"left right\" or [\"left\", \"right\"], got " +
                    describe(merges[i]));
  };
  if (!merges.is_array()) {
    throw Error(ErrorKind::kParse, "tokenizer", where + ": must be a list");
  }
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const Json& merge = merges[i];
    const auto rank = static_cast<std::int32_t>(i);
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      const std::size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) fail(i);
      add_merge(text.substr(0, space), text.substr(space + 1), rank, where);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      add_merge(merge[0], merge[1], rank, where);
    } else {
      fail(i);
    }
  }
}

std::vector<std::int32_t> Bpe::symbols_of(std::string_view piece) const {
  std::vector<std::int32_t> ids;
  bool last_is_unknown = false;
  std::string token;
  for (std::size_t i = 0; i < piece.size();) {
    const std::size_t size = code_point_at(piece, i).size;
    std::string_view character = piece.substr(i, size);
    const bool is_last = i + size == piece.size();
    if ((!prefix_.empty() && i > 0) || (!suffix_.empty() && is_last)) {
      token = (i > 0 ? prefix_ : "") + std::string(character) + (is_last ? suffix_ : "");
      character = token;
    }
    i += size;
    if (const auto id = vocabulary_.id(character)) {
      ids.push_back(*id);
      last_is_unknown = false;
    } else if (byte_fallback_ && byte_tokens_.append(character, ids)) {
      last_is_unknown = false;
    } else if (unk_id_) {
      if (!(fuse_unk_ && last_is_unknown)) ids.push_back(*unk_id_);
      last_is_unknown = true;
    }
  }
  return ids;
}

void Bpe::merge_by_scan(std::vector<std::int32_t>& ids) const {
  while (ids.size() > 1) {
    const Merge* best = nullptr;
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const Merge* merge = merges_.find(ids[i], ids[i + 1]);
      if (merge != nullptr && (best == nullptr || merge->rank < best->rank)) {
        best = merge;
        at = i;
      }
    }
    if (best == nullptr) return;
    ids[at] = best->id;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

// The same merges in the same order, in n log n: candidates wait in a heap, and one whose symbols have changed since is
// left out.
void Bpe::merge_by_heap(std::vector<std::int32_t>& ids) const {
  struct Candidate {
    std::int32_t rank;
    std::int32_t position;
    std::int32_t left;
    std::int32_t right;
    std::int32_t merged;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  std::vector<Symbol> symbols(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    symbols[i] = {ids[i], static_cast<std::int32_t>(i) - 1,
                  i + 1 < ids.size() ? static_cast<std::int32_t>(i) + 1 : -1};
  }
  const auto at = [&](std::int32_t i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap;
  const auto consider = [&](std::int32_t left, std::int32_t right) {
    if (left < 0 || right < 0) return;
    const Merge* merge = merges_.find(at(left).id, at(right).id);
    if (merge != nullptr) {
      heap.push({merge->rank, left, at(left).id, at(right).id, merge->id});
    }
  };
  for (std::int32_t i = 0; i + 1 < static_cast<std::int32_t>(ids.size()); ++i) consider(i, i + 1);
  while (!heap.empty()) {
    const Candidate candidate = heap.top();
    heap.pop();
    Symbol& left = at(candidate.position);
    if (left.id != candidate.left || left.next < 0 || at(left.next).id != candidate.right) continue;
    Symbol& right = at(left.next);
    left.id = candidate.merged;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) at(left.next).previous = candidate.position;
    consider(left.previous, candidate.position);
    consider(candidate.position, left.next);
  }
  ids.clear();
  for (std::int32_t i = 0; i >= 0; i = at(i).next) ids.push_back(at(i).id);
}

void Bpe::encode(std::string_view piece, std::vector<std::int32_t>& ids) const {
  if (ignore_merges_) {
    if (const auto id = vocabulary_.id(piece)) {
      ids.push_back(*id);
      return;
    }
  }
  const bool is_short = piece.size() <= kCachedPieceBytes;
  if (is_short && cache_.find(piece, ids)) return;
  std::vector<std::int32_t> symbols = symbols_of(piece);
  if (symbols.size() <= kScanLimit) {
    merge_by_scan(symbols);
  } else {
    merge_by_heap(symbols);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
  if (is_short) cache_.add(piece, std::move(symbols));
}

// Single characters: whatever the merges would make of them.
void Bpe::encode_without(const TokenSet& avoided, std::string_view piece,
                         std::vector<std::int32_t>& ids) const {
  for (const std::int32_t id : symbols_of(piece)) {
    if (!avoided.contains(id)) {
      ids.push_back(id);
    } else if (unk_id_) {
      ids.push_back(*unk_id_);
    }
  }
}

}  // namespace

std::unique_ptr<TokenModel> make_bpe(const Json& json, const std::string& where) {
  return std::make_unique<Bpe>(json, where);
}

}  // namespace wick::detail
