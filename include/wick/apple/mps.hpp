#pragma once

/// All that is bound of Metal Performance Shaders.
#include "wick/apple/mps/arrays.hpp"
#include "wick/apple/mps/command_buffer.hpp"
#include "wick/apple/mps/copies.hpp"
#include "wick/apple/mps/layers.hpp"
#include "wick/apple/mps/matrix.hpp"
#include "wick/apple/mps/products.hpp"
#include "wick/apple/mps/random.hpp"
#include "wick/apple/mps/rows.hpp"
#include "wick/apple/mps/solvers.hpp"
