#pragma once

namespace wick::bench {

/// The cases of the op lists that name their bytes or FLOP.
void add_op_benchmarks();

/// Tokenizers on English text and on one letter.
void add_tokenizer_benchmarks();

}  // namespace wick::bench
