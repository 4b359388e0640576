#pragma once

#include <map>
#include <string_view>
#include <vector>

#include "backends/mps/way_choice.hpp"
#include "wick/runtime/tune.hpp"

namespace wick::mps {

class MpsBackend;

/// Seconds of each way in the order of measuring, one for each round.
using WayTimes = std::map<std::string_view, std::vector<double>>;

/// The way to take: `otherwise`, unless another's median is 5 % below the best that `otherwise` has done. The times of each
/// way are as many, at least one.
std::string_view best_way(const WayTimes& times, std::string_view otherwise);

/// Measures the ways of these calls on a stream of its own and answers what came out, a rounded shape after another; calls
/// that a single way takes are left out. `table` gets the ways that beat those taken otherwise.
std::vector<TunedCall> measure_ways(MpsBackend& backend, const WayChoice::Calls& calls,
                                    const TuneOptions& options, WayTable& table);

}  // namespace wick::mps
