#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "wick/train/trainer.hpp"

namespace wick::detail {

/// As evaluate_loss(). `should_stop` (may be empty) is asked between micro-batches; nothing comes back when it says so.
/// `ranks` (may be null) share the micro-batches, and all have the report.
std::optional<EvalReport> evaluate_until(const CausalLm& model, const Dataset& data,
                                         const BatchOptions& batches, std::int64_t loss_chunk_rows,
                                         const std::function<bool()>& should_stop,
                                         Communicator* ranks = nullptr);

}  // namespace wick::detail
